//! Further accounts: each has a root access key in a file of its own below the data directory. Whoever may write there
//! may make one; a running server sees it at once, because it looks again whenever the directory has changed.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use gantry_api::PrincipalKind;
use gantry_domain::arn::is_account;
use gantry_protocol::identity::Key;
use parking_lot::Mutex;
use tracing::warn;

use crate::Hint;
use crate::credentials::{self, AccessKey};

/// Accounts of one Gantry.
const ACCOUNTS_MAX: usize = 1000;
/// A directory that changed this recently may change again without a new time stamp.
const STAMP_TRUSTED_AFTER: Duration = Duration::from_secs(1);

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("accounts")
}

/// Makes an account with a root key. `own` is the account that the server has anyway.
pub(crate) fn create(data_dir: &Path, account: &str, own: Option<&str>) -> Result<AccessKey> {
    if !is_account(account) {
        bail!("an account is twelve digits, not {account:?}");
    }
    if !data_dir.is_dir() {
        let hint = "say with --data-dir where the Gantry keeps its data, or start it first";
        return Err(Hint::error(format!("there is no directory {}", data_dir.display()), hint));
    }
    let folder = folder(data_dir);
    if own == Some(account) || folder.join(account).exists() {
        let hint = format!("use it with: eval \"$(gantry env --account {account})\"");
        return Err(Hint::error(format!("account {account} is there already"), hint));
    }
    if list(data_dir)?.len() >= ACCOUNTS_MAX {
        bail!("there are {ACCOUNTS_MAX} accounts already");
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&folder).with_context(|| format!("making {}", folder.display()))?;
    credentials::read_or_create(&folder.join(account))
}

/// The accounts made with [`create`], in order.
pub(crate) fn list(data_dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder(data_dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder(data_dir).display())),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut accounts: Vec<String> = names.filter(|name| is_account(name)).take(ACCOUNTS_MAX).collect();
    accounts.sort();
    Ok(accounts)
}

/// The root key of an account made with [`create`].
pub(crate) fn root_key(data_dir: &Path, account: &str) -> Result<AccessKey> {
    let path = folder(data_dir).join(account);
    if !is_account(account) || !path.exists() {
        let hint = format!("make it with: gantry account create {account}");
        return Err(Hint::error(format!("there is no account {account}"), hint));
    }
    AccessKey::read(&path)
}

/// The keys of the accounts, for the server.
pub(crate) struct Accounts {
    data_dir: PathBuf,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    /// When the directory was last changed, as far as is known.
    stamp: Option<SystemTime>,
    keys: BTreeMap<String, Arc<Key>>,
}

impl Accounts {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), read: Mutex::default() }
    }

    /// The root key called `access_key_id`. Costs a look at the directory's time stamp, and reads it when it changed.
    pub(crate) fn key(&self, access_key_id: &str) -> Option<Arc<Key>> {
        let changed = std::fs::metadata(folder(&self.data_dir)).and_then(|metadata| metadata.modified()).ok()?;
        let mut read = self.read.lock();
        if read.stamp != Some(changed) {
            read.keys = self.read_all();
            let settled = changed.elapsed().is_ok_and(|age| age > STAMP_TRUSTED_AFTER);
            read.stamp = settled.then_some(changed);
        }
        read.keys.get(access_key_id).cloned()
    }

    fn read_all(&self) -> BTreeMap<String, Arc<Key>> {
        let accounts = list(&self.data_dir).unwrap_or_default();
        let read = accounts.into_iter().filter_map(|account| match root_key(&self.data_dir, &account) {
            Ok(key) => Some((key.id.clone(), Arc::new(root(key, account)))),
            Err(error) => {
                warn!(account, error = format!("{error:#}"), "the key of an account cannot be read");
                None
            }
        });
        read.collect()
    }
}

fn root(key: AccessKey, account: String) -> Key {
    Key {
        secret: key.secret,
        principal_arn: format!("arn:aws:iam::{account}:root"),
        account,
        kind: PrincipalKind::Root,
        active: true,
        session: None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_account_is_made_once_seen_at_once_and_gone_with_its_file() {
        let data = tempfile::tempdir().expect("a folder");
        let accounts = Accounts::new(data.path());
        assert!(accounts.key("AKIA").is_none());
        let first = create(data.path(), "111122223333", Some("000000000000")).expect("makes");
        let key = accounts.key(&first.id).expect("is seen");
        assert_eq!((key.account.as_str(), key.kind), ("111122223333", PrincipalKind::Root));
        assert_eq!(key.principal_arn, "arn:aws:iam::111122223333:root");
        let second = create(data.path(), "444455556666", None).expect("makes");
        assert_eq!(accounts.key(&second.id).expect("is seen").account, "444455556666");
        assert_eq!(list(data.path()).expect("lists"), ["111122223333", "444455556666"]);
        assert!(root_key(data.path(), "111122223333").expect("reads") == first);
        let mode = |path: PathBuf| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(folder(data.path())), 0o700);
        assert_eq!(mode(folder(data.path()).join("111122223333")), 0o600);
        std::fs::remove_file(folder(data.path()).join("111122223333")).expect("removes");
        assert!(accounts.key(&first.id).is_none());
        assert!(accounts.key(&second.id).is_some());
    }

    #[test]
    fn what_is_no_account_or_is_there_already_is_refused() {
        let data = tempfile::tempdir().expect("a folder");
        create(data.path(), "111122223333", None).expect("makes");
        for (account, own) in [
            ("111122223333", None),
            ("000000000000", Some("000000000000")),
            ("1111", None),
            ("../../../etc", None),
            ("11112222333x", None),
        ] {
            assert!(create(data.path(), account, own).is_err(), "{account}");
        }
        assert!(root_key(data.path(), "../credentials").is_err());
        assert!(root_key(data.path(), "999999999999").is_err());
        assert!(create(&data.path().join("nowhere"), "222222222222", None).is_err());
    }
}
