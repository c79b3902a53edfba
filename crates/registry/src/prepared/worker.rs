//! Makes prepared images, one layer at a time, at the lowest priority.
//!
//! A layer that another image of the repository has prepared already is not made again. What fails is tried again
//! later, a few times ([`crate::attempts`]): agents pull the layer itself meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use gantry_layers::prepared::{PreparedImage, PreparedLayer, chunks::TablePlace, pack};
use gantry_layers::{Layer, LayerError, Limits, erofs};
use gantry_store::{StoreError, Txn, TxnError};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::attempts::{Attempts, Failure, pause};
use crate::blobs::WriteMode;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::fault::RegistryError;
use crate::manifest::{Content, Descriptor, Manifest};
use crate::metadata::{RepositoryKeys, TO_PREPARE_PREFIX, encode, parse_to_prepare};
use crate::name::Reference;
use crate::registry::Registry;

/// Smaller layers are unpacked as quickly as they are mounted; agents do not ask for them.
const LAYER_BYTES_MIN: u64 = 256 << 10;
/// What agents take, too.
const LIMITS: Limits = Limits { bytes_max: 64 << 30, entries_max: 1_000_000 };
/// Longest image configuration that is read.
const CONFIGURATION_BYTES_MAX: u64 = 4 << 20;
/// Chunks on their way between the store and the thread that works.
const QUEUE: usize = 8;
const NICENESS: i32 = 19;

/// Why an image was not prepared.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("input/output failed")]
    Io(#[from] io::Error),
    #[error("image configuration: {0}")]
    Configuration(String),
}

impl Failure for Failed {
    const NOT_DONE: &'static str = "prepared";

    fn is_hopeless(&self) -> bool {
        matches!(self, Self::Layer(LayerError::Corrupt(_)) | Self::Configuration(_))
    }
}

#[derive(Deserialize)]
struct Configuration {
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    diff_ids: Vec<String>,
}

impl Registry {
    /// Prepares images until the future is dropped. Spawned once beside the server.
    pub async fn prepare_images(self: Arc<Self>) {
        while let Some(due) = self.due(TO_PREPARE_PREFIX).await {
            for (row, attempts) in due {
                if let Err(error) = self.prepare_row(&row.key, &attempts).await {
                    pause(&error).await;
                }
            }
        }
    }

