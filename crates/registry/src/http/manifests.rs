//! Manifests: get, put, delete, by tag and by digest.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderName, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::access::Action;
use super::path::parse_digest;
use super::{Call, answer};
use crate::fault::RegistryError;
use crate::manifest::{MANIFEST_SIZE_MAX, ManifestError};
use crate::name::{Reference, RepositoryName, Tag};
use crate::push_image::{ImagePush, Repeated};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Tags one push may carry in its query.
const TAGS_PER_PUSH_MAX: usize = 50;

pub(super) async fn get(call: &Call, name: &RepositoryName, reference: &str) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::BatchGetImage).await?;
    let registry = &call.registry;
    let found = match parse_reference(reference) {
        // A tag that cannot exist does not exist.
        Err(RegistryError::TagInvalid(_)) => {
            registry.repository(&keys).await?;
            None
        }
        reference => registry.pull(&call.caller, &keys, &reference?).await?,
    };
    let image = found.filter(|image| !image.row.archived).ok_or(RegistryError::ManifestUnknown)?;
    // HEAD reads the bytes too: a damaged manifest must look absent, or clients will not push it again.
    let bytes = registry.manifest_bytes(&image).await.map_err(|error| match error {
        RegistryError::BlobUnknown(_) => RegistryError::ManifestUnknown,
        other => other,
    })?;
    let mut response = answer::empty(StatusCode::OK);
    response.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
    answer::set(&mut response, CONTENT_TYPE, &image.row.media_type);
    answer::set(&mut response, answer::DOCKER_CONTENT_DIGEST, &image.digest);
    answer::set(&mut response, ETAG, format_args!("\"{}\"", image.digest));
    if !call.is_head() {
        registry.image_pulled(&keys, &image, &call.caller.principal_arn);
        *response.body_mut() = Body::from(bytes);
    }
    Ok(response)
}

pub(super) async fn put(
    call: &Call,
    body: Body,
    name: &RepositoryName,
    reference: &str,
) -> Result<Response, RegistryError> {
    let keys = call.allow_push(name, Action::PutImage).await?;
    let (digest, mut tags) = match parse_reference(reference)? {
        Reference::Digest(digest) => (Some(digest), Vec::new()),
        Reference::Tag(tag) => (None, vec![tag]),
    };
    let more_tags: Vec<&str> = call.query.all("tag").collect();
    if more_tags.len() > TAGS_PER_PUSH_MAX {
        return Ok(answer::empty(StatusCode::URI_TOO_LONG));
    }
    for tag in &more_tags {
        tags.push(parse_tag(tag)?);
    }
    tags.sort();
    tags.dedup();
    let media_type = call.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if answer::content_length(&call.head.headers).is_some_and(|length| length > MANIFEST_SIZE_MAX as u64) {
        return Err(ManifestError::TooLarge.into());
    }
    let body =
        Limited::new(body, MANIFEST_SIZE_MAX).collect().await.map_err(|error| match error
            .downcast_ref::<http_body_util::LengthLimitError>(
        ) {
            Some(_) => ManifestError::TooLarge.into(),
            None => RegistryError::BadRequest("the body could not be read"),
        })?;
    let push = ImagePush {
        manifest: body.to_bytes(),
        media_type,
        digest,
        tags,
        repeated: Repeated::Accept,
        actor: call.actor(),
        sign: call.registry.signing_orders(&call.caller, &keys).await?,
    };
    let pushed = call.registry.image_push(&keys, &push).await?;
    let mut response = answer::empty(StatusCode::CREATED);
    answer::set(&mut response, LOCATION, format_args!("/v2/{name}/manifests/{}", pushed.digest));
    answer::set(&mut response, answer::DOCKER_CONTENT_DIGEST, &pushed.digest);
    if let Some(subject) = &pushed.subject {
        answer::set(&mut response, OCI_SUBJECT, subject);
    }
    if !more_tags.is_empty() {
        answer::set(&mut response, OCI_TAG, more_tags.join(", "));
    }
    Ok(response)
}

pub(super) async fn delete(call: &Call, name: &RepositoryName, reference: &str) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::BatchDeleteImage).await?;
    let deleted = match parse_reference(reference) {
        Ok(Reference::Digest(digest)) => call.registry.image_delete(&keys, &digest, &call.actor()).await?.is_some(),
        Ok(Reference::Tag(tag)) => call.registry.tag_delete(&keys, &tag, &call.actor()).await?,
        Err(RegistryError::TagInvalid(_)) => {
            call.registry.repository(&keys).await?;
            false
        }
        Err(error) => return Err(error),
    };
    if deleted { Ok(answer::empty(StatusCode::ACCEPTED)) } else { Err(RegistryError::ManifestUnknown) }
}

/// A digest if it contains a colon, else a tag.
fn parse_reference(text: &str) -> Result<Reference, RegistryError> {
    if text.contains(':') { parse_digest(text).map(Reference::Digest) } else { parse_tag(text).map(Reference::Tag) }
}

fn parse_tag(text: &str) -> Result<Tag, RegistryError> {
    text.parse().map_err(|_| RegistryError::TagInvalid(text.to_owned()))
}
