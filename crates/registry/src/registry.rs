//! The registry itself: what both doors, `/v2/` and the ECR operations, work on.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gantry_api::Caller;
use gantry_api::event::{EventSink, NoEvents};
use gantry_domain::Timestamp;
use gantry_protocol::fixed::Fixed;
use gantry_protocol::principals::Principals;
use gantry_store::Store;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, OwnedRwLockWriteGuard, RwLock, RwLockReadGuard};

use crate::blobs::{BlobError, BlobStore, LocalBlobs, LocalLimits};
use crate::changes::ChangeNumbers;
use crate::digest::Digest;
use crate::lifecycle::{ImagesInUse, NothingInUse};
use crate::metadata::Metadata;
use crate::policies::ReadPolicies;
use crate::pull_through::roles::{NoRoles, Roles};
use crate::pull_through::secrets::{NoSecrets, Secrets};
use crate::pull_through::upstreams::{UpstreamConfigs, trusted_hosts};
use crate::pull_through::{Failures, Flights, ImportResult, RuleCache, UpstreamClient};
use crate::quotas::Quotas;
use crate::rates::Rates;
use crate::scanning::{ScanConfig, Scans};
use crate::signing::keys::SigningKeys;
use crate::token::TokenKey;
use crate::verified::VerifiedTokens;

/// Tells the time; tests give a clock they can set.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Where clients reach the registry: `http://localhost:4566`. What follows `://` begins every `repositoryUri`.
    pub public_endpoint: String,
    /// How long a blob that no image needs is kept after somebody was told that it is here, and how old a file no
    /// repository knows must be before it is removed. A push may take this long.
    pub grace: Duration,
    /// How long an upload may lie idle.
    pub upload_idle: Duration,
    /// How often a repository's lifecycle policy is run.
    pub lifecycle_interval: Duration,
    /// How long a download link is good for.
    pub download_link_lifetime: Duration,
    /// Upstream registries besides those the API names, and how to reach them.
    pub upstreams: UpstreamConfigs,
    /// How images are scanned.
    pub scan: ScanConfig,
    /// Where layers are prepared for agents (see [`crate::prepared`]): a directory with room for the largest one,
    /// uncompressed. `None`: nothing is prepared.
    pub prepare_in: Option<std::path::PathBuf>,
    /// How much there may be, and how often it may be asked for.
    pub quotas: Quotas,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            public_endpoint: "http://localhost:4566".to_owned(),
            grace: DAY,
            upload_idle: DAY,
            lifecycle_interval: Duration::from_secs(60 * 60),
            download_link_lifetime: Duration::from_secs(60 * 60),
            upstreams: UpstreamConfigs::new(),
            scan: ScanConfig::default(),
            prepare_in: None,
            quotas: Quotas::default(),
        }
    }
}

impl RegistryConfig {
    /// `localhost:4566`
    pub fn public_host(&self) -> &str {
        let host = self.public_endpoint.split_once("://").map_or(self.public_endpoint.as_str(), |(_, host)| host);
        host.trim_end_matches('/')
    }
}

/// Why the registry could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The content store.
    #[error("cannot open the registry's content store")]
    Blobs(#[from] BlobError),
    /// The key of the tokens.
    #[error("cannot read or make the registry's token key")]
    TokenKey(#[source] std::io::Error),
}

/// The registry. Shared behind an `Arc`; holds no other global state.
pub struct Registry {
    pub(crate) metadata: Metadata,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) tokens: VerifiedTokens,
    pub(crate) config: RegistryConfig,
    pub(crate) commits: CommitLocks,
    pub(crate) principals: Arc<dyn Principals>,
    pub(crate) policies: ReadPolicies,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) change_numbers: ChangeNumbers,
    pub(crate) secrets: Arc<dyn Secrets>,
    pub(crate) roles: Arc<dyn Roles>,
    pub(crate) upstream_client: UpstreamClient,
    pub(crate) upstream_failures: Failures,
    pub(crate) rule_cache: RuleCache,
    pub(crate) flights: Flights<ImportResult>,
    pub(crate) this: Weak<Self>,
    pub(crate) scans: Scans,
    pub(crate) images_in_use: Arc<dyn ImagesInUse>,
    pub(crate) preview_wake: Notify,
    pub(crate) signing_keys: Arc<SigningKeys>,
    pub(crate) rates: Rates,
    clock: Clock,
}

impl Registry {
    /// Opens the registry whose blobs and key lie under `directory` (made when absent). Blocking; called at start.
    pub fn open(directory: &Path, store: Store, clock: Clock, config: RegistryConfig) -> Result<Self, OpenError> {
        let blobs = LocalBlobs::open(directory, LocalLimits::default())?;
        Self::open_with(Arc::new(blobs), directory, store, clock, config)
    }

