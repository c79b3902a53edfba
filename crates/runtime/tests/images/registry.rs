//! A registry on a port of its own that answers as told: right, wrong, slowly, or not at all.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, RANGE, WWW_AUTHENTICATE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest, Sha256};

type Body = BoxBody<Bytes, io::Error>;

/// What happens to the next request for a path instead of the right answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Status(u16),
    /// All headers, then this many bytes, then a closed connection.
    CutAfter(usize),
    /// This content instead.
    Content(Vec<u8>),
    /// No answer, ever.
    Silence,
}

#[derive(Default)]
pub(crate) struct State {
    blobs: HashMap<String, Bytes>,
    manifests: HashMap<String, Bytes>,
    faults: HashMap<String, VecDeque<Fault>>,
    /// The `WWW-Authenticate` of unauthorised requests, and the `Authorization` that is accepted.
    pub(crate) guard: Option<(String, String)>,
    /// Credentials that the token server takes.
    pub(crate) token_for: Option<String>,
    pub(crate) ignore_ranges: bool,
    /// What is prepared, by the digest of the manifest.
    pub(crate) prepared: HashMap<String, Bytes>,
    /// Answers with any of these bytes of a blob are held back …
    pub(crate) held: Vec<std::ops::Range<u64>>,
    /// … have the last of them changed …
    pub(crate) changed: Vec<std::ops::Range<u64>>,
    /// … or end early, as often as told.
    pub(crate) short: usize,
    /// Parts of blobs are refused with this status.
    pub(crate) down: Option<u16>,
    /// `METHOD path range`
    pub(crate) requests: Vec<String>,
}

pub(crate) struct Registry {
    pub(crate) address: String,
    pub(crate) state: Arc<Mutex<State>>,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let state = shared.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { address, state }
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub(crate) fn blob(&self, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = digest(&bytes);
        self.state().blobs.insert(digest.clone(), bytes);
        digest
    }

    pub(crate) fn manifest(&self, tag: &str, document: &serde_json::Value) -> String {
        let bytes = Bytes::from(document.to_string());
        let digest = digest(&bytes);
        let mut state = self.state();
        state.manifests.insert(digest.clone(), bytes.clone());
        state.manifests.insert(tag.to_owned(), bytes);
        digest
    }

    /// Adds an image of these layers: (blob, uncompressed archive).
    pub(crate) fn image(&self, tag: &str, layers: &[(Vec<u8>, Vec<u8>)], run: serde_json::Value) -> String {
        let diff_ids: Vec<String> = layers.iter().map(|(_, tar)| digest(tar)).collect();
        let config = json!({"os": "linux", "config": run, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string();
        let layers: Vec<_> = layers
            .iter()
            .map(|(blob, _)| json!({"mediaType": "x/y", "size": blob.len(), "digest": self.blob(blob.clone())}))
            .collect();
        let size = config.len();
        self.manifest(
            tag,
            &json!({"schemaVersion": 2, "layers": layers, "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "size": size, "digest": self.blob(config)}}),
        )
    }

    /// `path` is what follows `/v2/`.
    pub(crate) fn fault(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(format!("/v2/{path}")).or_default().extend(faults);
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.state().requests.iter().filter(|request| request.starts_with(prefix)).count()
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

fn status(code: u16) -> Response<Body> {
    let body = json!({"errors": [{"code": "TEST", "message": "as told"}]}).to_string();
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let path = request.uri().path().to_owned();
    let range = request.headers().get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default().to_owned();
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{} {path} {range}", request.method()).trim_end().to_owned());
        if path == "/token" {
            return Ok(token(&state, &request));
        }
        if let Some((challenge, accepted)) = &state.guard
            && request.headers().get(AUTHORIZATION).is_none_or(|given| given != accepted.as_str())
        {
            let mut response = status(401);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
            return Ok(response);
        }
        state.faults.get_mut(&path).and_then(VecDeque::pop_front)
    };
    let cut = match fault {
        Some(Fault::Status(code)) => return Ok(status(code)),
        Some(Fault::Content(bytes)) => return Ok(Response::new(full(bytes))),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::CutAfter(length)) => Some(length),
        None => None,
    };
    let part = part_of(&range);
    if let Some(part) = &part {
        let overlaps = |other: &std::ops::Range<u64>| other.start < part.end && part.start < other.end;
        while state.lock().unwrap().held.iter().any(overlaps) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        if let Some(code) = state.lock().unwrap().down {
            return Ok(status(code));
        }
    }
    let mut state = state.lock().unwrap();
    if let Some(digest) = path.split_once("/_gantry/prepared/").map(|(_, digest)| digest) {
        return Ok(state.prepared.get(digest).map_or_else(|| status(404), |bytes| Response::new(full(bytes.clone()))));
    }
    if let Some(part) = part.filter(|_| !state.ignore_ranges) {
        return Ok(answer_part(&mut state, &path, part));
    }
    let tail = path.rsplit('/').next().unwrap_or_default();
    let found = if path.contains("/manifests/") { state.manifests.get(tail) } else { state.blobs.get(tail) };
    let Some(bytes) = found else { return Ok(status(404)) };
    let from: usize = match range.strip_prefix("bytes=") {
        Some(range) if !state.ignore_ranges => range.trim_end_matches('-').parse().unwrap(),
        _ => 0,
    };
    let rest = bytes.slice(from..);
    let mut response = match cut {
        Some(length) => {
            // hyper throws away what it has not written when a body fails, so it gets a moment to write.
            let data = stream::iter([Ok(Frame::data(rest.slice(..length)))]);
            let cut = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::ErrorKind::BrokenPipe.into())
            });
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(data.chain(cut))));
            response.headers_mut().insert(CONTENT_LENGTH, rest.len().into());
            response
        }
        None if request.method() == Method::HEAD => Response::new(full("")),
        None => Response::new(full(rest.clone())),
    };
    if from > 0 {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let value = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        response.headers_mut().insert(CONTENT_RANGE, value.parse().unwrap());
    }
    if path.contains("/manifests/") {
        response.headers_mut().insert("docker-content-digest", digest(bytes).parse().unwrap());
    }
    Ok(response)
}

/// `bytes=FIRST-LAST`.
fn part_of(range: &str) -> Option<std::ops::Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
}

fn answer_part(state: &mut State, path: &str, part: std::ops::Range<u64>) -> Response<Body> {
    let Some(blob) = state.blobs.get(path.rsplit('/').next().unwrap_or_default()) else { return status(404) };
    let mut bytes = blob[part.start as usize..part.end as usize].to_vec();
    for changed in state.changed.iter().filter(|changed| changed.start < part.end && part.start < changed.end) {
        let last = changed.end.min(part.end) - part.start - 1;
        bytes[last as usize] ^= 1;
    }
    let value = format!("bytes {}-{}/{}", part.start, part.end - 1, blob.len());
    if state.short > 0 {
        state.short -= 1;
        bytes.pop();
    }
    let mut response = Response::new(full(bytes));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert(CONTENT_RANGE, value.parse().unwrap());
    response
}

fn token(state: &State, request: &Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    assert!(query.contains("service=test") && query.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{query}");
    let given = request.headers().get(AUTHORIZATION).and_then(|given| given.to_str().ok());
    if state.token_for.as_deref() != given {
        return status(401);
    }
    Response::new(full(json!({"token": "secret-token", "expires_in": 300}).to_string()))
}
