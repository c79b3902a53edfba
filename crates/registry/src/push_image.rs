//! Pushing a manifest: `PUT /v2/…/manifests/…` and `PutImage` both end here.
//!
//! The manifest's bytes are made durable first; then one transaction writes the image, its tags, its references and
//! its referrer entry, on the condition that everything it was decided on is still so. When somebody was faster, all
//! is read and decided again: of two pushes of one immutable tag exactly one wins.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gantry_store::{Txn, TxnError};

use crate::changes::{Actor, ChangeKind};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::manifest::{Manifest, ManifestError, ReferenceKind};
use crate::metadata::{
    ATTEMPTS_MAX, ImageRow, LinkRow, Read, ReferrerRow, RepositoryKeys, RepositoryRow, TagRow, encode,
};
use crate::name::Tag;
use crate::quotas::Room;
use crate::registry::Registry;
use crate::signing::{self, NewJob, SIGNATURE_TYPE, SigningOrder};
use crate::storage_class::with_status;

/// Most tags one image may have, as the real service has it. What handles all of them does so in several transactions.
pub const TAGS_PER_IMAGE_MAX: usize = 1000;
/// Annotations up to this many bytes are kept in the referrer's row; longer ones are read from its manifest.
const ANNOTATIONS_IN_ROW_MAX: usize = 16 * 1024;

/// A manifest to push.
#[derive(Debug, Clone)]
pub struct ImagePush {
    /// Its bytes.
    pub manifest: Bytes,
    /// The media type of the request.
    pub media_type: Option<String>,
    /// The digest it must have.
    pub digest: Option<Digest>,
    /// Tags to point at it.
    pub tags: Vec<Tag>,
    /// What to do when nothing would change.
    pub repeated: Repeated,
    /// On whose behalf.
    pub actor: Actor,
    /// With what it is to be signed.
    pub sign: Vec<SigningOrder>,
}

/// What a push that would change nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// A success, as the OCI routes have it.
    Accept,
    /// An error, as PutImage has it.
    Refuse,
}

/// A manifest that was pushed.
#[derive(Debug, Clone)]
pub struct PushedImage {
    /// Its digest.
    pub digest: Digest,
    /// The media type it is stored with.
    pub media_type: String,
    /// What it is about.
    pub subject: Option<Digest>,
}

/// Everything a push is decided on, with the revisions it was read at.
struct Seen {
    repository: Read<RepositoryRow>,
    image: Option<Read<ImageRow>>,
    tags: BTreeMap<Tag, Option<Read<TagRow>>>,
    /// Entries that the history of each of them has.
    history: BTreeMap<Tag, u64>,
    /// Images that lose a tag.
    former: BTreeMap<Digest, Read<ImageRow>>,
    links: BTreeMap<Digest, Read<LinkRow>>,
    children: BTreeMap<Digest, Read<ImageRow>>,
    /// For a new image.
    room: Option<Room>,
    /// What of the signing that was ordered is to begin.
    signings: Vec<NewJob>,
}

