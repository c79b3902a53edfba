//! Requests that a caller of the API makes the server send: to targets of rules, to hooks of deployments, to identity
//! providers.
//!
//! Whoever may name such an address makes the server send from where it stands, so: redirects are not followed, the
//! address that a name resolves to is held against what the operator allows and is the one that is connected to, and
//! link-local and metadata addresses are never among the default.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_domain::networks::Network;
use gantry_protocol::endpoint::chain;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const NOT_ALLOWED: &str = "is in a network that event_targets does not allow";

/// Why a request cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The operator does not allow the address.
    #[error("{0}")]
    NotAllowed(String),
    /// There is no client.
    #[error("{0}")]
    NoClient(String),
}

/// A client that reaches what the operator allows, and nothing else.
#[derive(Debug)]
pub struct Outbound {
    /// The least harmless network that may be reached.
    reach: Network,
    /// PEM: the authorities that are believed instead of the system's.
    authorities: Option<Vec<u8>>,
    /// Made at the first use, as reading the system's certificates takes milliseconds and memory.
    client: OnceLock<Result<Client, String>>,
}

impl Outbound {
    /// A client that reaches networks up to `reach`.
    pub const fn new(reach: Network) -> Self {
        Self { reach, authorities: None, client: OnceLock::new() }
    }

    /// One that believes the authorities in `pem` alone.
    #[must_use]
    pub fn trusting(self, pem: Vec<u8>) -> Self {
        Self { authorities: Some(pem), client: OnceLock::new(), ..self }
    }

    /// A POST that must be answered within `timeout`.
    ///
    /// # Errors
    /// [`OutboundError`]. A name that resolves to what is not allowed is refused when the request is sent.
    pub fn post(&self, url: Url, timeout: Duration) -> Result<RequestBuilder, OutboundError> {
        self.request(Method::POST, url, timeout)
    }

    /// A GET that must be answered within `timeout`.
    ///
    /// # Errors
    /// As with [`Self::post`].
    pub fn get(&self, url: Url, timeout: Duration) -> Result<RequestBuilder, OutboundError> {
        self.request(Method::GET, url, timeout)
    }

    fn request(&self, method: Method, url: Url, timeout: Duration) -> Result<RequestBuilder, OutboundError> {
        let client = self.client.get_or_init(|| build(self.reach, self.authorities.as_deref()));
        let client = client.as_ref().map_err(|error| OutboundError::NoClient(error.clone()))?;
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if literal.is_some_and(|address| Network::of(address) > self.reach) {
            let host = url.host_str().unwrap_or_default();
            return Err(OutboundError::NotAllowed(format!("{host} {NOT_ALLOWED}")));
        }
        Ok(client.request(method, url).timeout(timeout))
    }
}

/// The body of an answer; of a longer one its first `bytes_max`.
///
/// # Errors
/// It breaks off.
pub async fn body(mut answer: Response, bytes_max: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < bytes_max
        && let Some(part) = answer.chunk().await?
    {
        body.extend_from_slice(&part[..part.len().min(bytes_max - body.len())]);
    }
    Ok(body)
}

fn build(reach: Network, authorities: Option<&[u8]>) -> Result<Client, String> {
    // Another part of the program may have chosen already; both choose ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder()
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .redirect(Policy::none())
        .dns_resolver(Arc::new(Within(reach)));
    if let Some(pem) = authorities {
        client = client.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?);
    }
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