    /// Opens a registry whose blobs are elsewhere; only its keys lie under `directory`. Blocking; called at start.
    pub fn open_with(
        blobs: Arc<dyn BlobStore>,
        directory: &Path,
        store: Store,
        clock: Clock,
        config: RegistryConfig,
    ) -> Result<Self, OpenError> {
        let key = TokenKey::load_or_create(&directory.join("token.key")).map_err(OpenError::TokenKey)?;
        let signing_keys = Arc::new(SigningKeys::in_folder(directory.join("signing-keys")));
        Ok(Self { signing_keys, ..Self::new(blobs, store, key, clock, config) })
    }

    /// A registry of these parts, which signs no images.
    pub fn new(blobs: Arc<dyn BlobStore>, store: Store, key: TokenKey, clock: Clock, config: RegistryConfig) -> Self {
        Self {
            metadata: Metadata::new(store),
            blobs,
            tokens: VerifiedTokens::new(key),
            upstream_client: UpstreamClient::new(trusted_hosts(&config.upstreams)),
            config,
            commits: CommitLocks::default(),
            principals: Arc::new(Fixed),
            policies: ReadPolicies::default(),
            events: Arc::new(NoEvents),
            change_numbers: ChangeNumbers::default(),
            secrets: Arc::new(NoSecrets),
            roles: Arc::new(NoRoles),
            upstream_failures: Failures::default(),
            rule_cache: RuleCache::default(),
            flights: Flights::default(),
            this: Weak::new(),
            scans: Scans::default(),
            images_in_use: Arc::new(NothingInUse),
            preview_wake: Notify::new(),
            signing_keys: Arc::new(SigningKeys::nowhere()),
            rates: Rates::default(),
            clock,
        }
    }

    /// Tells `events` what happens to images.
    #[must_use]
    pub fn with_events(mut self, events: Arc<dyn EventSink>) -> Self {
        self.events = events;
        self
    }

    /// Asks `principals` what callers may do. Without it there are roots and instances only.
    #[must_use]
    pub fn with_principals(mut self, principals: Arc<dyn Principals>) -> Self {
        self.principals = principals;
        self
    }

    /// Reads the credentials of upstream registries from `secrets`.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Reads upstream registries of other accounts in the roles of `roles`.
    #[must_use]
    pub fn with_roles(mut self, roles: Arc<dyn Roles>) -> Self {
        self.roles = roles;
        self
    }

    /// The registry, shared. Work that outlives the request that began it is only done by one made so.
    pub fn into_shared(self) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { this: this.clone(), ..self })
    }

    /// Asks `images` which images lifecycle policies must leave alone.
    #[must_use]
    pub fn with_images_in_use(mut self, images: Arc<dyn ImagesInUse>) -> Self {
        self.images_in_use = images;
        self
    }

    /// What the operator decided.
    pub fn config(&self) -> &RegistryConfig {
        &self.config
    }

    /// The content store.
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    /// A password for `/v2/` that says who `caller` is, and when it expires.
    pub fn issue_password(&self, caller: &Caller) -> (String, Timestamp) {
        self.tokens.key.issue(caller, self.now())
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// The clock of the machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// With eight pushes under way, fewer than one removal in a hundred finds its lock taken.
const COMMIT_LOCKS: usize = 1024;

/// Keeps the collector from removing a file between its commit and the link that makes it wanted. Commits of one
/// digest go on side by side; only the removal of a file is alone. One process owns a content store on local disk,
/// so locks in memory are enough.
pub(crate) struct CommitLocks(Box<[CommitLock]>);

/// One for all digests that begin alike.
#[derive(Default)]
struct CommitLock {
    commits: Arc<RwLock<()>>,
    /// Held by a removal, so that those of two digests that share the lock do not take each other for commits.
    removals: Arc<Mutex<()>>,
}

/// Held while a file is removed.
pub(crate) struct Removing {
    _commits: OwnedRwLockWriteGuard<()>,
    _removals: OwnedMutexGuard<()>,
}

impl Default for CommitLocks {
    fn default() -> Self {
        Self((0..COMMIT_LOCKS).map(|_| CommitLock::default()).collect())
    }
}

impl CommitLocks {
    /// Held from before a file gets its name until its link is durable.
    pub(crate) async fn committing(&self, digest: &Digest) -> RwLockReadGuard<'_, ()> {
        self.of(digest).commits.read().await
    }

    /// Held while a file nobody links is removed. None while commits are under way: waiting for one that takes long
    /// would hold up those that come after it, and the next pass is soon enough.
    pub(crate) async fn try_removing(&self, digest: &Digest) -> Option<Removing> {
        let lock = self.of(digest);
        let _removals = Arc::clone(&lock.removals).lock_owned().await;
        let _commits = Arc::clone(&lock.commits).try_write_owned().ok()?;
        Some(Removing { _commits, _removals })
    }

    fn of(&self, digest: &Digest) -> &CommitLock {
        let index = digest.hex().bytes().take(4).fold(0_usize, |sum, byte| sum * 31 + usize::from(byte));
        &self.0[index % COMMIT_LOCKS]
    }
}
