//! Secrets that are shown once. They are long and random, so a plain hash is enough to keep.

use gantry_api::Fault;
use sha2::{Digest, Sha256};

use super::fault;

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `count` random letters and digits.
pub(crate) fn random_text(count: usize) -> Result<String, Fault> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|error| fault::unavailable(std::io::Error::other(error.to_string())))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect())
}

/// `count` random hexadecimal digits, as the ids of instances have them.
pub(super) fn random_hex(count: usize) -> Result<String, Fault> {
    let text = random_text(count)?;
    Ok(text.bytes().map(|letter| char::from(b"0123456789abcdef"[usize::from(letter & 15)])).collect())
}

/// `PREFIX-ID-SECRET`: 200 bits of secret.
pub(super) fn token(prefix: &str, id: &str) -> Result<String, Fault> {
    Ok(format!("{prefix}-{id}-{}", random_text(40)?))
}

/// What is kept of a secret.
pub(crate) fn hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id in a token.
pub(super) fn id_of<'a>(prefix: &str, token: &'a str) -> Option<&'a str> {
    let (id, _) = token.strip_prefix(prefix)?.strip_prefix('-')?.split_once('-')?;
    Some(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_tells_its_id_and_its_hash_does_not_tell_it() {
        let token = token("gjt", "abc").unwrap();
        assert_eq!(id_of("gjt", &token), Some("abc"));
        assert_eq!((hash(&token).len(), hash(&token) == hash("gjt-abc-")), (64, false));
        for text in ["", "gjt", "gjt-abc", "xyz-abc-def", "gjtabc-def"] {
            assert_eq!(id_of("gjt", text), None, "{text}");
        }
    }
}
