//! One copy: everything an image needs, then the image.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;

use super::destination::{Destination, ManifestToPut};
use super::{CopyError, Failure};
use crate::digest::Digest;
use crate::manifest::{Manifest, ReferenceKind};
use crate::metadata::RepositoryKeys;
use crate::name::{Reference, Tag};
use crate::registry::Registry;

/// How deep indexes may lie in indexes.
const DEPTH_MAX: usize = 8;

/// What came of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Copied {
    /// It is there.
    Done,
    /// The source does not have it any more.
    SourceGone,
}

/// A copy that failed: why, and the reasons of the images in the list.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) children: BTreeSet<&'static str>,
}

/// Copies an image, and those of the tags that point at it at the source. The outer error may go away by itself.
pub(crate) async fn copy_image(
    registry: &Registry,
    from: &RepositoryKeys,
    to: &dyn Destination,
    digest: &Digest,
    tags: &[Tag],
) -> Result<Result<Copied, Failed>, crate::fault::RegistryError> {
    let mut children = BTreeSet::new();
    let copied = match to.prepare().await {
        Ok(()) => copy(registry, from, to, digest, tags, &mut children, 0).await,
        Err(error) => Err(error),
    };
    match copied {
        Ok(copied) => Ok(Ok(copied)),
        Err(CopyError::Failed(failure)) => Ok(Err(Failed { failure, children })),
        Err(CopyError::Later(error)) => Err(error),
    }
}

fn copy<'a>(
    registry: &'a Registry,
    from: &'a RepositoryKeys,
    to: &'a dyn Destination,
    digest: &'a Digest,
    tags: &'a [Tag],
    failed_children: &'a mut BTreeSet<&'static str>,
    depth: usize,
) -> BoxFuture<'a, Result<Copied, CopyError>> {
    Box::pin(async move {
        let found = match registry.image_find(from, &Reference::Digest(digest.clone())).await {
            Err(crate::fault::RegistryError::RepositoryNotFound { .. }) => None,
            found => found?,
        };
        let Some(image) = found else { return Ok(Copied::SourceGone) };
        if depth >= DEPTH_MAX {
            return Err(failed("InvalidImage", "its indexes are nested too deeply"));
        }
        let bytes = registry.manifest_bytes(&image).await?;
        let manifest =
            Manifest::parse(&bytes, Some(&image.row.media_type)).map_err(crate::fault::RegistryError::from)?;
        // What has the manifest has what it needs.
        if !to.has_manifest(digest).await? {
            for (reference, (kind, _)) in manifest.references() {
                match kind {
                    ReferenceKind::Blob => to.take_blob(reference).await?,
                    ReferenceKind::Manifest => {
                        match copy(registry, from, to, reference, &[], failed_children, depth + 1).await {
                            Ok(Copied::Done) => {}
                            Ok(Copied::SourceGone) => {
                                failed_children.insert("ImageNotFound");
                                return Err(failed("ImageNotFound", "an image of the list is not there"));
                            }
                            Err(CopyError::Failed(failure)) => {
                                failed_children.insert(failure.code);
                                return Err(CopyError::Failed(failure));
                            }
                            Err(later) => return Err(later),
                        }
                    }
                }
            }
        }
        let mut current = Vec::new();
        for tag in tags {
            let pointer = registry.metadata.tag(from, tag).await?;
            if pointer.is_some_and(|pointer| pointer.row.digest == *digest) {
                current.push(tag.clone());
            }
        }
        let put = ManifestToPut { digest, media_type: &image.row.media_type, bytes: &bytes, tags: current };
        to.put_manifest(&put).await?;
        Ok(Copied::Done)
    })
}

fn failed(code: &'static str, why: &str) -> CopyError {
    CopyError::Failed(Failure { code, why: why.to_owned() })
}
