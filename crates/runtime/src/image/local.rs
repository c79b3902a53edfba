//! The real [`Images`]: a directory of blobs, unpacked layers and writable layers on this host.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

use super::{Image, ImageError, Images, PullProgress, RegistryAccess, Rootfs};

/// Bounds and manners of [`LocalImages`].
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// A layer that unpacks to more bytes than this is refused as corrupt.
    pub layer_bytes_max: u64,
    /// A layer with more entries than this is refused as corrupt.
    pub layer_entries_max: u64,
    /// Layers downloaded and unpacked at once.
    pub concurrency: usize,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self { layer_bytes_max: 64 << 30, layer_entries_max: 1_000_000, concurrency: 4 }
    }
}

/// Images under one directory. Cheap to share behind an `Arc`.
pub struct LocalImages {
    #[expect(dead_code)]
    root: PathBuf,
}

impl LocalImages {
    /// Opens (or creates) the image directory `root` and clears what a crash left half-done.
    ///
    /// # Errors
    /// [`ImageError::Io`] when the directory cannot be made or read.
    pub fn open(root: PathBuf, _options: ImageOptions) -> Result<Self, ImageError> {
        Ok(Self { root })
    }
}

fn unsupported() -> ImageError {
    ImageError::Io { action: "images".to_owned(), source: std::io::ErrorKind::Unsupported.into() }
}

#[async_trait]
impl Images for LocalImages {
    async fn resolve(&self, _reference: &str, _access: &RegistryAccess) -> Result<String, ImageError> {
        Err(unsupported())
    }
    async fn pull(
        &self,
        _reference: &str,
        _access: &RegistryAccess,
        _progress: Arc<dyn PullProgress>,
    ) -> Result<Image, ImageError> {
        Err(unsupported())
    }
    async fn cached(&self, _reference: &str) -> Option<Image> {
        None
    }
    async fn prepare_rootfs(&self, _container_id: &str, _image: &Image) -> Result<Rootfs, ImageError> {
        Err(unsupported())
    }
    async fn copy_out(&self, _image: &Image, _path: &str, _target: &Path) -> Result<(), ImageError> {
        Err(unsupported())
    }
    async fn remove_rootfs(&self, _container_id: &str) -> Result<(), ImageError> {
        Err(unsupported())
    }
    async fn collect_garbage(&self, _keep: &[String]) -> Result<u64, ImageError> {
        Err(unsupported())
    }
}
