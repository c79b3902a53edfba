//! What the store holds and what it tells watchers.

use std::sync::Arc;

use bytes::Bytes;

use crate::LeaseId;

/// Counts the transactions that changed something, from 1. 0 stands for "before everything" and for "absent".
pub type Revision = u64;

/// One key with its value and history. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, a UTF-8 path.
    pub key: Arc<str>,
    /// The value as written.
    pub value: Bytes,
    /// Revision of the transaction that created the key (since it was last absent).
    pub create_revision: Revision,
    /// Revision of the transaction that last put the key; what [`crate::Compare::ModRevision`] compares.
    pub mod_revision: Revision,
    /// Puts since the key was created, from 1.
    pub version: u64,
    /// The lease that deletes this key when it ends.
    pub lease: Option<LeaseId>,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key now has this value.
    Put(KeyValue),
    /// The key is gone.
    Delete {
        /// The key.
        key: Arc<str>,
        /// The transaction that deleted it.
        revision: Revision,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Event::Put(kv) => &kv.key,
            Event::Delete { key, .. } => key,
        }
    }

    /// Rough size in memory, for bounds.
    pub(crate) fn weight(&self) -> usize {
        const OVERHEAD: usize = 96;
        match self {
            Event::Put(kv) => OVERHEAD + kv.key.len() + kv.value.len(),
            Event::Delete { key, .. } => OVERHEAD + key.len(),
        }
    }
}

/// All changes of one transaction that a watch asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The transaction.
    pub revision: Revision,
    /// Its changes in the order of its operations. Empty only from [`crate::Watch::next_or_progress`].
    pub events: Vec<Event>,
}

/// A page of keys, all read at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Everything up to this transaction is reflected. Watching from `revision + 1` misses nothing.
    pub revision: Revision,
    /// The keys in order.
    pub kvs: Vec<KeyValue>,
    /// There are more keys after the last one.
    pub more: bool,
}
