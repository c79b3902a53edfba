//! The password of `docker login`: a signed statement of who the holder is, and until when. It says nothing of what
//! the holder may do, so that a change of permissions works at once.
//!
//! Nothing is stored per token. The key lies in the data directory, readable by its owner only, so tokens survive a
//! restart; removing the file and restarting revokes all of them. The same key signs download links for layers.
//!
//! A password is `BASE64URL(claims JSON) "." BASE64URL(HMAC-SHA256)`: no colon, so clients that split at the first one
//! are as happy as those that split at the last.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

mod claims;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gantry_api::Caller;
use gantry_domain::Timestamp;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use claims::Claims;

/// The user name that goes with every password.
pub const USER_NAME: &str = "AWS";
/// How long a token is good for: twelve hours, as the real service has it.
pub const LIFETIME_SECONDS: i64 = 12 * 60 * 60;

const KEY_LENGTH: usize = 32;
/// Longer credentials were not made by us and are not worth hashing. Those of a session carry its policies and tags.
const PASSWORD_LENGTH_MAX: usize = 48 * 1024;

/// Why credentials are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Absent, malformed, or not signed by us.
    #[error("credentials are not valid")]
    Invalid,
    /// They were valid once.
    #[error("token has expired")]
    Expired,
}

/// The key that signs tokens and links.
#[derive(Clone)]
pub struct TokenKey([u8; KEY_LENGTH]);

impl TokenKey {
    /// A key given by the caller, for tests and replicas that share one.
    pub fn new(key: [u8; KEY_LENGTH]) -> Self {
        Self(key)
    }

