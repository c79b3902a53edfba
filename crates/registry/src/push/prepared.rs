//! An image that is ready to go: blobs with digest, size and origin, and manifests, children first.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::archive::Archive;
use super::layout::{Files, prepare_layout};
use super::{PushError, Source, docker, rootfs};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::manifest::OCI_MANIFEST;

pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image made from a directory runs. Empty lists are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `Entrypoint`
    pub entrypoint: Vec<String>,
    /// `Cmd`
    pub cmd: Vec<String>,
    /// `Env`, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// `WorkingDir`
    pub working_directory: Option<String>,
    /// `User`
    pub user: Option<String>,
    /// `ExposedPorts`, as `80/tcp`.
    pub exposed_ports: Vec<String>,
}

pub(super) struct Prepared {
    pub(super) blobs: Vec<Blob>,
    /// Children before the lists that name them; the last one is the image.
    pub(super) manifests: Vec<ManifestDocument>,
    /// The copy that the blobs are read from, when the archive was compressed.
    pub(super) unpacked: Option<Arc<tempfile::TempPath>>,
}

#[derive(Clone)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) content: Content,
}

pub(super) struct ManifestDocument {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// Where a blob's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Bytes),
    File {
        path: PathBuf,
        offset: u64,
        length: u64,
    },
    /// The layer that a directory becomes.
    Rootfs(PathBuf),
}

impl Prepared {
    /// Reads a source. Blocking, and as slow as hashing what has no digest yet.
    pub(super) fn new(source: &Source) -> Result<Self, PushError> {
        match source {
            Source::Directory { path, config } => prepare_directory(path.clone(), config),
            Source::OciLayout { path, image } => prepare_layout(&Files::Directory(path.clone()), image.as_deref()),
            Source::OciArchive { path, image } => {
                prepare_layout(&Files::Archive(Archive::open(path)?), image.as_deref())
            }
            Source::DockerArchive { path, image } => docker::prepare(&Archive::open(path)?, image.as_deref()),
        }
    }
}

impl Content {
    /// Writes the bytes. Blocking.
    pub(super) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => out.write_all(bytes),
            Self::File { path, offset, length } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                let copied = io::copy(&mut file.take(*length), out)?;
                if copied == *length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            Self::Rootfs(path) => rootfs::write_layer(path, out),
        }
    }

    /// Reads the bytes once to learn digest and size. Blocking.
    pub(super) fn measure(self) -> io::Result<Blob> {
        let mut measure = Measure { hasher: Hasher::new(Algorithm::Sha256), size: 0 };
        self.write_to(&mut measure)?;
        Ok(Blob { digest: measure.hasher.finish(), size: measure.size, content: self })
    }
}

impl Blob {
    pub(super) fn of(bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    pub(super) fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }
}

impl ManifestDocument {
    /// The manifest of an image of these blobs.
    pub(super) fn image(config: &Blob, layers: Vec<Value>) -> Self {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(OCI_CONFIG),
            "layers": layers,
        });
        let bytes = Bytes::from(manifest.to_string());
        Self { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.to_owned(), bytes }
    }
}

struct Measure {
    hasher: Hasher,
    size: u64,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn prepare_directory(path: PathBuf, config: &ImageConfig) -> Result<Prepared, PushError> {
    let layer = Content::Rootfs(path.clone()).measure().map_err(|source| PushError::Read { path, source })?;
    // The layer is not compressed, so its digest is also its diff id.
    let document = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config.document(),
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    });
    let config = Blob::of(Bytes::from(document.to_string()));
    let manifest = ManifestDocument::image(&config, vec![layer.descriptor(OCI_LAYER)]);
    Ok(Prepared { blobs: vec![layer, config], manifests: vec![manifest], unpacked: None })
}

impl ImageConfig {
    fn document(&self) -> Value {
        let mut document = serde_json::Map::new();
        for (name, list) in [("Entrypoint", &self.entrypoint), ("Cmd", &self.cmd), ("Env", &self.env)] {
            if !list.is_empty() {
                document.insert(name.to_owned(), json!(list));
            }
        }
        for (name, text) in [("WorkingDir", &self.working_directory), ("User", &self.user)] {
            if let Some(text) = text {
                document.insert(name.to_owned(), json!(text));
            }
        }
        if !self.exposed_ports.is_empty() {
            let ports = self.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
            document.insert("ExposedPorts".to_owned(), Value::Object(ports));
        }
        Value::Object(document)
    }
}

/// This machine's architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
