//! One repository of an upstream registry, over HTTP: manifests and blobs, authenticated as the upstream asks.
//!
//! A request is repeated when the network or the upstream had a moment; a blob continues where it broke off.

use std::time::Duration;

use bytes::Bytes;
use gantry_domain::challenge::{self, Challenge};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LINK, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use reqwest::{Response, Url};

use super::UpstreamError;
use super::client::{UpstreamClient, chain};
use super::referrers::{Listed, REFERRERS_MAX};
use super::upstreams::Credentials;
use crate::digest::Digest;
use crate::manifest::{DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_SIZE_MAX, OCI_INDEX, OCI_MANIFEST};
use crate::name::RepositoryName;

/// Tries of one request, and the pause before the second; it doubles from there.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A manifest or token takes no longer than this.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Tokens and error messages are small.
const ANSWER_SIZE_MAX: usize = 256 * 1024;
const ERROR_TEXT_LENGTH_MAX: usize = 300;
/// Pages of one list of referrers.
const REFERRERS_PAGES_MAX: usize = 10;

/// A manifest as the upstream sent it.
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) media_type: Option<String>,
}

/// A document as the upstream sent it.
struct Document {
    bytes: Bytes,
    /// The path of the next page.
    next: Option<String>,
}

#[derive(serde::Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Listed>,
}

/// An upstream's repository, for the requests of one import.
pub(crate) struct RemoteRepository<'a> {
    client: &'a UpstreamClient,
    base: String,
    repository: Option<RepositoryName>,
    credentials: Option<Credentials>,
    /// What the last challenge was answered with.
    authorization: Mutex<Option<HeaderValue>>,
}

impl<'a> RemoteRepository<'a> {
    /// The repository of the registry at `base`; none to ask only whether the registry is there.
    pub(crate) fn new(
        client: &'a UpstreamClient,
        base: &str,
        repository: Option<RepositoryName>,
        credentials: Option<Credentials>,
    ) -> Self {
        Self { client, base: base.to_owned(), repository, credentials, authorization: Mutex::default() }
    }

