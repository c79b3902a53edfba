//! Lists: tags, referrers, and the repositories of the registry.

use std::collections::BTreeMap;

use axum::response::Response;
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::access::Action;
use super::{Call, access, answer};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::manifest::{Manifest, OCI_INDEX};
use crate::metadata::{ReferrerRow, RepositoryKeys};
use crate::name::{Reference, RepositoryName};
use crate::registry::Registry;

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Entries of a page when the client does not say, and the most it may ask for. Longer lists have a `Link`.
const PAGE_SIZE_MAX: usize = 1000;
/// Bytes of referrers after which a page ends; clients refuse indexes above 4 MiB.
const REFERRERS_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(super) async fn tags(call: &Call, name: &RepositoryName) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::ListImages)?;
    let asked = call.query.page_size()?;
    call.registry.repository(&keys).await?;
    let (tags, more) = match asked {
        Some(0) => (Vec::new(), false),
        asked => {
            let limit = asked.unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
            call.registry.metadata.tags(&keys, call.query.get("last"), limit).await?
        }
    };
    let tags: Vec<&str> = tags.iter().map(|(tag, _)| tag.as_str()).collect();
    let mut response = answer::json(StatusCode::OK, &json!({"name": name.as_str(), "tags": tags}));
    if let (true, Some(last)) = (more, tags.last()) {
        link(&mut response, &format!("/v2/{name}/tags/list"), asked, last);
    }
    Ok(response)
}

pub(super) async fn catalog(call: &Call) -> Result<Response, RegistryError> {
    let scope = &call.principal.scope;
    let all = format!("arn:{}:ecr:{}:{}:repository/*", scope.partition(), scope.region, scope.account);
    access::check(&call.principal, Action::DescribeRepositories, &all)?;
    let asked = call.query.page_size()?;
    let (repositories, more) = match asked {
        Some(0) => (Vec::new(), false),
        asked => {
            let limit = asked.unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX);
            call.registry.repositories(scope, call.query.get("last"), limit).await?
        }
    };
    let names: Vec<&str> = repositories.iter().map(|(name, _)| name.as_str()).collect();
    let mut response = answer::json(StatusCode::OK, &json!({"repositories": names}));
    if let (true, Some(last)) = (more, names.last()) {
        link(&mut response, "/v2/_catalog", asked, &last.replace('/', "%2F"));
    }
    Ok(response)
}

pub(super) async fn referrers(call: &Call, name: &RepositoryName, subject: &Digest) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::BatchGetImage)?;
    call.registry.repository(&keys).await?;
    let filter = call.query.get("artifactType").filter(|filter| !filter.is_empty());
    let last = call.query.get("last");
    let (rows, mut more) = call.registry.metadata.referrers(&keys, subject, last, PAGE_SIZE_MAX).await?;
    let (mut manifests, mut bytes, mut seen) = (Vec::new(), 0, None);
    for (digest, row) in rows {
        if filter.is_none_or(|filter| row.artifact_type.as_deref() == Some(filter)) {
            let descriptor = descriptor(&call.registry, &keys, &digest, row).await?;
            let length = descriptor.to_string().len();
            if bytes + length > REFERRERS_PAGE_BYTES_MAX && !manifests.is_empty() {
                more = true;
                break;
            }
            bytes += length;
            manifests.push(descriptor);
        }
        seen = Some(digest);
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let mut response = answer::json(StatusCode::OK, &index);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
    if filter.is_some() {
        response.headers_mut().insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let (true, Some(last)) = (more, seen) {
        let filter = filter.map(|filter| format!("artifactType={}&", encode(filter))).unwrap_or_default();
        let target = format!("</v2/{name}/referrers/{subject}?{filter}last={last}>; rel=\"next\"");
        answer::set(&mut response, LINK, target);
    }
    Ok(response)
}

/// One entry of a referrers list.
async fn descriptor(
    registry: &Registry,
    keys: &RepositoryKeys,
    digest: &Digest,
    row: ReferrerRow,
) -> Result<Value, RegistryError> {
    let annotations = match row.annotations {
        Some(annotations) => annotations,
        None => annotations_of(registry, keys, digest).await?,
    };
    let mut descriptor = json!({"mediaType": row.media_type, "digest": digest, "size": row.size});
    if let Some(artifact_type) = row.artifact_type {
        descriptor["artifactType"] = artifact_type.into();
    }
    if !annotations.is_empty() {
        descriptor["annotations"] = json!(annotations);
    }
    Ok(descriptor)
}

/// Annotations too long for a row, from the manifest itself; none when it has just been deleted.
async fn annotations_of(
    registry: &Registry,
    keys: &RepositoryKeys,
    digest: &Digest,
) -> Result<BTreeMap<String, String>, RegistryError> {
    let Some(image) = registry.image_find(keys, &Reference::Digest(digest.clone())).await? else {
        return Ok(BTreeMap::new());
    };
    let bytes = registry.manifest_bytes(&image).await?;
    Ok(Manifest::parse(&bytes, Some(&image.row.media_type))?.annotations)
}

fn link(response: &mut Response, path: &str, asked: Option<usize>, last: &str) {
    let size = asked.map(|n| format!("n={n}&")).unwrap_or_default();
    answer::set(response, LINK, format_args!("<{path}?{size}last={last}>; rel=\"next\""));
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
