//! The real [`Images`]: blobs, unpacked layers and writable layers under one directory of this host.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use gantry_layers::prepared::PreparedImage;

use super::{
    Image, ImageError, Images, PullProgress, RegistryAccess, Rootfs,
    copy::copy_from_image,
    digest::{digits, sha256},
    failure::Failure,
    garbage::{self, Pins, Record},
    layers::Layers,
    lazy::LazyOptions,
    manifest::{self, CONFIG_BYTES_MAX, Configuration, Descriptor, Document},
    parents,
    reference::Reference,
    registry::{Client, Retry, Session},
    snapshot,
    store::Store,
    unpack::Limits,
};

/// An index may name indexes, but nobody needs more than this.
const INDEX_DEPTH_MAX: usize = 4;

/// Bounds and manners of [`LocalImages`].
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// A layer that unpacks to more bytes than this is refused as corrupt.
    pub layer_bytes_max: u64,
    /// A layer with more entries than this is refused as corrupt.
    pub layer_entries_max: u64,
    /// Layers downloaded and unpacked at once, over all pulls.
    pub concurrency: usize,
    /// A layer whose blob is at least this long is kept as one EROFS image, where the kernel mounts such; a smaller
    /// one is unpacked as quickly and needs no mount. `u64::MAX`: all are unpacked.
    pub erofs_blob_bytes_min: u64,
    /// How requests to registries are repeated.
    pub retry: Retry,
    /// How layers are mounted before they are here; `None`: they never are.
    pub lazy: Option<LazyOptions>,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            layer_bytes_max: 64 << 30,
            layer_entries_max: 1_000_000,
            concurrency: 4,
            erofs_blob_bytes_min: 256 << 10,
            retry: Retry::default(),
            lazy: None,
        }
    }
}

/// Images under one directory. Cheap to share behind an `Arc`.
pub struct LocalImages {
    store: Store,
    client: Client,
    layers: Layers,
    pins: Pins,
}

impl LocalImages {
    /// Opens (or creates) the image directory `root` and clears what a crash left half-done.
    ///
    /// # Errors
    /// [`ImageError::Io`] when the directory cannot be made or read.
    pub fn open(root: PathBuf, options: ImageOptions) -> Result<Self, ImageError> {
        let open = || {
            let absolute =
                std::path::absolute(&root).map_err(|error| Failure::io("find the image directory", error))?;
            let store = Store::open(absolute, options.lazy)?;
            let trash = store.trash.clone();
            // Whatever is in there may be large; nobody waits for it.
            std::thread::spawn(move || {
                if let Err(error) = trash.empty() {
                    tracing::warn!(%error, "cannot empty the trash");
                }
            });
            let limits = Limits { bytes_max: options.layer_bytes_max, entries_max: options.layer_entries_max };
            let layers = Layers::new(store.clone(), limits, options.erofs_blob_bytes_min, options.concurrency);
            Ok(Self { store, client: Client::new(options.retry)?, layers, pins: Pins::default() })
        };
        open().map_err(|failure: Failure| failure.about("", ""))
    }

