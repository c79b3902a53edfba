//! The rules: which repositories are filled from which upstream registry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gantry_domain::arn::Scope;
use gantry_store::{Txn, TxnError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::fault::RegistryError;
use crate::metadata::{ATTEMPTS_MAX, Read, encode, rule_key, rules_prefix};
use crate::name::RepositoryName;
use crate::prefix::RepositoryPrefix;
use crate::registry::Registry;

/// Most rules of one registry, as the real service has it.
pub const RULES_MAX: usize = 50;

/// A rule. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// The prefix of our repositories as it was written, with or without a final `/`.
    pub prefix: String,
    /// The name the API has for the upstream; none for a host of the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_registry: Option<String>,
    /// The upstream's host, with its port if it has one.
    pub upstream_url: String,
    /// The prefix of the upstream's repositories as it was written.
    pub upstream_prefix: String,
    /// The secret with the upstream's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_arn: Option<String>,
    /// The role in which an upstream registry of another account is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_role_arn: Option<String>,
    /// When it was created.
    pub created_at_ms: i64,
    /// When it was last changed.
    pub updated_at_ms: i64,
}

impl RuleRow {
    /// The upstream's repository for one of ours; none when `prefix` does not cover it or its name would be none.
    pub(crate) fn upstream_repository(
        &self,
        prefix: &RepositoryPrefix,
        name: &RepositoryName,
    ) -> Option<RepositoryName> {
        let upstream: RepositoryPrefix = self.upstream_prefix.parse().ok()?;
        upstream.join(prefix.rest(name)?).parse().ok()
    }
}

/// The rules of each registry as this process knows them. Every pull by tag asks for them, and they hardly ever
/// change. One process writes them, so forgetting them after a write is enough.
#[derive(Default)]
pub(crate) struct RuleCache(Mutex<HashMap<Scope, Arc<BTreeMap<RepositoryPrefix, RuleRow>>>>);

impl RuleCache {
    /// Registries remembered; when there are more, all are forgotten and read again.
    const REMEMBERED_MAX: usize = 1024;

    fn forget(&self, scope: &Scope) {
        self.0.lock().remove(scope);
    }
}

impl Registry {
    /// Makes a rule.
    pub async fn rule_create(
        &self,
        scope: &Scope,
        prefix: &RepositoryPrefix,
        row: &RuleRow,
    ) -> Result<(), RegistryError> {
        let (held, _) = self.rules(scope, None, RULES_MAX).await?;
        let key = rule_key(scope, prefix);
        if held.len() >= RULES_MAX && held.iter().all(|(held, _)| held != prefix) {
            return Err(RegistryError::LimitExceeded(format!(
                "The maximum number of pull through cache rules, {RULES_MAX}, has been reached."
            )));
        }
        let written = self.metadata.store.txn(Txn::new().require_absent(&key).put(&key, encode(row))).await;
        self.rule_cache.forget(scope);
        match written {
            Ok(_) => Ok(()),
            Err(TxnError::Conflict { .. }) => {
                Err(RegistryError::RuleAlreadyExists { prefix: row.prefix.clone(), registry: scope.account.clone() })
            }
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// A rule, by the very prefix it was made with.
    pub async fn rule(&self, scope: &Scope, prefix: &RepositoryPrefix) -> Result<RuleRow, RegistryError> {
        Ok(self.rule_read(scope, prefix).await?.row)
    }

    /// Rules in the order of their prefixes, after `after`; and whether there are more.
    pub async fn rules(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(RepositoryPrefix, RuleRow)>, bool), RegistryError> {
        self.metadata.page(&rules_prefix(scope), after, limit, |prefix| prefix.parse().ok()).await
    }

    /// Changes a rule; `change` may be called more than once.
    pub async fn rule_update(
        &self,
        scope: &Scope,
        prefix: &RepositoryPrefix,
        change: impl Fn(&mut RuleRow),
    ) -> Result<RuleRow, RegistryError> {
        let key = rule_key(scope, prefix);
        for _ in 0..ATTEMPTS_MAX {
            let Read { mut row, revision } = self.rule_read(scope, prefix).await?;
            change(&mut row);
            row.updated_at_ms = self.now().as_millis();
            let written = self.metadata.store.txn(Txn::new().require(&key, revision).put(&key, encode(&row))).await;
            self.rule_cache.forget(scope);
            match written {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Removes a rule and returns what it was. Repositories that were filled by it stay.
    pub async fn rule_delete(&self, scope: &Scope, prefix: &RepositoryPrefix) -> Result<RuleRow, RegistryError> {
        let key = rule_key(scope, prefix);
        for _ in 0..ATTEMPTS_MAX {
            let Read { row, revision } = self.rule_read(scope, prefix).await?;
            let written = self.metadata.store.txn(Txn::new().require(&key, revision).delete(&key)).await;
            self.rule_cache.forget(scope);
            match written {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// The rule with the longest prefix of this name, and that prefix.
    pub(crate) async fn rule_for(
        &self,
        scope: &Scope,
        name: &RepositoryName,
    ) -> Result<Option<(RepositoryPrefix, RuleRow)>, RegistryError> {
        let rules = self.rules_of(scope).await?;
        if rules.is_empty() {
            return Ok(None);
        }
        let mut covering = RepositoryPrefix::covering(name);
        Ok(covering.find_map(|prefix| rules.get(&prefix).cloned().map(|row| (prefix, row))))
    }

    async fn rules_of(&self, scope: &Scope) -> Result<Arc<BTreeMap<RepositoryPrefix, RuleRow>>, RegistryError> {
        if let Some(known) = self.rule_cache.0.lock().get(scope) {
            return Ok(Arc::clone(known));
        }
        let before = self.metadata.store.revision();
        let (rows, _) = self.rules(scope, None, RULES_MAX).await?;
        let rules = Arc::new(BTreeMap::from_iter(rows));
        let mut remembered = self.rule_cache.0.lock();
        // Something was written while they were read, perhaps a rule: the next pull reads them again.
        if self.metadata.store.revision() == before {
            if remembered.len() >= RuleCache::REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(scope.clone(), Arc::clone(&rules));
        }
        Ok(rules)
    }

    async fn rule_read(&self, scope: &Scope, prefix: &RepositoryPrefix) -> Result<Read<RuleRow>, RegistryError> {
        let found = self.metadata.get(&rule_key(scope, prefix)).await?;
        found.ok_or_else(|| RegistryError::RuleNotFound { prefix: prefix.to_string(), registry: scope.account.clone() })
    }
}
