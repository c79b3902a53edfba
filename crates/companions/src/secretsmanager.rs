//! Secrets Manager: secrets with versions and stages.
//!
//! What is known of a secret is a row and is kept in memory; its values are rows of their own, sealed with the server's
//! key, opened for the length of a request and kept nowhere ([`values`]). Because secrets have policies of their own,
//! the service decides about every call itself, in one place ([`access`]), before it says whether there is such a
//! secret.
//!
//! Not here: rotation, which needs functions that somebody runs, and copies in other regions.

mod access;
mod create;
mod delete;
mod describe;
mod fault;
mod filter;
mod list;
mod password;
mod picture;
mod policies;
mod put;
mod read;
mod rows;
mod stages;
mod tags;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::sync::Arc;
use std::time::Duration;

use gantry_api::secretsmanager::{
    BatchGetSecretValueRequest, BatchGetSecretValueResponse, CreateSecretRequest, CreateSecretResponse,
    DeleteResourcePolicyRequest, DeleteResourcePolicyResponse, DeleteSecretRequest, DeleteSecretResponse,
    DescribeSecretRequest, DescribeSecretResponse, GetRandomPasswordRequest, GetRandomPasswordResponse,
    GetResourcePolicyRequest, GetResourcePolicyResponse, GetSecretValueRequest, GetSecretValueResponse,
    ListSecretVersionIdsRequest, ListSecretVersionIdsResponse, ListSecretsRequest, ListSecretsResponse,
    PutResourcePolicyRequest, PutResourcePolicyResponse, PutSecretValueRequest, PutSecretValueResponse,
    RestoreSecretRequest, RestoreSecretResponse, TagResourceRequest, UntagResourceRequest, UpdateSecretRequest,
    UpdateSecretResponse, UpdateSecretVersionStageRequest, UpdateSecretVersionStageResponse,
    ValidateResourcePolicyRequest, ValidateResourcePolicyResponse,
};
use gantry_api::{Caller, Empty, Fault, secretsmanager};
use gantry_domain::Timestamp;
use gantry_protocol::principals::{Authority, Principals};
use gantry_store::{Store, StoreError, View};
use tokio::sync::Mutex;

use crate::background::Background;
use crate::sealing::Sealer;
use picture::Picture;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How often secrets whose recovery window is over are looked for. They answer to nobody before that already.
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);

/// The service. Clones share it.
#[derive(Clone)]
pub struct SecretsManager {
    inner: Arc<Inner>,
    /// Removes what was deleted; ends with the last clone.
    _purge: Arc<Background>,
}

struct Inner {
    store: Store,
    view: View<Picture>,
    sealer: Sealer,
    principals: Arc<dyn Principals>,
    clock: Clock,
    /// Changes of this server go one after the other, so that they do not plan in vain.
    turn: Mutex<()>,
}

impl SecretsManager {
    /// Loads what is known of the secrets in `store`. Values are sealed with `sealer`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(
        store: Store,
        sealer: Sealer,
        principals: Arc<dyn Principals>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let view = View::start(&store, rows::PREFIX).await?;
        let inner = Arc::new(Inner { store, view, sealer, principals, clock, turn: Mutex::new(()) });
        let purge = Background::every(PURGE_EVERY, &inner, |inner| async move {
            if let Err(fault) = delete::purge(&inner).await {
                tracing::warn!(%fault, "cannot remove secrets whose recovery window is over");
            }
        });
        Ok(Self { inner, _purge: Arc::new(purge) })
    }

    /// The value that `reference` (`ARN[:json-key:stage:version]`) means, for a principal whose policies and those of
    /// the secret must allow `secretsmanager:GetSecretValue`.
    ///
    /// # Errors
    /// As `GetSecretValue`; `InvalidParameterException` for a text that is no reference or a member that is not there.
    pub async fn value_of(&self, caller: &Caller, reference: &str) -> Result<SecretText, Fault> {
        let authority = self.inner.principals.authority(caller);
        read::value_of(&self.inner, access::Asker { caller, authority: &authority }, reference).await
    }

    /// As [`Self::value_of`], for who is not a caller with policies of its own: a service in one of its roles.
    ///
    /// # Errors
    /// As [`Self::value_of`].
    pub async fn value_for_service(
        &self,
        caller: &Caller,
        authority: &Authority,
        reference: &str,
    ) -> Result<SecretText, Fault> {
        read::value_of(&self.inner, access::Asker { caller, authority }, reference).await
    }

    /// Removes the secrets whose recovery window is over now instead of within the hour.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn purge(&self) -> Result<(), Fault> {
        delete::purge(&self.inner).await
    }
}

impl Inner {
    /// Milliseconds since the epoch.
    fn now(&self) -> u64 {
        u64::try_from((self.clock)().as_millis()).unwrap_or(0)
    }
}

/// A secret's text, which does not show when it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Carries out each operation with the function of the same name in its family's module.
macro_rules! operations {
    ($($family:ident::$name:ident($input:ident) -> $output:ident),* $(,)?) => {
        impl secretsmanager::Secretsmanager for SecretsManager {
            $(async fn $name(&self, caller: &Caller, input: $input) -> Result<$output, Fault> {
                $family::$name(&self.inner, caller, input).await
            })*
        }
    };
}

operations!(
    read::batch_get_secret_value(BatchGetSecretValueRequest) -> BatchGetSecretValueResponse,
    create::create_secret(CreateSecretRequest) -> CreateSecretResponse,
    policies::delete_resource_policy(DeleteResourcePolicyRequest) -> DeleteResourcePolicyResponse,
    delete::delete_secret(DeleteSecretRequest) -> DeleteSecretResponse,
    describe::describe_secret(DescribeSecretRequest) -> DescribeSecretResponse,
    password::get_random_password(GetRandomPasswordRequest) -> GetRandomPasswordResponse,
    policies::get_resource_policy(GetResourcePolicyRequest) -> GetResourcePolicyResponse,
    read::get_secret_value(GetSecretValueRequest) -> GetSecretValueResponse,
    describe::list_secret_version_ids(ListSecretVersionIdsRequest) -> ListSecretVersionIdsResponse,
    list::list_secrets(ListSecretsRequest) -> ListSecretsResponse,
    policies::put_resource_policy(PutResourcePolicyRequest) -> PutResourcePolicyResponse,
    put::put_secret_value(PutSecretValueRequest) -> PutSecretValueResponse,
    delete::restore_secret(RestoreSecretRequest) -> RestoreSecretResponse,
    tags::tag_resource(TagResourceRequest) -> Empty,
    tags::untag_resource(UntagResourceRequest) -> Empty,
    put::update_secret(UpdateSecretRequest) -> UpdateSecretResponse,
    stages::update_secret_version_stage(UpdateSecretVersionStageRequest) -> UpdateSecretVersionStageResponse,
    policies::validate_resource_policy(ValidateResourcePolicyRequest) -> ValidateResourcePolicyResponse,
);
