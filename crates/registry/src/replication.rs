//! Replication: images that are pushed here are copied to registries of other regions and accounts.
//!
//! ```text
//! push, tag, deletion ── change (`crate::changes`) ── handler ── work row ── worker ── destination
//! StartReplicationBackfill ── backfill row ────────────────────── runner ──────┘
//! ```
//!
//! The handler only writes down what is to be done, in one transaction with the status that says so. The worker
//! ([`worker`]) does it, through a [`destination::Destination`], and takes the row away when it is done. Every step
//! may be repeated: after a crash the work goes on where it was.
//!
//! What must hold:
//! * what arrives by replication is never replicated again (`Origin::Replication`);
//! * children of an index arrive before the index;
//! * a copy asks the source what a tag points at when it is made, so that copies that come late do no harm;
//! * work for one repository and destination is done in the order of the changes.

pub mod backfill;
mod backfill_runner;
mod backfills;
pub mod config;
mod copy;
mod destination;
mod handler;
mod worker;

use gantry_api::event::Event;
use gantry_domain::arn::Scope;
use gantry_store::Txn;
use serde::{Deserialize, Serialize};

use crate::access::Target;
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{RepositoryKeys, encode, replication_key};
use crate::name::Tag;
use crate::registry::Registry;

pub use config::{Destination as Place, ReplicationRow, Rule};
pub(crate) use handler::Replicate;

/// How far the replication of an image to one destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// To be done.
    InProgress,
    /// Done.
    Complete,
    /// Given up.
    Failed,
}

/// The status of an image at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRow {
    /// How far it is.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
}

/// Something to be done at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkRow {
    pub(crate) digest: Digest,
    /// The tags to set or to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Tag>,
    pub(crate) action: Action,
    /// When the change happened, in milliseconds since the epoch.
    pub(crate) since_ms: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Copy the image with those of its tags.
    Copy,
    /// Remove the tags.
    DeleteTags,
    /// Remove the image.
    DeleteImage,
}

/// Why something could not be done at a destination.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// Trying again would end the same way.
    Failed(Failure),
    /// It may go well another time.
    Later(RegistryError),
}

/// A failure, as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    /// For the log.
    pub(crate) why: String,
}

impl From<RegistryError> for CopyError {
    fn from(error: RegistryError) -> Self {
        let code = match &error {
            RegistryError::Denied(_) => "AccessDenied",
            RegistryError::LimitExceeded(_) | RegistryError::TooManyImageTags { .. } => "LimitExceeded",
            RegistryError::RepositoryNotFound { .. } => "RepositoryNotFound",
            RegistryError::BlobUnknown(_) | RegistryError::LayersNotFound { .. } => "LayerNotFound",
            RegistryError::ReferencedImagesNotFound { .. } => "ImageNotFound",
            RegistryError::Manifest(_) => "InvalidImage",
            _ => return Self::Later(error),
        };
        Self::Failed(Failure { code, why: error.to_string() })
    }
}

impl Registry {
    /// The replication configuration; an empty one when there is none.
    pub async fn replication(&self, scope: &Scope) -> Result<ReplicationRow, RegistryError> {
        let found = self.metadata.get::<ReplicationRow>(&replication_key(scope)).await?;
        Ok(found.map(|found| found.row).unwrap_or_default())
    }

    /// Replaces the replication configuration, which has been checked.
    pub async fn replication_put(&self, scope: &Scope, row: &ReplicationRow) -> Result<(), RegistryError> {
        let key = replication_key(scope);
        let txn = if row.rules.is_empty() { Txn::new().delete(&key) } else { Txn::new().put(&key, encode(row)) };
        self.metadata.store.txn(txn).await?;
        Ok(())
    }

    /// How far the replication of an image is, by destination.
    pub async fn replication_statuses(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<Vec<(Place, StatusRow)>, RegistryError> {
        let prefix = keys.replicated(digest);
        let (rows, _) = self.metadata.page(&prefix, None, config::DESTINATIONS_MAX, Place::from_key).await?;
        Ok(rows)
    }

    /// Refuses what the source's account may not do in the destination's registry.
    pub(crate) async fn may_replicate(
        &self,
        from: &RepositoryKeys,
        to: &RepositoryKeys,
        action: &'static str,
    ) -> Result<(), RegistryError> {
        let source = gantry_api::Caller::root(&*from.scope().account, &*to.scope().region);
        self.authorize(&source, action.into(), Target::Repository(to)).await
    }

    /// Tells who listens that an image was copied, or that it could not be.
    fn tell_replicated(&self, from: &RepositoryKeys, to: &Place, digest: &Digest, tag: Option<&Tag>, ok: bool) {
        let to = RepositoryKeys::new(&Scope::new(&*to.account, &*to.region), from.name());
        let mut detail = serde_json::json!({
            "result": if ok { "SUCCESS" } else { "FAILURE" },
            "repository-name": from.name().as_str(),
            "image-digest": digest.as_str(),
            "source-account": from.scope().account,
            "source-region": from.scope().region,
            "action-type": "REPLICATE",
        });
        if let Some(tag) = tag {
            detail["image-tag"] = tag.as_str().into();
        }
        // A copy is news at its destination; that there is none is news here.
        let told_to = if ok { &to } else { from };
        self.events.emit(Event {
            id: uuid::Uuid::new_v4().to_string(),
            source: "aws.ecr".to_owned(),
            detail_type: "ECR Replication Action".to_owned(),
            account: told_to.scope().account.clone(),
            region: told_to.scope().region.clone(),
            time_ms: self.now().as_millis(),
            resources: vec![told_to.arn()],
            detail,
        });
    }
}
