//! The policies of repositories and of the registry: their texts, and what they say once read.
//!
//! A repository's policy means the repository and names none; the registry's names the repositories it is about. Both
//! take part in every decision (see `access`). The text is kept and returned as it was submitted.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::Caller;
use gantry_domain::arn::Scope;
use gantry_domain::policy::{Document, Kind};
use gantry_store::{Revision, Txn, TxnError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::access::Target;
use crate::fault::RegistryError;
use crate::metadata::{ATTEMPTS_MAX, Read, RepositoryKeys, encode, registry_policy_key};
use crate::registry::Registry;
use crate::settings::Setting;

/// Characters of a policy.
pub const POLICY_LENGTH_MAX: usize = 10_240;
/// Policies kept as they were read; more empty the cache.
const READ_MAX: usize = 512;

/// What a registry's policy decides on when its scope is V1.
const ACTIONS_OF_V1: [&str; 3] = ["BatchImportUpstreamImage", "CreateRepository", "ReplicateImage"];

/// A policy as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// The text.
    pub text: String,
}

/// Reads the policy of a repository. `member` is what the input calls it.
///
/// # Errors
/// [`RegistryError::Parameter`] when it is none.
pub fn repository_policy(member: &'static str, text: &str) -> Result<Document, RegistryError> {
    read(Kind::Implied, text).ok_or(invalid(member, "Invalid repository policy provided"))
}

/// Reads the policy of a registry.
///
/// # Errors
/// [`RegistryError::Parameter`] when it is none.
pub fn registry_policy(text: &str) -> Result<Document, RegistryError> {
    read(Kind::Resource, text).ok_or(invalid("PolicyText", "Invalid registry policy provided"))
}

fn invalid(member: &'static str, constraint: &str) -> RegistryError {
    RegistryError::Parameter { member, constraint: constraint.to_owned() }
}

/// The document, when it is one of this kind and speaks of the registry's own actions.
fn read(kind: Kind, text: &str) -> Option<Document> {
    if text.chars().count() > POLICY_LENGTH_MAX {
        return None;
    }
    match Document::parse(text, kind) {
        Ok(document) => {
            let ours = document.actions().all(|action| action == "*" || action.starts_with("ecr:"));
            ours.then_some(document)
        }
        Err(error) => {
            tracing::debug!(%error, "a policy is refused");
            None
        }
    }
}

/// Policies that were read a moment ago, by key. A policy is read once, not at every request.
#[derive(Default)]
pub(crate) struct ReadPolicies(Mutex<HashMap<String, (Revision, Arc<Document>)>>);

impl ReadPolicies {
    fn get(&self, key: &str, revision: Revision) -> Option<Arc<Document>> {
        self.0.lock().get(key).filter(|(known, _)| *known == revision).map(|(_, document)| Arc::clone(document))
    }

    fn keep(&self, key: String, revision: Revision, document: &Arc<Document>) {
        let mut read = self.0.lock();
        if read.len() >= READ_MAX {
            read.clear();
        }
        read.insert(key, (revision, Arc::clone(document)));
    }
}

impl Registry {
    /// The policies that take part in decisions about `target` besides the caller's.
    pub(crate) async fn resource_policies(
        &self,
        action: &str,
        target: Target<'_>,
    ) -> Result<Vec<Arc<Document>>, RegistryError> {
        let mut documents = Vec::new();
        if let Target::Repository(keys) = target {
            documents.extend(self.policy_document(keys.policy(), Kind::Implied).await?);
        }
        let registry = self.policy_document(registry_policy_key(target.scope()), Kind::Resource).await?;
        if let Some(registry) = registry
            && (ACTIONS_OF_V1.contains(&action) || !self.registry_policy_is_v1(target.scope()).await?)
        {
            documents.push(registry);
        }
        Ok(documents)
    }

    /// Whether the account has the scope of registry policies set to V1: they decide on three actions only.
    async fn registry_policy_is_v1(&self, scope: &Scope) -> Result<bool, RegistryError> {
        Ok(self.setting(scope, Setting::RegistryPolicyScope).await? == "V1")
    }

    async fn policy_document(&self, key: String, kind: Kind) -> Result<Option<Arc<Document>>, RegistryError> {
        let Some(found) = self.metadata.store.get(&key).await? else { return Ok(None) };
        let revision = found.mod_revision;
        if let Some(document) = self.policies.get(&key, revision) {
            return Ok(Some(document));
        }
        let row: PolicyRow =
            serde_json::from_slice(&found.value).map_err(|source| RegistryError::Row { key: key.clone(), source })?;
        let document = Arc::new(Document::parse(&row.text, kind).unwrap_or_else(|error| {
            // It was checked when it came in. One that cannot be read may deny, so it may not be passed over.
            tracing::error!(key, %error, "a stored policy cannot be read; nobody but the account's root has access");
            deny_everything(kind)
        }));
        self.policies.keep(key, revision, &document);
        Ok(Some(document))
    }

