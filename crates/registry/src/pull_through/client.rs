//! HTTP to upstream registries: one client for all of them, and what it may not be led to.
//!
//! An upstream is a host somebody allowed. Where its answers lead (redirects to a content network, a token server) is
//! followed only over as good a connection, and to public addresses: an upstream must not be able to make the
//! registry ask machines that only the registry can reach. Hosts the operator configured are exempt. Credentials
//! never follow a redirect to another host (`reqwest` drops them).

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_domain::networks::Network;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Url};

use super::UpstreamError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that brings nothing for this long is broken.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;

/// Connections to upstream registries.
pub(crate) struct UpstreamClient {
    trusted: Arc<[String]>,
    plain: OnceLock<Result<Client, String>>,
    /// Made at the first use, as reading the system's certificates takes milliseconds and memory.
    tls: OnceLock<Result<Client, String>>,
}

impl UpstreamClient {
    /// A client that may go to `trusted` hosts whatever their addresses are.
    pub(crate) fn new(trusted: Vec<String>) -> Self {
        Self { trusted: trusted.into(), plain: OnceLock::new(), tls: OnceLock::new() }
    }

    /// The client for this address, which is either an upstream's own or one that [`UpstreamClient::check`] accepted.
    pub(crate) fn http(&self, url: &Url) -> Result<&Client, UpstreamError> {
        let made = match url.scheme() {
            "http" => self.plain.get_or_init(|| build(self.builder().tls_certs_only([]))),
            _ => self.tls.get_or_init(|| build(self.builder())),
        };
        made.as_ref().map_err(|error| UpstreamError::Unavailable(error.clone()))
    }

    /// Refuses an address that an upstream sends us to and that it may not send us to.
    pub(crate) fn check(&self, from: &Url, to: &Url) -> Result<(), UpstreamError> {
        check(&self.trusted, from, to).map_err(|why| UpstreamError::Unavailable(format!("{}: {why}", shown(to))))
    }

    fn builder(&self) -> ClientBuilder {
        let trusted = Arc::clone(&self.trusted);
        Client::builder()
            .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .no_proxy()
            .redirect(Policy::custom(move |attempt| follow(&trusted, attempt)))
            .dns_resolver(Arc::new(PublicOnly { trusted: Arc::clone(&self.trusted) }))
    }
}

fn build(builder: ClientBuilder) -> Result<Client, String> {
    // Another part of the program may have chosen already; both choose ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder.build().map_err(|error| chain(&error))
}

fn follow(trusted: &[String], attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("too many redirects");
    }
    let refused = match attempt.previous().last() {
        Some(from) => check(trusted, from, attempt.url()).err(),
        None => None,
    };
    match refused {
        Some(why) => attempt.error(why),
        None => attempt.follow(),
    }
}

/// Why an answer from `from` may not lead to `to`. Names are looked at when they are resolved.
fn check(trusted: &[String], from: &Url, to: &Url) -> Result<(), &'static str> {
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        _ => return Err("leads from HTTPS to something else"),
    }
    let Some(host) = to.host_str() else { return Err("has no host") };
    if trusted.iter().any(|trusted| trusted == host) {
        return Ok(());
    }
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if !is_public(address) => Err(NOT_PUBLIC),
        _ => Ok(()),
    }
}

const NOT_PUBLIC: &str = "is not a public address, and not configured as an upstream";

/// Resolves names, and keeps private addresses from those that nobody configured.
struct PublicOnly {
    trusted: Arc<[String]>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let trusted = self.trusted.iter().any(|trusted| trusted == name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|address| trusted || is_public(address.ip())).collect();
            if kept.is_empty() {
                return Err(format!("{} {NOT_PUBLIC}", name.as_str()).into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is anybody's to reach.
fn is_public(address: IpAddr) -> bool {
    Network::of(address) == Network::Public
}

/// An address without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// The whole chain of an error, without reqwest's own text: its URL may carry a signature.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        next = error.source();
    }
    match parts.is_empty() {
        true if error.is_timeout() => "timed out".to_owned(),
        true => "the connection failed".to_owned(),
        false => parts.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_lead_to_public_addresses_over_as_good_a_connection() {
        let trusted = ["10.0.0.7".to_owned(), "registry.internal".to_owned()];
        let url = |text: &str| Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let cases = [
            ("https://a.example/", "https://cdn.example/x", true),
            ("https://a.example/", "http://cdn.example/x", false),
            ("http://a.example/", "http://cdn.example/x", true),
            ("http://a.example/", "https://cdn.example/x", true),
            ("https://a.example/", "https://8.8.8.8/x", true),
            ("https://a.example/", "https://10.0.0.7/x", true),
            ("https://a.example/", "https://10.0.0.8/x", false),
            ("https://a.example/", "https://127.0.0.1/x", false),
            ("https://a.example/", "https://169.254.169.254/latest/meta-data", false),
            ("https://a.example/", "https://[::1]/x", false),
            ("https://a.example/", "https://[::ffff:10.1.2.3]/x", false),
            ("https://a.example/", "https://[fe80::1]/x", false),
            ("https://a.example/", "https://[2606:4700::1]/x", true),
            ("https://a.example/", "https://0x7f000001/x", false),
            ("https://a.example/", "https://registry.internal/x", true),
            ("http://a.example/", "ftp://a.example/x", false),
        ];
        for (from, to, allowed) in cases {
            assert_eq!(check(&trusted, &url(from), &url(to)).is_ok(), allowed, "{from} to {to}");
        }
    }
}
