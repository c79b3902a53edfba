//! Targets that are HTTP endpoints: a POST with the input as its body.
//!
//! Where it may go is decided in [`crate::outbound`]; nothing of an answer but its status is used.

use std::time::Duration;

use gantry_api::events::HttpParameters;
use gantry_domain::networks::Network;
use gantry_protocol::endpoint::chain;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};

use super::Outcome;
use crate::outbound::{self, Outbound, OutboundError};

/// An endpoint has this long to answer, as an API destination of EventBridge has.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read, and forgotten, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Endpoints(Outbound);

impl Endpoints {
    pub(super) fn new(reach: Network) -> Self {
        Self(Outbound::new(reach))
    }

    pub(super) async fn post(&self, url: &Url, parameters: &HttpParameters, input: &str) -> Outcome {
        let mut url = url.clone();
        if let Some(query) = parameters.query_string_parameters.as_ref().filter(|query| !query.is_empty()) {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = match self.0.post(url, ANSWER_TIMEOUT) {
            Ok(request) => request.headers(headers(parameters)).body(input.to_owned()),
            Err(OutboundError::NotAllowed(why)) => return Outcome::Refused(why),
            Err(OutboundError::NoClient(why)) => return Outcome::Retry(why),
        };
        match request.send().await {
            Ok(answer) => outcome(answer).await,
            Err(error) => Outcome::Retry(chain(&error.without_url())),
        }
    }
}

async fn outcome(answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    // Read so that the connection may serve again; what it says is nobody's business.
    let _ = outbound::body(answer, ANSWER_BYTES_MAX).await;
    let later = [
        StatusCode::UNAUTHORIZED,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::CONFLICT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    match status {
        status if status.is_success() => Outcome::Delivered,
        status if status.is_server_error() || later.contains(&status) => {
            Outcome::Retry(format!("it answered {status}"))
        }
        status => Outcome::Refused(format!("it answered {status}")),
    }
}

fn headers(parameters: &HttpParameters) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in parameters.header_parameters.iter().flatten() {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    headers
}
