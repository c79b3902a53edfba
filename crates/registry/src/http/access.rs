//! Who asks, and what they may do.
//!
//! Credentials are the password of GetAuthorizationToken, as HTTP Basic: it says who asks. What `/v2/` shows is the
//! registry that the host names, `ACCOUNT.dkr.ecr.REGION.amazonaws.com` or just `ACCOUNT.` before any other name; under
//! a host that names none, the registry of the asker's own account. The region is always the token's.

use axum::body::Body;
use axum::response::Response;
use gantry_api::{Caller, Origin};
use gantry_domain::Timestamp;
use gantry_domain::arn::{Scope, is_account};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderValue, Method};
use http_body_util::BodyExt;

use super::answer;
use super::query::Query;
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::name::RepositoryName;
use crate::registry::Registry;
use crate::token::TokenError;

/// Bodies up to this size are read and forgotten when a request is refused, so that the connection stays usable.
const DRAINED_BODY_SIZE_MAX: u64 = 64 * 1024;

const LINK_EXPIRES: &str = "X-Gantry-Expires";
const LINK_REGISTRY: &str = "X-Gantry-Registry";
const LINK_SIGNATURE: &str = "X-Gantry-Signature";

/// What a request does, by the name of the permission the real service asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    BatchCheckLayerAvailability,
    GetDownloadUrlForLayer,
    BatchGetImage,
    ListImages,
    DescribeRepositories,
    InitiateLayerUpload,
    UploadLayerPart,
    CompleteLayerUpload,
    PutImage,
    BatchDeleteImage,
    CreateRepository,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BatchCheckLayerAvailability => "BatchCheckLayerAvailability",
            Self::GetDownloadUrlForLayer => "GetDownloadUrlForLayer",
            Self::BatchGetImage => "BatchGetImage",
            Self::ListImages => "ListImages",
            Self::DescribeRepositories => "DescribeRepositories",
            Self::InitiateLayerUpload => "InitiateLayerUpload",
            Self::UploadLayerPart => "UploadLayerPart",
            Self::CompleteLayerUpload => "CompleteLayerUpload",
            Self::PutImage => "PutImage",
            Self::BatchDeleteImage => "BatchDeleteImage",
            Self::CreateRepository => "CreateRepository",
        }
    }
}

/// Who sends a request, and the registry it is about: the one its host names, or else that of the sender's account.
pub(super) fn authenticate(registry: &Registry, head: &Parts) -> Result<(Caller, Scope), RegistryError> {
    let header = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credentials = header.and_then(basic_credentials).ok_or(RegistryError::Unauthorized)?;
    let verified = registry.tokens.verify_basic(credentials, registry.now()).map_err(|error| match error {
        TokenError::Invalid => RegistryError::Unauthorized,
        TokenError::Expired => RegistryError::TokenExpired,
    })?;
    let mut caller = verified.caller.clone();
    caller.origin = head.extensions.get::<Origin>().cloned().unwrap_or_default();
    let mut scope = Scope::new(&*caller.account, &*caller.region);
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    if let Some((account, region)) = host.or(head.uri.host()).and_then(registry_of_host) {
        // A token is good in the region that issued it.
        if region.is_some_and(|region| region != caller.region) {
            return Err(RegistryError::Unauthorized);
        }
        scope.account = account.to_owned();
    }
    Ok((caller, scope))
}

fn basic_credentials(header: &str) -> Option<&str> {
    let (scheme, credentials) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(credentials.trim())
}

/// The account, and the region if there is one, that `ACCOUNT.dkr.ecr.REGION.HOST` or `ACCOUNT.HOST` names; none for any
/// other host.
fn registry_of_host(host: &str) -> Option<(&str, Option<&str>)> {
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let mut labels = host.split('.');
    let account = labels.next().filter(|account| is_account(account))?;
    let region = match (labels.next()?, labels.next()) {
        ("dkr", Some("ecr" | "ecr-fips")) => Some(labels.next()?),
        ("dkr-ecr" | "dkr-ecr-fips", region) => Some(region?),
        _ => None,
    };
    Some((account, region))
}

