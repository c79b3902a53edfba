//! Pulling through: an upstream that behaves as the test says, and another registry of ours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::join_all;
use gantry_api::PrincipalKind;
use gantry_registry::RegistryConfig;
use gantry_registry::digest::Digest;
use gantry_registry::pull_through::upstreams::{Credentials, Password, UpstreamConfig};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::ecr::{call, call_as, refusal, without_times};
use crate::harness::{ACCOUNT, OCI_INDEX, OCI_MANIFEST, REGION, World, caller, caller_of, index, manifest};
use crate::server::Server;

/// How an upstream answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    #[default]
    Good,
    /// 503 for everything.
    Down,
    /// 403 for everything.
    Refusing,
    /// 429 for everything.
    Overrun,
    /// Blobs break off in the middle, at a place that moves on; the upstream continues where it is asked to.
    Breaking,
    /// The same, and it always begins at the first byte.
    BreakingAndForgetful,
    /// Blobs have other bytes than they should.
    Lying,
    /// Blobs are longer than they should be.
    Overlong,
}

#[derive(Default)]
struct Upstream {
    /// By `NAME/manifests/REFERENCE` and `NAME/blobs/DIGEST`.
    content: Mutex<HashMap<String, (String, Bytes)>>,
    mood: Mutex<Mood>,
    /// Wants a token from its own token server.
    tokens: bool,
    gets: Mutex<Vec<String>>,
    broken: AtomicUsize,
    /// A minute passes on this clock with every request.
    slow: Mutex<Option<Arc<AtomicI64>>>,
    address: Mutex<String>,
}

