//! The keys of issuers: fetched when a token needs them, kept for a while, fetched again when a token names one that is
//! not among them.
//!
//! Anybody may show a token, so: only issuers that an account registered are asked, one request at a time each, and not
//! again before some seconds have passed, whatever came of it. The address is one that somebody registered, so what
//! [`crate::outbound`] says of addresses holds. An issuer is asked over TLS (over plain HTTP only on this machine), is
//! not followed elsewhere, and has a limited time for a limited document. What the operator configured is exempt.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gantry_domain::networks::Network;
use gantry_domain::web_identity::issuer::{discovery_url, is_this_machine};
use gantry_protocol::endpoint::chain;
use parking_lot::{Mutex, RwLock};
use reqwest::header::ACCEPT;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::jwt::Jwt;
use super::keys::{self, Key, KeySetError};
use crate::outbound::{self, Outbound, OutboundError};

/// How long an issuer has for each of its documents, as with the real service.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A document with all the keys that count is far smaller.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// How long keys count: a key that the issuer has withdrawn is believed no longer than this.
const FRESH_SECONDS: u64 = 3600;
/// An issuer is not asked again earlier.
const ASKED_AGAIN_SECONDS: u64 = 10;
/// Issuers whose keys are kept; more empty the cache.
const KNOWN_MAX: usize = 1024;

/// Where the keys of an issuer are, when the operator says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// On this machine.
    File(PathBuf),
    /// Somewhere else than the issuer says.
    Url(Url),
}

/// What the operator says about an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Its keys; the issuer is not asked where they are.
    pub jwks: Option<Jwks>,
    /// PEM: the authorities that vouch for it, instead of the system's.
    pub authorities: Option<Vec<u8>>,
}

/// By the issuer's address.
pub type IssuerConfigs = BTreeMap<String, IssuerConfig>;

