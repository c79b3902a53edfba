//! An import: a manifest from the source, with everything it refers to, becomes an image of the repository.
//!
//! Each manifest and each blob is brought once however many want it. Blobs are linked into the repository when they
//! are whole and durable, the manifest comes last: a crash leaves blobs that the next import finds, or the collector.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::remote::Fetched;
use super::upstreams::Credentials;
use super::{RemoteRepository, UpstreamError, client};
use crate::blobs::{Upload, WriteMode};
use crate::changes::{Actor, Origin};
use crate::digest::Digest;
use crate::fault::{LAYER_SIZE_MAX, RegistryError};
use crate::manifest::{Manifest, ReferenceKind};
use crate::metadata::RepositoryKeys;
use crate::name::{Reference, RepositoryName, Tag};
use crate::prefix::RepositoryPrefix;
use crate::push_image::{ImagePush, Repeated};
use crate::registry::Registry;
use crate::templates::AppliedFor;

/// Blobs of one manifest that are fetched at a time.
const BLOBS_AT_ONCE: usize = 3;
/// How deep indexes may lie in indexes.
const DEPTH_MAX: usize = 3;
/// An import of one manifest takes no longer than this.
const IMPORT_TIME_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// Tries of a blob that bring nothing new. One that brings something counts as none, so that a large layer arrives
/// over a bad line in the end.
const FRUITLESS_TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// Where images come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A repository of another registry of this Gantry.
    Ours(RepositoryKeys),
    /// A repository of a registry elsewhere.
    Remote {
        /// Where the registry answers.
        base: String,
        /// The repository there.
        repository: RepositoryName,
        /// Whom we are there.
        credentials: Option<Credentials>,
    },
}

/// What comes of an import, shared among all who wait for it.
pub(crate) type ImportResult = Result<Digest, Arc<RegistryError>>;

/// The program is ending, or a task of ours failed badly.
pub(crate) fn ending() -> Arc<RegistryError> {
    Arc::new(UpstreamError::Unavailable("the import was broken off".to_owned()).into())
}

/// The error of one who waited.
pub(crate) fn into_error(shared: Arc<RegistryError>) -> RegistryError {
    Arc::try_unwrap(shared).unwrap_or_else(|shared| match &*shared {
        RegistryError::Upstream(error) => RegistryError::Upstream(error.clone()),
        other => {
            tracing::warn!(error = other as &dyn std::error::Error, "an import failed");
            RegistryError::Upstream(UpstreamError::Unavailable("the import failed".to_owned()))
        }
    })
}

impl Registry {
    /// Makes `tag` point where it points upstream. `known` is where it points here.
    pub(super) async fn import_tag(
        &self,
        keys: &RepositoryKeys,
        source: &Source,
        tag: &Tag,
        known: Option<Digest>,
        prefix: &RepositoryPrefix,
    ) -> ImportResult {
        let work = async {
            let resolved = self.resolve(source, tag).await?;
            if resolved.is_some() && resolved == known {
                return Ok::<_, RegistryError>(resolved);
            }
            let fetched = self.fetch_manifest(source, &Reference::Tag(tag.clone())).await?;
            let digest = match &resolved {
                Some(digest) => digest.clone(),
                None => Digest::of(&fetched.bytes),
            };
            if known.as_ref() == Some(&digest) {
                return Ok(Some(digest));
            }
            self.import_fetched(keys, source, &digest, fetched, Some(tag), 0).await?;
            Ok(Some(digest))
        };
        let result = tokio::time::timeout(IMPORT_TIME_MAX, work).await;
        match result.unwrap_or_else(|_| Err(timed_out().into())) {
            Ok(digest) => {
                tracing::info!(repository = %keys.arn(), %tag, %prefix, "pulled through");
                digest.ok_or_else(ending)
            }
            Err(error) => Err(Arc::new(error)),
        }
    }

