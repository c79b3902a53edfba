//! The principals that this server knows: the account's root, those of IAM, machines that joined.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use gantry_api::{PrincipalKind, machine::Machine};
use gantry_companions::{iam::Iam, machines::Machines};
use gantry_control::Control;
use gantry_protocol::identity::{Key, Keys};

use crate::accounts::Accounts;
use crate::credentials::{self, AccessKey};

/// The key on disk.
pub(crate) struct Identities {
    pub(crate) root: AccessKey,
    data_dir: PathBuf,
}

impl Identities {
    /// Reads the key, or makes it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        Ok(Self { root: credentials::root(data_dir)?, data_dir: data_dir.to_owned() })
    }

    /// What signatures are checked against: this key, and those that `iam` knows. Sessions of machines hold as long as
    /// `machines` has the machine, those of tasks as long as `control` has the task.
    pub(crate) fn keys(&self, account: &str, iam: Iam, machines: Machines, control: Control) -> impl Keys + 'static {
        let root = Key {
            secret: self.root.secret.clone(),
            account: account.to_string(),
            principal_arn: format!("arn:aws:iam::{account}:root"),
            kind: PrincipalKind::Root,
            active: true,
            session: None,
        };
        let own = BTreeMap::from([(self.root.id.clone(), Arc::new(root))]);
        AllKeys { own, iam, machines, control, accounts: Accounts::new(&self.data_dir) }
    }
}

/// The keys on disk before those of IAM, and the roots of further accounts last.
struct AllKeys {
    own: BTreeMap<String, Arc<Key>>,
    iam: Iam,
    machines: Machines,
    control: Control,
    accounts: Accounts,
}

impl Keys for AllKeys {
    fn key(&self, access_key_id: &str, token: Option<&str>) -> Option<Arc<Key>> {
        let known = self.own.key(access_key_id, token).or_else(|| self.iam.key(access_key_id, token));
        let known = known.or_else(|| self.accounts.key(access_key_id).filter(|_| token.is_none()))?;
        let Some(session) = &known.session else { return Some(known) };
        let machine_is_there = |machine: &Machine| self.machines.has(&known.account, &machine.id);
        let holds = session.machine.as_ref().is_none_or(machine_is_there)
            && session.task.as_ref().is_none_or(|task| self.control.holds_role(task));
        holds.then_some(known)
    }

    fn used(&self, access_key_id: &str, key: &Key, now: u64, region: &str, service: &str) {
        if !self.own.contains_key(access_key_id) {
            self.iam.used(access_key_id, key, now, region, service);
        }
    }
}
