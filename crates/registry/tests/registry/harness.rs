//! A registry in a temporary directory, with a clock that tests turn, spoken to through its router.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_api::event::{EventSink, NoEvents};
use gantry_api::{Caller, PrincipalKind};
use gantry_domain::Timestamp;
use gantry_domain::arn::Scope;
use gantry_domain::policy::{Document, Kind};
use gantry_protocol::fixed::Fixed;
use gantry_protocol::principals::{Authority, Principals};
use gantry_registry::digest::Digest;
use gantry_registry::lifecycle::ImagesInUse;
use gantry_registry::metadata::{RepositoryKeys, RepositoryRow};
use gantry_registry::scanning::ScanConfig;
use gantry_registry::{Clock, Registry, RegistryConfig, http as v2};
use gantry_scan::inventory::Limits;
use gantry_store::{Memory, Store};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const ACCOUNT: &str = "000000000000";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) struct World {
    pub(crate) registry: Arc<Registry>,
    pub(crate) router: Router,
    pub(crate) directory: Arc<tempfile::TempDir>,
    pub(crate) store: Store,
    pub(crate) now_ms: Arc<AtomicI64>,
    pub(crate) authorization: String,
    pub(crate) principals: Arc<Known>,
}

/// Principals of the test's making, beside roots and instances.
#[derive(Default)]
pub(crate) struct Known(Mutex<BTreeMap<String, Arc<Document>>>);

impl Known {
    /// Gives the principal this identity policy and no other.
    pub(crate) fn grant(&self, arn: &str, policy: &Value) {
        let document = Document::parse(&policy.to_string(), Kind::Identity).unwrap();
        self.0.lock().unwrap().insert(arn.to_owned(), Arc::new(document));
    }
}

impl Principals for Known {
    fn authority(&self, caller: &Caller) -> Arc<Authority> {
        let mut authority = (*Fixed.authority(caller)).clone();
        authority.policies.identity.extend(self.0.lock().unwrap().get(&caller.principal_arn).cloned());
        Arc::new(authority)
    }
}

impl World {
    /// A registry with the repository `app`.
    pub(crate) async fn new() -> Self {
        let world = Self::open(Arc::new(tempfile::tempdir().unwrap()), Memory::store(), Arc::new(now()));
        world.repository("app").await;
        world
    }

