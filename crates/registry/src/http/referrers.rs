//! Referrers: the manifests that name another one as their subject.
//!
//! Clients that met a registry without this list keep one themselves, an index under the tag `ALGORITHM-HEX`. Content
//! copied from there brings that index along, so what it lists is listed here too. So is what the upstream of an image
//! that was pulled through knows of.

use std::collections::BTreeMap;

use axum::response::Response;
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Action;
use super::lists::PAGE_SIZE_MAX;
use super::{Call, answer};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::manifest::OCI_INDEX;
use crate::metadata::{ReferrerRow, RepositoryKeys};
use crate::name::{Reference, RepositoryName, Tag};
use crate::pull_through::UpstreamReferrer;
use crate::registry::Registry;

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Bytes of referrers after which a page ends; clients refuse indexes above 4 MiB.
const REFERRERS_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Characters of the digest in the tag that stands in for a list of referrers.
const TAG_HEX_LENGTH_MAX: usize = 64;

/// `GET …/referrers/DIGEST`
pub(super) async fn list(call: &Call, name: &RepositoryName, subject: &Digest) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::BatchGetImage).await?;
    call.registry.bring_subject(&call.caller, &keys, subject).await?;
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
    if !more {
        let mut listed = listed_under_tag(&call.registry, &keys, subject, filter).await?;
        listed.extend(listed_upstream(call, &keys, subject, filter).await?);
        let length: usize = listed.iter().map(|descriptor| descriptor.to_string().len()).sum();
        // Those that do not fit come alone, after the last of the others.
        more = bytes + length > REFERRERS_PAGE_BYTES_MAX && seen.is_some();
        if !more {
            manifests.extend(listed);
        }
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
        None => registry.annotations_of(keys, digest).await?,
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

/// An entry of the index that a client keeps under a tag.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    digest: Digest,
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ListedIndex {
    manifests: Vec<Listed>,
}

/// What only the index under the subject's tag knows of, as far as it is in the repository.
async fn listed_under_tag(
    registry: &Registry,
    keys: &RepositoryKeys,
    subject: &Digest,
    filter: Option<&str>,
) -> Result<Vec<Value>, RegistryError> {
    let hex = &subject.hex()[..TAG_HEX_LENGTH_MAX.min(subject.hex().len())];
    let Ok(tag) = format!("{}-{hex}", subject.algorithm().as_str()).parse::<Tag>() else { return Ok(Vec::new()) };
    let Some(index) = registry.image_find(keys, &Reference::Tag(tag)).await?.filter(|image| image.row.is_index) else {
        return Ok(Vec::new());
    };
    let bytes = registry.manifest_bytes(&index).await?;
    // `cosign copy` puts the subject itself under this tag: its platforms are not about it.
    if Digest::of_with(subject.algorithm(), &bytes) == *subject {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    // Anything else may stand under this tag; then nothing is listed.
    for listed in serde_json::from_slice::<ListedIndex>(&bytes).map(|index| index.manifests).unwrap_or_default() {
        let known = registry.metadata.referrer(keys, subject, &listed.digest).await?.is_some();
        let Some(image) = registry.metadata.image(keys, &listed.digest).await?.filter(|_| !known) else { continue };
        let row = ReferrerRow {
            media_type: image.row.media_type,
            size: image.row.manifest_size,
            artifact_type: listed.artifact_type.or(image.row.artifact_type),
            annotations: Some(listed.annotations),
        };
        if filter.is_none_or(|filter| row.artifact_type.as_deref() == Some(filter)) {
            found.push(descriptor(registry, keys, &listed.digest, row).await?);
        }
    }
    Ok(found)
}

/// What the upstream of an image that was pulled through lists and is not here yet.
async fn listed_upstream(
    call: &Call,
    keys: &RepositoryKeys,
    subject: &Digest,
    filter: Option<&str>,
) -> Result<Vec<Value>, RegistryError> {
    let mut found = Vec::new();
    let wanted = |listed: &UpstreamReferrer| filter.is_none_or(|one| listed.row.artifact_type.as_deref() == Some(one));
    for listed in call.registry.upstream_referrers(&call.caller, keys, subject, wanted).await? {
        found.push(descriptor(&call.registry, keys, &listed.digest, listed.row).await?);
    }
    Ok(found)
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
