//! The keys that an issuer publishes (a JSON Web Key Set), and whether one of them has signed a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use super::jwt::{Algorithm, Jwt};

/// Keys of an issuer: as many of each kind as the real service takes, and both kinds.
const KEYS_MAX: usize = 200;

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("it is not a JSON Web Key Set")]
    NotOne(#[source] serde_json::Error),
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

/// A public key that can have signed tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The only one that the key is for, when it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed points.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a key set. Keys of kinds and for purposes that are not ours are passed over, as the standard wants it.
pub(super) fn read(text: &[u8]) -> Result<Vec<Key>, KeySetError> {
    let set: KeySet = serde_json::from_slice(text).map_err(KeySetError::NotOne)?;
    if set.keys.len() > KEYS_MAX {
        return Err(KeySetError::TooMany);
    }
    let usable = |key| serde_json::from_value::<Jwk>(key).ok().and_then(Jwk::usable);
    Ok(set.keys.into_iter().filter_map(usable).collect())
}

impl Jwk {
    fn usable(self) -> Option<Key> {
        if self.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match self.alg {
            Some(name) => Some(Algorithm::parse(&name)?),
            None => None,
        };
        let material = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: number(&self.n?)?, e: number(&self.e?)? },
            ("EC", Some("P-256")) => Material::P256(point(&self.x?, &self.y?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&self.x?, &self.y?, 48)?),
            _ => return None,
        };
        Some(Key { id: self.kid, algorithm, material })
    }
}

/// An integer without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}

fn point(x: &str, y: &str, length: usize) -> Option<Vec<u8>> {
    let mut point = vec![4];
    for coordinate in [x, y] {
        let bytes = URL_SAFE_NO_PAD.decode(coordinate.trim_end_matches('=')).ok()?;
        point.extend((bytes.len() == length).then_some(bytes)?);
    }
    Some(point)
}

/// The key that the token says it is signed with; one that says none is signed with the only one that it can be.
pub(super) fn find<'k>(keys: &'k [Key], jwt: &Jwt<'_>) -> Option<&'k Key> {
    let mut fitting = keys.iter().filter(|key| key.fits(jwt.algorithm));
    match &jwt.key_id {
        Some(id) => fitting.find(|key| key.id.as_ref() == Some(id)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

impl Key {
    /// Whether a signature with this algorithm can be by this key: the key decides, not the token.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let of_kind = match &self.material {
            Material::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
        };
        of_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether this key has signed the token.
    pub(super) fn has_signed(&self, jwt: &Jwt<'_>) -> bool {
        if !self.fits(jwt.algorithm) {
            return false;
        }
        let (signed, signature) = (jwt.signed, &*jwt.signature);
        let verified = match &self.material {
            Material::Rsa { n, e } => {
                let parameters = match jwt.algorithm {
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature)
            }
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature),
            Material::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature),
        };
        verified.is_ok()
    }
}

#[cfg(test)]
mod tests;