    /// Sets a repository's policy. Without `force` a policy under which `caller` could not set another is refused.
    pub(crate) async fn repository_policy_set(
        &self,
        keys: &RepositoryKeys,
        text: &str,
        caller: &Caller,
        force: bool,
    ) -> Result<(), RegistryError> {
        let document = Arc::new(repository_policy("PolicyText", text)?);
        if !force {
            let registry_policy = self.policy_document(registry_policy_key(keys.scope()), Kind::Resource).await?;
            let documents: Vec<Arc<Document>> = [document].into_iter().chain(registry_policy).collect();
            let again = self.decide(caller, "SetRepositoryPolicy".into(), Target::Repository(keys), &documents).await;
            again.map_err(|error| match error {
                RegistryError::Denied(_) => invalid(
                    "PolicyText",
                    "The policy would not let you set the repository's policy again. Use force to set it nevertheless",
                ),
                other => other,
            })?;
        }
        let row = encode(&PolicyRow { text: text.to_owned() });
        for _ in 0..ATTEMPTS_MAX {
            let repository = self.metadata.repository(keys).await?;
            let txn = Txn::new().require(keys.repository(), repository.revision).put(keys.policy(), row.clone());
            match self.metadata.store.txn(txn).await {
                Ok(_) => return Ok(()),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// A repository's policy.
    pub(crate) async fn repository_policy_get(&self, keys: &RepositoryKeys) -> Result<PolicyRow, RegistryError> {
        Ok(self.repository_policy_read(keys).await?.row)
    }

    /// Removes a repository's policy and returns what it was.
    pub(crate) async fn repository_policy_delete(&self, keys: &RepositoryKeys) -> Result<PolicyRow, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let Read { row, revision } = self.repository_policy_read(keys).await?;
            if self.policy_remove(&keys.policy(), revision).await? {
                return Ok(row);
            }
        }
        Err(RegistryError::Contention)
    }

    async fn repository_policy_read(&self, keys: &RepositoryKeys) -> Result<Read<PolicyRow>, RegistryError> {
        self.metadata.repository(keys).await?;
        let missing = || RegistryError::RepositoryPolicyNotFound {
            name: keys.name().to_string(),
            registry: keys.scope().account.clone(),
        };
        self.metadata.get(&keys.policy()).await?.ok_or_else(missing)
    }

    /// Sets the registry's policy.
    pub(crate) async fn registry_policy_put(&self, scope: &Scope, text: &str) -> Result<(), RegistryError> {
        let document = registry_policy(text)?;
        let in_v1 = |action: &str| ACTIONS_OF_V1.iter().any(|known| action == format!("ecr:{}", known.to_lowercase()));
        if self.registry_policy_is_v1(scope).await? && (document.has_not_action() || !document.actions().all(in_v1)) {
            return Err(invalid("PolicyText", "Invalid registry policy provided"));
        }
        let row = encode(&PolicyRow { text: text.to_owned() });
        self.metadata.store.txn(Txn::new().put(registry_policy_key(scope), row)).await?;
        Ok(())
    }

    /// The registry's policy.
    pub(crate) async fn registry_policy_get(&self, scope: &Scope) -> Result<PolicyRow, RegistryError> {
        Ok(self.registry_policy_read(scope).await?.row)
    }

    /// Removes the registry's policy and returns what it was.
    pub(crate) async fn registry_policy_delete(&self, scope: &Scope) -> Result<PolicyRow, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let Read { row, revision } = self.registry_policy_read(scope).await?;
            if self.policy_remove(&registry_policy_key(scope), revision).await? {
                return Ok(row);
            }
        }
        Err(RegistryError::Contention)
    }

    async fn registry_policy_read(&self, scope: &Scope) -> Result<Read<PolicyRow>, RegistryError> {
        let missing = || RegistryError::RegistryPolicyNotFound { registry: scope.account.clone() };
        self.metadata.get(&registry_policy_key(scope)).await?.ok_or_else(missing)
    }

    /// False when somebody changed it meanwhile.
    async fn policy_remove(&self, key: &str, revision: Revision) -> Result<bool, RegistryError> {
        match self.metadata.store.txn(Txn::new().require(key, revision).delete(key)).await {
            Ok(_) => Ok(true),
            Err(TxnError::Conflict { .. }) => Ok(false),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }
}

fn deny_everything(kind: Kind) -> Document {
    let resource = if kind == Kind::Resource { r#""Resource":"*","# } else { "" };
    let text = format!(r#"{{"Statement":{{"Effect":"Deny","Principal":"*",{resource}"Action":"*"}}}}"#);
    Document::parse(&text, kind).expect("a constant policy is one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_speaks_of_the_registrys_actions_and_has_a_limit() {
        let statement = |action: &str| {
            format!(
                r#"{{"Version":"2008-10-17","Statement":[{{"Sid":"new statement","Effect":"Allow","Principal":"*","Action":["{action}"]}}]}}"#
            )
        };
        for (text, valid) in [
            (statement("ecr:BatchGetImage"), true),
            (statement("ecr:*"), true),
            (statement("ECR:Get*"), true),
            (statement("*"), true),
            (statement("s3:GetObject"), false),
            (statement("BatchGetImage"), false),
            (statement("ecr:BatchGetImage").replace("\"Action\"", "\"Resource\":\"*\",\"Action\""), false),
            (statement("ecr:BatchGetImage").replace("Principal", "Prinzipal"), false),
            (statement(&format!("ecr:{}", "x".repeat(10_000))), true),
            (statement(&format!("ecr:{}", "x".repeat(10_240))), false),
            (String::new(), false),
            ("{}".to_owned(), false),
        ] {
            assert_eq!(repository_policy("PolicyText", &text).is_ok(), valid, "{text:.100}");
        }
        let error = repository_policy("PolicyText", "{}").expect_err("not a policy").to_string();
        let sentence =
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'";
        assert_eq!(error, sentence);
        let error = registry_policy(&statement("ecr:*")).expect_err("names no repository").to_string();
        assert!(error.ends_with("'Invalid registry policy provided'"), "{error}");
        assert!(registry_policy(&statement("ecr:*").replace("\"Action\"", "\"Resource\":\"*\",\"Action\"")).is_ok());
    }

    #[test]
    fn a_policy_that_denies_everything_is_one_of_either_kind() {
        deny_everything(Kind::Implied);
        deny_everything(Kind::Resource);
    }
}
