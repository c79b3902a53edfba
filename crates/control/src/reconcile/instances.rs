//! Forgets deregistered container instances after a while, once no task that was on them is known any more.

use gantry_domain::{Timestamp, limits::STOPPED_TASK_RETENTION_SECONDS};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{Control, EcsView, keys::InstanceKey, view::Change};

/// Forgets deregistered instances.
#[derive(Debug)]
pub struct Instances {
    control: Control,
}

impl Instances {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for Instances {
    type Key = InstanceKey;
    type Error = TxnError;

    const NAME: &'static str = "instances";

    fn keys(&self) -> Vec<InstanceKey> {
        let view = self.control.read();
        let gone = view.hosts().filter(|(_, host)| !host.row.as_ref().is_some_and(|row| row.is_registered()));
        gone.map(|(key, _)| key.clone()).collect()
    }

    fn keys_of(&self, _: &Change) -> Vec<InstanceKey> {
        // Nothing about it is urgent; the sweep comes by.
        Vec::new()
    }

    async fn reconcile(&self, key: &InstanceKey) -> Result<Wake, TxnError> {
        let plan = plan(&self.control.read(), key, self.control.now());
        if let Some(txn) = plan {
            self.control.commit(txn).await?;
        }
        Ok(Wake::OnChange)
    }
}

/// What is to be forgotten of an instance now.
fn plan(view: &EcsView, key: &InstanceKey, now: Timestamp) -> Option<Txn> {
    let host = view.host(key).filter(|host| host.tasks().is_empty())?;
    let placements = key.placements_path();
    let txn = Txn::new().require(&placements, host.placements_revision);
    let Some(row) = &host.row else {
        return (host.placements_revision > 0).then(|| txn.delete(placements));
    };
    let retention = i64::try_from(STOPPED_TASK_RETENTION_SECONDS).unwrap_or(i64::MAX);
    let due = row.deregistered_at?.plus_seconds(retention);
    (!row.is_registered() && due <= now)
        .then(|| txn.require(key.path(), row.revision).delete(key.path()).delete(placements))
}
