//! Backfills in the store: begun, stopped, listed.

use gantry_domain::arn::Scope;
use gantry_store::{Txn, TxnError};
use serde::{Deserialize, Serialize};

use super::backfill::{BackfillRow, BackfillStatus, RUNNING_MAX, ResultRow};
use super::config::Destination as Place;
use crate::fault::RegistryError;
use crate::metadata::{
    ATTEMPTS_MAX, Read, backfill_key, backfill_results, backfills_prefix, backfills_running_key, encode,
};
use crate::registry::Registry;

/// The backfills of a registry that run, by the region they copy to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunningRow {
    pub(super) ids: std::collections::BTreeMap<String, String>,
}

impl Registry {
    /// Begins a backfill and returns its id.
    pub async fn backfill_start(
        &self,
        scope: &Scope,
        destination: &Place,
    ) -> Result<(String, BackfillRow), RegistryError> {
        if !self.replication(scope).await?.has(destination) {
            let text = "The destination is not part of the replication configuration of the registry.";
            return Err(RegistryError::Validation(text.to_owned()));
        }
        let running_key = backfills_running_key(scope);
        for _ in 0..ATTEMPTS_MAX {
            let running = self.metadata.get::<RunningRow>(&running_key).await?;
            let revision = running.as_ref().map_or(0, |running| running.revision);
            let mut running = running.map(|running| running.row).unwrap_or_default();
            if running.ids.contains_key(&destination.region) {
                return Err(RegistryError::BackfillInProgress(destination.region.clone()));
            }
            if running.ids.len() >= RUNNING_MAX {
                let text = format!(
                    "The maximum number of replication backfills in progress, {RUNNING_MAX}, has been reached."
                );
                return Err(RegistryError::LimitExceeded(text));
            }
            let now_ms = self.now().as_millis();
            // Ids in the order of time, so that lists are.
            let random = *uuid::Uuid::new_v4().as_bytes();
            let random: [u8; 10] = std::array::from_fn(|index| random[index]);
            let id = uuid::Builder::from_unix_timestamp_millis(now_ms.unsigned_abs(), &random).into_uuid().to_string();
            running.ids.insert(destination.region.clone(), id.clone());
            let row = BackfillRow::new(destination.clone(), now_ms);
            let key = backfill_key(scope, &id);
            let txn = Txn::new()
                .require(&running_key, revision)
                .require_absent(&key)
                .put(&running_key, encode(&running))
                .put(&key, encode(&row));
            match self.metadata.store.txn(txn).await {
                Ok(_) => return Ok((id, row)),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Stops a backfill that is not yet at its end.
    pub async fn backfill_stop(&self, scope: &Scope, id: &str) -> Result<BackfillRow, RegistryError> {
        let key = backfill_key(scope, id);
        for _ in 0..ATTEMPTS_MAX {
            let Read { mut row, revision } = self.backfill_read(scope, id).await?;
            if !row.status.may_stop() {
                return Err(RegistryError::BackfillInvalidStatus(id.to_owned()));
            }
            row.status = BackfillStatus::Stopping;
            match self.metadata.store.txn(Txn::new().require(&key, revision).put(&key, encode(&row))).await {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// A backfill.
    pub async fn backfill(&self, scope: &Scope, id: &str) -> Result<BackfillRow, RegistryError> {
        Ok(self.backfill_read(scope, id).await?.row)
    }

    /// Backfills from the oldest on, after `after`; and whether there are more.
    pub async fn backfills(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, BackfillRow)>, bool), RegistryError> {
        self.metadata.page(&backfills_prefix(scope), after, limit, |id| Some(id.to_owned())).await
    }

    /// What came of the images of a backfill, in the order of their names; and whether there are more.
    pub async fn backfill_results(
        &self,
        scope: &Scope,
        id: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, ResultRow)>, bool), RegistryError> {
        self.metadata.page(&backfill_results(scope, id), after, limit, |key| Some(key.to_owned())).await
    }

    async fn backfill_read(&self, scope: &Scope, id: &str) -> Result<Read<BackfillRow>, RegistryError> {
        let found = self.metadata.get(&backfill_key(scope, id)).await?;
        found.ok_or_else(|| RegistryError::BackfillNotFound { id: id.to_owned(), registry: scope.account.clone() })
    }
}
