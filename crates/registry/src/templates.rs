//! Repository creation templates: what a repository looks like that the registry makes by itself, because something
//! is pushed, replicated or pulled through to a name that does not exist yet.
//!
//! The template with the longest prefix of the name decides, once, at creation. Changing it changes no repository.

use std::collections::{BTreeMap, BTreeSet};

use gantry_domain::arn::Scope;
use gantry_store::{Txn, TxnError};
use serde::{Deserialize, Serialize};

use crate::fault::RegistryError;
use crate::metadata::{ATTEMPTS_MAX, Read, RepositoryKeys, RepositoryRow, encode, template_key, templates_prefix};
use crate::mutability::Mutability;
use crate::name::RepositoryName;
use crate::prefix::RepositoryPrefix;
use crate::registry::Registry;

/// Most templates of one registry.
pub const TEMPLATES_MAX: usize = 500;

/// What makes repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AppliedFor {
    /// An image that is replicated from another registry.
    Replication,
    /// An image that is pulled from an upstream registry.
    PullThroughCache,
    /// A push.
    CreateOnPush,
}

/// A template. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRow {
    /// The prefix as it was written, with or without a final `/`.
    pub prefix: String,
    /// What it is for, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it applies; never empty.
    pub applied_for: BTreeSet<AppliedFor>,
    /// Which tags of the repository may move.
    pub mutability: Mutability,
    /// The filters of the two modes that take them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mutability_filters: Vec<String>,
    /// Resource tags of the repository.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource_tags: BTreeMap<String, String>,
    /// The repository's policy, as it was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_policy: Option<String>,
    /// The repository's lifecycle policy, as it was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle_policy: Option<String>,
    /// `customRoleArn`, kept and returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_role_arn: Option<String>,
    /// When it was created.
    pub created_at_ms: i64,
    /// When it was last changed.
    pub updated_at_ms: i64,
}

impl TemplateRow {
    /// The repository this template makes.
    fn repository(&self, now_ms: i64) -> RepositoryRow {
        RepositoryRow {
            created_at_ms: now_ms,
            mutability: self.mutability,
            mutability_filters: self.mutability_filters.clone(),
            tags: self.resource_tags.clone(),
            ..RepositoryRow::default()
        }
    }
}

impl Registry {
    /// Makes a template.
    pub async fn template_create(
        &self,
        scope: &Scope,
        prefix: &RepositoryPrefix,
        row: &TemplateRow,
    ) -> Result<(), RegistryError> {
        let (held, _) = self.templates(scope, None, TEMPLATES_MAX).await?;
        if held.len() >= TEMPLATES_MAX {
            return Err(RegistryError::LimitExceeded(format!(
                "The maximum number of repository creation templates, {TEMPLATES_MAX}, has been reached."
            )));
        }
        let key = template_key(scope, prefix);
        match self.metadata.store.txn(Txn::new().require_absent(&key).put(&key, encode(row))).await {
            Ok(_) => Ok(()),
            Err(TxnError::Conflict { .. }) => Err(RegistryError::TemplateAlreadyExists {
                prefix: row.prefix.clone(),
                registry: scope.account.clone(),
            }),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// A template, by the very prefix it was made with.
    pub async fn template(&self, scope: &Scope, prefix: &RepositoryPrefix) -> Result<TemplateRow, RegistryError> {
        Ok(self.template_read(scope, prefix).await?.row)
    }

    /// Templates in the order of their prefixes, after `after`; and whether there are more.
    pub async fn templates(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(RepositoryPrefix, TemplateRow)>, bool), RegistryError> {
        self.metadata.page(&templates_prefix(scope), after, limit, |prefix| prefix.parse().ok()).await
    }

    /// Changes a template; `change` may be called more than once.
    pub async fn template_update(
        &self,
        scope: &Scope,
        prefix: &RepositoryPrefix,
        change: impl Fn(&mut TemplateRow) -> Result<(), RegistryError>,
    ) -> Result<TemplateRow, RegistryError> {
        let key = template_key(scope, prefix);
        for _ in 0..ATTEMPTS_MAX {
            let Read { mut row, revision } = self.template_read(scope, prefix).await?;
            change(&mut row)?;
            row.updated_at_ms = self.now().as_millis();
            match self.metadata.store.txn(Txn::new().require(&key, revision).put(&key, encode(&row))).await {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Removes a template and returns what it was. Repositories made from it stay.
    pub async fn template_delete(
        &self,
        scope: &Scope,
        prefix: &RepositoryPrefix,
    ) -> Result<TemplateRow, RegistryError> {
        let key = template_key(scope, prefix);
        for _ in 0..ATTEMPTS_MAX {
            let Read { row, revision } = self.template_read(scope, prefix).await?;
            match self.metadata.store.txn(Txn::new().require(&key, revision).delete(&key)).await {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// The template that applies to a repository of this name: the one with the longest prefix, of those that are
    /// for this purpose.
    pub async fn template_for(
        &self,
        scope: &Scope,
        name: &RepositoryName,
        purpose: AppliedFor,
    ) -> Result<Option<TemplateRow>, RegistryError> {
        for prefix in RepositoryPrefix::covering(name) {
            if let Some(Read { row, .. }) = self.metadata.get::<TemplateRow>(&template_key(scope, &prefix)).await?
                && row.applied_for.contains(&purpose)
            {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The template that a push to this repository creates it from; none when it is there already.
    ///
    /// # Errors
    /// [`RegistryError::RepositoryNotFound`] when it is neither there nor to be created.
    pub async fn template_for_push(&self, keys: &RepositoryKeys) -> Result<Option<TemplateRow>, RegistryError> {
        match self.metadata.repository(keys).await {
            Ok(_) => Ok(None),
            Err(missing @ RegistryError::RepositoryNotFound { .. }) => {
                let template = self.template_for(keys.scope(), keys.name(), AppliedFor::CreateOnPush).await?;
                template.map(Some).ok_or(missing)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a repository as a template says, or with the defaults when there is none. Somebody may have been faster;
    /// their repository is as good.
    pub async fn repository_create_by_itself(
        &self,
        keys: &RepositoryKeys,
        template: Option<&TemplateRow>,
    ) -> Result<(), RegistryError> {
        let now_ms = self.now().as_millis();
        let row = match template {
            Some(template) => template.repository(now_ms),
            None => RepositoryRow { created_at_ms: now_ms, ..RepositoryRow::default() },
        };
        let policy = template.and_then(|template| template.repository_policy.as_deref());
        let lifecycle = template.and_then(|template| template.lifecycle_policy.as_deref());
        match self.repository_create_with(keys, &row, policy, lifecycle).await {
            Ok(()) => {
                tracing::info!(repository = %keys.arn(), template = template.map(|row| &row.prefix), "repository created");
                Ok(())
            }
            Err(RegistryError::RepositoryAlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn template_read(
        &self,
        scope: &Scope,
        prefix: &RepositoryPrefix,
    ) -> Result<Read<TemplateRow>, RegistryError> {
        let found = self.metadata.get(&template_key(scope, prefix)).await?;
        found.ok_or_else(|| RegistryError::TemplateNotFound {
            prefix: prefix.to_string(),
            registry: scope.account.clone(),
        })
    }
}