    /// Ends the mounts of the layers below the image directory `root`, for a host that runs no containers any more.
    /// They come back when they are needed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmount_all(root: &Path) -> std::io::Result<()> {
        Store::unmount_all(root)
    }

    /// Whether layers are kept as EROFS images here; else they are unpacked.
    pub fn mounts_erofs(&self) -> bool {
        self.store.mounts_erofs
    }

    async fn pull_image(
        &self,
        session: &Session<'_>,
        reference: &Reference,
        progress: &dyn PullProgress,
    ) -> Result<Image, Failure> {
        let digest = match &reference.digest {
            Some(digest) => digest.clone(),
            None => session.resolve().await?,
        };
        // A digest never changes its meaning, so what is here already needs no further question. (For a tag the
        // registry has just been asked, so it has had its chance to refuse.)
        if let Some(image) = self.recorded(reference)
            && image.digest == digest
        {
            return Ok(image);
        }
        let mut pinned = vec![self.pins.pin([digest.clone()])];
        let (documents, config, layers) = self.find_manifest(session, &digest).await?;
        pinned.push(self.pins.pin(documents.iter().cloned().chain([config.digest.clone()])));
        let configuration = self.configuration(session, &config, layers.len()).await?;
        pinned.push(self.pins.pin(configuration.diff_ids.iter().cloned()));
        pinned.push(self.pins.pin(layers.iter().map(|layer| layer.digest.clone())));

        let prepared = self.prepared(session, documents.last().unwrap_or(&digest), &layers, &configuration).await;
        let pairs = layers.iter().zip(&configuration.diff_ids);
        let pairs = pairs.map(|(layer, diff_id)| {
            let prepared = prepared.layers.iter().find(|prepared| prepared.diff_id == *diff_id);
            self.layers.ensure(session, layer, diff_id, prepared, progress)
        });
        try_join_all(pairs).await?;

        let record = Record {
            reference: reference.to_string(),
            digest: digest.clone(),
            documents,
            config_digest: config.digest.clone(),
            layers: configuration.diff_ids.clone(),
        };
        let (store, path) = (self.store.clone(), self.record_path(reference));
        blocking(move || {
            parents::make_extra_layer(&store, &record.layers)?;
            store.write_record(&path, &record)
        })
        .await?;
        Ok(Image { digest, config_digest: config.digest, config: configuration.config, layers: configuration.diff_ids })
    }

    /// What the registry prepared of an image that is not here yet.
    async fn prepared(
        &self,
        session: &Session<'_>,
        manifest: &str,
        layers: &[Descriptor],
        configuration: &Configuration,
    ) -> PreparedImage {
        let mut missing = layers.iter().zip(&configuration.diff_ids).filter(|(_, id)| !self.store.has_layer(id));
        if session.has_prepared() && missing.any(|(layer, _)| self.layers.keeps_as_image(layer)) {
            session.prepared(manifest).await
        } else {
            PreparedImage::default()
        }
    }

    /// Follows indexes from `digest` to the manifest for this host. Returns the digests passed on the way.
    async fn find_manifest(
        &self,
        session: &Session<'_>,
        digest: &str,
    ) -> Result<(Vec<String>, Descriptor, Vec<Descriptor>), Failure> {
        let mut documents = vec![digest.to_owned()];
        while let Some(digest) = documents.last()
            && documents.len() <= INDEX_DEPTH_MAX
        {
            let bytes = match self.store.blob(digest) {
                Some(bytes) => bytes,
                None => {
                    let bytes = session.manifest(digest).await?;
                    self.store.keep_blob(digest, &bytes)?;
                    bytes.into()
                }
            };
            match manifest::parse(&bytes).map_err(|error| Failure::corrupt(format!("manifest {digest}: {error}")))? {
                Document::Image { config, layers } => return Ok((documents, config, layers)),
                Document::Index(manifests) => {
                    let chosen = manifest::choose(&manifests, manifest::host_architecture());
                    documents.push(chosen.ok_or(Failure::NoPlatform)?.digest.clone());
                }
            }
        }
        Err(Failure::corrupt("indexes are nested too deep"))
    }

    async fn configuration(
        &self,
        session: &Session<'_>,
        config: &Descriptor,
        layers: usize,
    ) -> Result<Configuration, Failure> {
        let bytes = match self.store.blob(&config.digest) {
            Some(bytes) => bytes,
            None => {
                let bytes = session.small_blob(&config.digest, CONFIG_BYTES_MAX).await?;
                self.store.keep_blob(&config.digest, &bytes)?;
                bytes.into()
            }
        };
        let configuration = manifest::parse_configuration(&bytes, layers)
            .map_err(|error| Failure::corrupt(format!("image configuration: {error}")))?;
        match configuration.os.as_str() {
            "" | "linux" => Ok(configuration),
            _ => Err(Failure::NoPlatform),
        }
    }

    /// What the last pull of `reference` left, when all of it is still here.
    fn recorded(&self, reference: &Reference) -> Option<Image> {
        let record: Record = self.store.read_record(&self.record_path(reference))?;
        if record.reference != reference.to_string() || !record.layers.iter().all(|id| self.store.has_layer(id)) {
            return None;
        }
        let bytes = self.store.blob(&record.config_digest)?;
        let configuration = manifest::parse_configuration(&bytes, record.layers.len()).ok()?;
        Some(Image {
            digest: record.digest,
            config_digest: record.config_digest,
            config: configuration.config,
            layers: record.layers,
        })
    }

    fn record_path(&self, reference: &Reference) -> PathBuf {
        let name = sha256(reference.to_string().as_bytes());
        self.store.path("references").join(format!("{}.json", digits(&name)))
    }

    fn empty_trash_later(&self) {
        let trash = self.store.trash.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = trash.empty() {
                tracing::warn!(%error, "cannot empty the trash");
            }
        });
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let stopped = || Failure::io("use the image directory", std::io::Error::other("shutting down"));
    tokio::task::spawn_blocking(work).await.map_err(|_| stopped())?
}

