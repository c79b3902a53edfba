//! Transactions: compares that must hold, and what then happens, all or nothing.

use bytes::Bytes;

use crate::key::{KeyRange, check_key};
use crate::limits::{TXN_BYTES_MAX, TXN_OPS_MAX, VALUE_BYTES_MAX};
use crate::{LeaseId, Revision, StoreError};

/// What must hold for a transaction to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key was last put by this transaction; 0: the key does not exist.
    ModRevision {
        /// The key.
        key: String,
        /// Its expected `mod_revision`.
        revision: Revision,
    },
    /// The key exists, whatever its revision: "the cluster is still there".
    Exists {
        /// The key.
        key: String,
    },
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a value.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Bytes,
        /// The lease it belongs to from now on.
        lease: Option<LeaseId>,
        /// Whether watchers are told.
        told: bool,
    },
    /// Removes a key; nothing happens when it is absent.
    Delete {
        /// The key.
        key: String,
    },
    /// Removes every key that begins with `prefix`, which may not be empty.
    DeletePrefix {
        /// The prefix.
        prefix: String,
    },
}

/// A transaction. Build one with the methods, or fill the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Done in order, each seeing the ones before. Two may not touch the same key.
    pub then: Vec<Op>,
}

impl Txn {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires that `key` was last put at `revision` (0: is absent).
    pub fn require(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.compares.push(Compare::ModRevision { key: key.into(), revision });
        self
    }

    /// Requires that `key` does not exist.
    pub fn require_absent(self, key: impl Into<String>) -> Self {
        self.require(key, 0)
    }

    /// Requires that `key` exists, at whatever revision.
    pub fn require_exists(mut self, key: impl Into<String>) -> Self {
        self.compares.push(Compare::Exists { key: key.into() });
        self
    }

    /// Then puts a value.
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.then.push(Op::Put { key: key.into(), value: value.into(), lease: None, told: true });
        self
    }

    /// Then puts a value that no watcher is told of: for rows that are only read, of which watchers would otherwise
    /// lose what they follow (the history is bounded in bytes).
    pub fn put_untold(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.then.push(Op::Put { key: key.into(), value: value.into(), lease: None, told: false });
        self
    }

    /// Then puts a value that goes away with `lease`.
    pub fn put_with_lease(mut self, key: impl Into<String>, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.then.push(Op::Put { key: key.into(), value: value.into(), lease: Some(lease), told: true });
        self
    }

    /// Then deletes a key.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.then.push(Op::Delete { key: key.into() });
        self
    }

    /// Then deletes everything under a prefix.
    pub fn delete_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.then.push(Op::DeletePrefix { prefix: prefix.into() });
        self
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.compares.iter().map(|c| c.key().len()).sum::<usize>() + self.then.iter().map(Op::bytes).sum::<usize>()
    }

    /// Refuses what is beyond the bounds, before anything is queued.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let ops = self.then.len().max(self.compares.len());
        if ops > TXN_OPS_MAX {
            return Err(StoreError::TxnOps { ops });
        }
        for compare in &self.compares {
            check_key(compare.key())?;
        }
        for op in &self.then {
            check_key(op.key())?;
            if let Op::Put { key, value, .. } = op
                && value.len() > VALUE_BYTES_MAX
            {
                return Err(StoreError::ValueLength { key: key.clone(), bytes: value.len() });
            }
        }
        let bytes = self.bytes();
        if bytes > TXN_BYTES_MAX {
            return Err(StoreError::TxnBytes { bytes });
        }
        self.check_duplicates()
    }

    fn check_duplicates(&self) -> Result<(), StoreError> {
        if self.then.len() < 2 {
            return Ok(());
        }
        let mut keys: Vec<&str> = self.then.iter().filter_map(Op::single_key).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(StoreError::DuplicateKey { key: pair[0].to_owned() });
        }
        for op in &self.then {
            let Op::DeletePrefix { prefix } = op else { continue };
            let range = KeyRange::prefix(prefix);
            if let Some(key) = keys.iter().find(|key| range.contains(key)) {
                return Err(StoreError::DuplicateKey { key: (*key).to_owned() });
            }
        }
        Ok(())
    }
}

impl Compare {
    /// The key that is compared.
    pub fn key(&self) -> &str {
        match self {
            Compare::ModRevision { key, .. } | Compare::Exists { key } => key,
        }
    }
}

impl Op {
    fn key(&self) -> &str {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
            Op::DeletePrefix { prefix } => prefix,
        }
    }

    fn single_key(&self) -> Option<&str> {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => Some(key),
            Op::DeletePrefix { .. } => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
            Op::DeletePrefix { prefix } => prefix.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_beyond_the_bounds_is_named() {
        let long = "k".repeat(1025);
        assert!(matches!(Txn::new().put(long, "v").check(), Err(StoreError::KeyLength { bytes: 1025 })));
        assert!(matches!(Txn::new().delete("").check(), Err(StoreError::KeyLength { bytes: 0 })));
        assert!(matches!(Txn::new().delete_prefix("").check(), Err(StoreError::KeyLength { bytes: 0 })));
        assert!(matches!(Txn::new().require("", 1).check(), Err(StoreError::KeyLength { bytes: 0 })));
        let big = vec![0u8; (1 << 20) + 1];
        assert!(matches!(Txn::new().put("k", big).check(), Err(StoreError::ValueLength { .. })));
        let many = (0..1025).fold(Txn::new(), |txn, i| txn.put(format!("k{i}"), "v"));
        assert!(matches!(many.check(), Err(StoreError::TxnOps { ops: 1025 })));
        let heavy = (0..9).fold(Txn::new(), |txn, i| txn.put(format!("k{i}"), vec![0u8; 1 << 20]));
        assert!(matches!(heavy.check(), Err(StoreError::TxnBytes { .. })));
    }

    #[test]
    fn two_operations_on_one_key_are_refused() {
        assert!(matches!(Txn::new().put("a", "1").delete("a").check(), Err(StoreError::DuplicateKey { .. })));
        assert!(matches!(Txn::new().put("a/b", "1").delete_prefix("a/").check(), Err(StoreError::DuplicateKey { .. })));
        Txn::new().put("a", "1").put("b", "1").delete_prefix("c").check().unwrap();
    }
}
