//! The principals that this server knows: the account's root and the agent of this machine.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use gantry_api::PrincipalKind;
use gantry_protocol::identity::Key;

use crate::credentials::{self, AccessKey};

/// The keys on disk.
pub(crate) struct Identities {
    pub(crate) root: AccessKey,
    pub(crate) instance: AccessKey,
}

impl Identities {
    /// Reads both keys, or makes them.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let instance = credentials::read_or_create(&credentials::instance_path(data_dir))?;
        Ok(Self { root: credentials::root(data_dir)?, instance })
    }

    /// What signatures are checked against.
    pub(crate) fn keys(&self, account: &str) -> BTreeMap<String, Key> {
        let key = |access_key: &AccessKey, principal_arn: String, kind| Key {
            secret: access_key.secret.clone(),
            account: account.to_string(),
            principal_arn,
            kind,
            active: true,
            session: None,
        };
        let root = key(&self.root, format!("arn:aws:iam::{account}:root"), PrincipalKind::Root);
        let session = format!("arn:aws:sts::{account}:assumed-role/ecsInstanceRole/local");
        let instance = key(&self.instance, session, PrincipalKind::Instance);
        BTreeMap::from([(self.root.id.clone(), root), (self.instance.id.clone(), instance)])
    }
}
