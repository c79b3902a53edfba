//! Blobs: download whole or in part, ask for, remove.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::access::Action;
use super::range::{Asked, asked};
use super::{Call, answer};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::name::RepositoryName;
use crate::registry::Registry;

pub(super) async fn get(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, RegistryError> {
    if call.is_head() {
        let keys = call.allow_either(name, Action::BatchCheckLayerAvailability, Action::GetDownloadUrlForLayer).await?;
        let size = call.registry.blob_size(&keys, digest).await?;
        let mut response = answer::empty(StatusCode::OK);
        describe(&mut response, digest, size);
        return Ok(response);
    }
    let keys = call.allow(name, Action::GetDownloadUrlForLayer).await?;
    download(&call.registry, &keys, digest, &call.head).await
}

/// Sends a blob, or the part of it that was asked for.
pub(super) async fn download(
    registry: &Registry,
    keys: &RepositoryKeys,
    digest: &Digest,
    head: &Parts,
) -> Result<Response, RegistryError> {
    let etag = format!("\"{digest}\"");
    if has(&head.headers, &IF_NONE_MATCH, |value| value == "*" || value.contains(&etag)) {
        registry.blob_size(keys, digest).await?;
        let mut response = answer::empty(StatusCode::NOT_MODIFIED);
        answer::set(&mut response, ETAG, &etag);
        return Ok(response);
    }
    let header = head.headers.get(RANGE).and_then(|range| range.to_str().ok());
    // A resumption that begins with another blob in mind gets the whole of this one.
    let header = header.filter(|_| !has(&head.headers, &IF_RANGE, |value| value != etag));
    let (mut wanted, mut total) = (Asked::Whole, 0);
    let opened = registry
        .blob_open(keys, digest, |size| {
            (wanted, total) = (asked(header, size), size);
            match &wanted {
                Asked::Part(part) => Some(part.clone()),
                Asked::Unsatisfiable => Some(0..0),
                Asked::Whole => None,
            }
        })
        .await?;
    if wanted == Asked::Unsatisfiable {
        let mut response = answer::empty(StatusCode::RANGE_NOT_SATISFIABLE);
        answer::set(&mut response, CONTENT_RANGE, format_args!("bytes */{total}"));
        return Ok(response);
    }
    let mut opened = opened;
    let size = opened.size();
    metrics::counter!("gantry_registry_blob_bytes_sent_total").increment(size);
    let body = match opened.take_memory() {
        Some(bytes) => Body::from(bytes),
        None => Body::from_stream(opened),
    };
    let mut response = Response::new(body);
    describe(&mut response, digest, size);
    if let Asked::Part(part) = wanted {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = part.end.saturating_sub(1);
        answer::set(&mut response, CONTENT_RANGE, format_args!("bytes {}-{last}/{total}", part.start));
    }
    Ok(response)
}

pub(super) async fn delete(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, RegistryError> {
    let keys = call.allow(name, Action::BatchDeleteImage).await?;
    call.registry.blob_unlink(&keys, digest).await?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

fn describe(response: &mut Response, digest: &Digest, size: u64) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, size.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    answer::set(response, answer::DOCKER_CONTENT_DIGEST, digest);
    answer::set(response, ETAG, format_args!("\"{digest}\""));
}

fn has(headers: &HeaderMap, name: &HeaderName, matches: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|value| matches(value.trim())))
}