    /// The same, and what is pushed is prepared for agents.
    pub(crate) async fn preparing() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let scratch = directory.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let config = RegistryConfig { prepare_in: Some(scratch), ..RegistryConfig::default() };
        let world = Self::open_with(directory, Memory::store(), Arc::new(now()), Arc::new(NoEvents), config);
        world.repository("app").await;
        world
    }

    /// The same with a store of the test's choice.
    pub(crate) async fn with_store(store: Store) -> Self {
        let world = Self::open(Arc::new(tempfile::tempdir().unwrap()), store, Arc::new(now()));
        world.repository("app").await;
        world
    }

    /// The same with a registry that knows more.
    pub(crate) async fn with(more: impl FnOnce(Registry) -> Registry) -> Self {
        let mut world = Self::new().await;
        let now_ms = Arc::clone(&world.now_ms);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(now_ms.load(Ordering::SeqCst)));
        let config = RegistryConfig::default();
        let registry = Registry::open(world.directory.path(), world.store.clone(), clock, config).unwrap();
        world.registry = more(registry.with_principals(world.principals.clone())).into_shared();
        world.router = v2::router(Arc::clone(&world.registry));
        world
    }

    /// One without repositories, configured as the test says.
    pub(crate) fn with_config(config: RegistryConfig) -> Self {
        Self::open_with(
            Arc::new(tempfile::tempdir().unwrap()),
            Memory::store(),
            Arc::new(now()),
            Arc::new(NoEvents),
            config,
        )
    }

    fn open(directory: Arc<tempfile::TempDir>, store: Store, now_ms: Arc<AtomicI64>) -> Self {
        Self::open_with(directory, store, now_ms, Arc::new(NoEvents), RegistryConfig::default())
    }

    fn open_with(
        directory: Arc<tempfile::TempDir>,
        store: Store,
        now_ms: Arc<AtomicI64>,
        events: Arc<dyn EventSink>,
        config: RegistryConfig,
    ) -> Self {
        let clock: Clock = Arc::new({
            let now_ms = Arc::clone(&now_ms);
            move || Timestamp::from_millis(now_ms.load(Ordering::SeqCst))
        });
        let principals = Arc::new(Known::default());
        let scan = ScanConfig {
            database: Some(directory.path().join("scan-db")),
            limits: Limits { inflated_bytes_max: 8 << 20, ..Limits::default() },
            ..ScanConfig::default()
        };
        let config = RegistryConfig { scan, ..config };
        let registry = Registry::open(directory.path(), store.clone(), clock, config).unwrap();
        let registry = registry.with_events(events).with_principals(principals.clone()).into_shared();
        let router = v2::router(Arc::clone(&registry));
        let authorization = authorization(&registry, &caller(PrincipalKind::Root));
        Self { registry, router, directory, store, now_ms, authorization, principals }
    }

    /// The same data in a new process, through another store.
    pub(crate) fn reopen(&self, store: Store) -> Self {
        Self::open(Arc::clone(&self.directory), store, Arc::clone(&self.now_ms))
    }

    /// The same data in a new process.
    pub(crate) fn restart(&self) -> Self {
        Self::open(Arc::clone(&self.directory), self.store.clone(), Arc::clone(&self.now_ms))
    }

    /// The same data, in a registry that knows what runs.
    pub(crate) fn with_images_in_use(mut self, images: Arc<dyn ImagesInUse>) -> Self {
        let now_ms = Arc::clone(&self.now_ms);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(now_ms.load(Ordering::SeqCst)));
        let config = RegistryConfig::default();
        let registry = Registry::open(self.directory.path(), self.store.clone(), clock, config).unwrap();
        self.registry = Arc::new(registry.with_images_in_use(images));
        self
    }

    /// The same data, with somebody who listens to events.
    pub(crate) fn with_events(&self, events: Arc<dyn EventSink>) -> Self {
        let (directory, now_ms) = (Arc::clone(&self.directory), Arc::clone(&self.now_ms));
        Self::open_with(directory, self.store.clone(), now_ms, events, RegistryConfig::default())
    }

    pub(crate) fn advance_hours(&self, hours: i64) {
        self.now_ms.fetch_add(hours * 3_600_000, Ordering::SeqCst);
    }

    pub(crate) async fn repository(&self, name: &str) {
        self.repository_with(name, RepositoryRow::default()).await;
    }

    pub(crate) async fn repository_with(&self, name: &str, row: RepositoryRow) {
        self.registry.repository_create(&keys(name), &row).await.unwrap();
    }

    /// A token for somebody else.
    pub(crate) fn token(&self, account: &str, region: &str, kind: PrincipalKind) -> String {
        authorization(&self.registry, &caller_of(account, region, kind))
    }

    /// A token of this caller.
    pub(crate) fn token_of(&self, caller: &Caller) -> String {
        authorization(&self.registry, caller)
    }

    /// A new token for ourselves, after time has passed.
    pub(crate) fn log_in(&mut self) {
        self.authorization = self.token(ACCOUNT, REGION, PrincipalKind::Root);
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let request = Request::builder().method(method).uri(path).header("authorization", &self.authorization);
        Call { world: self, request, body: Body::empty() }
    }

    pub(crate) fn anonymous(&self, method: &str, path: &str) -> Call<'_> {
        Call { world: self, request: Request::builder().method(method).uri(path), body: Body::empty() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.call("HEAD", path).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send().await
    }

    /// Pushes a blob with POST and PUT.
    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let started = self.call("POST", &format!("/v2/{name}/blobs/uploads/")).send().await;
        assert_eq!(started.status, 202, "{started:?}");
        let finish = format!("{}?digest={digest}", started.header("location"));
        let done = self.call("PUT", &finish).body(bytes.to_vec()).send().await;
        assert_eq!(done.status, 201, "{done:?}");
        digest
    }

    pub(crate) async fn put_manifest(&self, name: &str, reference: &str, manifest: &str) -> Answer {
        let call = self.call("PUT", &format!("/v2/{name}/manifests/{reference}"));
        call.body(manifest.to_owned().into_bytes()).send().await
    }

    /// Pushes an image whose content depends on `seed`; returns the digest of its manifest.
    pub(crate) async fn push_image(&self, name: &str, reference: &str, seed: &str) -> Digest {
        let manifest = self.image(name, seed).await;
        let done = self.put_manifest(name, reference, &manifest).await;
        assert_eq!(done.status, 201, "{done:?}");
        Digest::of(manifest.as_bytes())
    }

    /// The manifest of an image whose blobs are pushed.
    pub(crate) async fn image(&self, name: &str, seed: &str) -> String {
        let (config, layer) = (format!("{{\"seed\":\"{seed}\"}}"), format!("layer {seed}"));
        let config_digest = self.push_blob(name, config.as_bytes()).await;
        let layer_digest = self.push_blob(name, layer.as_bytes()).await;
        manifest(&config_digest, config.len(), &layer_digest, layer.len()).to_string()
    }
}