    /// Brings the manifest `digest` and everything it needs, `depth` indexes down. One for all who want it.
    pub(super) fn import<'a>(
        &'a self,
        keys: &RepositoryKeys,
        source: &Source,
        digest: &Digest,
        depth: usize,
    ) -> BoxFuture<'a, ImportResult> {
        let key = format!("{}@{digest}", keys.arn());
        let (registry, keys, source, digest) = (self.shared(), keys.clone(), source.clone(), digest.clone());
        let work = async move {
            let Some(registry) = registry else { return Err(ending()) };
            let work = registry.import_alone(keys, source, digest, depth);
            let result = tokio::time::timeout(IMPORT_TIME_MAX, work).await;
            result.unwrap_or_else(|_| Err(timed_out().into())).map_err(Arc::new)
        };
        let work: BoxFuture<'static, ImportResult> = Box::pin(work);
        Box::pin(async move { self.flights.join(key, || work).await.unwrap_or_else(|_| Err(ending())) })
    }

    async fn import_alone(
        &self,
        keys: RepositoryKeys,
        source: Source,
        digest: Digest,
        depth: usize,
    ) -> Result<Digest, RegistryError> {
        // Another import may have brought it since this one was wanted.
        if self.metadata.image(&keys, &digest).await?.is_none() {
            let fetched = self.fetch_manifest(&source, &Reference::Digest(digest.clone())).await?;
            self.import_fetched(&keys, &source, &digest, fetched, None, depth).await?;
        }
        Ok(digest)
    }

    async fn import_fetched(
        &self,
        keys: &RepositoryKeys,
        source: &Source,
        digest: &Digest,
        fetched: Fetched,
        tag: Option<&Tag>,
        depth: usize,
    ) -> Result<(), RegistryError> {
        let invalid = |why: String| RegistryError::from(UpstreamError::Invalid(why));
        if Digest::of_with(digest.algorithm(), &fetched.bytes) != *digest {
            return Err(invalid(format!("the manifest does not have the digest {digest}")));
        }
        let manifest = Manifest::parse(&fetched.bytes, fetched.media_type.as_deref());
        let manifest = manifest.map_err(|error| invalid(error.to_string()))?;
        if depth >= DEPTH_MAX {
            return Err(invalid("its indexes are nested too deeply".to_owned()));
        }
        if let Err(RegistryError::RepositoryNotFound { .. }) = self.metadata.repository(keys).await {
            let template = self.template_for(keys.scope(), keys.name(), AppliedFor::PullThroughCache).await?;
            self.repository_create_by_itself(keys, template.as_ref()).await?;
        }
        let references = manifest.references().into_iter();
        let references: Vec<_> = references.map(|(digest, (kind, size))| (digest.clone(), kind, size)).collect();
        let needed: Vec<BoxFuture<'_, ImportResult>> = references
            .iter()
            .map(|(digest, kind, size)| match kind {
                ReferenceKind::Blob => self.import_blob(keys, source, digest, *size),
                ReferenceKind::Manifest => self.import(keys, source, digest, depth + 1),
            })
            .collect();
        let brought = stream::iter(needed).buffer_unordered(BLOBS_AT_ONCE).try_for_each(|_| async { Ok(()) }).await;
        brought.map_err(into_error)?;
        let push = ImagePush {
            manifest: fetched.bytes,
            media_type: Some(manifest.media_type),
            digest: Some(digest.clone()),
            tags: tag.cloned().into_iter().collect(),
            repeated: Repeated::Accept,
            actor: Actor::registry(Origin::PullThrough),
            sign: Vec::new(),
        };
        match self.image_push(keys, &push).await {
            // The tag does not move: the image it has stays, and this one is not kept.
            Err(RegistryError::TagImmutable { .. }) => Ok(()),
            pushed => pushed.map(drop),
        }
    }

    /// Brings a blob, unless the repository has it. One for all who want it.
    fn import_blob<'a>(
        &'a self,
        keys: &RepositoryKeys,
        source: &Source,
        digest: &Digest,
        size: u64,
    ) -> BoxFuture<'a, ImportResult> {
        let key = format!("{}/{digest}", keys.arn());
        let (registry, keys, source, digest) = (self.shared(), keys.clone(), source.clone(), digest.clone());
        let work = async move {
            let Some(registry) = registry else { return Err(ending()) };
            let brought = registry.import_blob_alone(&keys, &source, &digest, size).await;
            brought.map(|()| digest).map_err(Arc::new)
        };
        let work: BoxFuture<'static, ImportResult> = Box::pin(work);
        Box::pin(async move { self.flights.join(key, || work).await.unwrap_or_else(|_| Err(ending())) })
    }

    async fn import_blob_alone(
        &self,
        keys: &RepositoryKeys,
        source: &Source,
        digest: &Digest,
        size: u64,
    ) -> Result<(), RegistryError> {
        match self.blob_size(keys, digest).await {
            Ok(_) => return Ok(()),
            Err(RegistryError::BlobUnknown(_)) => {}
            Err(error) => return Err(error),
        }
        match source {
            Source::Ours(from) => match self.blob_mount(keys, digest, from).await? {
                true => Ok(()),
                false => Err(UpstreamError::NotFound.into()),
            },
            Source::Remote { base, repository, credentials } => {
                if size > LAYER_SIZE_MAX {
                    return Err(RegistryError::LayerTooLarge);
                }
                let from =
                    RemoteRepository::new(&self.upstream_client, base, Some(repository.clone()), credentials.clone());
                let id = self.upload_start(keys, digest.algorithm()).await?;
                let mut upload = self.upload_open(keys, &id, WriteMode::Streaming).await?;
                match receive(&from, digest, size, &mut upload).await {
                    Ok(()) => {}
                    Err(error) => {
                        let _ = upload.cancel().await;
                        return Err(error);
                    }
                }
                match self.upload_commit(keys, &id, upload, digest).await {
                    Err(RegistryError::LayerDigestMismatch { .. }) => {
                        Err(UpstreamError::Invalid(format!("a blob does not have the digest {digest}")).into())
                    }
                    committed => committed.map(drop),
                }
            }
        }
    }

    /// Where a tag points at the source; none when it does not say.
    async fn resolve(&self, source: &Source, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        match source {
            Source::Ours(from) => match self.metadata.tag(from, tag).await? {
                Some(pointer) => Ok(Some(pointer.row.digest)),
                None => Err(UpstreamError::NotFound.into()),
            },
            Source::Remote { base, repository, credentials } => {
                let from =
                    RemoteRepository::new(&self.upstream_client, base, Some(repository.clone()), credentials.clone());
                Ok(from.resolve(tag.as_str()).await?)
            }
        }
    }

    async fn fetch_manifest(&self, source: &Source, reference: &Reference) -> Result<Fetched, RegistryError> {
        match source {
            Source::Ours(from) => {
                let found = match self.image_find(from, reference).await {
                    Err(RegistryError::RepositoryNotFound { .. }) => None,
                    found => found?,
                };
                let image = found.ok_or(UpstreamError::NotFound)?;
                let bytes = self.manifest_bytes(&image).await?;
                Ok(Fetched { bytes, media_type: Some(image.row.media_type) })
            }
            Source::Remote { base, repository, credentials } => {
                let from =
                    RemoteRepository::new(&self.upstream_client, base, Some(repository.clone()), credentials.clone());
                let text = match reference {
                    Reference::Tag(tag) => tag.as_str(),
                    Reference::Digest(digest) => digest.as_str(),
                };
                Ok(from.manifest(text).await?)
            }
        }
    }
}