    /// Reads the key from `path`; makes and durably writes one when there is none.
    pub fn load_or_create(path: &Path) -> std::io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => bytes.try_into().map(Self).map_err(|_| {
                std::io::Error::new(
                    ErrorKind::InvalidData,
                    "the registry's token key is damaged; remove it to revoke all tokens",
                )
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error),
        }
    }

    fn create(path: &Path) -> std::io::Result<Self> {
        let mut key = [0; KEY_LENGTH];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        // Written beside and renamed, so that a crash never leaves half a key.
        let beside = path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(directory)?.sync_all()?;
        Ok(Self(key))
    }

    /// A password for `caller`, and when it expires: after twelve hours, or when the caller's own session ends.
    pub fn issue(&self, caller: &Caller, now: Timestamp) -> (String, Timestamp) {
        let longest = now.plus_seconds(LIFETIME_SECONDS);
        let session_end = caller.session.as_ref().and_then(|session| i64::try_from(session.expires_at).ok());
        let expires = session_end.map_or(longest, |end| longest.min(Timestamp::from_seconds(end)));
        let claims = Claims::new(caller, expires);
        let payload =
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).expect("claims are plain strings and numbers"));
        let signature = URL_SAFE_NO_PAD.encode(self.sign("token", &[&payload]));
        (format!("{payload}.{signature}"), expires)
    }

    /// Who holds this `Authorization: Basic …` value.
    pub fn verify_basic(&self, credentials: &str, now: Timestamp) -> Result<Verified, TokenError> {
        if credentials.len() > PASSWORD_LENGTH_MAX {
            return Err(TokenError::Invalid);
        }
        let decoded = STANDARD.decode(credentials.trim()).map_err(|_| TokenError::Invalid)?;
        let text = String::from_utf8(decoded).map_err(|_| TokenError::Invalid)?;
        let (user, password) = text.split_once(':').ok_or(TokenError::Invalid)?;
        if user != USER_NAME {
            return Err(TokenError::Invalid);
        }
        self.verify(password, now)
    }

    /// Who holds this password.
    pub fn verify(&self, password: &str, now: Timestamp) -> Result<Verified, TokenError> {
        let (payload, signature) = password.split_once('.').ok_or(TokenError::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Invalid)?;
        if !self.verify_signature("token", &[payload], &signature) {
            return Err(TokenError::Invalid);
        }
        let claims = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Invalid)?;
        if claims.version != claims::VERSION {
            return Err(TokenError::Invalid);
        }
        let expires = Timestamp::from_millis(claims.expires_ms);
        if now >= expires {
            return Err(TokenError::Expired);
        }
        Ok(Verified { caller: claims.into_caller(), expires })
    }

    /// The signature of a link: `purpose` keeps one kind of signature from passing for another.
    pub fn sign_link(&self, parts: &[&str]) -> String {
        hex::encode(self.sign("link", parts))
    }

    /// Whether `signature` is [`Self::sign_link`] of `parts`; takes the same time whatever differs.
    pub fn verify_link(&self, parts: &[&str], signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|signature| self.verify_signature("link", parts, &signature))
    }

    fn sign(&self, purpose: &str, parts: &[&str]) -> Vec<u8> {
        self.mac(purpose, parts).finalize().into_bytes().to_vec()
    }

    fn verify_signature(&self, purpose: &str, parts: &[&str], signature: &[u8]) -> bool {
        self.mac(purpose, parts).verify_slice(signature).is_ok()
    }

    fn mac(&self, purpose: &str, parts: &[&str]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// A caller and how long its token says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who it is. What belongs to one request, its id and its origin, is empty.
    pub caller: Caller,
    /// When the token ends.
    pub expires: Timestamp,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn caller() -> Caller {
        Caller { access_key_id: "AKIATEST".to_owned(), ..Caller::root("000000000000", "us-east-1") }
    }

    fn basic(user: &str, password: &str) -> String {
        STANDARD.encode(format!("{user}:{password}"))
    }

    #[test]
    fn a_token_is_good_for_twelve_hours_and_not_a_moment_longer() {
        let key = TokenKey::new([7; KEY_LENGTH]);
        let now = Timestamp::from_seconds(1_700_000_000);
        let (password, expires) = key.issue(&caller(), now);
        assert_eq!(expires, now.plus_seconds(12 * 60 * 60));
        let credentials = basic("AWS", &password);
        assert_eq!(key.verify_basic(&credentials, now).map(|verified| verified.caller), Ok(caller()));
        assert!(key.verify_basic(&credentials, expires.plus_millis(-1)).is_ok());
        assert_eq!(key.verify_basic(&credentials, expires), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_a_session_ends_with_it_and_carries_all_of_it() {
        let key = TokenKey::new([7; KEY_LENGTH]);
        let now = Timestamp::from_seconds(1_700_000_000);
        let session = gantry_api::Session {
            principal_id: "AROA1:ci".to_owned(),
            issued_at: 1_700_000_000,
            expires_at: 1_700_003_600,
            policies: vec!["{}".to_owned()],
            policy_arns: vec!["arn:aws:iam::aws:policy/X".to_owned()],
            tags: [("team".to_owned(), "web".to_owned())].into(),
            transitive_tag_keys: vec!["team".to_owned()],
            source_identity: Some("ann".to_owned()),
            federated_provider: None,
            machine: None,
            task: None,
        };
        let caller = Caller {
            principal_arn: "arn:aws:sts::000000000000:assumed-role/deploy/ci".to_owned(),
            kind: gantry_api::PrincipalKind::AssumedRole,
            session: Some(std::sync::Arc::new(session)),
            ..caller()
        };
        let (password, expires) = key.issue(&caller, now);
        assert_eq!(expires, Timestamp::from_seconds(1_700_003_600));
        assert_eq!(key.verify_basic(&basic("AWS", &password), now), Ok(Verified { caller, expires }));
    }

    #[test]
    fn what_we_did_not_sign_is_not_accepted() {
        let key = TokenKey::new([7; KEY_LENGTH]);
        let now = Timestamp::from_seconds(1_700_000_000);
        let (password, _) = key.issue(&caller(), now);
        let (payload, signature) = password.split_once('.').unwrap();
        let forged = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let forged = URL_SAFE_NO_PAD.encode(forged.replace("000000000000", "111111111111"));
        for credentials in [
            basic("aws", &password),
            basic("AWS", &password[1..]),
            basic("AWS", &format!("{password}x")),
            basic("AWS", &format!("{forged}.{signature}")),
            basic("AWS", payload),
            basic("AWS", ""),
            "AWS".to_owned(),
            "%".to_owned(),
            String::new(),
            "QUFB".repeat(20_000),
        ] {
            assert_eq!(key.verify_basic(&credentials, now), Err(TokenError::Invalid), "{credentials:.60}");
        }
        let other = TokenKey::new([8; KEY_LENGTH]);
        assert_eq!(other.verify_basic(&basic("AWS", &password), now), Err(TokenError::Invalid));
    }

    #[test]
    fn the_key_is_made_once_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry/token.key");
        let first = TokenKey::load_or_create(&path).unwrap();
        assert_eq!(TokenKey::load_or_create(&path).unwrap().0, first.0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        assert!(TokenKey::load_or_create(&path).is_err());
    }

    #[test]
    fn a_link_is_bound_to_every_part_of_it() {
        let key = TokenKey::new([7; KEY_LENGTH]);
        let signature = key.sign_link(&["a", "bc"]);
        assert!(key.verify_link(&["a", "bc"], &signature));
        assert!(!key.verify_link(&["ab", "c"], &signature));
        assert!(!key.verify_link(&["a", "bc"], "zz"));
    }
}
