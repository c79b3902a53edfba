//! `GetAuthorizationToken`
//!
//! A token says who the caller is and is not bound to the registry it was asked for: what it may reach is decided when
//! it is used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::token::USER_NAME;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: GetAuthorizationTokenRequest,
) -> Result<GetAuthorizationTokenResponse, RegistryError> {
    request.registry(registry, None).await?;
    let count = input.registry_ids.map_or(1, |ids| ids.len());
    let data = || {
        let (password, expires) = registry.issue_password(request.caller);
        AuthorizationData {
            authorization_token: Some(STANDARD.encode(format!("{USER_NAME}:{password}"))),
            expires_at: Some(wire::timestamp(expires.as_millis())),
            proxy_endpoint: Some(registry.config().public_endpoint.clone()),
        }
    };
    Ok(GetAuthorizationTokenResponse { authorization_data: Some((0..count).map(|_| data()).collect()) })
}