#[async_trait]
impl Images for LocalImages {
    async fn resolve(&self, reference: &str, access: &RegistryAccess) -> Result<String, ImageError> {
        let parsed = Reference::parse(reference)?;
        let session = self.client.session(&parsed, access);
        session.resolve().await.map_err(|failure| failure.about(reference, session.host()))
    }

    async fn pull(
        &self,
        reference: &str,
        access: &RegistryAccess,
        progress: Arc<dyn PullProgress>,
    ) -> Result<Image, ImageError> {
        let parsed = Reference::parse(reference)?;
        let session = self.client.session(&parsed, access);
        self.pull_image(&session, &parsed, &*progress).await.map_err(|failure| failure.about(reference, session.host()))
    }

    async fn cached(&self, reference: &str) -> Option<Image> {
        self.recorded(&Reference::parse(reference).ok()?)
    }

    async fn prepare_rootfs(&self, container_id: &str, image: &Image) -> Result<Rootfs, ImageError> {
        let pinned = self.pins.pin(image.layers.iter().cloned().chain([parents::extra_layer_id(&image.layers)]));
        let (store, id, image) = (self.store.clone(), container_id.to_owned(), image.clone());
        blocking(move || {
            let _pinned = pinned;
            snapshot::prepare(&store, &id, &image)
        })
        .await
        .map_err(|failure| failure.about("", ""))
    }

    async fn copy_out(&self, image: &Image, path: &str, target: &Path) -> Result<(), ImageError> {
        let pinned = self.pins.pin(image.layers.iter().cloned().chain([parents::extra_layer_id(&image.layers)]));
        let (store, image, path, target) = (self.store.clone(), image.clone(), path.to_owned(), target.to_owned());
        let copied = blocking(move || {
            let _pinned = pinned;
            let scratch = store.scratch()?;
            let names = snapshot::layer_names(&store, &image)?;
            let lower_dirs: Vec<PathBuf> = names.iter().map(|name| store.layer_root(name)).collect();
            let copied = copy_from_image(&lower_dirs, &path, &scratch, &target);
            store.trash.discard(&scratch).map_err(|error| Failure::io("remove a directory", error))?;
            copied.map_err(|error| Failure::io(format!("copy {path} out of the image"), error))
        })
        .await;
        self.empty_trash_later();
        copied.map_err(|failure| failure.about("", ""))
    }

    async fn writable_layer(&self, container_id: &str) -> Option<PathBuf> {
        snapshot::directory(&self.store, container_id).ok().map(|directory| directory.join("upper"))
    }

    async fn remove_rootfs(&self, container_id: &str) -> Result<(), ImageError> {
        snapshot::discard(&self.store, container_id).map_err(|failure| failure.about("", ""))?;
        self.empty_trash_later();
        Ok(())
    }

    async fn unfinished(&self) -> Vec<String> {
        let Some(lazy) = self.store.lazy.clone() else { return Vec::new() };
        let layers = self.store.path("layers");
        blocking(move || Ok(lazy.references(&layers))).await.unwrap_or_default()
    }

    async fn renew(&self, reference: &str, access: &RegistryAccess) {
        let Some(lazy) = self.store.lazy.clone() else { return };
        let (layers, reference, access) = (self.store.path("layers"), reference.to_owned(), access.clone());
        // It does not fail; a process that is about to end may refuse the work.
        let _ = blocking(move || {
            lazy.renew(&layers, &reference, &access);
            Ok(())
        })
        .await;
    }

    async fn collect_garbage(&self, keep: &[String]) -> Result<u64, ImageError> {
        let (store, pins, keep) = (self.store.clone(), self.pins.clone(), keep.to_vec());
        let freed = blocking(move || {
            garbage::collect(&store, &pins, &keep).map_err(|error| Failure::io("collect unused images", error))
        })
        .await
        .map_err(|failure| failure.about("", ""))?;
        self.empty_trash_later();
        Ok(freed)
    }
}
