//! What changed in the images of a repository, kept until everybody who acts on it has: an outbox.
//!
//! Every push, tag move and deletion writes a row below `/ecr/changes/` in its own transaction, so a change that was
//! acknowledged is never forgotten, and one that failed never told. [`worker`] hands the rows to [`handlers`].
//!
//! What must hold:
//! * at least once: a row goes only when every handler has returned `Ok` (or was given up on, see `worker`), so a
//!   handler may see a change again after a crash and must be idempotent;
//! * in order within a repository: the order of the transactions;
//! * a handler that fails holds up its repository and no other.
//!
//! A handler does little: what may take long, it writes down as work of its own.

mod events;
mod lane;
mod referrers;
pub mod worker;

use async_trait::async_trait;
use gantry_store::{KeyValue, Revision, Txn};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{RepositoryKeys, encode, parse_change};
use crate::name::Tag;
use crate::registry::Registry;

/// Everybody who acts on changes; none waits for another. A new one is one line.
pub(crate) fn handlers() -> Vec<Box<dyn ChangeHandler>> {
    vec![
        Box::new(events::ImageActions),
        Box::new(crate::scanning::OnPush),
        Box::new(crate::prepared::Preparation),
        Box::new(crate::replication::Replicate),
        Box::new(referrers::OrphanedReferrers),
    ]
}

/// Somebody who acts on changes.
#[async_trait]
pub trait ChangeHandler: Send + Sync {
    /// For logs.
    fn name(&self) -> &'static str;

    /// Takes in one change. It comes again after an error, and it may come again after a crash.
    async fn handle(&self, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError>;
}

/// What brought a change about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Origin {
    /// A request.
    #[default]
    Client,
    /// A copy that came from, or a deletion that was asked for by, another registry.
    Replication,
    /// An image fetched from an upstream registry.
    PullThrough,
    /// A lifecycle policy.
    Lifecycle,
    /// The image's subject is gone.
    SubjectDeleted,
    /// Gantry itself: a signature, an artifact that it makes for its own use.
    Gantry,
}

/// On whose behalf an image is pushed or deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// ARN of the principal; what `origin` says, when nobody asked.
    pub arn: String,
    /// What brought it about.
    pub origin: Origin,
}

impl Actor {
    /// A principal that sent a request.
    pub fn client(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), origin: Origin::Client }
    }

    /// The registry itself.
    pub fn registry(origin: Origin) -> Self {
        let arn = match origin {
            Origin::Client | Origin::Gantry => "gantry",
            Origin::Replication => "replication.ecr.amazonaws.com",
            Origin::PullThrough => "pullthroughcache.ecr.amazonaws.com",
            Origin::Lifecycle => "lifecycle.ecr.amazonaws.com",
            Origin::SubjectDeleted => "ecr.amazonaws.com",
        };
        Self { arn: arn.to_owned(), origin }
    }
}

/// A change of one repository's images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// Unique, and the same whenever this change is told again.
    pub id: String,
    /// The repository.
    pub repository: RepositoryKeys,
    /// The transaction that made it: the order of changes.
    pub revision: Revision,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// ARN of who asked for it.
    pub actor: String,
    /// What brought it about.
    pub origin: Origin,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A manifest came, or tags were pointed at one that was there.
    Pushed {
        /// The image.
        image: ChangedImage,
        /// The tags that now point at it and did not before.
        tags: Vec<Tag>,
        /// Whether the repository did not have it before.
        new: bool,
    },
    /// Tags went, or the image with them.
    Deleted {
        /// The image.
        image: ChangedImage,
        /// The tags that are gone.
        tags: Vec<Tag>,
        /// Whether the image went too.
        gone: bool,
    },
    /// The image was archived, or made active again.
    StorageClass {
        /// The image.
        image: ChangedImage,
        /// Its tags.
        tags: Vec<Tag>,
        /// Whether it cannot be pulled from now on.
        archived: bool,
    },
    /// The repository was deleted with everything in it.
    RepositoryDeleted,
}

/// What is told of the image that changed: enough to act without reading it, also when it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedImage {
    /// Its digest.
    pub digest: Digest,
    /// Its manifest's media type.
    pub media_type: String,
    /// `artifactType`, or the configuration's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifest it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// Whether it is a list of manifests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_index: bool,
}

/// A change as it is stored; the rest is in its key.
#[derive(Debug, Serialize, Deserialize)]
struct ChangeRow {
    at_ms: i64,
    actor: String,
    #[serde(default)]
    origin: Origin,
    kind: ChangeKind,
}

impl Registry {
    /// Adds the row of a change to the transaction that makes it. Call it after the reads the transaction rests on.
    pub(crate) fn record(&self, txn: Txn, keys: &RepositoryKeys, actor: &Actor, kind: ChangeKind) -> Txn {
        let row = ChangeRow { at_ms: self.now().as_millis(), actor: actor.arn.clone(), origin: actor.origin, kind };
        txn.put(keys.change(self.metadata.store.revision(), self.change_numbers.next()), encode(&row))
    }
}

/// The change a row holds.
fn decode(kv: &KeyValue) -> Option<ImageChange> {
    let (repository, id) = parse_change(&kv.key)?;
    let ChangeRow { at_ms, actor, origin, kind } = serde_json::from_slice(&kv.value).ok()?;
    Some(ImageChange { id: id.to_owned(), repository, revision: kv.create_revision, at_ms, actor, origin, kind })
}

/// Numbers that make the keys of changes unique, also among processes that share a store.
#[derive(Debug)]
pub(crate) struct ChangeNumbers(std::sync::atomic::AtomicU64);

impl Default for ChangeNumbers {
    fn default() -> Self {
        let (start, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self(start.into())
    }
}

impl ChangeNumbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}
