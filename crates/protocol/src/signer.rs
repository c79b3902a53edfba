//! Signs requests that Gantry's own programs send.

use http::{HeaderValue, Request, header::HOST};
use sha2::{Digest, Sha256};

use crate::sigv4::{self, Basic, Scope};

/// A key and where it is used.
#[derive(Clone)]
pub struct Credentials {
    /// Which key.
    pub access_key_id: String,
    /// Its secret.
    pub secret: String,
    /// Region of the scope.
    pub region: String,
}

/// Adds `X-Amz-Date` and `Authorization` to `request`, for the service `signing_name` at `now` (epoch seconds). The
/// request must have a `Host` header; all its headers are signed.
pub fn sign<B: AsRef<[u8]>>(
    request: Request<B>,
    credentials: &Credentials,
    signing_name: &str,
    now: u64,
) -> Result<Request<B>, sigv4::SignatureError> {
    let (mut parts, body) = request.into_parts();
    let timestamp = Basic(now).to_string();
    let scope = Scope {
        date: timestamp[..8].to_string(),
        region: credentials.region.clone(),
        service: signing_name.to_string(),
        terminator: "aws4_request".to_string(),
    };
    let text = |value: &str| {
        HeaderValue::from_str(value).map_err(|_| sigv4::SignatureError::Incomplete("a header cannot be written".into()))
    };
    parts.headers.insert("x-amz-date", text(&timestamp)?);
    if !parts.headers.contains_key(HOST) {
        let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        parts.headers.insert(HOST, text(&authority)?);
    }
    let signed: Vec<String> = parts.headers.keys().map(|name| name.as_str().to_string()).collect();
    let payload = hex::encode(Sha256::digest(body.as_ref()));
    let canonical = sigv4::canonical_request(&parts, &signed, &payload)?;
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("{}\n{timestamp}\n{scope}\n{digest}", sigv4::ALGORITHM);
    let signature = hex::encode(sigv4::hmac(&sigv4::signing_key(&credentials.secret, &scope), to_sign.as_bytes()));
    let mut names = signed;
    names.sort_unstable();
    let authorization = format!(
        "{} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        sigv4::ALGORITHM,
        credentials.access_key_id,
        names.join(";")
    );
    parts.headers.insert(http::header::AUTHORIZATION, text(&authorization)?);
    Ok(Request::from_parts(parts, body))
}
