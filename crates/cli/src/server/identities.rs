//! The principals that this server knows: the account's root and the agent of this machine.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use gantry_api::PrincipalKind;
use gantry_companions::iam::{INSTANCE_ROLE, Iam};
use gantry_protocol::identity::{Key, Keys};

use crate::accounts::Accounts;
use crate::credentials::{self, AccessKey};

/// The keys on disk.
pub(crate) struct Identities {
    pub(crate) root: AccessKey,
    pub(crate) instance: AccessKey,
    data_dir: PathBuf,
}

impl Identities {
    /// Reads both keys, or makes them.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let instance = credentials::read_or_create(&credentials::instance_path(data_dir))?;
        Ok(Self { root: credentials::root(data_dir)?, instance, data_dir: data_dir.to_owned() })
    }

    /// What signatures are checked against: these two keys, and those that `iam` knows.
    pub(crate) fn keys(&self, account: &str, iam: Iam) -> impl Keys + 'static {
        let key = |access_key: &AccessKey, principal_arn: String, kind| Key {
            secret: access_key.secret.clone(),
            account: account.to_string(),
            principal_arn,
            kind,
            active: true,
            session: None,
        };
        let root = key(&self.root, format!("arn:aws:iam::{account}:root"), PrincipalKind::Root);
        let session = format!("arn:aws:sts::{account}:assumed-role/{INSTANCE_ROLE}/local");
        let instance = key(&self.instance, session, PrincipalKind::Instance);
        let own = [(self.root.id.clone(), Arc::new(root)), (self.instance.id.clone(), Arc::new(instance))];
        AllKeys { own: BTreeMap::from(own), iam, accounts: Accounts::new(&self.data_dir) }
    }
}

/// The keys on disk before those of IAM, and the roots of further accounts last.
struct AllKeys {
    own: BTreeMap<String, Arc<Key>>,
    iam: Iam,
    accounts: Accounts,
}

impl Keys for AllKeys {
    fn key(&self, access_key_id: &str, token: Option<&str>) -> Option<Arc<Key>> {
        let known = self.own.key(access_key_id, token).or_else(|| self.iam.key(access_key_id, token));
        known.or_else(|| self.accounts.key(access_key_id).filter(|_| token.is_none()))
    }

    fn used(&self, access_key_id: &str, key: &Key, now: u64, region: &str, service: &str) {
        if !self.own.contains_key(access_key_id) {
            self.iam.used(access_key_id, key, now, region, service);
        }
    }
}
