//! Talks to one registry about one repository: authentication, manifests, and blobs streamed to a reader.
//!
//! A request is repeated when the network or the registry had a moment (see [`Retry`]); a blob continues where it
//! broke off. What arrives is compared with its digest before anybody sees it.

pub(super) mod blob;

use std::{error::Error, ops::Range, sync::OnceLock, time::Duration};

use bytes::Bytes;
use gantry_domain::challenge::{self, Challenge};
use gantry_layers::prepared::PreparedImage;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{
    RegistryAccess, digest,
    failure::Failure,
    manifest::{self, MANIFEST_BYTES_MAX},
    reference::{Reference, is_digest},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PREPARED_BYTES_MAX: u64 = 1 << 20;
/// Tokens and error messages are small.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
const ERROR_TEXT_MAX: usize = 400;

/// How often and how patiently a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Pause before the second try; doubles from there.
    pub first_pause: Duration,
    /// No pause is longer, whatever the registry asks for.
    pub pause_max: Duration,
    /// A connection that brings nothing for this long is broken.
    pub idle_timeout: Duration,
}

impl Default for Retry {
    /// The Amazon ECS agent's figures.
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(1100),
            pause_max: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

impl Retry {
    fn pause(&self, failures: u32, asked_for: Option<Duration>) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        asked_for.unwrap_or(doubled).min(self.pause_max)
    }
}

/// Counts the failures of one request.
struct Tries {
    retry: Retry,
    failures: u32,
}

impl Tries {
    /// Passes a result on, or waits and returns `None`: then the request is to be repeated.
    async fn settle<T>(&mut self, result: Result<T, Attempt>) -> Result<Option<T>, Failure> {
        let (failure, after) = match result {
            Ok(value) => return Ok(Some(value)),
            Err(Attempt::Final(failure)) => return Err(failure),
            Err(Attempt::Again(failure, after)) => (failure, after),
        };
        self.failures += 1;
        if self.failures >= self.retry.attempts {
            return Err(failure);
        }
        tracing::debug!(%failure, self.failures, "trying the registry again");
        tokio::time::sleep(self.retry.pause(self.failures, after)).await;
        Ok(None)
    }
}

/// HTTP connections to registries, shared by all pulls.
pub(super) struct Client {
    plain: reqwest::Client,
    /// Made at the first use: reading the system's certificates takes milliseconds and memory, and a host that only
    /// pulls from its own Gantry never needs them.
    tls: OnceLock<Result<reqwest::Client, String>>,
    retry: Retry,
}

/// The result of one try.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Another try may succeed, after the pause that the registry asked for, if it did.
    Again(Failure, Option<Duration>),
    /// Another try would end the same way.
    Final(Failure),
}

impl Attempt {
    /// Why it failed, whether or not another try may succeed.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Again(failure, _) | Self::Final(failure) => failure,
        }
    }
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

impl Client {
    pub(super) fn new(retry: Retry) -> Result<Self, Failure> {
        // Another part of the program may have chosen already; both choose ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = builder(retry)
            .tls_certs_only([])
            .no_proxy()
            .build()
            .map_err(|error| Failure::io("set up HTTP", std::io::Error::other(error)))?;
        Ok(Self { plain, tls: OnceLock::new(), retry })
    }

    /// Prepares to talk about the repository of `reference`.
    pub(super) fn session<'a>(&'a self, reference: &'a Reference, access: &'a RegistryAccess) -> Session<'a> {
        let base = match &access.base_url {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None if reference.is_loopback() => format!("http://{}", reference.host()),
            None => format!("https://{}", reference.host()),
        };
        Session { client: self, reference, access, base, authorization: tokio::sync::Mutex::new(None) }
    }

    fn http(&self, url: &Url) -> Result<&reqwest::Client, Failure> {
        if url.scheme() == "http" {
            return Ok(&self.plain);
        }
        let tls = self.tls.get_or_init(|| builder(self.retry).build().map_err(|error| chain(&error)));
        tls.as_ref().map_err(|error| Failure::Unreachable(format!("cannot set up TLS: {error}")))
    }
}

fn builder(retry: Retry) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(retry.idle_timeout)
        .pool_idle_timeout(Duration::from_secs(30))
}

/// Requests about one repository, authenticated once.
pub(super) struct Session<'a> {
    client: &'a Client,
    reference: &'a Reference,
    access: &'a RegistryAccess,
    base: String,
    /// What the last challenge was answered with.
    authorization: tokio::sync::Mutex<Option<HeaderValue>>,
}

