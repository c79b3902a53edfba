//! Which images of a registry are signed, and with which profiles.

use std::collections::BTreeSet;

use gantry_domain::arn::Scope;
use gantry_domain::wildcard;
use gantry_store::{Txn, TxnError};
use serde::{Deserialize, Serialize};

use crate::fault::RegistryError;
use crate::metadata::{ATTEMPTS_MAX, Read, RepositoryKeys, encode, signing_configuration_key};
use crate::registry::Registry;

/// Which images are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRow {
    /// The rules.
    pub rules: Vec<SigningRuleRow>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRuleRow {
    /// The profile to sign with.
    pub profile_arn: String,
    /// Names of repositories, with wildcards; none stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<String>>,
}

impl SigningRuleRow {
    /// Whether images of a repository are signed.
    pub fn covers(&self, repository: &str) -> bool {
        let Some(filters) = &self.filters else { return true };
        filters.iter().any(|filter| wildcard::matches(filter, repository))
    }
}

impl Registry {
    /// Decides which images are signed from now on.
    pub async fn signing_put(&self, scope: &Scope, rules: Vec<SigningRuleRow>) -> Result<SigningRow, RegistryError> {
        let row = SigningRow { rules };
        self.metadata.store.txn(Txn::new().put(signing_configuration_key(scope), encode(&row))).await?;
        Ok(row)
    }

    /// Which images are signed.
    pub async fn signing(&self, scope: &Scope) -> Result<SigningRow, RegistryError> {
        Ok(self.signing_read(scope).await?.row)
    }

    async fn signing_read(&self, scope: &Scope) -> Result<Read<SigningRow>, RegistryError> {
        let found = self.metadata.get(&signing_configuration_key(scope)).await?;
        found.ok_or_else(|| RegistryError::SigningConfigurationNotFound(scope.account.clone()))
    }

    /// Stops signing, and returns what was to be signed.
    pub async fn signing_delete(&self, scope: &Scope) -> Result<SigningRow, RegistryError> {
        let key = signing_configuration_key(scope);
        for _ in 0..ATTEMPTS_MAX {
            let Read { row, revision } = self.signing_read(scope).await?;
            match self.metadata.store.txn(Txn::new().require(&key, revision).delete(&key)).await {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// The profiles with which images of a repository are signed.
    pub(super) async fn signing_profiles(&self, keys: &RepositoryKeys) -> Result<BTreeSet<String>, RegistryError> {
        let found = self.metadata.get::<SigningRow>(&signing_configuration_key(keys.scope())).await?;
        let rules = found.map(|found| found.row.rules).unwrap_or_default();
        let covering = rules.into_iter().filter(|rule| rule.covers(keys.name().as_str()));
        Ok(covering.map(|rule| rule.profile_arn).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_rules_name_whole_repositories() {
        let rule = |filters: Option<&[&str]>| SigningRuleRow {
            profile_arn: String::new(),
            filters: filters.map(|filters| filters.iter().map(|filter| (*filter).to_owned()).collect()),
        };
        assert!(rule(None).covers("app"));
        assert!(rule(Some(&["team/*"])).covers("team/app"));
        assert!(!rule(Some(&["team"])).covers("team/app"));
    }
}
