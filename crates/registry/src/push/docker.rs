//! What `docker save` wrote before it wrote OCI layouts: `manifest.json`, a configuration and plain layers.

use std::io;

use serde::Deserialize;

use super::PushError;
use super::archive::Archive;
use super::prepared::{Blob, Content, ManifestDocument, OCI_LAYER, Prepared};
use crate::manifest::MANIFEST_SIZE_MAX;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn prepare(archive: &Archive, image: Option<&str>) -> Result<Prepared, PushError> {
    let images: Vec<SavedImage> = serde_json::from_slice(&document(archive, "manifest.json")?)
        .map_err(|error| invalid(archive, format!("manifest.json ({error})")))?;
    let is_wanted = |saved: &&SavedImage| match image {
        None => images.len() == 1,
        Some(name) => saved.repo_tags.iter().flatten().any(|tag| tag == name),
    };
    let saved = images.iter().find(is_wanted).ok_or_else(|| PushError::ChooseImage {
        path: archive.path().to_owned(),
        images: images.iter().flat_map(|saved| saved.repo_tags.clone().unwrap_or_default()).collect(),
    })?;
    let config = Blob::of(document(archive, &saved.config)?);
    let (mut blobs, mut layers) = (Vec::new(), Vec::new());
    for name in &saved.layers {
        let content = archive.content(name).ok_or_else(|| missing(archive, name))?;
        let read = |source| PushError::Read { path: archive.path().to_owned(), source };
        let media_type = layer_type(&content).map_err(read)?;
        let layer = content.measure().map_err(read)?;
        layers.push(layer.descriptor(&media_type));
        if !blobs.iter().any(|blob: &Blob| blob.digest == layer.digest) {
            blobs.push(layer);
        }
    }
    let manifest = ManifestDocument::image(&config, layers);
    blobs.push(config);
    Ok(Prepared { blobs, manifests: vec![manifest], unpacked: archive.keep() })
}

/// Saved layers are plain tar files, but nothing forbids compressed ones.
fn layer_type(content: &Content) -> io::Result<String> {
    /// Takes the first bytes and then refuses more.
    struct Beginning(Vec<u8>);
    impl io::Write for Beginning {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() >= 4 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut beginning = Beginning(Vec::new());
    match content.write_to(&mut beginning) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    Ok(match beginning.0.as_slice() {
        [0x1f, 0x8b, ..] => format!("{OCI_LAYER}+gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => format!("{OCI_LAYER}+zstd"),
        _ => OCI_LAYER.to_owned(),
    })
}

fn document(archive: &Archive, name: &str) -> Result<bytes::Bytes, PushError> {
    let read = archive.read(name, MANIFEST_SIZE_MAX as u64);
    let read = read.map_err(|source| PushError::Read { path: archive.path().to_owned(), source })?;
    read.ok_or_else(|| missing(archive, name))
}

fn missing(archive: &Archive, what: &str) -> PushError {
    PushError::Missing { path: archive.path().to_owned(), what: what.to_owned() }
}

fn invalid(archive: &Archive, what: String) -> PushError {
    PushError::Invalid { path: archive.path().to_owned(), what }
}