impl Session<'_> {
    pub(super) fn reference(&self) -> &Reference {
        self.reference
    }

    pub(super) fn access(&self) -> &RegistryAccess {
        self.access
    }

    /// Host and port, for messages.
    pub(super) fn host(&self) -> &str {
        self.base.split_once("://").map_or(self.base.as_str(), |(_, host)| host)
    }

    /// The digest that the reference's tag has now.
    pub(super) async fn resolve(&self) -> Result<String, Failure> {
        let name = self.reference.manifest_name();
        let mut tries = self.tries();
        let head = loop {
            if let Some(head) = tries.settle(self.head_manifest(name).await).await? {
                break head;
            }
        };
        match head {
            Some(digest) => Ok(digest),
            // An old registry: the digest has to be computed from the manifest itself.
            None => Ok(digest::sha256(&self.manifest(name).await?)),
        }
    }

    /// Fetches a manifest or index by tag or digest; by digest it is checked.
    pub(super) async fn manifest(&self, name: &str) -> Result<Bytes, Failure> {
        let mut tries = self.tries();
        loop {
            let fetched = self.document(&format!("manifests/{name}"), MANIFEST_BYTES_MAX).await;
            if let Some(bytes) = tries.settle(fetched).await? {
                if is_digest(name) && !digest::matches(&bytes, name) {
                    return Err(Failure::corrupt(format!("manifest does not have digest {name}")));
                }
                return Ok(bytes);
            }
        }
    }

    /// Fetches a small blob into memory and checks it.
    pub(super) async fn small_blob(&self, name: &str, bytes_max: u64) -> Result<Bytes, Failure> {
        let mut tries = self.tries();
        loop {
            let fetched = self.document(&format!("blobs/{name}"), bytes_max).await.map_err(missing_blob(name));
            if let Some(bytes) = tries.settle(fetched).await? {
                if !digest::matches(&bytes, name) {
                    return Err(Failure::corrupt(format!("blob does not have digest {name}")));
                }
                return Ok(bytes);
            }
        }
    }

    /// Whether the registry is our own and may have prepared images.
    pub(super) fn has_prepared(&self) -> bool {
        self.access.prepared
    }

    /// What the registry prepared of the image `manifest`. Asked once: without an answer the layers are pulled.
    pub(super) async fn prepared(&self, manifest: &str) -> PreparedImage {
        let asked = self.document(&format!("_gantry/prepared/{manifest}"), PREPARED_BYTES_MAX).await;
        match asked.map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the registry's answer about a prepared image cannot be read");
                PreparedImage::default()
            }
            Err(Attempt::Final(failure) | Attempt::Again(failure, _)) => {
                tracing::debug!(%failure, "nothing is prepared");
                PreparedImage::default()
            }
        }
    }

    /// Fetches a part of a blob. Tried once, and not checked: a part has no digest that anybody knows here.
    pub(super) async fn part(&self, blob: &str, bytes: Range<u64>) -> Result<Bytes, Attempt> {
        let length = bytes.end.saturating_sub(bytes.start);
        let range = format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1));
        let response =
            self.get(Method::GET, &format!("blobs/{blob}"), Some(&range)).await.map_err(missing_blob(blob))?;
        if !blob::continues_at(&response, bytes.start) {
            return Err(Failure::Unreachable("the registry sends no parts of blobs".to_owned()).into());
        }
        let part = body(response, length).await?;
        if part.len() as u64 != length {
            let short = format!("{} bytes of blob {blob} arrived instead of {length}", part.len());
            return Err(Attempt::Again(Failure::Unreachable(short), None));
        }
        Ok(part)
    }

    async fn document(&self, tail: &str, bytes_max: u64) -> Result<Bytes, Attempt> {
        body(self.get(Method::GET, tail, None).await?, bytes_max).await
    }

    fn tries(&self) -> Tries {
        Tries { retry: self.client.retry, failures: 0 }
    }

    async fn head_manifest(&self, name: &str) -> Result<Option<String>, Attempt> {
        let response = match self.get(Method::HEAD, &format!("manifests/{name}"), None).await {
            Ok(response) => response,
            Err(Attempt::Final(Failure::Unreachable(_))) => return Ok(None),
            Err(attempt) => return Err(attempt),
        };
        let digest = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        Ok(digest.filter(|digest| is_digest(digest)).map(str::to_owned))
    }

    /// Sends one request, answering one challenge. Success statuses only.
    async fn get(&self, method: Method, tail: &str, range: Option<&str>) -> Result<Response, Attempt> {
        let text = format!("{}/v2/{}/{tail}", self.base, self.reference.repository);
        let url = Url::parse(&text).map_err(|error| Failure::Unreachable(format!("{text}: {error}")))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
        if let Some(range) = range.and_then(|range| HeaderValue::from_str(range).ok()) {
            headers.insert(RANGE, range);
        }
        let authorization = self.authorization.lock().await.clone();
        let response = self.send(&method, &url, &headers, authorization.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return check_status(response).await;
        }
        let Some(authorization) = self.answer(&response, authorization).await? else {
            return check_status(response).await;
        };
        check_status(self.send(&method, &url, &headers, Some(&authorization)).await?).await
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Attempt> {
        let mut request = self.client.http(url)?.request(method.clone(), url.clone()).headers(headers.clone());
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| Attempt::Again(Failure::Unreachable(chain(&error)), None))
    }

    /// Answers the challenge of a 401. `None` when there is nothing (new) to answer with.
    async fn answer(&self, response: &Response, refused: Option<HeaderValue>) -> Result<Option<HeaderValue>, Attempt> {
        let mut current = self.authorization.lock().await;
        if *current != refused {
            // Another request of this session has answered meanwhile.
            return Ok(current.clone());
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let mut challenges = headers.iter().filter_map(|value| challenge::parse(value.to_str().ok()?));
        let answer = match challenges.next() {
            Some(Challenge::Bearer { realm, service, scope }) => {
                Some(self.token(&realm, service.as_deref(), scope.as_deref()).await?)
            }
            Some(Challenge::Basic) => self.basic(),
            None => None,
        };
        // The same password again would be refused again.
        if answer == refused {
            return Ok(None);
        }
        current.clone_from(&answer);
        Ok(answer)
    }

    fn basic(&self) -> Option<HeaderValue> {
        let (user, password) = self.access.basic.as_ref()?;
        let mut value = HeaderValue::from_str(&basic_credentials(user, &password.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    async fn token(&self, realm: &str, service: Option<&str>, scope: Option<&str>) -> Result<HeaderValue, Attempt> {
        let mut url = Url::parse(realm).map_err(|_| Failure::Denied(format!("token server {realm:?} is not a URL")))?;
        if url.scheme() == "http" && self.base.starts_with("https:") {
            return Err(Failure::Denied(format!("token server {realm} is not reached over TLS")).into());
        }
        let pull = format!("repository:{}:pull", self.reference.repository);
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", scope.unwrap_or(&pull));
        let response = self.send(&Method::GET, &url, &HeaderMap::new(), self.basic().as_ref()).await?;
        let response = match check_status(response).await {
            // A token server that knows nobody of that name is a refusal like any other.
            Err(Attempt::Final(Failure::NotFound)) => {
                return Err(Failure::Denied("the token server refused the credentials".to_owned()).into());
            }
            other => other?,
        };
        let bytes = body(response, ANSWER_BYTES_MAX).await?;
        let token =
            serde_json::from_slice::<Token>(&bytes).ok().and_then(|answer| answer.token.or(answer.access_token));
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header = header.ok_or_else(|| Failure::Denied("the token server sent no token".to_owned()))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

#[derive(serde::Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn basic_credentials(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

async fn check_status(response: Response) -> Result<Response, Attempt> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let text = match body(response, ANSWER_BYTES_MAX).await {
        Ok(bytes) => error_text(&bytes),
        Err(_) => String::new(),
    };
    let detail = if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Attempt::Final(Failure::Denied(detail)),
        StatusCode::NOT_FOUND => Attempt::Final(Failure::NotFound),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Attempt::Again(Failure::Unreachable(detail), after.map(Duration::from_secs))
        }
        status if status.is_server_error() => {
            Attempt::Again(Failure::Unreachable(detail), after.map(Duration::from_secs))
        }
        _ => Attempt::Final(Failure::Unreachable(detail)),
    })
}

/// The messages of an error answer in the registry's own form, or the start of whatever it is.
fn error_text(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<Message>,
    }
    #[derive(serde::Deserialize)]
    struct Message {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Errors>(bytes) {
        Ok(answer) => {
            answer.errors.into_iter().map(|e| format!("{}: {}", e.code, e.message)).collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    text.chars().filter(|c| !c.is_control()).take(ERROR_TEXT_MAX).collect()
}

async fn body(mut response: Response, bytes_max: u64) -> Result<Bytes, Attempt> {
    let too_long = || Failure::corrupt(format!("answer of the registry is longer than {bytes_max} bytes"));
    if response.content_length().is_some_and(|length| length > bytes_max) {
        return Err(too_long().into());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if (bytes.len() + chunk.len()) as u64 > bytes_max {
            return Err(too_long().into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn broken(error: &reqwest::Error) -> Attempt {
    Attempt::Again(Failure::Unreachable(chain(error)), None)
}

/// A manifest that names a blob which its registry does not have.
fn missing_blob(name: &str) -> impl Fn(Attempt) -> Attempt {
    move |attempt| match attempt {
        Attempt::Final(Failure::NotFound) => Failure::corrupt(format!("the registry does not have blob {name}")).into(),
        other => other,
    }
}

/// The whole chain of an error: reqwest's own text says little, and its URL may carry a signature.
fn chain(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        next = error.source();
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}
