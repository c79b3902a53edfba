//! Responses: the error bodies, and the few headers that most answers share.

use std::fmt::Display;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::range;
use crate::fault::RegistryError;

pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("answers have string keys and no failing serializers");
    let mut response = empty(status);
    response.headers_mut().insert(CONTENT_LENGTH, text.len().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    *response.body_mut() = Body::from(text);
    response
}

/// Sets a header to text that is known to be printable ASCII: digests, names, numbers, media types that were checked.
pub(super) fn set(response: &mut Response, name: HeaderName, value: impl Display) {
    match HeaderValue::try_from(value.to_string()) {
        Ok(value) => drop(response.headers_mut().insert(name, value)),
        Err(_) => tracing::debug!(%name, "header value cannot be sent"),
    }
}

/// The length a request says its body has.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a refused request is answered with.
pub(super) fn refusal(refused: &RegistryError, host: Option<&HeaderValue>) -> Response {
    if refused.is_internal() {
        tracing::error!(error = refused as &dyn std::error::Error, "registry request failed");
    }
    if matches!(refused, RegistryError::Unauthorized) {
        return challenge(host);
    }
    let (status, code) = refused.oci();
    let errors: Vec<_> = match refused {
        // One error per digest, as the specification asks.
        RegistryError::LayersNotFound { digests, .. } | RegistryError::ReferencedImagesNotFound { digests, .. } => {
            let detail = |digest| serde_json::json!({"code": code, "message": refused.to_string(), "detail": {"digest": digest}});
            digests.iter().map(detail).collect()
        }
        _ => vec![serde_json::json!({"code": code, "message": refused.to_string()})],
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &serde_json::json!({ "errors": errors }));
    match refused {
        RegistryError::UploadRange { id, name, received, .. } => {
            set(&mut response, LOCATION, format_args!("/v2/{name}/blobs/uploads/{id}"));
            set(&mut response, RANGE, range::received(*received));
        }
        _ if status == StatusCode::TOO_MANY_REQUESTS => set(&mut response, RETRY_AFTER, 1),
        _ => {}
    }
    response
}

/// Asks for credentials, in the real service's words.
fn challenge(host: Option<&HeaderValue>) -> Response {
    let host = host.and_then(|host| host.to_str().ok()).filter(|host| is_plain_host(host)).unwrap_or("localhost");
    let mut response = empty(StatusCode::UNAUTHORIZED);
    set(&mut response, WWW_AUTHENTICATE, format_args!("Basic realm=\"https://{host}/\",service=\"ecr.amazonaws.com\""));
    const TEXT: &str = "Not Authorized\n";
    response.headers_mut().insert(CONTENT_LENGTH, TEXT.len().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    *response.body_mut() = Body::from(TEXT);
    response
}

/// The header comes back quoted, so nothing that could end the quotes may be in it.
fn is_plain_host(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'))
}
