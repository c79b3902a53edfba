//! Groups and streams as rows of the store, and their keys:
//!
//! ```text
//! /logs/ACCOUNT/REGION/groups/NAME
//! /logs/ACCOUNT/REGION/streams/GROUP-ID/NAME
//! ```
//!
//! Names may be used again after a deletion, ids are not: a stream's key and the directory of its events have the
//! group's id, so that nothing of a deleted group comes back under its name.

use std::collections::BTreeMap;

use gantry_api::{Caller, Fault};
use gantry_store::{KeyRange, KeyValue, Revision, Store, StoreError, Txn, TxnError};
use serde::{Deserialize, Serialize};

use super::fault;

/// Everything of this service is below this.
pub(super) const PREFIX: &str = "/logs/";

/// Rows read at once when all of a kind are needed.
const PAGE_ROWS: usize = 512;

/// How often a change is tried again when somebody else changed the same row meanwhile.
const CONFLICTS_MAX: usize = 16;

/// A log group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupRow {
    pub(super) id: u64,
    /// Milliseconds since the epoch.
    pub(super) created_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retention_days: Option<u32>,
    pub(super) class: String,
    /// Kept and told, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kms_key_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) deletion_protection: bool,
}

/// A log stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamRow {
    pub(super) id: u64,
    /// Milliseconds since the epoch.
    pub(super) created_at: u64,
}

/// A row with its name and version.
#[derive(Debug, Clone)]
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) row: T,
    pub(super) key: String,
    pub(super) revision: Revision,
}

pub(super) type Group = Named<GroupRow>;
pub(super) type Stream = Named<StreamRow>;

/// Account and region of a request, as part of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) account: String,
    pub(super) region: String,
}

impl Scope {
    pub(super) fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone() }
    }

    pub(super) fn groups(&self) -> String {
        format!("{PREFIX}{}/{}/groups/", self.account, self.region)
    }

    pub(super) fn group(&self, name: &str) -> String {
        format!("{}{name}", self.groups())
    }

    pub(super) fn streams(&self, group: u64) -> String {
        format!("{PREFIX}{}/{}/streams/{group:016x}/", self.account, self.region)
    }

    pub(super) fn stream(&self, group: u64, name: &str) -> String {
        format!("{}{name}", self.streams(group))
    }

    /// The group's ARN without `:*` at its end.
    pub(super) fn group_arn(&self, name: &str) -> String {
        format!("arn:aws:logs:{}:{}:log-group:{name}", self.region, self.account)
    }
}

/// A number that no group or stream has had before.
pub(super) fn new_id() -> Result<u64, Fault> {
    getrandom::u64().map_err(|error| fault::unavailable(std::io::Error::other(error.to_string())))
}

/// The group, or the fault that says it does not exist.
pub(super) async fn group(store: &Store, scope: &Scope, name: &str) -> Result<Group, Fault> {
    let key = scope.group(name);
    let kv = store.get(&key).await.map_err(fault::store)?.ok_or_else(fault::group_not_found)?;
    decode(&kv, name.to_owned())
}

/// The stream, or the fault that says it does not exist.
pub(super) async fn stream(store: &Store, scope: &Scope, group: &Group, name: &str) -> Result<Stream, Fault> {
    let key = scope.stream(group.row.id, name);
    let kv = store.get(&key).await.map_err(fault::store)?.ok_or_else(fault::stream_not_found)?;
    decode(&kv, name.to_owned())
}

/// A row out of the store.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(kv: &KeyValue, name: String) -> Result<Named<T>, Fault> {
    let row = serde_json::from_slice(&kv.value).map_err(fault::unavailable)?;
    Ok(Named { name, row, key: kv.key.to_string(), revision: kv.mod_revision })
}

/// A row's form in the store.
pub(super) fn encode(row: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(row).map_err(fault::unavailable)
}

/// Walks the rows whose key begins with `prefix` and whose name begins with `name_prefix`, from after the name `after`
/// on, until `each` says that it has enough.
pub(super) async fn walk<T: for<'de> Deserialize<'de>>(
    store: &Store,
    prefix: &str,
    name_prefix: &str,
    after: Option<&str>,
    mut each: impl FnMut(Named<T>) -> bool,
) -> Result<(), Fault> {
    let mut range = KeyRange::prefix(&format!("{prefix}{name_prefix}"));
    if let Some(after) = after {
        range = range.after(&format!("{prefix}{after}"));
    }
    loop {
        let page = store.range(range.clone(), PAGE_ROWS).await.map_err(fault::store)?;
        for kv in &page.kvs {
            let name = kv.key.strip_prefix(prefix).unwrap_or(&kv.key).to_owned();
            if !each(decode(kv, name)?) {
                return Ok(());
            }
        }
        match page.kvs.last() {
            Some(last) if page.more => range = range.after(&last.key),
            _ => return Ok(()),
        }
    }
}

/// Changes a group's row; tries again when it was changed meanwhile.
pub(super) async fn update_group(
    store: &Store,
    scope: &Scope,
    name: &str,
    change: impl Fn(&mut GroupRow) -> Result<(), Fault>,
) -> Result<Group, Fault> {
    for _ in 0..CONFLICTS_MAX {
        let mut group = group(store, scope, name).await?;
        let before = group.row.clone();
        change(&mut group.row)?;
        if before == group.row {
            return Ok(group);
        }
        let txn = Txn::new().require(&group.key, group.revision).put(&group.key, encode(&group.row)?);
        match store.txn(txn).await {
            Ok(_) => return Ok(group),
            Err(TxnError::Conflict { .. }) => {}
            Err(TxnError::Store(error)) => return Err(fault::store(error)),
        }
    }
    Err(fault::aborted())
}

/// The accounts and regions that have something here.
pub(super) async fn scopes(store: &Store) -> Result<Vec<Scope>, StoreError> {
    let mut scopes = Vec::new();
    let mut start = PREFIX.to_owned();
    loop {
        // The character after the slash begins what is after everything below this scope.
        let page = store.range(KeyRange::between(&start, "/logs0"), 1).await?;
        let Some(first) = page.kvs.first() else { return Ok(scopes) };
        let mut parts = first.key[PREFIX.len()..].split('/');
        let (Some(account), Some(region)) = (parts.next(), parts.next()) else { return Ok(scopes) };
        start = format!("{PREFIX}{account}/{region}0");
        scopes.push(Scope { account: account.to_owned(), region: region.to_owned() });
    }
}
