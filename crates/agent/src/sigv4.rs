//! Signature version 4 of a request, in headers. Pure; the verifying side is in `protocol`.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, macros::format_description};

use crate::config::Credentials;

/// What is signed. Paths and queries are the agent's own and need no further encoding.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Absolute path.
    pub(crate) path: &'a str,
    /// Name and value, encoded, in order of name.
    pub(crate) query: &'a [(&'a str, String)],
    /// Lower-case name and value, `host` included; all are signed.
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: &'a [u8],
}

/// The scope of a signature.
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// Headers to add to the request: `x-amz-date`, `authorization` and, for temporary credentials,
/// `x-amz-security-token`.
pub(crate) fn sign(
    mut request: Request<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials,
    now_ms: u64,
) -> Vec<(&'static str, String)> {
    let timestamp = timestamp(now_ms);
    let date = &timestamp[..8];
    let mut added = vec![("x-amz-date", timestamp.clone())];
    if let Some(token) = &credentials.session_token {
        added.push(("x-amz-security-token", token.clone()));
    }
    request.headers.extend(added.iter().cloned());
    request.headers.sort();
    let signed_names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = canonical(&request, &signed_names);
    let credential_scope = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{timestamp}\n{credential_scope}\n{}",
        hex::encode(Sha256::digest(canonical.as_bytes()))
    );
    let key = signing_key(&credentials.secret_access_key, date, scope);
    let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
    added.push((
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{credential_scope}, SignedHeaders={signed_names}, Signature={signature}",
            credentials.access_key_id
        ),
    ));
    added
}

fn canonical(request: &Request<'_>, signed_names: &str) -> String {
    let query = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let body = hex::encode(Sha256::digest(request.body));
    format!("{}\n{}\n{query}\n{headers}\n{signed_names}\n{body}", request.method, request.path)
}

fn signing_key(secret: &str, date: &str, scope: &Scope<'_>) -> Vec<u8> {
    let parts = [date, scope.region, scope.service, "aws4_request"];
    parts.iter().fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// `20150830T123600Z`.
fn timestamp(now_ms: u64) -> String {
    let seconds = i64::try_from(now_ms / 1000).unwrap_or_default();
    let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    now.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_is_reproduced() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
        };
        let request = Request {
            method: "GET",
            path: "/",
            query: &[("Action", "ListUsers".into()), ("Version", "2010-05-08".into())],
            headers: vec![
                ("host", "iam.amazonaws.com".into()),
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8".into()),
            ],
            body: b"",
        };
        let scope = Scope { region: "us-east-1", service: "iam" };
        let added = sign(request, &scope, &credentials, 1_440_938_160_000);
        assert_eq!(added[0], ("x-amz-date", "20150830T123600Z".to_owned()));
        assert_eq!(
            added[1].1,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
