//! Changes: planned on the picture, committed as one transaction that compares the target's row, and seen by the picture
//! before they are answered.

use gantry_api::Fault;
use gantry_store::{Txn, TxnError};
use serde::Serialize;

use super::picture::Picture;
use super::rows::{Kind, ServiceId, Target};
use super::{AutoScaling, fault};

/// How often a change is planned again when somebody was faster.
const ATTEMPTS: usize = 16;

/// What becomes of the target.
pub(super) enum Change {
    Keep,
    Put(Box<Target>),
    Delete,
}

impl AutoScaling {
    /// Plans with `plan` and commits. Durable when this returns.
    pub(super) async fn change<T>(
        &self,
        id: &ServiceId,
        plan: impl Fn(&Picture, Option<&Target>) -> Result<(Change, T), Fault>,
    ) -> Result<T, Fault> {
        for _ in 0..ATTEMPTS {
            let (txn, answer) = {
                let picture = self.inner.view.read();
                let before = picture.targets.get(id);
                let (change, answer) = plan(&picture, before.map(|kept| &kept.row))?;
                let revision = before.map_or(0, |kept| kept.revision);
                let gone = lost_alarms(before.map(|kept| &kept.row), &change);
                let mut txn = Txn::new().require(id.key(), revision);
                txn = match change {
                    Change::Keep => return Ok(answer),
                    Change::Put(target) => txn.put(id.key(), encode(target.as_ref())?),
                    Change::Delete => txn.delete(id.key()),
                };
                for alarm in gone {
                    txn = txn.delete(gantry_api::alarm::key(&id.account, &id.region, &alarm));
                }
                (txn, answer)
            };
            if self.commit(txn).await? {
                return Ok(answer);
            }
        }
        Err(fault::concurrent())
    }

    /// Commits and waits until the picture shows it; false when somebody was faster.
    pub(super) async fn commit(&self, txn: Txn) -> Result<bool, Fault> {
        let (revision, done) = match self.inner.store.txn(txn).await {
            Ok(revision) => (revision, true),
            Err(TxnError::Conflict { .. }) => (self.inner.store.revision(), false),
            Err(TxnError::Store(error)) => return Err(fault::store(error)),
        };
        self.inner.view.wait_for(revision).await.map_err(fault::store)?;
        Ok(done)
    }
}

/// The bytes of a row.
pub(super) fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(row).map_err(fault::unavailable)
}

/// The alarms that tracking a target made and that nothing needs any more.
fn lost_alarms(before: Option<&Target>, change: &Change) -> Vec<String> {
    let alarms = |target: &Target| -> Vec<String> {
        let of = |kind: &Kind| match kind {
            Kind::Tracking { high, low, .. } => vec![high.clone(), low.clone()],
            Kind::Step(_) => Vec::new(),
        };
        target.policies.values().flat_map(|policy| of(&policy.kind)).collect()
    };
    let kept = match change {
        Change::Keep => return Vec::new(),
        Change::Put(target) => alarms(target),
        Change::Delete => Vec::new(),
    };
    before.map(alarms).unwrap_or_default().into_iter().filter(|alarm| !kept.contains(alarm)).collect()
}