impl Registry {
    /// Pushes a manifest whose blobs are in the repository.
    pub async fn image_push(&self, keys: &RepositoryKeys, push: &ImagePush) -> Result<PushedImage, RegistryError> {
        self.metadata.repository(keys).await?;
        let manifest = Manifest::parse(&push.manifest, push.media_type.as_deref())?;
        let digest = self.check_digest(push)?;
        let pushed = PushedImage {
            digest: digest.clone(),
            media_type: manifest.media_type.clone(),
            subject: manifest.subject.clone(),
        };
        let _committing = self.commits.committing(&digest).await;
        let mut stored = false;
        for _ in 0..ATTEMPTS_MAX {
            let seen = self.look(keys, &manifest, &digest, push).await?;
            if seen.is_there_already(&digest) {
                if push.repeated == Repeated::Refuse {
                    return Err(already_exists(keys, &digest, push.tags.first()));
                }
                if seen.signings.is_empty() && self.is_readable(&digest, &seen).await? {
                    return Ok(pushed);
                }
            }
            let txn = self.plan(keys, &manifest, &digest, push, &seen)?;
            if !stored {
                self.blobs.put(&digest, push.manifest.clone()).await?;
                stored = true;
            }
            match self.metadata.store.txn(txn).await {
                Ok(_) => return Ok(pushed),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    fn check_digest(&self, push: &ImagePush) -> Result<Digest, RegistryError> {
        let Some(given) = &push.digest else { return Ok(Digest::of(&push.manifest)) };
        let computed = Digest::of_with(given.algorithm(), &push.manifest);
        if computed == *given {
            Ok(computed)
        } else {
            Err(RegistryError::ImageDigestMismatch { given: given.to_string(), computed })
        }
    }

    /// Reads everything the decision needs; refuses when a reference is missing.
    async fn look(
        &self,
        keys: &RepositoryKeys,
        manifest: &Manifest,
        digest: &Digest,
        push: &ImagePush,
    ) -> Result<Seen, RegistryError> {
        let repository = self.repository_for_push(keys).await?;
        let (links, children) = self.look_at_references(keys, manifest).await?;
        let image = self.metadata.image(keys, digest).await?;
        let mut seen = Seen {
            repository,
            room: match image {
                Some(_) => None,
                None => Some(self.room_for_image(keys, digest).await?),
            },
            image,
            tags: BTreeMap::new(),
            history: BTreeMap::new(),
            former: BTreeMap::new(),
            links,
            children,
            signings: match manifest.effective_artifact_type() {
                Some(SIGNATURE_TYPE) => Vec::new(),
                _ => self.jobs_to_begin(keys, digest, &push.sign).await?,
            },
        };
        for tag in &push.tags {
            let pointer = self.metadata.tag(keys, tag).await?;
            if let Some(Read { row, .. }) = &pointer
                && row.digest != *digest
                && !seen.former.contains_key(&row.digest)
                && let Some(former) = self.metadata.image(keys, &row.digest).await?
            {
                seen.former.insert(row.digest.clone(), former);
            }
            seen.history.insert(tag.clone(), self.history_length(keys, tag, pointer.as_ref()).await?);
            seen.tags.insert(tag.clone(), pointer);
        }
        Ok(seen)
    }

    async fn look_at_references(
        &self,
        keys: &RepositoryKeys,
        manifest: &Manifest,
    ) -> Result<(BTreeMap<Digest, Read<LinkRow>>, BTreeMap<Digest, Read<ImageRow>>), RegistryError> {
        let (mut links, mut children) = (BTreeMap::new(), BTreeMap::new());
        let (mut missing_layers, mut missing_images) = (Vec::new(), Vec::new());
        for (digest, (kind, declared)) in manifest.references() {
            let stored = match kind {
                ReferenceKind::Blob => self.usable_link(keys, digest).await?.map(|link| {
                    let size = link.row.size;
                    links.insert(digest.clone(), link);
                    size
                }),
                ReferenceKind::Manifest => self.metadata.image(keys, digest).await?.map(|image| {
                    let size = image.row.manifest_size;
                    children.insert(digest.clone(), image);
                    size
                }),
            };
            match (stored, kind) {
                (Some(stored), _) if stored == declared => {}
                (Some(stored), _) => {
                    return Err(ManifestError::DescriptorSize { digest: digest.clone(), declared, stored }.into());
                }
                (None, ReferenceKind::Blob) => missing_layers.push(digest.clone()),
                (None, ReferenceKind::Manifest) => missing_images.push(digest.clone()),
            }
        }
        let (name, registry) = (keys.name().to_string(), keys.scope().account.clone());
        if !missing_layers.is_empty() {
            // An index may list blobs beside manifests (a build cache): all that is missing is told at once.
            missing_layers.append(&mut missing_images);
            return Err(RegistryError::LayersNotFound { digests: missing_layers, name, registry });
        }
        if !missing_images.is_empty() {
            return Err(RegistryError::ReferencedImagesNotFound { digests: missing_images, name, registry });
        }
        Ok((links, children))
    }

    /// Whether the bytes of an image that is there already can really be read.
    async fn is_readable(&self, digest: &Digest, seen: &Seen) -> Result<bool, RegistryError> {
        let Some(Read { row, revision }) = seen.image.clone() else { return Ok(false) };
        match self.manifest_bytes(&FoundImage { digest: digest.clone(), row, revision }).await {
            Ok(_) => Ok(true),
            Err(RegistryError::BlobUnknown(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The transaction that makes it so.
    fn plan(
        &self,
        keys: &RepositoryKeys,
        manifest: &Manifest,
        digest: &Digest,
        push: &ImagePush,
        seen: &Seen,
    ) -> Result<Txn, RegistryError> {
        let row = self.image_row(manifest, push, seen);
        if row.tags.len() > TAGS_PER_IMAGE_MAX {
            return Err(RegistryError::TooManyImageTags {
                tag: push.tags.last().map(Tag::to_string).unwrap_or_default(),
                name: keys.name().to_string(),
                registry: keys.scope().account.clone(),
            });
        }
        let image_key = keys.image(digest);
        let mut txn = Txn::new()
            .require(keys.repository(), seen.repository.revision)
            .require(&image_key, seen.image.as_ref().map_or(0, |image| image.revision))
            .put(&image_key, encode(&row));
        let mut moved = Vec::new();
        txn = self.plan_tags(txn, keys, digest, push, seen, &mut moved)?;
        txn = plan_references(txn, keys, digest, seen, self.now().as_millis());
        if let Some(room) = &seen.room {
            txn = room.take(txn);
        }
        txn = signing::beginning(txn, keys, digest, &seen.signings);
        if seen.image.is_none() {
            txn = txn.put(keys.holder(digest), Bytes::from_static(b"{}"));
            if let Some(subject) = &manifest.subject {
                let referrer = encode(&referrer_row(manifest, push.manifest.len()));
                txn = txn.put(keys.referrer(subject, digest), referrer);
            }
        }
        if seen.image.is_some() && moved.is_empty() {
            // Its bytes were lost and are back, or it was archived, or is to be signed; its tags are what they were.
            return Ok(txn);
        }
        let kind = ChangeKind::Pushed { image: row.changed(digest), tags: moved, new: seen.image.is_none() };
        Ok(self.record(txn, keys, &push.actor, kind))
    }

    /// Points the tags at the image and takes them from those that had them; refuses to move an immutable one. The
    /// tags that did not point there before come to `moved`.
    fn plan_tags(
        &self,
        mut txn: Txn,
        keys: &RepositoryKeys,
        digest: &Digest,
        push: &ImagePush,
        seen: &Seen,
        moved: &mut Vec<Tag>,
    ) -> Result<Txn, RegistryError> {
        let repository = &seen.repository.row;
        let mut former = seen.former.clone();
        for (tag, pointer) in &seen.tags {
            let key = keys.tag(tag);
            txn = txn.require(&key, pointer.as_ref().map_or(0, |pointer| pointer.revision));
            match pointer {
                Some(pointer) if pointer.row.digest == *digest => continue,
                Some(pointer) => {
                    if !repository.mutability.allows_moving(&repository.mutability_filters, tag.as_str()) {
                        return Err(RegistryError::TagImmutable { tag: tag.clone(), name: keys.name().to_string() });
                    }
                    if let Some(image) = former.get_mut(&pointer.row.digest) {
                        image.row.tags.remove(tag);
                    }
                }
                None => {}
            }
            let length = seen.history.get(tag).copied().unwrap_or_default();
            txn = txn.put(&key, encode(&TagRow { digest: digest.clone(), entries: length + 1 }));
            txn = self.remember(txn, keys, tag, length, Some(digest), &push.actor);
            moved.push(tag.clone());
        }
        for (digest, image) in former {
            let key = keys.image(&digest);
            // An image can be both a child of the new index and the former owner of a tag; its row is then written
            // once.
            txn = txn.require(&key, image.revision).put(&key, encode(&image.row));
        }
        Ok(txn)
    }

    fn image_row(&self, manifest: &Manifest, push: &ImagePush, seen: &Seen) -> ImageRow {
        if let Some(image) = &seen.image {
            // Pushing an archived image brings it back.
            let mut row = match image.row.archived {
                true => with_status(&image.row, false, self.now().as_millis()),
                false => image.row.clone(),
            };
            row.tags.extend(push.tags.iter().cloned());
            return row;
        }
        let largest_child = || seen.children.values().map(|child| child.row.image_size).max().unwrap_or(0);
        let content_size = manifest.content_size();
        ImageRow {
            media_type: manifest.media_type.clone(),
            manifest_size: push.manifest.len() as u64,
            image_size: content_size.unwrap_or_else(largest_child),
            pushed_at_ms: self.now().as_millis(),
            pulled_at_ms: None,
            artifact_type: manifest.effective_artifact_type().map(str::to_owned),
            subject: manifest.subject.clone(),
            is_index: content_size.is_none(),
            archived: false,
            archived_at_ms: None,
            activated_at_ms: None,
            tags: BTreeSet::from_iter(push.tags.iter().cloned()),
        }
    }
}

impl Seen {
    /// Whether the image is here and every tag points at it.
    fn is_there_already(&self, digest: &Digest) -> bool {
        self.image.as_ref().is_some_and(|image| !image.row.archived)
            && self.tags.values().all(|pointer| pointer.as_ref().is_some_and(|pointer| pointer.row.digest == *digest))
    }
}

/// Records what the image needs, for a new image; and makes sure that it is still there.
fn plan_references(mut txn: Txn, keys: &RepositoryKeys, digest: &Digest, seen: &Seen, now_ms: i64) -> Txn {
    for (reference, link) in &seen.links {
        let key = keys.blob(reference);
        txn = txn.require(&key, link.revision);
        // The collector looks for references only after clearing this mark; setting it again stops the collector.
        if !link.row.used {
            txn = txn.put(&key, encode(&LinkRow { used: true, ..link.row.clone() }));
        }
    }
    for (reference, child) in &seen.children {
        let key = keys.image(reference);
        if seen.former.contains_key(reference) || reference == digest {
            continue;
        }
        // Rewritten: a deletion of the child that is under way then fails and sees the reference. What a list in use
        // needs is in use.
        let row = if child.row.archived { with_status(&child.row, false, now_ms) } else { child.row.clone() };
        txn = txn.require(&key, child.revision).put(&key, encode(&row));
    }
    if seen.image.is_none() {
        for reference in seen.links.keys().chain(seen.children.keys()) {
            txn = txn.put(keys.used_by(reference, digest), Bytes::from_static(b"{}"));
        }
    }
    txn
}

fn referrer_row(manifest: &Manifest, size: usize) -> ReferrerRow {
    let annotations = &manifest.annotations;
    let length: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    ReferrerRow {
        media_type: manifest.media_type.clone(),
        size: size as u64,
        artifact_type: manifest.effective_artifact_type().map(str::to_owned),
        annotations: (length <= ANNOTATIONS_IN_ROW_MAX).then(|| annotations.clone()),
    }
}

fn already_exists(keys: &RepositoryKeys, digest: &Digest, tag: Option<&Tag>) -> RegistryError {
    RegistryError::ImageAlreadyExists {
        digest: digest.clone(),
        tag: tag.map_or_else(|| "null".to_owned(), Tag::to_string),
        name: keys.name().to_string(),
        registry: keys.scope().account.clone(),
    }
}