    /// Whether the registry is there and takes our credentials.
    pub(crate) async fn ping(&self) -> Result<(), UpstreamError> {
        let mut tries = Tries::default();
        loop {
            if tries.settle(limited(self.get(Method::GET, "/v2/", None)).await).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// The digest of a tag or manifest; none when the upstream does not say.
    pub(crate) async fn resolve(&self, reference: &str) -> Result<Option<Digest>, UpstreamError> {
        let (path, mut tries) = (self.path(&format!("manifests/{reference}")), Tries::default());
        loop {
            if let Some(head) = tries.settle(limited(self.get(Method::HEAD, &path, None)).await).await? {
                let digest = head.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
                return Ok(digest.and_then(|digest| digest.parse().ok()));
            }
        }
    }

    /// A manifest.
    pub(crate) async fn manifest(&self, reference: &str) -> Result<Fetched, UpstreamError> {
        let (path, mut tries) = (self.path(&format!("manifests/{reference}")), Tries::default());
        loop {
            if let Some(fetched) = tries.settle(limited(self.try_manifest(&path)).await).await? {
                return Ok(fetched);
            }
        }
    }

    async fn try_manifest(&self, path: &str) -> Result<Fetched, UpstreamError> {
        let response = self.get(Method::GET, path, None).await?;
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(str::to_owned);
        Ok(Fetched { bytes: body(response, MANIFEST_SIZE_MAX).await?, media_type })
    }

    /// What is about a manifest, as far as the upstream says so in a bounded number of pages: by the list that the
    /// distribution specification has, else by the index that clients keep under a tag.
    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Vec<Listed>, UpstreamError> {
        let (mut listed, mut next) = (Vec::new(), Some(self.path(&format!("referrers/{subject}"))));
        for page in 0..REFERRERS_PAGES_MAX {
            let Some(path) = next else { break };
            let answer = match self.document(&path).await {
                Err(UpstreamError::NotFound) if page == 0 => {
                    let tag = format!("{}-{}", subject.algorithm().as_str(), subject.hex());
                    match self.document(&self.path(&format!("manifests/{tag}"))).await {
                        Err(UpstreamError::NotFound) => return Ok(Vec::new()),
                        answer => answer?,
                    }
                }
                answer => answer?,
            };
            next = answer.next;
            let index: Index = serde_json::from_slice(&answer.bytes)
                .map_err(|_| UpstreamError::Invalid("its list of referrers is no index".to_owned()))?;
            listed.extend(index.manifests);
            if listed.len() >= REFERRERS_MAX {
                break;
            }
        }
        listed.truncate(REFERRERS_MAX);
        Ok(listed)
    }

    async fn document(&self, path: &str) -> Result<Document, UpstreamError> {
        let mut tries = Tries::default();
        loop {
            if let Some(document) = tries.settle(limited(self.try_document(path)).await).await? {
                return Ok(document);
            }
        }
    }

    async fn try_document(&self, path: &str) -> Result<Document, UpstreamError> {
        let response = self.get(Method::GET, path, None).await?;
        let link = response.headers().get(LINK).and_then(|value| value.to_str().ok());
        let next = link.and_then(|link| next_page(&self.base, link));
        Ok(Document { bytes: body(response, MANIFEST_SIZE_MAX).await?, next })
    }

    /// Begins to read a blob at byte `from`; true when the answer begins there, false when it begins at the first.
    pub(crate) async fn blob(&self, digest: &Digest, from: u64) -> Result<(Response, bool), UpstreamError> {
        let response = self.get(Method::GET, &self.path(&format!("blobs/{digest}")), Some(from)).await?;
        let continues = from == 0 || response.status() == StatusCode::PARTIAL_CONTENT;
        Ok((response, continues))
    }

    fn path(&self, tail: &str) -> String {
        let name = self.repository.as_ref().map_or("", RepositoryName::as_str);
        format!("/v2/{name}/{tail}")
    }

    /// Sends one request, answering one challenge. Success statuses only.
    async fn get(&self, method: Method, path: &str, from: Option<u64>) -> Result<Response, UpstreamError> {
        let url = self.url(path)?;
        let known = self.authorization.lock().clone();
        let response = self.send(&method, &url, from, known.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return success(response).await;
        }
        let answer = self.answer(&url, response.headers()).await?;
        // The same answer again would be refused again.
        if answer.is_none() || answer == known {
            return success(response).await;
        }
        self.authorization.lock().clone_from(&answer);
        success(self.send(&method, &url, from, answer.as_ref()).await?).await
    }

    fn url(&self, path: &str) -> Result<Url, UpstreamError> {
        let text = format!("{}{path}", self.base);
        Url::parse(&text).map_err(|error| UpstreamError::Unavailable(format!("{text}: {error}")))
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        from: Option<u64>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, UpstreamError> {
        let mut request = self.client.http(url)?.request(method.clone(), url.clone());
        request = match from {
            Some(0) => request,
            Some(from) => request.header(RANGE, format!("bytes={from}-")),
            None => request.header(ACCEPT, [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ")),
        };
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| UpstreamError::Unavailable(chain(&error)))
    }

    /// What to answer a 401 with; none when there is nothing to answer.
    async fn answer(&self, url: &Url, headers: &HeaderMap) -> Result<Option<HeaderValue>, UpstreamError> {
        let headers = headers.get_all(WWW_AUTHENTICATE).iter();
        let mut challenges = headers.filter_map(|value| challenge::parse(value.to_str().ok()?));
        match challenges.next() {
            Some(Challenge::Bearer { realm, service, scope }) => {
                self.token(url, &realm, service.as_deref(), scope.as_deref()).await.map(Some)
            }
            Some(Challenge::Basic) => Ok(self.basic()),
            None => Ok(None),
        }
    }

    fn basic(&self) -> Option<HeaderValue> {
        use base64::Engine as _;
        let Credentials { username, password } = self.credentials.as_ref()?;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{}", password.0));
        secret_header("Basic", &text)
    }

    /// Asks the token server of a challenge.
    async fn token(
        &self,
        from: &Url,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<HeaderValue, UpstreamError> {
        let denied = |why: &str| UpstreamError::Denied(why.to_owned());
        let mut url = Url::parse(realm).map_err(|_| denied("the address of its token server is not a URL"))?;
        self.client.check(from, &url)?;
        let pull = self.repository.as_ref().map(|name| format!("repository:{name}:pull"));
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.extend_pairs(scope.or(pull.as_deref()).map(|scope| ("scope", scope)));
        }
        let answer = success(self.send(&Method::GET, &url, None, self.basic().as_ref()).await?).await;
        let answer = answer.map_err(|error| match error {
            UpstreamError::NotFound => denied("the token server refused"),
            other => other,
        })?;
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let token = serde_json::from_slice::<Token>(&body(answer, ANSWER_SIZE_MAX).await?).ok();
        let token = token.and_then(|answer| answer.token.or(answer.access_token));
        token.and_then(|token| secret_header("Bearer", &token)).ok_or_else(|| denied("the token server sent no token"))
    }
}

/// Counts the failures of one request.
#[derive(Default)]
struct Tries {
    failures: u32,
}

impl Tries {
    /// Passes a result on, or waits and returns none: then the request is to be repeated.
    async fn settle<T>(&mut self, result: Result<T, UpstreamError>) -> Result<Option<T>, UpstreamError> {
        let why = match result {
            Err(UpstreamError::Unavailable(why)) => why,
            other => return other.map(Some),
        };
        self.failures += 1;
        if self.failures >= TRIES {
            return Err(UpstreamError::Unavailable(why));
        }
        tracing::debug!(why, "trying the upstream again");
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.failures - 1)).await;
        Ok(None)
    }
}

async fn limited<T>(request: impl Future<Output = Result<T, UpstreamError>>) -> Result<T, UpstreamError> {
    let done = tokio::time::timeout(DOCUMENT_TIMEOUT, request).await;
    done.unwrap_or_else(|_| Err(UpstreamError::Unavailable("timed out".to_owned())))
}

/// The path of the next page, if it is on the same registry.
fn next_page(base: &str, link: &str) -> Option<String> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let path = target.strip_prefix(base).unwrap_or(target);
    (rest.contains("next") && path.starts_with("/v2/")).then(|| path.to_owned())
}

fn secret_header(scheme: &str, text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {text}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

async fn success(response: Response) -> Result<Response, UpstreamError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = match body(response, ANSWER_SIZE_MAX).await {
        Ok(bytes) => error_text(&bytes),
        Err(_) => String::new(),
    };
    let why = if text.is_empty() { format!("HTTP {}", status.as_u16()) } else { text };
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => UpstreamError::Denied(why),
        StatusCode::NOT_FOUND => UpstreamError::NotFound,
        StatusCode::TOO_MANY_REQUESTS => UpstreamError::TooManyRequests,
        _ => UpstreamError::Unavailable(why),
    })
}

