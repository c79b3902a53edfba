//! Hashing and comparing content digests.

use sha2::{Digest as _, Sha256, Sha512};

/// A running hash of the algorithm that an expected digest names.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// `sha256:`
    Sha256(Sha256),
    /// `sha512:`
    Sha512(Sha512),
}

impl Hasher {
    /// Starts the hash that can be compared with `digest` (already known to be well formed).
    pub fn like(digest: &str) -> Self {
        if digest.starts_with("sha512:") { Self::Sha512(Sha512::new()) } else { Self::Sha256(Sha256::new()) }
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of everything that was added, `ALGORITHM:HEX`.
    pub fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => format!("sha256:{}", hex::encode(hash.finalize())),
            Self::Sha512(hash) => format!("sha512:{}", hex::encode(hash.finalize())),
        }
    }
}

/// The digest of `bytes`, `sha256:HEX`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Whether `bytes` are what `digest` names.
pub fn matches(bytes: &[u8], digest: &str) -> bool {
    let mut hasher = Hasher::like(digest);
    hasher.update(bytes);
    hasher.finish() == digest
}

/// The digits of a digest, for file names. Panics never: a digest without a colon is its own digits.
pub fn digits(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, digits)| digits)
}