pub(crate) fn manifest(config: &Digest, config_size: usize, layer: &Digest, layer_size: usize) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_size}],
    })
}

pub(crate) fn index(children: &[(&Digest, usize)]) -> String {
    let children: Vec<Value> = children
        .iter()
        .map(|(digest, size)| json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size}))
        .collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).to_string()
}

fn now() -> AtomicI64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    AtomicI64::new(i64::try_from(since.as_millis()).unwrap())
}

fn authorization(registry: &Registry, caller: &Caller) -> String {
    let (password, _) = registry.issue_password(caller);
    format!("Basic {}", STANDARD.encode(format!("AWS:{password}")))
}

pub(crate) fn keys(name: &str) -> RepositoryKeys {
    RepositoryKeys::new(&Scope::new(ACCOUNT, REGION), &name.parse().unwrap())
}

pub(crate) fn caller(kind: PrincipalKind) -> Caller {
    caller_of(ACCOUNT, REGION, kind)
}

pub(crate) fn caller_of(account: &str, region: &str, kind: PrincipalKind) -> Caller {
    let root = Caller::root(account, region);
    let principal_arn = match kind {
        PrincipalKind::Root => root.principal_arn.clone(),
        PrincipalKind::User => format!("arn:aws:iam::{account}:user/alice"),
        PrincipalKind::AssumedRole | PrincipalKind::Instance => {
            format!("arn:aws:sts::{account}:assumed-role/instance/i-1")
        }
    };
    Caller { principal_arn, kind, access_key_id: "AKIATEST".to_owned(), request_id: "request".to_owned(), ..root }
}

pub(crate) struct Call<'a> {
    world: &'a World,
    request: http::request::Builder,
    body: Body,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        self.request = self.request.header("content-length", body.len());
        self.body = Body::from(body);
        self
    }

    /// A body without a length, in pieces; an error breaks it off.
    pub(crate) fn stream(mut self, pieces: Vec<Result<Bytes, std::io::Error>>) -> Self {
        self.body = Body::from_stream(futures_util::stream::iter(pieces));
        self
    }

    pub(crate) fn any_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(crate) async fn response(self) -> Response<Body> {
        self.world.router.clone().oneshot(self.request.body(self.body).unwrap()).await.unwrap()
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.response().await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and the code of the first error.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let code = self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
        assert_eq!(self.header("content-type"), "application/json; charset=utf-8");
        (self.status.as_u16(), code)
    }
}
