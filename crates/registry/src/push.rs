//! Pushing an image without any other tool: a directory, an OCI layout, or an archive of either kind goes to any
//! registry that speaks the distribution API, ours first of all.
//!
//! A source is first *prepared*: every blob's digest and size become known, and the manifests are ready, children
//! before their lists. Then each blob is asked for and, when absent, sent in a single request, three at a time; then
//! the manifests. Nothing is unpacked: blobs are streamed from where they lie, and a directory is turned into its
//! layer while it is sent.

mod archive;
mod docker;
mod layout;
mod prepared;
mod rootfs;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;

pub use prepared::ImageConfig;

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A root file system: becomes an image of one layer.
    Directory {
        /// The directory that will be `/`.
        path: PathBuf,
        /// What to run in it.
        config: ImageConfig,
    },
    /// A directory in the OCI image layout.
    OciLayout {
        /// The directory that holds `index.json`.
        path: PathBuf,
        /// Which image, by `org.opencontainers.image.ref.name`; needed only when there are several.
        image: Option<String>,
    },
    /// The same in a tar file: `skopeo copy … oci-archive:`, `docker save` since 25, `podman save --format oci-archive`.
    OciArchive {
        /// The tar file.
        path: PathBuf,
        /// Which image; needed only when there are several.
        image: Option<String>,
    },
    /// The older form of `docker save`.
    DockerArchive {
        /// The tar file.
        path: PathBuf,
        /// Which image, by its `NAME:TAG`; needed only when there are several.
        image: Option<String>,
    },
}

/// Where an image goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The registry: `http://localhost:4566`.
    pub endpoint: String,
    /// The repository, which must exist.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The user name for HTTP Basic.
    pub username: String,
    /// The password that goes with it.
    pub password: String,
}

/// Something to show while an image is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The source was read; this much will be asked for or sent.
    Prepared {
        /// Blobs of the image.
        blobs: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// The registry already has this blob.
    Present {
        /// Which.
        digest: Digest,
        /// Its length.
        size: u64,
    },
    /// A blob begins to go out.
    Started {
        /// Which.
        digest: Digest,
        /// Its length.
        size: u64,
    },
    /// More of a blob went out.
    Sent {
        /// Which.
        digest: Digest,
        /// Bytes since the last time.
        bytes: u64,
    },
    /// A blob is in the registry.
    Finished {
        /// Which.
        digest: Digest,
    },
}

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of its manifest or list.
    pub digest: Digest,
    /// Blobs that had to be sent.
    pub blobs_sent: usize,
    /// Blobs that were there already.
    pub blobs_present: usize,
    /// Bytes sent.
    pub bytes_sent: u64,
}

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The path is none of the sources.
    #[error("{path} is neither a directory nor an image archive")]
    NotAnImage {
        /// The path.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something of the image is not in the source.
    #[error("{path} lacks {what}")]
    Missing {
        /// The source.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// Something in the source is not what it should be.
    #[error("{what} in {path} is not valid")]
    Invalid {
        /// The source.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The source holds several images, or not the one asked for.
    #[error("{path} holds several images or not the one asked for; choose one of: {}", images.join(", "))]
    ChooseImage {
        /// The source.
        path: PathBuf,
        /// The names in it.
        images: Vec<String>,
    },
    /// The registry cannot be reached.
    #[error("cannot reach the registry at {endpoint}")]
    Unreachable {
        /// The registry.
        endpoint: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The repository does not exist.
    #[error("{message}")]
    RepositoryNotFound {
        /// What the registry says.
        message: String,
    },
    /// The registry said no.
    #[error("the registry refused {doing}: {message}")]
    Refused {
        /// What was being done.
        doing: String,
        /// HTTP status.
        status: u16,
        /// What the registry says.
        message: String,
    },
    /// The registry stored something else than was sent.
    #[error("the registry answered with {0}, which is not an answer to what was asked")]
    UnexpectedAnswer(String),
    /// A task of ours failed.
    #[error("the push was interrupted")]
    Interrupted,
}

impl Source {
    /// Finds out what lies at `path`. `config` is for directories; `image` chooses among several.
    pub fn detect(path: &Path, config: ImageConfig, image: Option<String>) -> Result<Self, PushError> {
        let read = |source| PushError::Read { path: path.to_owned(), source };
        let path = path.to_owned();
        if std::fs::metadata(&path).map_err(read)?.is_dir() {
            let is_layout = path.join("oci-layout").is_file() && path.join("index.json").is_file();
            return Ok(if is_layout { Self::OciLayout { path, image } } else { Self::Directory { path, config } });
        }
        let archive = archive::Archive::open(&path)?;
        if archive.contains("index.json") && archive.contains("oci-layout") {
            Ok(Self::OciArchive { path, image })
        } else if archive.contains("manifest.json") {
            Ok(Self::DockerArchive { path, image })
        } else {
            Err(PushError::NotAnImage { path })
        }
    }
}

/// Told of every [`Progress`]; called from several tasks.
pub type Report = Arc<dyn Fn(Progress) + Send + Sync>;

/// Pushes an image.
pub async fn push(
    client: &reqwest::Client,
    target: &Target,
    source: Source,
    report: Report,
) -> Result<Pushed, PushError> {
    let prepared = tokio::task::spawn_blocking(move || prepared::Prepared::new(&source)).await;
    let prepared = prepared.map_err(|_| PushError::Interrupted)??;
    upload::Registry::new(client, target, report).push(prepared).await
}
