//! An answer of the endpoint: a status and JSON.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, LOCATION},
};
use serde::Serialize;

/// What is sent back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    location: Option<HeaderValue>,
}

impl Answer {
    /// Success.
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) fn new(status: StatusCode, body: &impl Serialize) -> Self {
        // Answers have string keys only.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { status, body, location: None }
    }

    /// To another path.
    pub(super) fn redirect(to: &str) -> Self {
        let location = HeaderValue::from_str(to).ok();
        Self { location, ..Self::new(StatusCode::MOVED_PERMANENTLY, &"moved") }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(location) = self.location {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}
