//! Security Token Service: who am I, and sessions of roles and users.
//!
//! A role is assumed when its trust policy and, where that leaves it to the account, the caller's own policies allow
//! it, or when an identity provider vouches for whoever comes and the trust policy is content with that. What a session
//! is lies in its token ([`crate::iam`]); nothing is kept here but keys of identity providers, for a while.

mod assume_role;
mod fault;
mod role_session;
mod session_token;
mod web_identity;

use gantry_api::sts::{
    self, AssumeRoleRequest, AssumeRoleResponse, AssumeRoleWithWebIdentityRequest, AssumeRoleWithWebIdentityResponse,
    Credentials, GetAccessKeyInfoRequest, GetAccessKeyInfoResponse, GetCallerIdentityRequest,
    GetCallerIdentityResponse, GetSessionTokenRequest, GetSessionTokenResponse,
};
use gantry_api::{Caller, Fault, PrincipalKind, Timestamp};
use gantry_domain::networks::Network;

use crate::iam::{Iam, NewCredentials};

pub use web_identity::{IssuerConfig, IssuerConfigs, Issuers, Jwks};

/// The service. Clones share it.
#[derive(Clone)]
pub struct Sts {
    iam: Iam,
    issuers: Issuers,
}

impl Sts {
    /// The service over the identities of `iam`.
    pub fn new(iam: Iam) -> Self {
        Self { iam, issuers: Issuers::new(Network::Private, IssuerConfigs::new()) }
    }

    /// Asks these issuers for their keys.
    #[must_use]
    pub fn with_issuers(self, issuers: Issuers) -> Self {
        Self { issuers, ..self }
    }
}

impl sts::Sts for Sts {
    async fn assume_role(&self, caller: &Caller, input: AssumeRoleRequest) -> Result<AssumeRoleResponse, Fault> {
        assume_role::assume_role(&self.iam, caller, input)
    }

    async fn assume_role_with_web_identity(
        &self,
        caller: &Caller,
        input: AssumeRoleWithWebIdentityRequest,
    ) -> Result<AssumeRoleWithWebIdentityResponse, Fault> {
        web_identity::assume_role_with_web_identity(&self.iam, &self.issuers, caller, input).await
    }

    async fn get_session_token(
        &self,
        caller: &Caller,
        input: GetSessionTokenRequest,
    ) -> Result<GetSessionTokenResponse, Fault> {
        session_token::get_session_token(&self.iam, caller, &input)
    }

    async fn get_caller_identity(
        &self,
        caller: &Caller,
        _: GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, Fault> {
        Ok(GetCallerIdentityResponse {
            user_id: Some(self.iam.user_id(caller)),
            account: Some(caller.account.clone()),
            arn: Some(caller.principal_arn.clone()),
        })
    }

    async fn get_access_key_info(
        &self,
        caller: &Caller,
        input: GetAccessKeyInfoRequest,
    ) -> Result<GetAccessKeyInfoResponse, Fault> {
        let id = input.access_key_id.unwrap_or_default();
        let own = (id == caller.access_key_id && caller.kind == PrincipalKind::Root).then(|| caller.account.clone());
        let account = own.or_else(|| self.iam.account_of_key(&id));
        account.map(|account| GetAccessKeyInfoResponse { account: Some(account) }).ok_or_else(fault::unknown_key)
    }
}

/// New credentials as the wire shows them. `expires_at`: seconds since the epoch.
fn credentials(new: NewCredentials, expires_at: u64) -> Credentials {
    Credentials {
        access_key_id: Some(new.access_key_id),
        secret_access_key: Some(new.secret),
        session_token: Some(new.token),
        expiration: Some(Timestamp::from_millis(expires_at * 1000)),
    }
}
