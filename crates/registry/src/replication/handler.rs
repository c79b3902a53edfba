//! Turns changes of images into work for the worker.

use async_trait::async_trait;
use gantry_store::Txn;

use super::{Action, Status, StatusRow, WorkRow};
use crate::changes::{ChangeHandler, ChangeKind, ImageChange, Origin};
use crate::fault::RegistryError;
use crate::metadata::encode;
use crate::registry::Registry;

/// The handler of changes that replicates.
pub(crate) struct Replicate;

#[async_trait]
impl ChangeHandler for Replicate {
    fn name(&self) -> &'static str {
        "replication"
    }

    async fn handle(&self, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
        let (image, tags, action) = match &change.kind {
            ChangeKind::Pushed { image, tags, .. } => (image, tags, Action::Copy),
            ChangeKind::Deleted { image, tags, gone: false } => (image, tags, Action::DeleteTags),
            ChangeKind::Deleted { image, tags, gone: true } => (image, tags, Action::DeleteImage),
            // Repositories stay where they were copied to.
            ChangeKind::StorageClass { .. } | ChangeKind::RepositoryDeleted => return Ok(()),
        };
        let keys = &change.repository;
        let mut txn = Txn::new();
        if action == Action::DeleteImage {
            txn = txn.delete_prefix(keys.replicated(&image.digest));
        }
        // What was copied here is not copied on.
        if change.origin != Origin::Replication {
            let configuration = registry.replication(keys.scope()).await?;
            for (destination, deletes) in configuration.destinations_of(keys.name()) {
                if action != Action::Copy && !deletes {
                    continue;
                }
                let row = WorkRow { digest: image.digest.clone(), tags: tags.clone(), action, since_ms: change.at_ms };
                txn = txn.put(keys.replication_work(change.revision, &destination), encode(&row));
                if action == Action::Copy {
                    let status = StatusRow { status: Status::InProgress, failure_code: None };
                    let key = format!("{}{}", keys.replicated(&image.digest), destination.key());
                    txn = txn.put(key, encode(&status));
                }
            }
        }
        if !txn.then.is_empty() {
            registry.metadata.store.txn(txn).await?;
        }
        Ok(())
    }
}
