//! `AssumeRoleWithWebIdentity`: a session of a role for whom an OpenID Connect issuer vouches.
//!
//! The call is not signed: the token is the proof. What holds, in this order: the issuer is one that the role's account
//! registered, it has signed the token, the token counts now and for one of the provider's client ids, and the role's
//! trust policy allows it. Until the last, nothing tells whether there is such a role.

mod fault;
mod issuers;
mod jwt;
mod keys;

use std::sync::Arc;

use gantry_api::sts::{AssumeRoleWithWebIdentityRequest, AssumeRoleWithWebIdentityResponse};
use gantry_api::{Caller, Fault, Session};
use gantry_domain::policy::{
    Decision, Document, Identity, Kind, Policies, Principal, PrincipalPolicies, Request, evaluate_trust,
};
use gantry_domain::web_identity::claims::{self, Provider, WebIdentity};
use gantry_protocol::principals;

use super::fault::validation;
use super::role_session::{self, SECONDS_DEFAULT};
use crate::iam::{AssumableRole, Iam};
use jwt::Jwt;

pub use issuers::{IssuerConfig, IssuerConfigs, Issuers, Jwks};

pub(super) async fn assume_role_with_web_identity(
    iam: &Iam,
    issuers: &Issuers,
    caller: &Caller,
    input: AssumeRoleWithWebIdentityRequest,
) -> Result<AssumeRoleWithWebIdentityResponse, Fault> {
    if input.provider_id.is_some() {
        return Err(validation("ProviderId is for OAuth 2.0 access tokens, which are not supported."));
    }
    let (arn, name) = (input.role_arn.unwrap_or_default(), input.role_session_name.unwrap_or_default());
    let account = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/")).map(|(id, _)| id);
    let account = account.ok_or_else(|| validation("Request ARN is invalid"))?;
    let token = input.web_identity_token.unwrap_or_default();
    let (provider, identity) = verify(iam, issuers, account, &token).await?;

    let role = iam.assumable_role(&arn).ok_or_else(fault::denied)?;
    check_trust(iam, caller, &role, &name, &provider, &identity)?;
    let seconds = role_session::seconds(input.duration_seconds, &role)?.unwrap_or(SECONDS_DEFAULT);
    let policies = role_session::policies(input.policy.as_deref())?;
    let policy_arns = role_session::policy_arns(iam, &role.account, input.policy_arns.as_deref())?;
    let packed = role_session::packed_percent(&policies, &policy_arns, &identity.tags)?;
    let session = Session {
        policies,
        policy_arns,
        tags: identity.tags,
        transitive_tag_keys: identity.transitive_tag_keys,
        source_identity: identity.source_identity.clone(),
        federated_provider: Some(provider.clone()),
        ..Session::default()
    };
    let begun = role_session::begin(iam, role, &name, seconds, session)?;
    Ok(AssumeRoleWithWebIdentityResponse {
        credentials: Some(begun.credentials),
        assumed_role_user: Some(begun.user),
        subject_from_web_identity_token: Some(identity.subject),
        audience: Some(identity.audience),
        provider: Some(provider),
        packed_policy_size: packed,
        source_identity: identity.source_identity,
        ..Default::default()
    })
}

/// Who the token says has come, once it is proved to say it, and the ARN of the provider.
async fn verify(iam: &Iam, issuers: &Issuers, account: &str, token: &str) -> Result<(String, WebIdentity), Fault> {
    let jwt = Jwt::parse(token).map_err(fault::not_a_token)?;
    let issuer = jwt.issuer().ok_or_else(|| fault::missing_claim("iss"))?;
    let row = iam.provider_of_issuer(account, issuer).ok_or_else(|| fault::no_provider(issuer))?;
    let now = iam.now_seconds();
    let key = issuers.key(issuer, &jwt, now).await.map_err(fault::no_key)?;
    if !key.has_signed(&jwt) {
        return Err(fault::bad_signature());
    }
    let provider = Provider { name: &row.name, client_ids: &row.client_ids };
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let identity = claims::read(now, &provider, &jwt.claims).map_err(fault::refused)?;
    Ok((row.arn(account), identity))
}

/// Asks the trust policy for everything that the token brings. Why not is not told, as with the real service.
fn check_trust(
    iam: &Iam,
    caller: &Caller,
    role: &AssumableRole,
    session_name: &str,
    provider: &str,
    identity: &WebIdentity,
) -> Result<(), Fault> {
    let trust = Document::parse(&role.trust, Kind::Trust).map_err(|_| fault::denied())?;
    let mut context = principals::context(caller);
    for (key, value) in &identity.keys {
        context.add(key, value.clone());
    }
    let source_identity = identity.source_identity.as_deref();
    let transitive = &identity.transitive_tag_keys;
    role_session::describe(&mut context, role, session_name, source_identity, identity.tags.clone(), transitive);
    let principal =
        Principal::new(Identity::WebIdentity { provider: provider.to_owned(), subject: identity.subject.clone() });
    let policies = Policies { principal: &PrincipalPolicies::default(), resource: &[Arc::new(trust)] };
    let actions = [
        Some("sts:AssumeRoleWithWebIdentity"),
        (!identity.tags.is_empty()).then_some("sts:TagSession"),
        source_identity.map(|_| "sts:SetSourceIdentity"),
    ];
    for action in actions.into_iter().flatten() {
        let request = Request {
            principal: &principal,
            action,
            resource: &role.arn,
            account: &role.account,
            now: iam.now_timestamp(),
            context: &context,
        };
        if evaluate_trust(&request, &policies) != Decision::Allow {
            return Err(fault::denied());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
