//! The OCI image layout, in a directory or an archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::PushError;
use super::archive::Archive;
use super::prepared::{Blob, Content, ManifestDocument, Prepared};
use crate::digest::Digest;
use crate::manifest::{Content as ManifestContent, MANIFEST_SIZE_MAX, Manifest};

/// Indexes in indexes beyond this depth are a trick.
const DEPTH_MAX: usize = 8;
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Where a layout lies.
pub(super) enum Files {
    Directory(PathBuf),
    Archive(Archive),
}

impl Files {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Archive(archive) => archive.path(),
        }
    }

    /// A document whole; none when there is none.
    fn read(&self, name: &str) -> Result<Option<Bytes>, PushError> {
        let max = MANIFEST_SIZE_MAX as u64;
        let read = match self {
            Self::Directory(path) => match File::open(path.join(name)) {
                Ok(file) => {
                    let mut bytes = Vec::new();
                    file.take(max + 1).read_to_end(&mut bytes).map(|_| Some(Bytes::from(bytes)))
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Self::Archive(archive) => archive.read(name, max),
        };
        read.map_err(|source| PushError::Read { path: self.path().to_owned(), source })
    }

    fn blob(&self, name: &str) -> Option<(Content, u64)> {
        match self {
            Self::Directory(path) => {
                let path = path.join(name);
                let length = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.len();
                Some((Content::File { path, offset: 0, length }, length))
            }
            Self::Archive(archive) => {
                let content = archive.content(name)?;
                let Content::File { length, .. } = content else { return None };
                Some((content, length))
            }
        }
    }

    fn document(&self, name: &str) -> Result<Bytes, PushError> {
        self.read(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn missing(&self, what: &str) -> PushError {
        PushError::Missing { path: self.path().to_owned(), what: what.to_owned() }
    }

    pub(super) fn invalid(&self, what: impl Into<String>) -> PushError {
        PushError::Invalid { path: self.path().to_owned(), what: what.into() }
    }
}

#[derive(Deserialize)]
struct IndexDocument {
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry {
    media_type: Option<String>,
    digest: Digest,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl IndexEntry {
    fn is_called(&self, name: &str) -> bool {
        [REF_NAME, CONTAINERD_NAME].iter().any(|key| self.annotations.get(*key).is_some_and(|value| value == name))
    }

    fn name(&self) -> String {
        let named = self.annotations.get(REF_NAME).or_else(|| self.annotations.get(CONTAINERD_NAME));
        named.cloned().unwrap_or_else(|| self.digest.to_string())
    }
}

pub(super) fn prepare_layout(files: &Files, image: Option<&str>) -> Result<Prepared, PushError> {
    let index: IndexDocument = serde_json::from_slice(&files.document("index.json")?)
        .map_err(|error| files.invalid(format!("index.json ({error})")))?;
    let is_wanted = |entry: &&IndexEntry| match image {
        None => index.manifests.len() == 1,
        Some(name) => entry.is_called(name) || entry.digest.as_str() == name,
    };
    let entry = index.manifests.iter().find(is_wanted).ok_or_else(|| PushError::ChooseImage {
        path: files.path().to_owned(),
        images: index.manifests.iter().map(IndexEntry::name).collect(),
    })?;
    let mut gathered = Gathered { files, blobs: Vec::new(), manifests: Vec::new(), seen: BTreeSet::new() };
    gathered.manifest(&entry.digest, entry.media_type.as_deref(), 0)?;
    let unpacked = match files {
        Files::Directory(_) => None,
        Files::Archive(archive) => archive.keep(),
    };
    Ok(Prepared { blobs: gathered.blobs, manifests: gathered.manifests, unpacked })
}

struct Gathered<'a> {
    files: &'a Files,
    blobs: Vec<Blob>,
    manifests: Vec<ManifestDocument>,
    seen: BTreeSet<Digest>,
}

impl Gathered<'_> {
    /// Adds a manifest after everything it needs.
    fn manifest(&mut self, digest: &Digest, media_type: Option<&str>, depth: usize) -> Result<(), PushError> {
        if !self.seen.insert(digest.clone()) {
            return Ok(());
        }
        let bytes = self.files.document(&blob_name(digest))?;
        if depth > DEPTH_MAX || Digest::of_with(digest.algorithm(), &bytes) != *digest {
            return Err(self.files.invalid(format!("manifest {digest}")));
        }
        let manifest = Manifest::parse(&bytes, media_type)
            .map_err(|error| self.files.invalid(format!("manifest {digest} ({error})")))?;
        match &manifest.content {
            ManifestContent::Index { manifests } => {
                for child in manifests {
                    self.manifest(&child.digest, Some(&child.media_type), depth + 1)?;
                }
            }
            ManifestContent::Image { .. } => {
                for (blob, (_, size)) in manifest.references() {
                    self.blob(blob, size)?;
                }
            }
        }
        self.manifests.push(ManifestDocument { digest: digest.clone(), media_type: manifest.media_type, bytes });
        Ok(())
    }

    fn blob(&mut self, digest: &Digest, size: u64) -> Result<(), PushError> {
        if !self.seen.insert(digest.clone()) {
            return Ok(());
        }
        let name = blob_name(digest);
        let (content, length) = self.files.blob(&name).ok_or_else(|| self.files.missing(&name))?;
        if length != size {
            return Err(self.files.invalid(format!("the length of {name}")));
        }
        self.blobs.push(Blob { digest: digest.clone(), size, content });
        Ok(())
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}
