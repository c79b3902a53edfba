//! Signature Version 4: who sent this request?
//!
//! Pure: the request's head, the digest of its body and the time go in, the verified key comes out. The order of the
//! checks follows what the real services answer first: shape, scope, key, token, clock, signature.

mod canonical;
mod parse;

use std::{fmt, sync::Arc};

use gantry_api::{Fault, ServiceInfo};
use hmac::{Hmac, Mac};
use http::request::Parts;
use sha2::{Digest, Sha256};

use crate::identity::{Key, Keys};

pub use canonical::canonical_request;
use parse::Place;
pub use parse::Signature;

/// `AWS4-HMAC-SHA256`.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far a clock may be off, seconds. ECS says 5 minutes in its error texts; the others say 15.
fn skew_seconds(service: &str) -> u64 {
    if service == "ecs" { 5 * 60 } else { 15 * 60 }
}

/// Why a request is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature at all.
    #[error("Missing Authentication Token")]
    Missing,
    /// The signature's parts are not all there or make no sense.
    #[error("{0}")]
    Incomplete(String),
    /// Unknown key, inactive key, or a token that does not belong to it.
    #[error("The security token included in the request is invalid.")]
    InvalidToken,
    /// The session ended.
    #[error("The security token included in the request is expired")]
    Expired,
    /// Wrong scope, clock or signature.
    #[error("{0}")]
    Mismatch(String),
}

/// The sentence for a signature that does not fit.
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

impl SignatureError {
    /// The error as `service` puts it: JSON services answer 400, Query services 403.
    pub fn fault(&self, service: &ServiceInfo) -> Fault {
        let (json, query) = match self {
            Self::Missing => ("MissingAuthenticationTokenException", "MissingAuthenticationToken"),
            Self::Incomplete(_) => ("IncompleteSignatureException", "IncompleteSignature"),
            Self::InvalidToken => ("UnrecognizedClientException", "InvalidClientTokenId"),
            Self::Expired => ("ExpiredTokenException", "ExpiredToken"),
            Self::Mismatch(_) => ("InvalidSignatureException", "SignatureDoesNotMatch"),
        };
        if !service.query {
            return Fault::new(json, 400, self.to_string());
        }
        let message = match self {
            Self::Missing => "Request is missing Authentication Token".to_string(),
            other => other.to_string(),
        };
        Fault::new(query, 403, message)
    }
}

/// A request's sender, proved.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its key.
    pub key: Arc<Key>,
    /// Which key it was.
    pub access_key_id: String,
    /// Region of the scope.
    pub region: String,
}

/// What is signed besides the head.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    /// Lower-case hex SHA-256 of the body as received.
    pub body_sha256: &'a str,
    /// The service that the request was routed to: its signing name.
    pub signing_name: &'a str,
    /// Seconds since the epoch.
    pub now: u64,
}

/// Verifies `parts`, signed in a header or presigned in the query.
pub fn verify(
    parts: &Parts,
    checked: Checked<'_>,
    keys: &dyn Keys,
    signing_keys: &SigningKeys,
) -> Result<Verified, SignatureError> {
    let signature = Signature::find(parts)?;
    check_scope(&signature, checked.signing_name)?;
    let token = signature.token.as_deref();
    let key = keys.key(&signature.access_key_id, token).filter(|key| key.active).ok_or(SignatureError::InvalidToken)?;
    check_session(&key, token, checked.now)?;
    check_clock(&signature, checked)?;

    let payload = payload_hash(parts, &signature, checked.body_sha256)?;
    let canonical = canonical_request(parts, &signature.signed_headers, payload)?;
    let to_sign = string_to_sign(&signature, &canonical);
    let expected = signing_keys.signature(&key.secret, &signature, &to_sign);
    if !constant_time_equal(expected.as_bytes(), signature.signature.as_bytes()) {
        return Err(SignatureError::Mismatch(MISMATCH.into()));
    }
    keys.used(&signature.access_key_id, &key, checked.now, &signature.scope.region, checked.signing_name);
    Ok(Verified { key, access_key_id: signature.access_key_id, region: signature.scope.region })
}

fn check_scope(signature: &Signature, signing_name: &str) -> Result<(), SignatureError> {
    let scope = &signature.scope;
    let mismatch = |text: String| Err(SignatureError::Mismatch(text));
    if scope.terminator != "aws4_request" {
        return mismatch(format!(
            "Credential should be scoped with a valid terminator: 'aws4_request', not '{}'. ",
            scope.terminator
        ));
    }
    if scope.service != signing_name {
        return mismatch(format!("Credential should be scoped to correct service: '{signing_name}'. "));
    }
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if scope.region.is_empty() || scope.region.len() > 32 || !scope.region.chars().all(plain) {
        return mismatch(format!("Credential should be scoped to a valid region, not '{}'. ", scope.region));
    }
    if !signature.timestamp.starts_with(&scope.date) {
        return mismatch(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', \
             from '{}'.",
            scope.date,
            &signature.timestamp[..8],
            signature.timestamp
        ));
    }
    Ok(())
}

