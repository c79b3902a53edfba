//! How many repositories a registry and how many images a repository may have, counted without looking at them: the
//! counts are rows that change in the transactions that make and remove what they count.
//!
//! A repository has sixteen counts, for the first hexadecimal digit of its images' digests: pushes side by side seldom
//! meet in one, and an image is always counted in the same. A push looks at all counts and names only its own in its
//! transaction, as long as there is room for more than sixteen. Of those that looked then, one in each count can still
//! commit when there is less room: the next finds its count changed. Who sees room for sixteen or less names all counts
//! and writes them all, so that none is committed after it that has not seen it.

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

/// Room for one more image, as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    own: Count,
    /// The other counts, when so few may come that they matter.
    others: Vec<Count>,
}

impl Room {
    /// Takes it in the transaction that makes the image, which fails when it may be gone.
    pub(crate) fn take(&self, txn: Txn) -> Txn {
        self.others.iter().fold(self.own.more(txn), |txn, other| other.write(txn, other.count))
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

    /// Room for one more image; refuses when there may be none.
    pub(crate) async fn room_for_image(&self, keys: &RepositoryKeys, image: &Digest) -> Result<Room, RegistryError> {
        let rows = self.metadata.store.range(KeyRange::prefix(&keys.image_counts()), COUNTS).await?.kvs;
        let mut seen = BTreeMap::new();
        for row in &rows {
            seen.insert(&*row.key, (row.mod_revision, decode::<CountRow>(row)?.count));
        }
        let images = seen.values().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let max = self.config.quotas.images;
        if images >= max {
            return Err(RegistryError::LimitExceeded(format!(
                "The repository with name '{}' in registry with id '{}' already has the maximum allowed number of \
                 images which is '{max}'",
                keys.name(),
                keys.scope().account
            )));
        }
        let count = |key: String| {
            let (revision, count) = seen.get(&*key).copied().unwrap_or_default();
            Count { key, revision, count }
        };
        let own = count(keys.image_count(image));
        let all = if max - images > COUNTS as u64 { Vec::new() } else { keys.all_image_counts() };
        let others = all.into_iter().filter(|key| *key != own.key).map(count).collect();
        Ok(Room { own, others })
    }

    async fn count(&self, key: String) -> Result<Count, RegistryError> {
        let found = self.metadata.get::<CountRow>(&key).await?;
        let (revision, count) = found.map_or((0, 0), |found| (found.revision, found.row.count));
        Ok(Count { key, revision, count })
    }
}
