//! Encryption at rest with a key of this machine.
//!
//! The key is 32 random bytes in a file that only its owner may read. What is sealed is bound to a context (for
//! example the id of the row it stands in), so that it opens nowhere else. ChaCha20-Poly1305 with a random nonce.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const KEY_BYTES: usize = 32;

/// Seals and opens. Clones share the key.
#[derive(Clone)]
pub struct Sealer {
    key: Arc<LessSafeKey>,
}

/// Why there is no sealer.
#[derive(Debug, thiserror::Error)]
pub enum SealerError {
    /// The operating system said no.
    #[error("cannot use the key file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file is not a key.
    #[error("{path} does not hold a key of {KEY_BYTES} bytes")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The operating system has no random numbers.
    #[error("no random numbers")]
    NoRandom,
}

/// What was sealed cannot be opened: another key, another context, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decrypted with this server's key")]
pub struct NotOurs;

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// The key in `path`; made there when the file is absent, readable by its owner only and durable.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds something else.
    pub fn open(path: &Path) -> Result<Self, SealerError> {
        let io = |source| SealerError::Io { path: path.to_owned(), source };
        let key = match std::fs::read(path) {
            Ok(key) => key,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut key = vec![0; KEY_BYTES];
                getrandom::fill(&mut key).map_err(|_| SealerError::NoRandom)?;
                write(path, &key).map_err(io)?;
                key
            }
            Err(error) => return Err(io(error)),
        };
        let no_key = || SealerError::NoKey { path: path.to_owned() };
        Self::from_key(&key).ok_or_else(no_key)
    }

    /// A sealer whose key nobody keeps: for tests.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn ephemeral() -> Result<Self, SealerError> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|_| SealerError::NoRandom)?;
        Self::from_key(&key).ok_or(SealerError::NoRandom)
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        Some(Self { key: Arc::new(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?)) })
    }

    /// Seals `plain` for `context`: nonce, ciphertext, tag.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealerError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealerError::NoRandom)?;
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(plain);
        let aad = Aad::from(context.as_bytes());
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed[NONCE_LEN..])
            .map_err(|_| SealerError::NoRandom)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for `context`.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn open_sealed(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, NotOurs> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(NotOurs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOurs)?;
        let mut buffer = ciphertext.to_vec();
        let aad = Aad::from(context.as_bytes());
        let length = self.key.open_in_place(nonce, aad, &mut buffer).map_err(|_| NotOurs)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

fn write(path: &Path, key: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    match path.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_the_same_key_and_context() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let sealed = Sealer::open(&path).unwrap().seal("row", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let again = Sealer::open(&path).unwrap();
        assert_eq!(again.open_sealed("row", &sealed).unwrap(), b"secret");
        assert_eq!(again.open_sealed("other", &sealed), Err(NotOurs));
        assert_eq!(Sealer::ephemeral().unwrap().open_sealed("row", &sealed), Err(NotOurs));
        assert_eq!(again.open_sealed("row", &sealed[..sealed.len() - 1]), Err(NotOurs));
        assert_eq!(again.open_sealed("row", b"short"), Err(NotOurs));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, b"too short").unwrap();
        assert!(matches!(Sealer::open(&path), Err(SealerError::NoKey { .. })));
    }
}
