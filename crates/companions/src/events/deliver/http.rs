//! Targets that are HTTP endpoints: a POST with the input as its body.
//!
//! Whoever may call PutTargets makes the server send requests from where it stands, so: redirects are not followed,
//! the address that a name resolves to is held against what the operator allows and is the one that is connected to,
//! link-local and metadata addresses are never among the default, and nothing of an answer but its status is used.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_api::events::HttpParameters;
use gantry_domain::networks::Network;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::Outcome;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An endpoint has this long to answer, as an API destination of EventBridge has.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read, and forgotten, so that the connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

const NOT_ALLOWED: &str = "is in a network that event_targets does not allow";

pub(super) struct Endpoints {
    /// The least harmless network that targets may be in.
    reach: Network,
    /// Made at the first use, as reading the system's certificates takes milliseconds and memory.
    client: OnceLock<Result<Client, String>>,
}

impl Endpoints {
    pub(super) fn new(reach: Network) -> Self {
        Self { reach, client: OnceLock::new() }
    }

    pub(super) async fn post(&self, url: &Url, parameters: &HttpParameters, input: &str) -> Outcome {
        let client = match self.client.get_or_init(|| build(self.reach)) {
            Ok(client) => client,
            Err(error) => return Outcome::Retry(error.clone()),
        };
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if literal.is_some_and(|address| Network::of(address) > self.reach) {
            return Outcome::Refused(format!("{} {NOT_ALLOWED}", url.host_str().unwrap_or_default()));
        }
        let mut url = url.clone();
        if let Some(query) = parameters.query_string_parameters.as_ref().filter(|query| !query.is_empty()) {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = client.post(url).headers(headers(parameters)).body(input.to_owned());
        match request.send().await {
            Ok(answer) => outcome(answer).await,
            Err(error) => Outcome::Retry(chain(&error.without_url())),
        }
    }
}

async fn outcome(mut answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    let mut read = 0;
    while read < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        read += chunk.len();
    }
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

fn build(reach: Network) -> Result<Client, String> {
    // Another part of the program may have chosen already; both choose ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .user_agent(concat!("gantry-events/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .no_proxy()
        .redirect(Policy::none())
        .dns_resolver(Arc::new(Within(reach)));
    client.build().map_err(|error| chain(&error))
}

/// Resolves names to what is allowed.
struct Within(Network);

impl Resolve for Within {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|address| Network::of(address.ip()) <= reach).collect();
            if kept.is_empty() {
                return Err(format!("{} {NOT_ALLOWED}", name.as_str()).into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// An error with everything behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