fn check_session(key: &Key, token: Option<&str>, now: u64) -> Result<(), SignatureError> {
    match (&key.session, token) {
        (None, None) => Ok(()),
        (Some(session), Some(_)) if now >= session.expires_at => Err(SignatureError::Expired),
        (Some(_), Some(_)) => Ok(()),
        _ => Err(SignatureError::InvalidToken),
    }
}

fn check_clock(signature: &Signature, checked: Checked<'_>) -> Result<(), SignatureError> {
    let now = checked.now;
    let skew = skew_seconds(checked.signing_name);
    let minutes = skew / 60;
    let signed = parse::epoch_seconds(&signature.timestamp)
        .ok_or_else(|| SignatureError::Incomplete("The request's date is not a valid ISO-8601 basic date.".into()))?;
    let lifetime = match signature.place {
        Place::Header => skew,
        Place::Query { expires_seconds } => expires_seconds,
    };
    if signed.saturating_add(lifetime) < now {
        let (sent, server) = (&signature.timestamp, Basic(now));
        let text = match signature.place {
            Place::Header => format!(
                "Signature expired: {sent} is now earlier than {} ({server} - {minutes} min.)",
                Basic(now.saturating_sub(skew))
            ),
            Place::Query { .. } => format!("Signature expired: {sent} is now earlier than {server}"),
        };
        return Err(SignatureError::Mismatch(text));
    }
    if signed > now.saturating_add(skew) {
        return Err(SignatureError::Mismatch(format!(
            "Signature not yet current: {} is still later than {} ({} + {minutes} min.)",
            signature.timestamp,
            Basic(now.saturating_add(skew)),
            Basic(now)
        )));
    }
    Ok(())
}

/// The payload hash that the client signed. A hex digest in `X-Amz-Content-Sha256` must be the body's own.
fn payload_hash<'a>(parts: &'a Parts, signature: &Signature, body_sha256: &'a str) -> Result<&'a str, SignatureError> {
    let Some(header) = parts.headers.get("x-amz-content-sha256") else { return Ok(body_sha256) };
    let header = header.to_str().unwrap_or_default();
    let unsigned = header == "UNSIGNED-PAYLOAD" && matches!(signature.place, Place::Query { .. });
    if unsigned || header.eq_ignore_ascii_case(body_sha256) {
        return Ok(header);
    }
    Err(SignatureError::Mismatch(MISMATCH.into()))
}

fn string_to_sign(signature: &Signature, canonical: &str) -> String {
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    format!("{ALGORITHM}\n{}\n{}\n{digest}", signature.timestamp, signature.scope)
}

/// Signing keys by secret and scope. Deriving one costs four HMACs; a key is good for a day, so requests of one client
/// share it. Bounded: a client that walks through regions only empties the cache.
#[derive(Default)]
pub struct SigningKeys {
    derived: parking_lot::RwLock<std::collections::HashMap<String, (String, [u8; 32])>>,
}

impl SigningKeys {
    const ENTRIES_MAX: usize = 4096;

    fn signature(&self, secret: &str, signature: &Signature, to_sign: &str) -> String {
        let name = format!("{}/{}", signature.access_key_id, signature.scope);
        let cached = self.derived.read().get(&name).filter(|(of, _)| of == secret).map(|(_, key)| *key);
        let key = cached.unwrap_or_else(|| {
            let key = signing_key(secret, &signature.scope);
            let mut derived = self.derived.write();
            if derived.len() >= Self::ENTRIES_MAX {
                derived.clear();
            }
            derived.insert(name, (secret.to_string(), key));
            key
        });
        hex::encode(hmac(&key, to_sign.as_bytes()))
    }
}

/// Derives the key that signs for one scope.
pub(crate) fn signing_key(secret: &str, scope: &Scope) -> [u8; 32] {
    let date = hmac(format!("AWS4{secret}").as_bytes(), scope.date.as_bytes());
    let region = hmac(&date, scope.region.as_bytes());
    let service = hmac(&region, scope.service.as_bytes());
    hmac(&service, scope.terminator.as_bytes())
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn constant_time_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |all, (left, right)| all | (left ^ right)) == 0
}

/// What a signature is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `yyyymmdd`.
    pub date: String,
    /// For example `us-east-1`.
    pub region: String,
    /// Signing name.
    pub service: String,
    /// `aws4_request`.
    pub terminator: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.date, self.region, self.service, self.terminator)
    }
}

/// Epoch seconds printed as `yyyymmddThhmmssZ`.
pub(crate) struct Basic(pub(crate) u64);

impl fmt::Display for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(0);
        let moment = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        let (date, hour, minute, second) = (moment.date(), moment.hour(), moment.minute(), moment.second());
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }
}

#[cfg(test)]
mod tests;