    /// Prepares one image and writes down what became of it.
    async fn prepare_row(&self, row: &str, attempts: &Attempts) -> Result<(), StoreError> {
        let mut txn = Txn::new().delete(row);
        if let Some((keys, image)) = parse_to_prepare(row) {
            let began = std::time::Instant::now();
            match self.prepare(&keys, &image).await {
                Ok(0) => {}
                Ok(layers) => {
                    let seconds = began.elapsed().as_secs_f64();
                    tracing::info!(repository = %keys.name(), %image, layers, seconds, "image prepared");
                }
                Err(failed) => {
                    let attempts = self.note_failure(&keys, &image, attempts, &failed);
                    // Its image may go at any time, and with it these rows.
                    txn = Txn::new().require_exists(keys.image(&image));
                    txn = match attempts.not_before_ms.is_some() {
                        true => txn.put(row, encode(&attempts)),
                        false => txn.delete(row).put(keys.unprepared(&image), encode(&attempts)),
                    };
                }
            }
        }
        match self.metadata.store.txn(txn).await {
            Err(TxnError::Conflict { .. }) => match self.metadata.store.txn(Txn::new().delete(row)).await {
                Err(TxnError::Store(error)) => Err(error),
                _ => Ok(()),
            },
            Err(TxnError::Store(error)) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Prepares the large layers of an image and returns how many there are. An image that is gone has none.
    async fn prepare(&self, keys: &RepositoryKeys, image: &Digest) -> Result<usize, Failed> {
        let Some(found) = self.image_find(keys, &Reference::Digest(image.clone())).await? else { return Ok(0) };
        let bytes = self.manifest_bytes(&found).await?;
        let manifest = Manifest::parse(&bytes, Some(&found.row.media_type)).map_err(RegistryError::from)?;
        let Content::Image { config, layers } = manifest.content else { return Ok(0) };
        if !is_image_configuration(&config) || !layers.iter().any(is_large) {
            return Ok(0);
        }
        let configuration = self.read_whole(keys, &config.digest).await?;
        let configuration: Configuration =
            serde_json::from_slice(&configuration).map_err(|error| Failed::Configuration(error.to_string()))?;
        let diff_ids = configuration.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            return Err(Failed::Configuration(format!("{} layers, not {}", diff_ids.len(), layers.len())));
        }
        let mut prepared = PreparedImage::default();
        for (layer, diff_id) in layers.iter().zip(&diff_ids).filter(|(layer, _)| is_large(layer)) {
            let key = keys.prepared_layer(&layer.digest);
            let known = self.metadata.get::<PreparedLayer>(&key).await?.map(|known| known.row);
            let known = match known.filter(|known| known.diff_id == *diff_id && known.chunks.is_some()) {
                Some(known) if self.has(keys, &known.blob).await? => known,
                _ => {
                    let made = self.prepare_layer(keys, &layer.digest, diff_id).await?;
                    // Saves work when the next image has the layer too; nobody else reads it.
                    let _ = self.metadata.store.txn(Txn::new().put(key, encode(&made))).await;
                    made
                }
            };
            prepared.layers.push(known);
        }
        self.prepared_record(keys, image, &prepared).await?;
        Ok(prepared.layers.len())
    }

    async fn has(&self, keys: &RepositoryKeys, blob: &str) -> Result<bool, RegistryError> {
        let Ok(digest) = blob.parse() else { return Ok(false) };
        // Begins its grace anew, so that the collector leaves it until it is recorded.
        match self.blob_size(keys, &digest).await {
            Ok(_) => Ok(true),
            Err(RegistryError::BlobUnknown(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn read_whole(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<Vec<u8>, Failed> {
        let mut stream = self.blob_open(keys, digest, |_| None).await?;
        if stream.size() > CONFIGURATION_BYTES_MAX {
            return Err(Failed::Configuration(format!("{} bytes", stream.size())));
        }
        if let Some(bytes) = stream.take_memory() {
            return Ok(bytes.to_vec());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    /// Makes the packed image of one layer a blob of the repository.
    async fn prepare_layer(
        &self,
        keys: &RepositoryKeys,
        layer: &Digest,
        diff_id: &str,
    ) -> Result<PreparedLayer, Failed> {
        let mut stream = self.blob_open(keys, layer, |_| None).await?;
        let (input, chunks) = mpsc::channel::<Bytes>(QUEUE);
        let (output, mut frames) = mpsc::channel::<Bytes>(QUEUE);
        let (done, result) = oneshot::channel();
        let wanted = diff_id.to_owned();
        let scratch = self.config.prepare_in.clone().unwrap_or_else(std::env::temp_dir);
        // A thread of its own, because its priority stays low.
        std::thread::Builder::new().name("prepare-image".to_owned()).spawn(move || {
            // Without it the work is done all the same.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
            let _ = done.send(convert(Chunks { chunks, chunk: Bytes::new() }, &scratch, &wanted, &output));
        })?;
        let feed = async {
            if let Some(bytes) = stream.take_memory() {
                let _ = input.send(bytes).await;
            }
            while let Some(chunk) = stream.next().await {
                // The other end has gone: its result says why.
                if input.send(chunk?).await.is_err() {
                    break;
                }
            }
            drop(input);
            Ok::<(), Failed>(())
        };
        let take = async {
            let id = self.upload_start(keys, Algorithm::Sha256).await?;
            let mut upload = self.upload_open(keys, &id, WriteMode::Streaming).await?;
            let mut hasher = Hasher::new(Algorithm::Sha256);
            while let Some(frame) = frames.recv().await {
                hasher.update(&frame);
                upload.write(frame).await.map_err(RegistryError::from)?;
            }
            upload.acknowledge().await.map_err(RegistryError::from)?;
            Ok::<_, Failed>((id, upload, hasher.finish()))
        };
        let ((), (id, upload, digest)) = tokio::try_join!(feed, take)?;
        let converted = match result.await {
            Ok(converted) => converted,
            Err(_) => Err(LayerError::corrupt("the thread that prepares layers failed").into()),
        };
        let Converted { layer, image_size, chunks } = match converted {
            Ok(converted) => converted,
            Err(error) => {
                let _ = upload.cancel().await;
                return Err(error);
            }
        };
        let size = self.upload_commit(keys, &id, upload, &digest).await?;
        let (diff_id, blob) = (diff_id.to_owned(), digest.to_string());
        Ok(PreparedLayer { diff_id, blob, size, image_size, chunks: Some(chunks), layer })
    }
}

/// What the blocking part knows at its end.
struct Converted {
    layer: Layer,
    image_size: u64,
    chunks: TablePlace,
}

/// The blocking part: blob in, packed frames out.
fn convert(blob: Chunks, scratch: &Path, diff_id: &str, output: &mpsc::Sender<Bytes>) -> Result<Converted, Failed> {
    // Without a name: a crash leaves nothing.
    let image = tempfile::tempfile_in(scratch)?;
    let layer = erofs::write(blob, image.try_clone()?, diff_id, LIMITS)?;
    let mut image: File = image;
    let image_size = image.metadata()?.len();
    image.rewind()?;
    let chunks = pack(&mut image, &mut |frame| {
        output.blocking_send(frame.into()).map_err(|_| io::Error::other("nobody takes the prepared layer"))
    })?;
    Ok(Converted { layer, image_size, chunks })
}

fn is_large(layer: &Descriptor) -> bool {
    layer.size >= LAYER_BYTES_MIN
}

/// Other artifacts have layers, too, which are no filesystems.
fn is_image_configuration(config: &Descriptor) -> bool {
    matches!(
        config.media_type.as_str(),
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

/// A blob as it is read from the store.
struct Chunks {
    chunks: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                // Whether it was all of it, the layer's digest tells.
                None => return Ok(0),
            }
        }
        let length = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
