//! How many repositories a registry and how many images a repository may have, counted without looking at them: the
//! counts are rows that change in the transactions that make and remove what they count.
//!
//! A repository has sixteen counts, for the first hexadecimal digit of its images' digests: pushes side by side seldom
//! meet in one, and an image is always counted in the same.

use std::collections::BTreeMap;

use gantry_domain::arn::Scope;
use gantry_store::{KeyRange, Txn};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{RepositoryKeys, decode, encode, repository_count_key};
use crate::registry::Registry;

/// Counts of one repository.
const COUNTS: usize = 16;

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// Repositories of one registry (an account in a region).
    pub repositories: u64,
    /// Images of one repository; manifest lists, signatures and other artifacts count as images.
    pub images: u64,
    /// Requests a second that one registry serves, by operation. Those that are not named are not counted.
    pub rates: BTreeMap<String, u32>,
}

impl Default for Quotas {
    /// Those of the real service, but for its request rates.
    fn default() -> Self {
        Self { repositories: 100_000, images: 100_000, rates: BTreeMap::new() }
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct CountRow {
    count: u64,
}

/// A count as it was read, for the transaction that changes it.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub(crate) key: String,
    revision: u64,
    count: u64,
}

impl Count {
    /// Adds one more to the transaction that makes it.
    pub(crate) fn more(&self, txn: Txn) -> Txn {
        self.write(txn, self.count.saturating_add(1))
    }

    /// Takes one away in the transaction that removes it. What was made before there were counts was never counted.
    pub(crate) fn less(&self, txn: Txn) -> Txn {
        self.write(txn, self.count.saturating_sub(1))
    }

    fn write(&self, txn: Txn, count: u64) -> Txn {
        txn.require(&self.key, self.revision).put(&self.key, encode(&CountRow { count }))
    }
}

impl Registry {
    /// The count of a registry's repositories.
    pub(crate) async fn repository_count(&self, scope: &Scope) -> Result<Count, RegistryError> {
        self.count(repository_count_key(scope)).await
    }

    /// The same for one more; refuses when there may be none.
    pub(crate) async fn room_for_repository(&self, scope: &Scope) -> Result<Count, RegistryError> {
        let count = self.repository_count(scope).await?;
        let max = self.config.quotas.repositories;
        if count.count < max {
            return Ok(count);
        }
        Err(RegistryError::LimitExceeded(format!(
            "The registry with id '{}' already has the maximum allowed number of repositories which is '{max}'",
            scope.account
        )))
    }

    /// The count that an image is in.
    pub(crate) async fn image_count(&self, keys: &RepositoryKeys, image: &Digest) -> Result<Count, RegistryError> {
        self.count(keys.image_count(image)).await
    }

    /// The same for one more image; refuses when there may be none. Pushes side by side may go over by their number.
    pub(crate) async fn room_for_image(&self, keys: &RepositoryKeys, image: &Digest) -> Result<Count, RegistryError> {
        let mut own = Count { key: keys.image_count(image), revision: 0, count: 0 };
        let mut images = 0_u64;
        for row in self.metadata.store.range(KeyRange::prefix(&keys.image_counts()), COUNTS).await?.kvs {
            let CountRow { count } = decode(&row)?;
            images = images.saturating_add(count);
            if *row.key == *own.key {
                (own.revision, own.count) = (row.mod_revision, count);
            }
        }
        let max = self.config.quotas.images;
        if images < max {
            return Ok(own);
        }
        Err(RegistryError::LimitExceeded(format!(
            "The repository with name '{}' in registry with id '{}' already has the maximum allowed number of images \
             which is '{max}'",
            keys.name(),
            keys.scope().account
        )))
    }

    async fn count(&self, key: String) -> Result<Count, RegistryError> {
        let found = self.metadata.get::<CountRow>(&key).await?;
        let (revision, count) = found.map_or((0, 0), |found| (found.revision, found.row.count));
        Ok(Count { key, revision, count })
    }
}
