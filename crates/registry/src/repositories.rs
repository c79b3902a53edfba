//! Repositories: making, changing and removing them.

use gantry_api::Caller;
use gantry_domain::arn::Scope;
use gantry_store::{Txn, TxnError};

use crate::access::Target;
use crate::changes::{Actor, ChangeKind};
use crate::fault::RegistryError;
use crate::metadata::{ATTEMPTS_MAX, Read, RepositoryKeys, RepositoryRow, encode};
use crate::name::RepositoryName;
use crate::policies::PolicyRow;
use crate::registry::Registry;

impl Registry {
    /// Makes a repository.
    pub async fn repository_create(&self, keys: &RepositoryKeys, row: &RepositoryRow) -> Result<(), RegistryError> {
        self.repository_create_with(keys, row, None, None).await
    }

    /// The same with policies, which have been checked, from the beginning.
    pub(crate) async fn repository_create_with(
        &self,
        keys: &RepositoryKeys,
        row: &RepositoryRow,
        policy: Option<&str>,
        lifecycle: Option<&str>,
    ) -> Result<(), RegistryError> {
        let key = keys.repository();
        let exists = || RegistryError::RepositoryAlreadyExists {
            name: keys.name().to_string(),
            registry: keys.scope().account.clone(),
        };
        for _ in 0..ATTEMPTS_MAX {
            if self.metadata.get::<RepositoryRow>(&key).await?.is_some() {
                return Err(exists());
            }
            let count = self.room_for_repository(keys.scope()).await?;
            let mut txn = count.more(Txn::new().require_absent(&key).put(&key, encode(row)));
            if let Some(text) = lifecycle {
                txn = txn.put(keys.lifecycle(), encode(&self.lifecycle_row(text)?));
            }
            if let Some(text) = policy {
                txn = txn.put(keys.policy(), encode(&PolicyRow { text: text.to_owned() }));
            }
            match self.metadata.store.txn(txn).await {
                Ok(_) => return Ok(()),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// The repository called `name` of the caller's own registry, once the caller may do `action` there: for what is
    /// no operation of the API.
    pub async fn repository_allowed(
        &self,
        caller: &Caller,
        action: &'static str,
        name: &str,
    ) -> Result<RepositoryKeys, RegistryError> {
        let name = name.parse().map_err(|_| RegistryError::NameInvalid(name.to_owned()))?;
        let keys = RepositoryKeys::new(&Scope::new(&caller.account, &caller.region), &name);
        self.authorize(caller, action.into(), Target::Repository(&keys)).await?;
        Ok(keys)
    }

    /// A repository.
    pub async fn repository(&self, keys: &RepositoryKeys) -> Result<RepositoryRow, RegistryError> {
        Ok(self.metadata.repository(keys).await?.row)
    }

    /// Repositories by name, after `after`; and whether there are more.
    pub async fn repositories(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(RepositoryName, RepositoryRow)>, bool), RegistryError> {
        self.metadata.repositories(scope, after, limit).await
    }

    /// Changes a repository's row; `change` may be called more than once.
    pub async fn repository_update(
        &self,
        keys: &RepositoryKeys,
        change: impl Fn(&mut RepositoryRow) -> Result<(), RegistryError>,
    ) -> Result<RepositoryRow, RegistryError> {
        let key = keys.repository();
        for _ in 0..ATTEMPTS_MAX {
            let Read { mut row, revision } = self.metadata.repository(keys).await?;
            change(&mut row)?;
            match self.metadata.store.txn(Txn::new().require(&key, revision).put(&key, encode(&row))).await {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// The repository's row, for a transaction that adds to it. Calls off a deletion that is being considered.
    pub(crate) async fn repository_for_push(
        &self,
        keys: &RepositoryKeys,
    ) -> Result<Read<RepositoryRow>, RegistryError> {
        let read = self.metadata.repository(keys).await?;
        if !read.row.deleting {
            return Ok(read);
        }
        self.repository_update(keys, |row| {
            row.deleting = false;
            Ok(())
        })
        .await?;
        self.metadata.repository(keys).await
    }

    /// Removes a repository and returns what it was. Without `force` it must hold no image: it is marked first, then
    /// looked into, and removed only if the mark is still as it was left, so that an image pushed meanwhile is safe.
    pub async fn repository_delete(
        &self,
        keys: &RepositoryKeys,
        force: bool,
        actor: &Actor,
    ) -> Result<RepositoryRow, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let marked = if force {
                self.metadata.repository(keys).await?
            } else {
                match self.mark_for_deletion(keys).await? {
                    Some(marked) => marked,
                    None => continue,
                }
            };
            if !force && !self.metadata.images(keys, None, 1).await?.0.is_empty() {
                self.unmark(keys, &marked).await;
                return Err(RegistryError::RepositoryNotEmpty {
                    name: keys.name().to_string(),
                    registry: keys.scope().account.clone(),
                });
            }
            let key = keys.repository();
            let count = self.repository_count(keys.scope()).await?;
            let mut txn = count.less(Txn::new().require(&key, marked.revision).delete(&key));
            for prefix in keys.all() {
                txn = txn.delete_prefix(prefix);
            }
            for single in keys.singles() {
                txn = txn.delete(single);
            }
            let txn = self.record(txn, keys, actor, ChangeKind::RepositoryDeleted);
            match self.metadata.store.txn(txn).await {
                Ok(_) => {
                    // The rows are gone, so what is left of uploads only takes space; they also expire by themselves.
                    if let Err(error) = self.blobs.uploads_drop(&keys.upload_scope()).await {
                        tracing::warn!(repository = %keys.name(), error = &error as &dyn std::error::Error, "uploads of a deleted repository are left to expire");
                    }
                    return Ok(marked.row);
                }
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Marks the row; none when somebody changed it meanwhile.
    async fn mark_for_deletion(&self, keys: &RepositoryKeys) -> Result<Option<Read<RepositoryRow>>, RegistryError> {
        let Read { mut row, revision } = self.metadata.repository(keys).await?;
        row.deleting = true;
        let key = keys.repository();
        match self.metadata.store.txn(Txn::new().require(&key, revision).put(&key, encode(&row))).await {
            Ok(revision) => Ok(Some(Read { row, revision })),
            Err(TxnError::Conflict { .. }) => Ok(None),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// Takes the mark away again. A mark that stays does no harm: the next push removes it.
    async fn unmark(&self, keys: &RepositoryKeys, marked: &Read<RepositoryRow>) {
        let row = RepositoryRow { deleting: false, ..marked.row.clone() };
        let key = keys.repository();
        let _ = self.metadata.store.txn(Txn::new().require(&key, marked.revision).put(&key, encode(&row))).await;
    }
}
