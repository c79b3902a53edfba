//! Tokens as they come: three parts of base64, nothing of which is believed before the signature is checked.
//!
//! Only signatures by a private key are known here. `none` is no signature, and one made with a shared secret could be
//! made by everybody who has the issuer's public key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Es256,
    Es384,
}

impl Algorithm {
    /// As tokens and keys name it.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "RS384" => Some(Self::Rs384),
            "RS512" => Some(Self::Rs512),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            _ => None,
        }
    }
}

/// What is wrong with a text that should be a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtError {
    #[error("it is not a JSON Web Token")]
    Malformed,
    #[error("it is signed with {0:?}, which is not supported")]
    Algorithm(String),
}

/// A token whose signature has yet to be checked.
pub(super) struct Jwt<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What is signed.
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
}

impl<'t> Jwt<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, JwtError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        let header = object(header)?;
        let claims = object(claims)?;
        // An extension that must be understood, and is not.
        if header.contains_key("crit") {
            return Err(JwtError::Malformed);
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or(JwtError::Malformed)?;
        let algorithm = Algorithm::parse(name).ok_or_else(|| JwtError::Algorithm(name.chars().take(20).collect()))?;
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtError::Malformed)?;
        Ok(Self { algorithm, key_id, claims, signed: signed.as_bytes(), signature })
    }

    /// Whom it claims to be of.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}

fn object(part: &str) -> Result<Map<String, Value>, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(header: &str, claims: &str, rest: &str) -> Result<(Algorithm, Option<String>, Option<String>), JwtError> {
        let token = format!("{}.{}{rest}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let jwt = Jwt::parse(&token)?;
        Ok((jwt.algorithm, jwt.key_id.clone(), jwt.issuer().map(str::to_owned)))
    }

    #[test]
    fn a_token_has_three_parts_and_a_signature_that_is_known() {
        let iss = r#"{"iss":"i"}"#;
        let good = parse(r#"{"alg":"ES384","kid":"k","typ":"JWT"}"#, iss, ".AAAA").unwrap();
        assert_eq!(good, (Algorithm::Es384, Some("k".to_owned()), Some("i".to_owned())));
        for name in ["none", "None", "HS256", "HS512", "PS256", "EdDSA", "rs256", ""] {
            let refused = parse(&format!(r#"{{"alg":"{name}"}}"#), iss, ".AAAA").unwrap_err();
            assert_eq!(refused, JwtError::Algorithm(name.to_owned()));
        }
        for (header, claims, rest) in [
            (r#"{"alg":"RS256"}"#, iss, ""),
            (r#"{"alg":"RS256"}"#, iss, ".A.A"),
            (r#"{"alg":"RS256"}"#, iss, ".A+/A"),
            (r#"{"alg":"RS256"}"#, "[]", ".AAAA"),
            (r#"{"alg":"RS256"}"#, "", ".AAAA"),
            (r#"{"alg":"RS256","crit":["exp"]}"#, iss, ".AAAA"),
            (r#"{"alg":1}"#, iss, ".AAAA"),
            ("{}", iss, ".AAAA"),
            ("null", iss, ".AAAA"),
        ] {
            assert_eq!(parse(header, claims, rest).unwrap_err(), JwtError::Malformed, "{header} {claims} {rest}");
        }
        for text in ["", ".", "..", "....", "é.é.é", "e30.bm90IGpzb24.x"] {
            assert_eq!(Jwt::parse(text).err(), Some(JwtError::Malformed), "{text}");
        }
    }
}
