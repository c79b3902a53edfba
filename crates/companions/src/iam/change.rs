//! Changes: planned on the picture, committed as one transaction, and seen by the picture before they are answered.
//!
//! Every change of an account names the account's epoch, so that what was checked across rows (a policy that is
//! attached nowhere, a role that is in no profile) still holds when it is committed. Changes of IAM are rare.

use gantry_api::Fault;
use gantry_store::{Txn, TxnError};

use super::picture::Account;
use super::rows::{self, Row};
use super::{Iam, fault};

/// How often a change is planned again when another server was faster.
const ATTEMPTS: usize = 16;

/// What a change puts and deletes.
pub(super) struct Changes<'a> {
    pub(super) account: &'a str,
    txn: Txn,
    failed: Option<serde_json::Error>,
}

impl Changes<'_> {
    pub(super) fn put<R: Row>(&mut self, row: &R) {
        match serde_json::to_vec(row) {
            Ok(value) => self.txn = std::mem::take(&mut self.txn).put(rows::key::<R>(self.account, row.name()), value),
            Err(error) => self.failed = Some(error),
        }
    }

    pub(super) fn delete<R: Row>(&mut self, row: &R) {
        self.txn = std::mem::take(&mut self.txn).delete(rows::key::<R>(self.account, row.name()));
    }
}

impl Iam {
    /// Plans with `plan` and commits. Durable and in force when this returns.
    pub(super) async fn change<T>(
        &self,
        account: &str,
        plan: impl Fn(&Account, &mut Changes<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let _turn = self.inner.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let mut changes = Changes { account, txn: Txn::new(), failed: None };
            let (answer, epoch) = self.look(account, |picture| (plan(picture, &mut changes), picture.epoch));
            let answer = answer?;
            if let Some(error) = changes.failed {
                return Err(fault::unavailable(error));
            }
            if changes.txn.then.is_empty() {
                return Ok(answer);
            }
            let epoch_key = rows::epoch_key(account);
            let committed = self.inner.store.txn(changes.txn.require(&epoch_key, epoch).put(&epoch_key, "")).await;
            let (revision, done) = match committed {
                Ok(revision) => (revision, true),
                Err(TxnError::Conflict { .. }) => (self.inner.store.revision(), false),
                Err(TxnError::Store(error)) => return Err(fault::store(error)),
            };
            self.inner.view.wait_for(revision).await.map_err(fault::store)?;
            if done {
                return Ok(answer);
            }
        }
        Err(fault::concurrent())
    }

    /// Looks at an account as it is now; one that has nothing is empty.
    pub(super) fn look<T>(&self, account: &str, look: impl FnOnce(&Account) -> T) -> T {
        let picture = self.inner.view.read();
        match picture.account(account) {
            Some(account) => look(account),
            None => look(&Account::default()),
        }
    }
}
