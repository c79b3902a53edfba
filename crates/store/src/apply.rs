//! What a transaction does to rows, the same for every engine that keeps rows itself. No I/O of its own.

use std::sync::Arc;

use crate::{Compare, Event, KeyRange, KeyValue, LeaseId, Op, Revision, StoreError, Txn, TxnError};

/// The history of a row, without its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowHead {
    pub(crate) create_revision: Revision,
    pub(crate) mod_revision: Revision,
    pub(crate) version: u64,
    pub(crate) lease: Option<LeaseId>,
}

/// Rows that a transaction can read and change; reads see earlier changes.
pub(crate) trait Rows {
    fn head(&self, key: &str) -> Result<Option<RowHead>, StoreError>;
    fn keys(&self, range: &KeyRange) -> Result<Vec<Arc<str>>, StoreError>;
    fn put(&mut self, kv: &KeyValue) -> Result<(), StoreError>;
    fn remove(&mut self, key: &str) -> Result<(), StoreError>;
    fn lease_exists(&self, lease: LeaseId) -> Result<bool, StoreError>;
    fn lease_keys(&self, lease: LeaseId) -> Result<Vec<Arc<str>>, StoreError>;
    fn lease_attach(&mut self, lease: LeaseId, key: &str) -> Result<(), StoreError>;
    fn lease_detach(&mut self, lease: LeaseId, key: &str) -> Result<(), StoreError>;
}

/// Whether the transaction may happen. Must be asked before [`apply`], which relies on it: once a transaction began to
/// change rows only a failing disk may stop it.
pub(crate) fn check(rows: &impl Rows, txn: &Txn) -> Result<(), TxnError> {
    for compare in &txn.compares {
        let head = rows.head(compare.key())?;
        let holds = match compare {
            Compare::ModRevision { revision, .. } => head.map_or(0, |head| head.mod_revision) == *revision,
            Compare::Exists { .. } => head.is_some(),
        };
        if !holds {
            return Err(TxnError::Conflict { key: compare.key().to_owned() });
        }
    }
    for op in &txn.then {
        if let Op::Put { lease: Some(lease), .. } = op
            && !rows.lease_exists(*lease)?
        {
            return Err(StoreError::LeaseNotFound { lease: lease.0 }.into());
        }
    }
    Ok(())
}

/// What a transaction did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// What watchers are told, in order.
    pub(crate) events: Vec<Event>,
    /// Whether anything changed. If not, the revision is not used up.
    pub(crate) changed: bool,
}

/// Does the operations at `revision`.
pub(crate) fn apply(rows: &mut impl Rows, txn: &Txn, revision: Revision) -> Result<Applied, StoreError> {
    let mut events = Vec::with_capacity(txn.then.len());
    let mut changed = false;
    for op in &txn.then {
        match op {
            Op::Put { key, value, lease, told } => {
                let before = rows.head(key)?;
                let kv = KeyValue {
                    key: key.as_str().into(),
                    value: value.clone(),
                    create_revision: before.map_or(revision, |head| head.create_revision),
                    mod_revision: revision,
                    version: before.map_or(0, |head| head.version) + 1,
                    lease: *lease,
                };
                change_lease(rows, &kv.key, before.and_then(|head| head.lease), *lease)?;
                rows.put(&kv)?;
                changed = true;
                if *told {
                    events.push(Event::Put(kv));
                }
            }
            Op::Delete { key } => events.extend(delete(rows, key.as_str().into(), revision)?),
            Op::DeletePrefix { prefix } => {
                for key in rows.keys(&KeyRange::prefix(prefix))? {
                    events.extend(delete(rows, key, revision)?);
                }
            }
        }
    }
    changed |= !events.is_empty();
    Ok(Applied { events, changed })
}

/// Deletes the keys of a lease; the engine forgets the lease itself.
pub(crate) fn apply_lease_end(rows: &mut impl Rows, lease: LeaseId, revision: Revision) -> Result<Applied, StoreError> {
    let mut events = Vec::new();
    for key in rows.lease_keys(lease)? {
        events.extend(delete(rows, key, revision)?);
    }
    Ok(Applied { changed: !events.is_empty(), events })
}

fn delete(rows: &mut impl Rows, key: Arc<str>, revision: Revision) -> Result<Option<Event>, StoreError> {
    let Some(before) = rows.head(&key)? else { return Ok(None) };
    change_lease(rows, &key, before.lease, None)?;
    rows.remove(&key)?;
    Ok(Some(Event::Delete { key, revision }))
}

fn change_lease(
    rows: &mut impl Rows,
    key: &str,
    before: Option<LeaseId>,
    after: Option<LeaseId>,
) -> Result<(), StoreError> {
    if before == after {
        return Ok(());
    }
    if let Some(lease) = before {
        rows.lease_detach(lease, key)?;
    }
    if let Some(lease) = after {
        rows.lease_attach(lease, key)?;
    }
    Ok(())
}
