//! Changes: planned on the picture, committed as one transaction, and seen by the picture before they are answered.

use gantry_api::Fault;
use gantry_domain::arn::Scope;
use gantry_domain::parameter::name::bare;
use gantry_store::Txn;

use super::rows::{self, Parameter, ParameterRow, value_key, values_prefix};
use super::{Inner, fault};
use crate::commit::{Committed, commit};

/// A new version: its number, its sealed value, and the version that goes for it.
pub(super) struct NewVersion {
    pub(super) number: u64,
    pub(super) sealed: Vec<u8>,
    pub(super) gone: Option<u64>,
}

impl Inner {
    /// Makes a parameter. `stale` is one of that name that expired.
    pub(super) async fn write_new(
        &self,
        scope: &Scope,
        row: &ParameterRow,
        version: NewVersion,
        stale: Option<&Parameter>,
    ) -> Result<(), Fault> {
        let key = rows::key(scope, bare(&row.name));
        let txn = match stale {
            Some(stale) => Txn::new().require(&key, stale.revision).delete_prefix(values_prefix(&stale.row.id)),
            None => Txn::new().require_absent(&key),
        };
        self.commit(with_version(txn.put(&key, encode(row)?), &row.id, version)).await
    }

    /// Replaces the row of a parameter.
    pub(super) async fn write(
        &self,
        parameter: &Parameter,
        row: &ParameterRow,
        version: Option<NewVersion>,
    ) -> Result<(), Fault> {
        let key = parameter.key();
        let txn = Txn::new().require(&key, parameter.revision).put(&key, encode(row)?);
        self.commit(match version {
            Some(version) => with_version(txn, &row.id, version),
            None => txn,
        })
        .await
    }

    /// Removes a parameter with its values.
    pub(super) async fn write_gone(&self, parameter: &Parameter) -> Result<(), Fault> {
        let key = parameter.key();
        let txn = Txn::new().require(&key, parameter.revision).delete(&key);
        self.commit(txn.delete_prefix(values_prefix(&parameter.row.id))).await
    }

    async fn commit(&self, txn: Txn) -> Result<(), Fault> {
        match commit(&self.store, &self.view, txn).await.map_err(fault::store)? {
            Committed::Done => Ok(()),
            Committed::Overtaken => Err(fault::concurrent()),
        }
    }
}

fn with_version(txn: Txn, id: &str, version: NewVersion) -> Txn {
    let txn = match version.gone {
        Some(gone) => txn.delete(value_key(id, gone)),
        None => txn,
    };
    txn.put(value_key(id, version.number), version.sealed)
}

fn encode(row: &ParameterRow) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(row).map_err(fault::unavailable)
}