/// The messages of an error answer in a registry's own form, or the start of whatever it is.
fn error_text(bytes: &[u8]) -> String {
    let document = serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
    let message = document["errors"][0]["message"].as_str().map(str::to_owned);
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    text.chars().filter(|character| !character.is_control()).take(ERROR_TEXT_LENGTH_MAX).collect()
}

async fn body(mut response: Response, size_max: usize) -> Result<Bytes, UpstreamError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| UpstreamError::Unavailable(chain(&error)))? {
        if bytes.len() + chunk.len() > size_max {
            return Err(UpstreamError::Invalid(format!("an answer is longer than {size_max} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_registry() {
        let next = |link| next_page("https://up.example", link);
        let path = "/v2/app/referrers/sha256:0?last=x".to_owned();
        assert_eq!(next("</v2/app/referrers/sha256:0?last=x>; rel=\"next\""), Some(path.clone()));
        assert_eq!(next("<https://up.example/v2/app/referrers/sha256:0?last=x>; rel=\"next\""), Some(path));
        assert_eq!(next("<https://elsewhere.example/v2/app/referrers/sha256:0>; rel=\"next\""), None);
        assert_eq!(next("</v2/app/referrers/sha256:0>; rel=\"first\""), None);
        assert_eq!(next("nonsense"), None);
    }
}
