//! Access keys on disk, in the AWS CLI's own format, so that `AWS_SHARED_CREDENTIALS_FILE` can point at them.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::config::variable;

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where the account's root key lies.
pub(crate) fn root_path(data_dir: &Path) -> PathBuf {
    data_dir.join("credentials")
}

/// The account's root key: from the environment when both variables are set, else from the file, else made now.
pub(crate) fn root(data_dir: &Path) -> Result<AccessKey> {
    let path = root_path(data_dir);
    match (variable("GANTRY_ROOT_ACCESS_KEY_ID"), variable("GANTRY_ROOT_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => {
            let key = AccessKey { id, secret };
            key.write(&path)?;
            Ok(key)
        }
        (None, None) => read_or_create(&path),
        _ => bail!("GANTRY_ROOT_ACCESS_KEY_ID and GANTRY_ROOT_SECRET_ACCESS_KEY go together"),
    }
}

/// Reads the key in `path`, or makes one there.
pub(crate) fn read_or_create(path: &Path) -> Result<AccessKey> {
    if path.exists() {
        return AccessKey::read(path);
    }
    let key = AccessKey::generate()?;
    key.write(path)?;
    Ok(key)
}

impl AccessKey {
    fn generate() -> Result<Self> {
        const ID_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        const SECRET_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut random = [0_u8; 56];
        getrandom::fill(&mut random).context("no random numbers")?;
        let letters = |bytes: &[u8], of: &[u8]| -> String {
            bytes.iter().map(|byte| char::from(of[usize::from(*byte) % of.len()])).collect()
        };
        let id = format!("AKIA{}", letters(&random[..16], ID_LETTERS));
        Ok(Self { id, secret: letters(&random[16..], SECRET_LETTERS) })
    }

    /// Reads the first profile of a credentials file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        let value = |name: &str| {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        match (value("aws_access_key_id"), value("aws_secret_access_key")) {
            (Some(id), Some(secret)) => Ok(Self { id: id.to_string(), secret: secret.to_string() }),
            _ => bail!("{} holds no access key", path.display()),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", self.id, self.secret);
        write_atomically(path, text.as_bytes())
    }
}

/// Writes a file for its owner only: whole or not at all, and durable.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        match path.parent() {
            Some(parent) => std::fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("credentials");
        let made = read_or_create(&path).expect("makes");
        assert_eq!(read_or_create(&path).expect("reads"), made);
        assert_eq!((made.id.len(), made.secret.len()), (20, 40));
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        assert!(!format!("{made:?}").contains(&made.secret));
    }
}
