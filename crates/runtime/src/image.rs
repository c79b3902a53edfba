//! Images on a host: resolved, pulled, unpacked, and laid out as root filesystems.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;

mod copy;
mod erofs;
mod failure;
mod garbage;
mod layers;
pub(crate) mod lazy;
mod local;
mod manifest;
mod overlay;
mod parents;
mod reference;
mod registry;
mod snapshot;
mod store;
mod trash;
mod unpack;

use gantry_layers::digest;

pub use self::{
    lazy::LazyOptions,
    local::{ImageOptions, LocalImages},
    overlay::mount_rootfs,
    reference::Reference,
    registry::Retry,
};

/// How to reach and authenticate to the registry that serves an image.
#[derive(Debug, Clone, Default)]
pub struct RegistryAccess {
    /// Overrides the scheme, host and port derived from the reference, for example `http://127.0.0.1:4566`.
    pub base_url: Option<String>,
    /// User name and password for Basic authentication or the token exchange.
    pub basic: Option<(String, Password)>,
    /// It is our own registry, whose word is taken for what it prepared of an image: see
    /// [`gantry_layers::prepared`]. No other registry is asked, because an EROFS image cannot be checked against the
    /// layer that it stands for.
    pub prepared: bool,
}

/// A password that never shows in logs.
#[derive(Clone)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What the agent knows of an image after it was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of the manifest (or index) that the reference resolved to, `sha256:…`: the API's `imageDigest`.
    pub digest: String,
    /// Digest of the image configuration blob.
    pub config_digest: String,
    /// What the image says about how to run it.
    pub config: ImageConfig,
    /// Uncompressed layer digests (diff ids), lowest first.
    pub layers: Vec<String>,
}

/// The run-time part of an OCI image configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `KEY=value` entries in order.
    pub env: Vec<String>,
    /// Default entry point.
    pub entrypoint: Vec<String>,
    /// Default command.
    pub cmd: Vec<String>,
    /// `user`, `uid`, `user:group` or empty.
    pub user: String,
    /// Initial working directory, `/` when empty.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal name or number, for example `SIGTERM`; empty means SIGTERM.
    pub stop_signal: String,
    /// Paths declared as volumes.
    pub volumes: Vec<String>,
    /// Docker's health check of the image: command in Docker's `Test` form, empty when none.
    pub healthcheck_test: Vec<String>,
}

/// A root filesystem as data. The container's shim mounts it inside its own mount namespace, so nothing is left
/// mounted on the host when the container is gone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rootfs {
    /// Read-only layers, **topmost first** (overlayfs order).
    pub lower_dirs: Vec<PathBuf>,
    /// Writable layer.
    pub upper_dir: PathBuf,
    /// overlayfs work directory, beside `upper_dir`.
    pub work_dir: PathBuf,
    /// Empty directory that the shim mounts onto.
    pub mount_point: PathBuf,
}

/// Receives progress while an image is pulled; counts are compressed bytes.
pub trait PullProgress: Send + Sync {
    /// `done` of `total` bytes of the blob `digest` have arrived.
    fn blob(&self, digest: &str, done: u64, total: u64);
}

/// Ignores progress.
pub struct NoProgress;
impl PullProgress for NoProgress {
    fn blob(&self, _: &str, _: u64, _: u64) {}
}

/// Why an image could not be made available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The reference is not a valid image name.
    #[error("invalid reference format: {0}")]
    InvalidReference(String),
    /// The registry answered that there is no such manifest or repository.
    #[error("{reference}: not found")]
    NotFound {
        /// The reference as given.
        reference: String,
    },
    /// The registry refused the credentials, or wants some.
    #[error("pull access denied for {reference}, repository does not exist or may require authorization")]
    Denied {
        /// The reference as given.
        reference: String,
        /// What the registry said.
        detail: String,
    },
    /// The registry could not be reached.
    #[error("could not reach registry {registry}: {detail}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// The network error.
        detail: String,
    },
    /// A blob or manifest did not have the digest that it was asked for by, or is not a valid archive.
    #[error("image {reference} is corrupt: {detail}")]
    Corrupt {
        /// The reference as given.
        reference: String,
        /// What is wrong.
        detail: String,
    },
    /// No manifest of the index fits this host.
    #[error("image {reference} has no manifest for linux/{architecture}")]
    NoPlatform {
        /// The reference as given.
        reference: String,
        /// This host's architecture in OCI spelling.
        architecture: String,
    },
    /// The host's disk is full.
    #[error("no space left on device")]
    NoSpace,
    /// Anything else the host's filesystem refused.
    #[error("{action}")]
    Io {
        /// What was being done.
        action: String,
        /// The error.
        #[source]
        source: std::io::Error,
    },
}

/// Images of one host. Every method may be called concurrently; pulls of the same blob are shared.
#[async_trait]
pub trait Images: Send + Sync {
    /// Asks the registry which manifest digest `reference` names now, without fetching layers.
    async fn resolve(&self, reference: &str, access: &RegistryAccess) -> Result<String, ImageError>;

    /// Fetches and unpacks what is missing of `reference` and returns it. Verified, atomic: a crash leaves either
    /// a whole layer or none.
    async fn pull(
        &self,
        reference: &str,
        access: &RegistryAccess,
        progress: Arc<dyn PullProgress>,
    ) -> Result<Image, ImageError>;

    /// The image that `reference` resolved to at its last pull, when all of it is still on the host.
    async fn cached(&self, reference: &str) -> Option<Image>;

    /// Creates the writable layer of container `container_id` on top of `image`.
    async fn prepare_rootfs(&self, container_id: &str, image: &Image) -> Result<Rootfs, ImageError>;

    /// Copies the content of `path` inside the image into the empty directory `target` with owners and modes, as
    /// Docker does when it first mounts a volume. A path that the image does not have copies nothing.
    async fn copy_out(&self, image: &Image, path: &str, target: &std::path::Path) -> Result<(), ImageError>;

    /// The directory that holds what container `container_id` has written; none when it has no writable layer.
    async fn writable_layer(&self, container_id: &str) -> Option<PathBuf> {
        let _ = container_id;
        None
    }

    /// Removes the writable layer of a container. Removing one that does not exist is no error.
    async fn remove_rootfs(&self, container_id: &str) -> Result<(), ImageError>;

    /// References of images of which something is still being fetched while they are in use.
    async fn unfinished(&self) -> Vec<String> {
        Vec::new()
    }

    /// Gives those who fetch an unfinished image credentials that are still good.
    async fn renew(&self, reference: &str, access: &RegistryAccess) {
        let _ = (reference, access);
    }

    /// Removes images and layers that neither `keep` (manifest digests) nor any writable layer needs.
    async fn collect_garbage(&self, keep: &[String]) -> Result<u64, ImageError>;
}