/// Why there is no key to check a token with.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// The issuer does not say its keys.
    #[error("the issuer does not answer")]
    Unreachable,
    /// It has none of the name that the token says.
    #[error("the issuer has no such key")]
    Unknown,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    NotAllowed(#[from] OutboundError),
    #[error("{0} is not an address of https")]
    NotSecure(String),
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    #[error("it was answered with {0}")]
    Status(StatusCode),
    #[error("it is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("could not read {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    #[error("the description of the issuer cannot be read")]
    Discovery(#[source] serde_json::Error),
    #[error("it describes the issuer {0:?}")]
    OtherIssuer(String),
    #[error("the keys cannot be read")]
    Keys(#[from] KeySetError),
}

/// What `.well-known/openid-configuration` says.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The keys of issuers. Clones share them.
#[derive(Clone)]
pub struct Issuers {
    inner: Arc<Inner>,
}

struct Inner {
    anybody: Outbound,
    configured: BTreeMap<String, Configured>,
    known: Mutex<HashMap<String, Arc<Known>>>,
}

struct Configured {
    jwks: Option<Jwks>,
    outbound: Outbound,
}

/// What is known of an issuer. Times are in seconds.
#[derive(Default)]
struct Known {
    /// With the time they are of.
    keys: RwLock<Option<(u64, Vec<Key>)>>,
    /// When it was asked last. Who holds this asks; tokens with known keys do not wait for that.
    asked_at: tokio::sync::Mutex<Option<u64>>,
}

impl Known {
    /// The key of a token, among those that count.
    fn key(&self, jwt: &Jwt<'_>, now: u64) -> Result<Key, KeyError> {
        match &*self.keys.read() {
            Some((at, keys)) if now.abs_diff(*at) < FRESH_SECONDS => {
                keys::find(keys, jwt).cloned().ok_or(KeyError::Unknown)
            }
            _ => Err(KeyError::Unreachable),
        }
    }
}

impl Issuers {
    /// Issuers in networks up to `reach`, and those that are configured, wherever they are.
    pub fn new(reach: Network, configs: IssuerConfigs) -> Self {
        let configured = configs.into_iter().map(|(issuer, config)| {
            let outbound = Outbound::new(Network::Special);
            let outbound = match config.authorities {
                Some(pem) => outbound.trusting(pem),
                None => outbound,
            };
            (issuer, Configured { jwks: config.jwks, outbound })
        });
        let inner = Inner {
            anybody: Outbound::new(reach),
            configured: configured.collect(),
            known: Mutex::new(HashMap::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The key of `issuer` that the token says it is signed with.
    pub(super) async fn key(&self, issuer: &str, jwt: &Jwt<'_>, now: u64) -> Result<Key, KeyError> {
        let known = self.known(issuer);
        if let Ok(key) = known.key(jwt, now) {
            return Ok(key);
        }
        let mut asked_at = known.asked_at.lock().await;
        // Whom one waited for may have brought it.
        let found = known.key(jwt, now);
        if found.is_ok() || asked_at.is_some_and(|at| now.abs_diff(at) < ASKED_AGAIN_SECONDS) {
            return found;
        }
        *asked_at = Some(now);
        match self.fetch(issuer).await {
            Ok(keys) => *known.keys.write() = Some((now, keys)),
            Err(error) => {
                tracing::warn!(issuer, error = chain(&error), "cannot fetch the keys of an identity provider");
            }
        }
        known.key(jwt, now)
    }

    fn known(&self, issuer: &str) -> Arc<Known> {
        let mut known = self.inner.known.lock();
        if known.len() >= KNOWN_MAX && !known.contains_key(issuer) {
            known.clear();
        }
        Arc::clone(known.entry(issuer.to_owned()).or_default())
    }

    async fn fetch(&self, issuer: &str) -> Result<Vec<Key>, FetchError> {
        let configured = self.inner.configured.get(issuer);
        let outbound = configured.map_or(&self.inner.anybody, |configured| &configured.outbound);
        let text = match configured.and_then(|configured| configured.jwks.as_ref()) {
            Some(Jwks::File(path)) => read(path).await?,
            Some(Jwks::Url(url)) => get(outbound, url.clone()).await?,
            None => get(outbound, described_url(outbound, issuer).await?).await?,
        };
        Ok(keys::read(&text)?)
    }
}

/// Where the issuer says that its keys are.
async fn described_url(outbound: &Outbound, issuer: &str) -> Result<Url, FetchError> {
    let address = secure(&discovery_url(issuer), true)?;
    let is_plain = address.scheme() == "http";
    let text = get(outbound, address).await?;
    let described: Discovery = serde_json::from_slice(&text).map_err(FetchError::Discovery)?;
    if described.issuer != issuer {
        return Err(FetchError::OtherIssuer(described.issuer.chars().take(200).collect()));
    }
    secure(&described.jwks_uri, is_plain)
}

/// An address of https; where `plain` allows it, one of http on this machine.
fn secure(text: &str, plain: bool) -> Result<Url, FetchError> {
    let url = text.parse::<Url>().ok().filter(|url| match url.scheme() {
        "https" => true,
        "http" => plain && url.host_str().is_some_and(is_this_machine),
        _ => false,
    });
    url.ok_or_else(|| FetchError::NotSecure(text.chars().take(200).collect()))
}

async fn get(outbound: &Outbound, url: Url) -> Result<Vec<u8>, FetchError> {
    let request = outbound.get(url, ANSWER_TIMEOUT)?.header(ACCEPT, "application/json");
    let answer = request.send().await.map_err(FetchError::Request)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    within_bounds(outbound::body(answer, DOCUMENT_BYTES_MAX + 1).await.map_err(FetchError::Request)?)
}

async fn read(path: &Path) -> Result<Vec<u8>, FetchError> {
    let failed = |error| FetchError::File(path.to_owned(), error);
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = Vec::new();
    file.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut text).await.map_err(failed)?;
    within_bounds(text)
}

fn within_bounds(text: Vec<u8>) -> Result<Vec<u8>, FetchError> {
    if text.len() > DOCUMENT_BYTES_MAX { Err(FetchError::TooLarge) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