/// Moves a blob from an upstream into an upload, going on where a broken connection left off.
async fn receive(
    from: &RemoteRepository<'_>,
    digest: &Digest,
    size: u64,
    upload: &mut Box<dyn Upload>,
) -> Result<(), RegistryError> {
    let mut fruitless = 0;
    while upload.offset() < size || size == 0 {
        let before = upload.offset();
        let broken = match receive_once(from, digest, size, upload.as_mut()).await {
            Ok(()) if upload.offset() == size => return Ok(()),
            Ok(()) => UpstreamError::Unavailable("the connection ended early".to_owned()),
            Err(RegistryError::Upstream(error @ UpstreamError::Unavailable(_))) => error,
            Err(error) => return Err(error),
        };
        fruitless = if upload.offset() > before { 0 } else { fruitless + 1 };
        if fruitless >= FRUITLESS_TRIES_MAX {
            return Err(broken.into());
        }
        tracing::debug!(%digest, received = upload.offset(), size, error = %broken, "going on with a blob");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn receive_once(
    from: &RemoteRepository<'_>,
    digest: &Digest,
    size: u64,
    upload: &mut dyn Upload,
) -> Result<(), RegistryError> {
    let had = upload.offset();
    let (mut response, continues) = from.blob(digest, had).await?;
    // An upstream that cannot begin in the middle sends again what is here already.
    let mut skip = if continues { 0 } else { had };
    loop {
        let chunk = response.chunk().await.map_err(|error| UpstreamError::Unavailable(client::chain(&error)))?;
        let Some(mut chunk) = chunk else { return Ok(()) };
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        let chunk = chunk.split_off(skipped);
        skip -= skipped as u64;
        if upload.offset() + chunk.len() as u64 > size {
            return Err(UpstreamError::Invalid(format!("the blob {digest} has more than its {size} bytes")).into());
        }
        if !chunk.is_empty() {
            upload.write(chunk).await?;
        }
    }
}

fn timed_out() -> UpstreamError {
    UpstreamError::Unavailable("the import took too long".to_owned())
}
