//! The tables of the file, and rows inside a write transaction.

use std::sync::Arc;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::codec;
use super::database::failed;
use crate::apply::{RowHead, Rows};
use crate::{KeyRange, KeyValue, LeaseId, StoreError};

/// Key to row ([`codec::encode_row`]).
pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Last revision of a commit to its record ([`codec::encode_record`]). Never empty once something was written: its
/// last key is the store's revision.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Lease to its time to live in milliseconds.
pub(super) const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
/// The keys of each lease.
pub(super) const LEASE_KEYS: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("lease_keys");
/// Format of the file, and the last lease given out.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_LAST_LEASE: &str = "last_lease";

/// The rows as one commit sees and changes them.
pub(super) struct TxnRows<'t> {
    rows: Table<'t, &'static [u8], &'static [u8]>,
    leases: Table<'t, u64, u64>,
    lease_keys: Table<'t, (u64, &'static [u8]), ()>,
    buffer: Vec<u8>,
}

impl<'t> TxnRows<'t> {
    pub(super) fn open(write: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            rows: write.open_table(ROWS).map_err(failed)?,
            leases: write.open_table(LEASES).map_err(failed)?,
            lease_keys: write.open_table(LEASE_KEYS).map_err(failed)?,
            buffer: Vec::new(),
        })
    }

    pub(super) fn lease_insert(&mut self, lease: LeaseId, ttl_ms: u64) -> Result<(), StoreError> {
        self.leases.insert(lease.0, ttl_ms).map_err(failed)?;
        Ok(())
    }

    pub(super) fn lease_remove(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        self.leases.remove(lease.0).map_err(failed)?;
        Ok(())
    }
}

impl Rows for TxnRows<'_> {
    fn head(&self, key: &str) -> Result<Option<RowHead>, StoreError> {
        let row = self.rows.get(key.as_bytes()).map_err(failed)?;
        row.map(|row| codec::decode_head(row.value())).transpose()
    }

    fn keys(&self, range: &KeyRange) -> Result<Vec<Arc<str>>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.rows.range::<&[u8]>(range.bounds()).map_err(failed)?;
        found.map(|row| codec::decode_key(row.map_err(failed)?.0.value())).collect()
    }

    fn put(&mut self, kv: &KeyValue) -> Result<(), StoreError> {
        codec::encode_row(kv, &mut self.buffer);
        self.rows.insert(kv.key.as_bytes(), self.buffer.as_slice()).map_err(failed)?;
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), StoreError> {
        self.rows.remove(key.as_bytes()).map_err(failed)?;
        Ok(())
    }

    fn lease_exists(&self, lease: LeaseId) -> Result<bool, StoreError> {
        Ok(self.leases.get(lease.0).map_err(failed)?.is_some())
    }

    fn lease_keys(&self, lease: LeaseId) -> Result<Vec<Arc<str>>, StoreError> {
        let keys = (lease.0, &[][..])..(lease.0 + 1, &[][..]);
        let found = self.lease_keys.range(keys).map_err(failed)?;
        found.map(|row| codec::decode_key(row.map_err(failed)?.0.value().1)).collect()
    }

    fn lease_attach(&mut self, lease: LeaseId, key: &str) -> Result<(), StoreError> {
        self.lease_keys.insert((lease.0, key.as_bytes()), ()).map_err(failed)?;
        Ok(())
    }

    fn lease_detach(&mut self, lease: LeaseId, key: &str) -> Result<(), StoreError> {
        self.lease_keys.remove((lease.0, key.as_bytes())).map_err(failed)?;
        Ok(())
    }
}
