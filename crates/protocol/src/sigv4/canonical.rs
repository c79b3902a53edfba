//! The canonical form of a request that client and server both sign.

use std::fmt::Write;

use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::SignatureError;

/// The canonical request for `signed_headers` and the payload's hash.
pub fn canonical_request(parts: &Parts, signed_headers: &[String], payload: &str) -> Result<String, SignatureError> {
    let mut out = String::with_capacity(512);
    out.push_str(parts.method.as_str());
    out.push('\n');
    out.push_str(&canonical_path(parts.uri.path()));
    out.push('\n');
    out.push_str(&canonical_query(parts.uri.query().unwrap_or_default()));
    out.push('\n');
    let mut names: Vec<&str> = signed_headers.iter().map(String::as_str).collect();
    names.sort_unstable();
    for name in &names {
        write_header(&mut out, parts, name)?;
    }
    out.push('\n');
    out.push_str(&names.join(";"));
    out.push('\n');
    out.push_str(payload);
    Ok(out)
}

fn write_header(out: &mut String, parts: &Parts, name: &str) -> Result<(), SignatureError> {
    out.push_str(name);
    out.push(':');
    let mut values = parts.headers.get_all(name).iter().peekable();
    if values.peek().is_none() && matches!(name, "host" | ":authority") {
        // HTTP/2 has no Host header; the authority takes its place.
        out.push_str(parts.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default());
    }
    let mut first = true;
    for value in values {
        if !first {
            out.push(',');
        }
        first = false;
        let value = value.to_str();
        let value = value.map_err(|_| SignatureError::Incomplete(format!("The header '{name}' is not text.")))?;
        out.push_str(&collapse(value));
    }
    out.push('\n');
    Ok(())
}

/// Trimmed, with inner runs of spaces made one.
fn collapse(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Dot segments and doubled slashes resolved, then every segment encoded again (the services but S3 sign the path
/// encoded twice).
fn canonical_path(path: &str) -> String {
    if path == "/" || path.is_empty() {
        return "/".into();
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut out = String::new();
    for segment in &segments {
        let _ = write!(out, "/{}", encode(segment));
    }
    if out.is_empty() || path.ends_with('/') {
        out.push('/');
    }
    out
}

/// Decoded, encoded anew and sorted; a presigned request's own signature is left out.
fn canonical_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let recode = |text: &str| encode_bytes(&percent_decode_str(text).collect::<Vec<u8>>());
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| (recode(name), recode(value)))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

fn encode_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