/// Answers a request whose credentials are not good, before its body is read. containerd sends everything once without
/// credentials, so a small body is taken off the connection to keep it usable; a large one costs the connection.
pub(super) async fn refuse_early(refused: &RegistryError, head: &Parts, body: Body) -> Response {
    let mut response = answer::refusal(refused, head.headers.get(HOST));
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let has_body = !matches!(head.method, Method::GET | Method::HEAD | Method::DELETE);
    match length {
        None | Some(0) if !has_body || length == Some(0) => {}
        Some(length) if length <= DRAINED_BODY_SIZE_MAX && !head.headers.contains_key(http::header::EXPECT) => {
            let _ = body.collect().await;
        }
        _ => drop(response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"))),
    }
    response
}

/// A link that downloads a blob without credentials, until it expires.
pub fn download_link(registry: &Registry, keys: &RepositoryKeys, digest: &Digest) -> String {
    let lifetime_ms = i64::try_from(registry.config.download_link_lifetime.as_millis()).unwrap_or(i64::MAX);
    let expires = registry.now().plus_millis(lifetime_ms).as_millis().to_string();
    let scope = keys.scope();
    let holder = format!("{}.{}", scope.account, scope.region);
    let signature = registry.tokens.key.sign_link(&[&holder, keys.name().as_str(), digest.as_str(), &expires]);
    format!(
        "{}/v2/{}/blobs/{digest}?{LINK_REGISTRY}={holder}&{LINK_EXPIRES}={expires}&{LINK_SIGNATURE}={signature}",
        registry.config.public_endpoint.trim_end_matches('/'),
        keys.name(),
    )
}

/// The repository a download link is for; none when the request carries no link.
pub(super) fn verify_download_link(
    registry: &Registry,
    name: &RepositoryName,
    digest: &Digest,
    query: &Query,
) -> Result<Option<RepositoryKeys>, RegistryError> {
    let parts = (query.get(LINK_REGISTRY), query.get(LINK_EXPIRES), query.get(LINK_SIGNATURE));
    let (Some(holder), Some(expires), Some(signature)) = parts else { return Ok(None) };
    if !registry.tokens.key.verify_link(&[holder, name.as_str(), digest.as_str(), expires], signature) {
        return Err(RegistryError::Unauthorized);
    }
    let (account, region) = holder.split_once('.').ok_or(RegistryError::Unauthorized)?;
    let expires = expires.parse().map(Timestamp::from_millis).map_err(|_| RegistryError::Unauthorized)?;
    if registry.now() >= expires {
        return Err(RegistryError::TokenExpired);
    }
    Ok(Some(RepositoryKeys::new(&Scope::new(account, region), name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_registry_when_its_first_label_is_an_account() {
        const ACCOUNT: &str = "123456789012";
        let cases = [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some((ACCOUNT, Some("eu-west-1")))),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn:443", Some((ACCOUNT, Some("cn-north-1")))),
            ("123456789012.dkr-ecr.us-east-1.on.aws", Some((ACCOUNT, Some("us-east-1")))),
            ("123456789012.dkr.ecr.us-east-1.localhost:4566", Some((ACCOUNT, Some("us-east-1")))),
            ("123456789012.localhost:4566", Some((ACCOUNT, None))),
            ("123456789012.registry.example.com", Some((ACCOUNT, None))),
            ("123456789012:4566", None),
            ("123456789012.dkr.ecr", None),
            ("12345678901.dkr.ecr.eu-west-1.amazonaws.com", None),
            ("localhost:4566", None),
            ("127.0.0.1", None),
            ("[::1]:4566", None),
            ("registry.example.com", None),
        ];
        for (host, expected) in cases {
            assert_eq!(registry_of_host(host), expected, "{host}");
        }
    }
}
