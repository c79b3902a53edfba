//! Finds the signature in a request's head: the `Authorization` header or the presigned query.

use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::{ALGORITHM, Scope, SignatureError};

/// A signature as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Which key.
    pub access_key_id: String,
    /// For what.
    pub scope: Scope,
    /// Lower-case names, in the client's order.
    pub signed_headers: Vec<String>,
    /// Lower-case hex.
    pub signature: String,
    /// `yyyymmddThhmmssZ`.
    pub timestamp: String,
    /// `X-Amz-Security-Token`.
    pub token: Option<String>,
    pub(super) place: Place,
}

/// Where the signature stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    Query { expires_seconds: u64 },
}

/// Longest life of a presigned request: seven days.
const EXPIRES_SECONDS_MAX: u64 = 604_800;

impl Signature {
    /// The signature of `parts`.
    pub fn find(parts: &Parts) -> Result<Self, SignatureError> {
        let presigned = parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="));
        match (parts.headers.get(http::header::AUTHORIZATION), presigned) {
            (None, false) => Err(SignatureError::Missing),
            (Some(_), true) => Err(incomplete("Only one way of signing a request is allowed.")),
            (Some(header), false) => {
                let header = header.to_str().map_err(|_| incomplete("The Authorization header is not text."))?;
                from_header(parts, header)
            }
            (None, true) => from_query(parts),
        }
    }
}

fn incomplete(text: impl Into<String>) -> SignatureError {
    SignatureError::Incomplete(text.into())
}

fn from_header(parts: &Parts, header: &str) -> Result<Signature, SignatureError> {
    let fields = header
        .strip_prefix(ALGORITHM)
        .ok_or_else(|| incomplete(format!("Unsupported AWS 'algorithm': '{}'.", first_word(header))))?;
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        match field.split_once('=') {
            Some(("Credential", value)) => credential = Some(value),
            Some(("SignedHeaders", value)) => signed_headers = Some(value),
            Some(("Signature", value)) => signature = Some(value),
            Some(_) => {}
            None => {
                return Err(incomplete(format!(
                    "'{}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'.",
                    first_word(field)
                )));
            }
        }
    }
    let timestamp = timestamp(parts);
    let missing: String = [
        (credential.is_none(), "Authorization header requires 'Credential' parameter. "),
        (signature.is_none(), "Authorization header requires 'Signature' parameter. "),
        (signed_headers.is_none(), "Authorization header requires 'SignedHeaders' parameter. "),
        (timestamp.is_none(), "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "),
    ]
    .iter()
    .filter_map(|(missing, text)| missing.then_some(*text))
    .collect();
    let (Some(credential), Some(signed_headers), Some(signature), Some(timestamp)) =
        (credential, signed_headers, signature, timestamp)
    else {
        return Err(incomplete(format!("{missing}Authorization={ALGORITHM}")));
    };
    let token = parts.headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
    assemble(Sent { credential, signed_headers, signature, timestamp: &timestamp, token, place: Place::Header })
}

fn from_query(parts: &Parts) -> Result<Signature, SignatureError> {
    let value = |name: &str| {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        let raw = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
        Some(percent_decode_str(raw).decode_utf8().ok()?.into_owned())
    };
    let required = |name: &str| {
        value(name).ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))
    };
    if required("X-Amz-Algorithm")? != ALGORITHM {
        return Err(incomplete("Unsupported AWS 'algorithm' in the query string."));
    }
    let expires_seconds = required("X-Amz-Expires")?
        .parse()
        .ok()
        .filter(|seconds| (1..=EXPIRES_SECONDS_MAX).contains(seconds))
        .ok_or_else(|| incomplete("X-Amz-Expires must be a number of seconds between 1 and 604800."))?;
    assemble(Sent {
        credential: &required("X-Amz-Credential")?,
        signed_headers: &required("X-Amz-SignedHeaders")?,
        signature: &required("X-Amz-Signature")?,
        timestamp: &required("X-Amz-Date")?,
        token: value("X-Amz-Security-Token").as_deref(),
        place: Place::Query { expires_seconds },
    })
}

struct Sent<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    timestamp: &'a str,
    token: Option<&'a str>,
    place: Place,
}

fn assemble(sent: Sent<'_>) -> Result<Signature, SignatureError> {
    let malformed = || incomplete("Credential must have five parts: KEY/DATE/REGION/SERVICE/aws4_request.");
    let mut parts = sent.credential.rsplitn(5, '/');
    let mut next = || parts.next().map(str::to_string).ok_or_else(malformed);
    let (terminator, service, region, date, access_key_id) = (next()?, next()?, next()?, next()?, next()?);
    if epoch_seconds(sent.timestamp).is_none() {
        return Err(incomplete("The request's date is not a valid ISO-8601 basic date."));
    }
    let signed_headers: Vec<String> = sent.signed_headers.split(';').map(str::to_ascii_lowercase).collect();
    if !signed_headers.iter().any(|name| name == "host" || name == ":authority") {
        let text = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
        return Err(SignatureError::Mismatch(text.into()));
    }
    Ok(Signature {
        access_key_id,
        scope: Scope { date, region, service, terminator },
        signed_headers,
        signature: sent.signature.to_ascii_lowercase(),
        timestamp: sent.timestamp.to_string(),
        token: sent.token.map(str::to_string),
        place: sent.place,
    })
}

/// `X-Amz-Date`, or `Date` in either of its two forms, as ISO basic.
fn timestamp(parts: &Parts) -> Option<String> {
    if let Some(date) = parts.headers.get("x-amz-date") {
        return date.to_str().ok().map(str::to_string);
    }
    let date = parts.headers.get(http::header::DATE)?.to_str().ok()?;
    if epoch_seconds(date).is_some() {
        return Some(date.to_string());
    }
    let moment = time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc2822).ok()?;
    Some(super::Basic(u64::try_from(moment.unix_timestamp()).ok()?).to_string())
}

/// `yyyymmddThhmmssZ` to seconds since the epoch.
pub(super) fn epoch_seconds(timestamp: &str) -> Option<u64> {
    let bytes = timestamp.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u16> {
        let digits = &bytes[from..to];
        digits.iter().all(u8::is_ascii_digit).then(|| timestamp[from..to].parse().ok())?
    };
    let byte = |from: usize| number(from, from + 2).and_then(|value| u8::try_from(value).ok());
    let month = time::Month::try_from(byte(4)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(number(0, 4)?), month, byte(6)?).ok()?;
    let moment = date.with_hms(byte(9)?, byte(11)?, byte(13)?).ok()?.assume_utc();
    u64::try_from(moment.unix_timestamp()).ok()
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().chars().take(80).collect()
}
