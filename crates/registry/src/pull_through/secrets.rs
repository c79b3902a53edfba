//! Where the credentials of upstream registries are kept: Secrets Manager, when there is one.

use async_trait::async_trait;
use gantry_domain::arn::Scope;

use super::upstreams::{Credentials, Password};
use crate::fault::RegistryError;

/// Why a secret cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no such secret.
    #[error("The secret does not exist.")]
    NotFound,
    /// It may not be read, or nobody keeps secrets here.
    #[error("The secret cannot be accessed.")]
    Inaccessible,
    /// Its key cannot be used.
    #[error("The secret value cannot be decrypted.")]
    Undecryptable,
}

/// Keeps secrets.
#[async_trait]
pub trait Secrets: Send + Sync + 'static {
    /// The current text of a secret, read for the registry `scope`.
    async fn text(&self, scope: &Scope, arn: &str) -> Result<String, SecretError>;
}

/// Keeps none.
#[derive(Debug, Clone, Copy)]
pub struct NoSecrets;

#[async_trait]
impl Secrets for NoSecrets {
    async fn text(&self, _: &Scope, _: &str) -> Result<String, SecretError> {
        Err(SecretError::Inaccessible)
    }
}

/// The credentials in the secret of a rule, which must be of the rule's own account and region.
pub(crate) async fn credentials(secrets: &dyn Secrets, scope: &Scope, arn: &str) -> Result<Credentials, RegistryError> {
    let mut parts = arn.split(':').skip(3);
    if (parts.next(), parts.next()) != (Some(scope.region.as_str()), Some(scope.account.as_str())) {
        let constraint = "The secret must be in the account and region of the rule".to_owned();
        return Err(RegistryError::Parameter { member: "credentialArn", constraint });
    }
    parse(&secrets.text(scope, arn).await?)
}

/// A secret's value: JSON with `username` and `accessToken`.
fn parse(text: &str) -> Result<Credentials, RegistryError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Value {
        username: String,
        access_token: String,
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value { username, access_token }) => Ok(Credentials { username, password: Password(access_token) }),
        // Not the parser's own words: they may quote the secret.
        Err(_) => Err(RegistryError::Parameter {
            member: "credentialArn",
            constraint: "The secret must be JSON with username and accessToken".to_owned(),
        }),
    }
}