impl Upstream {
    async fn start(tokens: bool) -> Arc<Self> {
        let upstream = Arc::new(Self { tokens, ..Self::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        *upstream.address.lock().unwrap() = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(serve).with_state(Arc::clone(&upstream));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        upstream
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn put(&self, path: String, media_type: &str, bytes: impl Into<Bytes>) {
        self.content.lock().unwrap().insert(path, (media_type.to_owned(), bytes.into()));
    }

    /// An image of `name` whose layer is `layer`, under its digest and `tag`; returns the manifest.
    fn image(&self, name: &str, tag: &str, layer: &[u8]) -> String {
        let config = format!("{{\"tag\":\"{tag}\"}}");
        let (config_digest, layer_digest) = (Digest::of(config.as_bytes()), Digest::of(layer));
        let text = manifest(&config_digest, config.len(), &layer_digest, layer.len()).to_string();
        self.put(format!("{name}/blobs/{config_digest}"), "", config);
        self.put(format!("{name}/blobs/{layer_digest}"), "", layer.to_vec());
        self.manifest(name, tag, OCI_MANIFEST, &text);
        text
    }

    fn manifest(&self, name: &str, tag: &str, media_type: &str, text: &str) {
        let digest = Digest::of(text.as_bytes());
        self.put(format!("{name}/manifests/{digest}"), media_type, text.to_owned());
        self.put(format!("{name}/manifests/{tag}"), media_type, text.to_owned());
    }

    /// How often a path that ends so was fetched.
    fn fetched(&self, ending: &str) -> usize {
        self.gets.lock().unwrap().iter().filter(|path| path.ends_with(ending)).count()
    }

    fn config(&self) -> RegistryConfig {
        let url = format!("http://{}", self.address.lock().unwrap());
        let mut config = RegistryConfig::default();
        config.upstreams.insert("up.example".to_owned(), UpstreamConfig { url, credentials: None });
        config
    }
}

async fn serve(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    let answer = |status: StatusCode| Response::builder().status(status);
    if let Some(now_ms) = upstream.slow.lock().unwrap().as_ref() {
        now_ms.fetch_add(60_000, Ordering::SeqCst);
    }
    if path == "/token" {
        let scope = request.uri().query().unwrap_or_default();
        let body = json!({"token": if scope.contains("scope=repository") { "let-me-in" } else { "just-looking" }});
        return answer(StatusCode::OK).body(Body::from(body.to_string())).unwrap();
    }
    if upstream.tokens && !headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"Bearer ")) {
        let realm = format!("Bearer realm=\"http://{}/token\",service=\"up\"", upstream.address.lock().unwrap());
        return answer(StatusCode::UNAUTHORIZED).header("www-authenticate", realm).body(Body::empty()).unwrap();
    }
    let mood = *upstream.mood.lock().unwrap();
    let status = match mood {
        Mood::Down => StatusCode::SERVICE_UNAVAILABLE,
        Mood::Refusing => StatusCode::FORBIDDEN,
        Mood::Overrun => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::OK,
    };
    if status != StatusCode::OK || path == "/v2/" {
        return answer(status).body(Body::empty()).unwrap();
    }
    let path = path.trim_start_matches("/v2/").to_owned();
    let found = upstream.content.lock().unwrap().get(&path).cloned();
    let Some((media_type, bytes)) = found else { return answer(StatusCode::NOT_FOUND).body(Body::empty()).unwrap() };
    if request.method() == http::Method::GET {
        upstream.gets.lock().unwrap().push(path.clone());
    }
    let digest = Digest::of(&bytes).to_string();
    let response = answer(StatusCode::OK).header("docker-content-digest", digest).header("content-type", media_type);
    if !path.contains("/blobs/") {
        return response.body(Body::from(bytes)).unwrap();
    }
    match mood {
        Mood::Breaking | Mood::BreakingAndForgetful => broken(&upstream, mood, &headers, bytes),
        Mood::Lying => response.body(Body::from(vec![b'x'; bytes.len()])).unwrap(),
        Mood::Overlong => response.body(Body::from([&bytes[..], b"more"].concat())).unwrap(),
        _ => response.body(Body::from(bytes)).unwrap(),
    }
}

/// Sends a quarter of the blob more each time and then breaks the connection.
fn broken(upstream: &Upstream, mood: Mood, headers: &HeaderMap, bytes: Bytes) -> Response {
    let from = headers.get("range").map_or(0, |range| {
        range.to_str().unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap()
    });
    let forgetful = mood == Mood::BreakingAndForgetful;
    let (from, status) = match from {
        0 => (0, StatusCode::OK),
        _ if forgetful => (0, StatusCode::OK),
        from => (from, StatusCode::PARTIAL_CONTENT),
    };
    let times = upstream.broken.fetch_add(1, Ordering::SeqCst) + 1;
    let end = (bytes.len().div_ceil(4) * times).min(bytes.len()).max(from);
    let sent = bytes.slice(from..end);
    let body = match end == bytes.len() {
        true => Body::from(sent),
        false => {
            let broken = Err(std::io::Error::other("broken on purpose"));
            Body::from_stream(futures_util::stream::iter([Ok(sent), broken]))
        }
    };
    Response::builder().status(status).body(body).unwrap()
}

async fn world(upstream: &Upstream) -> World {
    let world = World::with_config(upstream.config());
    rule(&world, json!({})).await;
    world
}

async fn rule(world: &World, more: Value) -> Value {
    let mut input = json!({"ecrRepositoryPrefix": "up", "upstreamRegistryUrl": "up.example"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    call(world, "CreatePullThroughCacheRule", input).await
}

#[tokio::test]
async fn a_rule_is_created_validated_changed_and_deleted() {
    let upstream = Upstream::start(true).await;
    let world = World::with_config(upstream.config());
    let created = rule(&world, json!({"upstreamRepositoryPrefix": "team/"})).await;
    let mut expected = json!({"ecrRepositoryPrefix": "up", "upstreamRegistryUrl": "up.example", "createdAt": "TIME",
        "registryId": ACCOUNT, "upstreamRepositoryPrefix": "team/"});
    assert_eq!(without_times(created), expected);
    let again = json!({"ecrRepositoryPrefix": "up/", "upstreamRegistryUrl": "up.example"});
    let refused = refusal(&world, "CreatePullThroughCacheRule", again).await;
    assert_eq!(refused.0, "PullThroughCacheRuleAlreadyExistsException");

    let valid = call(&world, "ValidatePullThroughCacheRule", json!({"ecrRepositoryPrefix": "up"})).await;
    assert_eq!((&valid["isValid"], &valid["failure"]), (&json!(true), &Value::Null));
    upstream.set(Mood::Refusing);
    let invalid = call(&world, "ValidatePullThroughCacheRule", json!({"ecrRepositoryPrefix": "up"})).await;
    assert_eq!(invalid["isValid"], json!(false));
    assert!(invalid["failure"].as_str().unwrap().contains("refuses access"), "{invalid}");

    let change = json!({"ecrRepositoryPrefix": "up", "customRoleArn": "arn:aws:iam::000000000000:role/r"});
    let changed = call(&world, "UpdatePullThroughCacheRule", change).await;
    assert_eq!(changed["customRoleArn"], json!("arn:aws:iam::000000000000:role/r"));
    let described = call(&world, "DescribePullThroughCacheRules", json!({"ecrRepositoryPrefixes": ["up"]})).await;
    expected["customRoleArn"] = changed["customRoleArn"].clone();
    expected["updatedAt"] = json!("TIME");
    assert_eq!(without_times(described), json!({"pullThroughCacheRules": [expected]}));
    let unknown = json!({"ecrRepositoryPrefixes": ["up", "other"]});
    let missing = refusal(&world, "DescribePullThroughCacheRules", unknown).await;
    assert_eq!(missing.0, "PullThroughCacheRuleNotFoundException");
    call(&world, "DeletePullThroughCacheRule", json!({"ecrRepositoryPrefix": "up"})).await;
    for operation in ["DeletePullThroughCacheRule", "UpdatePullThroughCacheRule", "ValidatePullThroughCacheRule"] {
        let missing = refusal(&world, operation, json!({"ecrRepositoryPrefix": "up"})).await;
        assert_eq!(missing.0, "PullThroughCacheRuleNotFoundException", "{operation}");
    }
}

#[tokio::test]
async fn bad_rules_are_refused() {
    let upstream = Upstream::start(false).await;
    let world = World::with_config(upstream.config());
    let secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:ecr-pullthroughcache/hub-AbCdEf";
    for (input, code) in [
        (json!({"upstreamRegistryUrl": "elsewhere.example"}), "UnsupportedUpstreamRegistryException"),
        (json!({"upstreamRegistryUrl": "127.0.0.1:5000"}), "UnsupportedUpstreamRegistryException"),
        (
            json!({"upstreamRegistryUrl": "up.example", "upstreamRegistry": "quay"}),
            "UnsupportedUpstreamRegistryException",
        ),
        (json!({"upstreamRegistryUrl": "registry-1.docker.io"}), "ValidationException"),
        (
            json!({"upstreamRegistryUrl": "registry-1.docker.io", "credentialArn": secret}),
            "UnableToAccessSecretException",
        ),
        (
            json!({"upstreamRegistryUrl": "up.example", "credentialArn": "arn:aws:secretsmanager:us-east-1:000000000000:secret:other"}),
            "InvalidParameterException",
        ),
        (
            json!({"upstreamRegistryUrl": "up.example", "credentialArn": secret.replace("us-east-1", "eu-west-1")}),
            "InvalidParameterException",
        ),
        (json!({"upstreamRegistryUrl": "up.example", "ecrRepositoryPrefix": "Up"}), "InvalidParameterException"),
        (json!({"upstreamRegistryUrl": "up.example", "ecrRepositoryPrefix": "u"}), "InvalidParameterException"),
        (json!({"upstreamRegistryUrl": "000000000000.dkr.ecr.us-east-1.amazonaws.com"}), "ValidationException"),
        (json!({"upstreamRegistryUrl": "111111111111.dkr.ecr.us-east-1.amazonaws.com"}), "ValidationException"),
        (json!({"upstreamRegistryUrl": "up.example", "registryId": "111111111111"}), "AccessDeniedException"),
    ] {
        let mut whole = json!({"ecrRepositoryPrefix": "up"});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        assert_eq!(refusal(&world, "CreatePullThroughCacheRule", whole.clone()).await.0, code, "{whole}");
    }
}

#[tokio::test]
async fn an_image_is_pulled_through_by_a_token_and_then_served_from_here() {
    let upstream = Upstream::start(true).await;
    let world = world(&upstream).await;
    let text = upstream.image("library/web", "v1", b"a layer");
    let pulled = world.get("/v2/up/library/web/manifests/v1").await;
    assert_eq!((pulled.status.as_u16(), &pulled.body[..]), (200, text.as_bytes()));
    let layer = world.get(&format!("/v2/up/library/web/blobs/{}", Digest::of(b"a layer"))).await;
    assert_eq!(&layer.body[..], b"a layer");
    // From now on the upstream is not needed, by tag or by digest.
    upstream.set(Mood::Down);
    let digest = Digest::of(text.as_bytes());
    for reference in ["v1", digest.as_str()] {
        assert_eq!(world.get(&format!("/v2/up/library/web/manifests/{reference}")).await.body, text.as_bytes());
    }
    assert_eq!(upstream.fetched("/manifests/v1"), 1);
    let described = call(&world, "DescribeImages", json!({"repositoryName": "up/library/web"})).await;
    assert_eq!(described["imageDetails"][0]["imageTags"], json!(["v1"]));
}

#[tokio::test]
async fn what_the_upstream_does_not_have_is_not_found_and_makes_no_repository() {
    let upstream = Upstream::start(false).await;
    let world = world(&upstream).await;
    assert_eq!(world.get("/v2/up/web/manifests/v1").await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    let input = json!({"repositoryName": "up/web", "imageIds": [{"imageTag": "v1"}]});
    assert_eq!(refusal(&world, "BatchGetImage", input.clone()).await.0, "RepositoryNotFoundException");
    let repositories = call(&world, "DescribeRepositories", json!({})).await;
    assert_eq!(repositories["repositories"], json!([]));
    upstream.image("web", "v2", b"x");
    assert_eq!(world.get("/v2/up/web/manifests/v2").await.status, 200);
    assert_eq!(world.get("/v2/up/web/manifests/v1").await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    let answer = call(&world, "BatchGetImage", input).await;
    assert_eq!(answer["failures"][0]["failureCode"], json!("ImageNotFound"));
    // A name no rule covers, and the rule's own prefix, are ordinary names.
    for name in ["web", "up"] {
        assert_eq!(world.get(&format!("/v2/{name}/manifests/v2")).await.refusal().1, "NAME_UNKNOWN");
    }
}

#[tokio::test]
async fn trouble_upstream_has_a_code_of_its_own() {
    let upstream = Upstream::start(false).await;
    let world = world(&upstream).await;
    upstream.image("web", "there", b"x");
    let missing = json!({"repositoryName": "up/new", "imageIds": [{"imageTag": "v1"}]});
    world.get("/v2/up/web/manifests/there").await;
    let input = json!({"repositoryName": "up/web", "imageIds": [{"imageTag": "v1"}, {"imageTag": "there"}]});
    for (mood, code, http) in [
        (Mood::Refusing, "UpstreamAccessDenied", (403, "DENIED")),
        (Mood::Overrun, "UpstreamTooManyRequests", (429, "TOOMANYREQUESTS")),
        (Mood::Down, "UpstreamUnavailable", (502, "UNAVAILABLE")),
    ] {
        upstream.set(mood);
        let answer = call(&world, "BatchGetImage", input.clone()).await;
        assert_eq!(answer["failures"][0]["failureCode"], json!(code));
        assert_eq!(answer["images"].as_array().unwrap().len(), 1);
        let refused = refusal(&world, "BatchGetImage", missing.clone()).await;
        assert_eq!(refused.0, "UnableToGetUpstreamImageException");
        assert_eq!(world.get("/v2/up/web/manifests/v1").await.refusal(), (http.0, http.1.to_owned()));
    }
}

#[tokio::test]
async fn a_tag_is_looked_up_again_after_a_day_and_served_stale_when_that_fails() {
    let upstream = Upstream::start(false).await;
    let mut world = world(&upstream).await;
    let old = upstream.image("web", "latest", b"old");
    assert_eq!(world.get("/v2/up/web/manifests/latest").await.body, old.as_bytes());
    let new = upstream.image("web", "latest", b"new");
    world.advance_hours(11);
    assert_eq!(world.get("/v2/up/web/manifests/latest").await.body, old.as_bytes());
    world.advance_hours(14);
    world.log_in();
    upstream.set(Mood::Down);
    assert_eq!(world.get("/v2/up/web/manifests/latest").await.body, old.as_bytes());
    // It is not asked again at once, however it is.
    upstream.set(Mood::Good);
    assert_eq!(world.get("/v2/up/web/manifests/latest").await.body, old.as_bytes());
    world.advance_hours(1);
    assert_eq!(world.get("/v2/up/web/manifests/latest").await.body, new.as_bytes());
    // A day later nothing has changed, which is cheap to find out.
    world.advance_hours(25);
    world.log_in();
    assert_eq!(world.get("/v2/up/web/manifests/latest").await.body, new.as_bytes());
    assert_eq!(upstream.fetched("/manifests/latest"), 2);
    // What the upstream no longer has stays.
    upstream.content.lock().unwrap().clear();
    world.advance_hours(25);
    world.log_in();
    assert_eq!(world.get("/v2/up/web/manifests/latest").await.body, new.as_bytes());
    // The one before is still there by its digest.
    let digest = Digest::of(old.as_bytes());
    assert_eq!(world.get(&format!("/v2/up/web/manifests/{digest}")).await.body, old.as_bytes());
}

#[tokio::test]
async fn a_template_makes_the_repository_and_its_immutable_tag_keeps_its_image() {
    let upstream = Upstream::start(false).await;
    let mut world = world(&upstream).await;
    let template = json!({"prefix": "up", "appliedFor": ["PULL_THROUGH_CACHE"], "imageTagMutability": "IMMUTABLE"});
    call(&world, "CreateRepositoryCreationTemplate", template).await;
    let old = upstream.image("web", "v1", b"old");
    assert_eq!(world.get("/v2/up/web/manifests/v1").await.body, old.as_bytes());
    upstream.image("web", "v1", b"new");
    world.advance_hours(25);
    world.log_in();
    assert_eq!(world.get("/v2/up/web/manifests/v1").await.body, old.as_bytes());
    let described = call(&world, "DescribeRepositories", json!({"repositoryNames": ["up/web"]})).await;
    assert_eq!(described["repositories"][0]["imageTagMutability"], json!("IMMUTABLE"));
}

#[tokio::test]
async fn an_index_comes_with_all_its_children() {
    let upstream = Upstream::start(false).await;
    let world = world(&upstream).await;
    let children = [upstream.image("web", "amd64", b"amd64"), upstream.image("web", "arm64", b"arm64")];
    let digests = children.each_ref().map(|child| Digest::of(child.as_bytes()));
    let list = index(&[(&digests[0], children[0].len()), (&digests[1], children[1].len())]);
    upstream.manifest("web", "latest", OCI_INDEX, &list);
    let pulled = world.get("/v2/up/web/manifests/latest").await;
    assert_eq!((pulled.header("content-type"), &pulled.body[..]), (OCI_INDEX, list.as_bytes()));
    upstream.set(Mood::Down);
    for (digest, layer) in digests.iter().zip([b"amd64", b"arm64"]) {
        assert_eq!(world.get(&format!("/v2/up/web/manifests/{digest}")).await.status, 200);
        assert_eq!(world.get(&format!("/v2/up/web/blobs/{}", Digest::of(layer))).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_that_pull_a_missing_image_fetch_it_once() {
    let upstream = Upstream::start(true).await;
    let world = world(&upstream).await;
    let text = upstream.image("web", "v1", &vec![7; 300_000]);
    let digest = Digest::of(text.as_bytes());
    let by_tag = "/v2/up/web/manifests/v1".to_owned();
    let by_digest = format!("/v2/up/web/manifests/{digest}");
    let pulls = (0..100).map(|number| world.get(if number % 2 == 0 { &by_tag } else { &by_digest }));
    for answer in join_all(pulls).await {
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, text.as_bytes()));
    }
    // Once for those who asked by tag, once for those who asked by digest.
    assert!(upstream.fetched("/manifests/v1") <= 1 && upstream.fetched(digest.as_str()) <= 1);
    assert_eq!(upstream.fetched(Digest::of(&vec![7; 300_000]).as_str()), 1);
}

#[tokio::test]
async fn a_blob_goes_on_where_the_connection_broke() {
    let upstream = Upstream::start(false).await;
    let layer: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    for (name, mood) in [("a1", Mood::Breaking), ("a2", Mood::BreakingAndForgetful)] {
        let world = world(&upstream).await;
        upstream.image(name, "v1", &layer);
        upstream.set(mood);
        upstream.broken.store(0, Ordering::SeqCst);
        assert_eq!(world.get(&format!("/v2/up/{name}/manifests/v1")).await.status, 200, "{mood:?}");
        let pulled = world.get(&format!("/v2/up/{name}/blobs/{}", Digest::of(&layer))).await;
        assert!(pulled.body == layer, "{mood:?}");
    }
}

#[tokio::test]
async fn what_an_upstream_makes_up_is_not_kept() {
    let upstream = Upstream::start(false).await;
    let world = world(&upstream).await;
    let text = upstream.image("web", "v1", b"a layer");
    for mood in [Mood::Lying, Mood::Overlong] {
        upstream.set(mood);
        assert_eq!(world.get("/v2/up/web/manifests/v1").await.refusal(), (502, "UNAVAILABLE".to_owned()), "{mood:?}");
    }
    upstream.set(Mood::Good);
    // A manifest that is not what its digest says.
    let digest = Digest::of(text.as_bytes());
    upstream.put(format!("web/manifests/{digest}"), OCI_MANIFEST, text.replace("layer.v1", "layer.v2"));
    let answer = world.get(&format!("/v2/up/web/manifests/{digest}")).await;
    assert_eq!(answer.refusal(), (502, "UNAVAILABLE".to_owned()));
    // An index that contains itself, as far as anybody can tell, and one that is not JSON.
    upstream.manifest("web", "bad", OCI_INDEX, "not json");
    assert_eq!(world.get("/v2/up/web/manifests/bad").await.refusal().0, 502);
    let mut child = upstream.image("web", "leaf", b"leaf");
    for depth in 0..5 {
        child = index(&[(&Digest::of(child.as_bytes()), child.len())]).replace(OCI_MANIFEST, OCI_INDEX);
        if depth == 0 {
            child = child.replacen(OCI_INDEX, OCI_MANIFEST, 1);
        }
        upstream.manifest("web", &format!("deep{depth}"), OCI_INDEX, &child);
    }
    assert_eq!(world.get("/v2/up/web/manifests/deep4").await.refusal().0, 502);
    assert_eq!(world.get("/v2/up/web/manifests/v1").await.body, text.as_bytes());
}

#[tokio::test]
async fn who_may_not_import_finds_only_what_is_cached() {
    let upstream = Upstream::start(false).await;
    let world = world(&upstream).await;
    upstream.image("web", "v1", b"x");
    upstream.image("web", "v2", b"y");
    let token = world.token(ACCOUNT, REGION, PrincipalKind::Instance);
    let pull = |path: &'static str| world.anonymous("GET", path).header("authorization", &token).send();
    assert_eq!(pull("/v2/up/web/manifests/v1").await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    let agent = caller(PrincipalKind::Instance);
    let input = json!({"repositoryName": "up/web", "imageIds": [{"imageTag": "v1"}]});
    let refused = call_as(&world, &agent, "BatchGetImage", input.clone()).await.unwrap_err();
    assert_eq!(refused.code, "RepositoryNotFoundException");
    world.get("/v2/up/web/manifests/v1").await;
    assert_eq!(pull("/v2/up/web/manifests/v1").await.status, 200);
    assert_eq!(pull("/v2/up/web/manifests/v2").await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    let answer = call_as(&world, &agent, "BatchGetImage", input).await.unwrap();
    assert_eq!(answer["images"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn another_registry_of_ours_is_an_upstream() {
    let upstream = Server::start().await;
    let digest = upstream.world.push_image("app", "v1", "one").await;
    let credentials = upstream.credentials();
    let (username, password) = credentials.split_once(':').unwrap();
    let url = format!("http://{}", upstream.address);
    let mut config = RegistryConfig::default();
    let right = Credentials { username: username.to_owned(), password: Password(password.to_owned()) };
    let wrong = Credentials { username: username.to_owned(), password: Password("wrong".to_owned()) };
    for (host, credentials) in [("up.example", Some(right)), ("wrong.example", Some(wrong)), ("none.example", None)] {
        config.upstreams.insert(host.to_owned(), UpstreamConfig { url: url.clone(), credentials });
    }
    let world = World::with_config(config);
    rule(&world, json!({})).await;
    assert_eq!(world.get("/v2/up/app/manifests/v1").await.header("docker-content-digest"), digest.as_str());
    assert_eq!(world.get(&format!("/v2/up/app/blobs/{}", Digest::of(b"layer one"))).await.body, "layer one");
    for prefix in ["wrong", "none"] {
        rule(&world, json!({"ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": format!("{prefix}.example")})).await;
        let answer = world.get(&format!("/v2/{prefix}/app/manifests/v1")).await;
        assert_eq!(answer.refusal(), (403, "DENIED".to_owned()));
    }
}

#[tokio::test]
async fn a_registry_of_another_region_is_an_upstream() {
    let world = World::new().await;
    let mut there = caller(PrincipalKind::Root);
    there.region = "eu-west-1".to_owned();
    let digest = world.push_image("app", "v1", "one").await;
    let url = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
    let rule = json!({"ecrRepositoryPrefix": "home", "upstreamRegistryUrl": url, "upstreamRegistry": "ecr"});
    call_as(&world, &there, "CreatePullThroughCacheRule", rule).await.unwrap();
    let token = world.token(ACCOUNT, "eu-west-1", PrincipalKind::Root);
    let pulled = world.anonymous("GET", "/v2/home/app/manifests/v1").header("authorization", &token).send().await;
    assert_eq!(pulled.header("docker-content-digest"), digest.as_str());
    let layer = format!("/v2/home/app/blobs/{}", Digest::of(b"layer one"));
    let layer = world.anonymous("GET", &layer).header("authorization", &token).send().await;
    assert_eq!(layer.body, "layer one");
    let missing = world.anonymous("GET", "/v2/home/app/manifests/v9").header("authorization", &token).send().await;
    assert_eq!(missing.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
}

const OTHER: &str = "111111111111";
const PULLER: &str = "arn:aws:sts::111111111111:assumed-role/puller/ecr";

/// One role, `puller`.
struct OneRole;

impl gantry_registry::pull_through::roles::Roles for OneRole {
    fn assume(&self, role_arn: &str, region: &str) -> Option<gantry_api::Caller> {
        role_arn.ends_with(":role/puller").then(|| gantry_api::Caller {
            principal_arn: PULLER.to_owned(),
            kind: PrincipalKind::AssumedRole,
            ..gantry_api::Caller::root(OTHER, region)
        })
    }
}

#[tokio::test]
async fn a_registry_of_another_account_is_read_in_a_role() {
    let world = World::with(|registry| registry.with_roles(std::sync::Arc::new(OneRole))).await;
    let digest = world.push_image("app", "v1", "one").await;
    let there = caller_of(OTHER, REGION, PrincipalKind::Root);
    let url = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
    let create = async |prefix: &str, role: Option<&str>| {
        let mut rule = json!({"ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": url});
        if let Some(role) = role {
            rule["customRoleArn"] = json!(format!("arn:aws:iam::{role}"));
        }
        call_as(&world, &there, "CreatePullThroughCacheRule", rule).await.map_err(|fault| fault.code)
    };
    assert_eq!(create("none", None).await.unwrap_err(), "ValidationException");
    assert_eq!(create("none", Some("000000000000:role/puller")).await.unwrap_err(), "InvalidParameterException");
    create("home", Some("111111111111:role/puller")).await.unwrap();
    create("away", Some("111111111111:role/nobody")).await.unwrap();
    let valid = async |prefix: &str| {
        let input = json!({"ecrRepositoryPrefix": prefix});
        call_as(&world, &there, "ValidatePullThroughCacheRule", input).await.unwrap()["isValid"].clone()
    };
    assert_eq!((valid("home").await, valid("away").await), (json!(true), json!(false)));
    let token = world.token(OTHER, REGION, PrincipalKind::Root);
    let pull =
        async || world.anonymous("GET", "/v2/home/app/manifests/v1").header("authorization", &token).send().await;
    let allow = json!({"Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "Resource": "*"}]});
    // Neither side alone is enough.
    assert_eq!(pull().await.refusal(), (403, "DENIED".to_owned()));
    world.principals.grant(PULLER, &allow);
    assert_eq!(pull().await.refusal(), (403, "DENIED".to_owned()));
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": OTHER},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]});
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    call(&world, "SetRepositoryPolicy", json!({"repositoryName": "app", "policyText": policy})).await;
    assert_eq!(pull().await.header("docker-content-digest"), digest.as_str());
    let away = world.anonymous("GET", "/v2/away/app/manifests/v1").header("authorization", &token).send().await;
    assert_eq!(away.refusal(), (403, "DENIED".to_owned()));
}

/// A signature of `image` that the upstream has; returns its manifest and the descriptor that a list has of it.
fn signature(upstream: &Upstream, image: &str, seed: &str) -> (String, Value) {
    let config = Digest::of(b"{}");
    let layer = Digest::of(seed.as_bytes());
    upstream.put(format!("web/blobs/{config}"), "", &b"{}"[..]);
    upstream.put(format!("web/blobs/{layer}"), "", seed.as_bytes().to_vec());
    let mut document = manifest(&config, 2, &layer, seed.len());
    document["artifactType"] = json!("application/example.signature");
    let subject = Digest::of(image.as_bytes());
    document["subject"] = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": image.len()});
    document["annotations"] = json!({"by": seed});
    let text = document.to_string();
    upstream.manifest("web", &format!("unnamed-{seed}"), OCI_MANIFEST, &text);
    let descriptor = json!({"mediaType": OCI_MANIFEST, "digest": Digest::of(text.as_bytes()), "size": text.len(),
        "artifactType": "application/example.signature", "annotations": {"by": seed}});
    (text, descriptor)
}

fn list(descriptors: &[&Value]) -> String {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}).to_string()
}

async fn referrers(world: &World, image: &Digest) -> Value {
    world.get(&format!("/v2/up/web/referrers/{image}")).await.json()["manifests"].clone()
}

async fn listed(world: &World, image: &Digest, max: usize) -> Vec<String> {
    let (mut digests, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({"repositoryName": "up/web", "subjectId": {"imageDigest": image}, "maxResults": max});
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = call(world, "ListImageReferrers", input).await;
        let referrers = page["referrers"].as_array().unwrap();
        digests.extend(referrers.iter().map(|referrer| referrer["digest"].as_str().unwrap().to_owned()));
        token = page["nextToken"].clone();
        if token.is_null() {
            return digests;
        }
    }
}

#[tokio::test]
async fn what_is_about_an_image_upstream_is_listed_and_can_be_pulled() {
    let upstream = Upstream::start(false).await;
    let mut world = world(&upstream).await;
    let text = upstream.image("web", "v1", b"x");
    let image = Digest::of(text.as_bytes());
    let (one_text, one) = signature(&upstream, &text, "one");
    let (_, two) = signature(&upstream, &text, "two");
    upstream.put(format!("web/referrers/{image}"), OCI_INDEX, list(&[&one, &two]));
    // Whoever may not import is told of nothing, and neither image nor repository is made.
    let path = format!("/v2/up/web/referrers/{image}");
    let token = world.token(ACCOUNT, REGION, PrincipalKind::Instance);
    let told = world.anonymous("GET", &path).header("authorization", &token).send().await;
    assert_eq!(told.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    assert_eq!(upstream.fetched(&image.to_string()), 0);

    // The first question brings the image, for some clients ask nothing else of it.
    let mut both = vec![one.clone(), two.clone()];
    both.sort_by_key(|descriptor| descriptor["digest"].to_string());
    assert_eq!(referrers(&world, &image).await, json!(both));
    assert_eq!(upstream.fetched(&format!("manifests/{image}")), 1);
    assert_eq!(world.get(&format!("/v2/up/web/manifests/{image}")).await.status, 200);
    assert_eq!(upstream.fetched(&format!("manifests/{image}")), 1);
    // What the upstream does not have either, nothing is about.
    let absent = Digest::of(b"absent");
    assert_eq!(referrers(&world, &absent).await, json!([]));
    assert_eq!(upstream.fetched(&format!("referrers/{absent}")), 0);
    let second = upstream.image("web", "v0", b"w");
    let (_, about) = signature(&upstream, &second, "zero");
    let second = Digest::of(second.as_bytes());
    upstream.put(format!("web/referrers/{second}"), OCI_INDEX, list(&[&about]));
    assert_eq!(listed(&world, &second, 10).await, [about["digest"].as_str().unwrap()]);
    let digests: Vec<String> = both.iter().map(|each| each["digest"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed(&world, &image, 1).await, digests);
    let other = format!("/v2/up/web/referrers/{image}?artifactType=application/other");
    assert_eq!(world.get(&other).await.json()["manifests"], json!([]));

    // Pulled, it is one of ours and still listed once; the upstream was asked once.
    let pulled = world.get(&format!("/v2/up/web/manifests/{}", one["digest"].as_str().unwrap())).await;
    assert_eq!((pulled.status.as_u16(), pulled.body), (200, one_text.into()));
    assert_eq!(referrers(&world, &image).await.as_array().unwrap().len(), 2);
    assert_eq!(listed(&world, &image, 1).await, digests);
    assert_eq!(listed(&world, &image, 10).await, digests);
    assert_eq!(upstream.fetched(&format!("referrers/{image}")), 1);

    // A day later it is asked again, and what it said is served when it does not answer.
    let (_, three) = signature(&upstream, &text, "three");
    upstream.put(format!("web/referrers/{image}"), OCI_INDEX, list(&[&one, &two, &three]));
    world.advance_hours(25);
    world.log_in();
    upstream.set(Mood::Down);
    assert_eq!(referrers(&world, &image).await.as_array().unwrap().len(), 2);
    upstream.set(Mood::Good);
    assert_eq!(referrers(&world, &image).await.as_array().unwrap().len(), 2, "it is left alone for a moment");
    world.advance_hours(1);
    assert_eq!(referrers(&world, &image).await.as_array().unwrap().len(), 3);
    for image in [image, second] {
        assert_eq!(world.delete(&format!("/v2/up/web/manifests/{image}")).await.status, 202);
    }
    assert!(world.store.range("/ecr/000000000000/us-east-1/upstream-referrers/", 1).await.unwrap().kvs.is_empty());
}

#[tokio::test]
async fn an_upstream_without_the_list_keeps_it_under_a_tag_and_one_that_says_nothing_is_an_error() {
    let upstream = Upstream::start(false).await;
    let world = world(&upstream).await;
    let text = upstream.image("web", "v1", b"x");
    let image = Digest::of(text.as_bytes());
    let (_, one) = signature(&upstream, &text, "one");
    let tag = image.to_string().replace(':', "-");
    upstream.put(format!("web/manifests/{tag}"), OCI_INDEX, list(&[&one]));
    world.get("/v2/up/web/manifests/v1").await;
    assert_eq!(referrers(&world, &image).await, json!([one]));

    let silent = Digest::of(upstream.image("web", "v2", b"y").as_bytes());
    world.get("/v2/up/web/manifests/v2").await;
    upstream.set(Mood::Down);
    assert_eq!(world.get(&format!("/v2/up/web/referrers/{silent}")).await.refusal(), (502, "UNAVAILABLE".to_owned()));
    // It is left alone for a moment, however it is.
    upstream.set(Mood::Good);
    let input = json!({"repositoryName": "up/web", "subjectId": {"imageDigest": silent}});
    let refused = refusal(&world, "ListImageReferrers", input).await;
    assert_eq!(refused.0, "UnableToListUpstreamImageReferrersException");
    // Who may not import is told of what is here.
    let token = world.token(ACCOUNT, REGION, PrincipalKind::Instance);
    let path = format!("/v2/up/web/referrers/{silent}");
    let told = world.anonymous("GET", &path).header("authorization", &token).send().await;
    assert_eq!(told.json()["manifests"], json!([]));
    world.advance_hours(1);
    upstream.put(format!("web/referrers/{silent}"), OCI_INDEX, "no index");
    assert_eq!(world.get(&format!("/v2/up/web/referrers/{silent}")).await.refusal(), (502, "UNAVAILABLE".to_owned()));
    world.advance_hours(1);
    upstream.put(
        format!("web/referrers/{silent}"),
        OCI_INDEX,
        list(&[&json!({"mediaType": "x", "digest": "?", "size": 1})]),
    );
    assert_eq!(referrers(&world, &silent).await, json!([]));
}

#[tokio::test]
async fn an_upstream_that_takes_long_to_fail_is_left_alone_after_that() {
    let upstream = Upstream::start(false).await;
    let world = world(&upstream).await;
    let text = upstream.image("web", "v1", b"x");
    let image = Digest::of(text.as_bytes());
    let (_, one) = signature(&upstream, &text, "one");
    upstream.put(format!("web/referrers/{image}"), OCI_INDEX, list(&[&one]));
    world.get("/v2/up/web/manifests/v1").await;
    *upstream.slow.lock().unwrap() = Some(Arc::clone(&world.now_ms));
    upstream.set(Mood::Down);
    let asked_at_ms = world.now_ms.load(Ordering::SeqCst);
    let path = format!("/v2/up/web/referrers/{image}");
    assert_eq!(world.get(&path).await.refusal(), (502, "UNAVAILABLE".to_owned()));
    assert!(world.now_ms.load(Ordering::SeqCst) >= asked_at_ms + 60_000);
    upstream.set(Mood::Good);
    assert_eq!(world.get(&path).await.refusal(), (502, "UNAVAILABLE".to_owned()));
    assert_eq!(upstream.fetched(&format!("referrers/{image}")), 0);
    world.advance_hours(1);
    assert_eq!(referrers(&world, &image).await, json!([one]));
}
