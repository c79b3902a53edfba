//! How far the follower has told: a row beside the records, so that a restart goes on from there.

use gantry_domain::Timestamp;
use gantry_store::{Revision, Store, StoreError, Txn, TxnError};
use serde::{Deserialize, Serialize};

/// Not below [`crate::keys::PREFIX`]: the follower does not follow itself.
const KEY: &str = "/ecs-events/position";

/// Everything up to here was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) revision: Revision,
    at_ms: i64,
}

impl Position {
    pub(super) fn new(revision: Revision, at: Timestamp) -> Self {
        Self { revision, at_ms: at.as_millis() }
    }

    /// When it was reached.
    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_millis(self.at_ms)
    }

    /// The position that was kept last.
    pub(super) async fn read(store: &Store) -> Result<Option<Self>, StoreError> {
        let Some(found) = store.get(KEY).await? else { return Ok(None) };
        let position: Option<Self> = serde_json::from_slice(&found.value).ok();
        // A store that was put back from a copy may be older than the row says.
        Ok(position.filter(|position| position.revision <= store.revision()))
    }

    pub(super) async fn write(self, store: &Store) -> Result<(), TxnError> {
        let value = serde_json::to_vec(&self).unwrap_or_default();
        store.txn(Txn::new().put(KEY, value)).await.map(drop)
    }
}
