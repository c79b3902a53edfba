//! Lifecycle policies of repositories: kept here, run by [`run`], tried by [`preview`].
//!
//! ```text
//! /ecr/lifecycle/ACCOUNT/REGION/NAME             PolicyRow: the policy, and when it was last evaluated
//! /ecr/previews/ACCOUNT/REGION/NAME              PreviewRow: the last preview
//! /ecr/ACCOUNT/REGION/preview/NAME:DIGEST        ResultRow: what it would do with one image
//! ```
//!
//! What a policy decides is in `gantry_domain::lifecycle`. What it may not do is decided here, image by image when its
//! turn comes: an image that a list of manifests needs, or that a running task uses, is kept, and it is said why.
//! Signatures and other referrers are not images of their own to a policy: they go with their subject.

pub mod preview;
pub mod run;
mod worker;

use std::collections::BTreeSet;

use gantry_domain::Timestamp;
use gantry_domain::lifecycle::{self, Policy};
use gantry_store::{Txn, TxnError};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::metadata::{ATTEMPTS_MAX, Read, RepositoryKeys, encode};
use crate::name::Tag;
use crate::registry::Registry;

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// The document.
    pub text: String,
    /// When it was set.
    pub put_at_ms: i64,
    /// When it was last evaluated; none before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated_at_ms: Option<i64>,
}

/// Knows which images running tasks use. The program gives the registry one that asks the control plane.
pub trait ImagesInUse: Send + Sync + 'static {
    /// The images of a repository that running tasks use.
    fn in_use(&self, keys: &RepositoryKeys) -> InUse;
}

/// Images of one repository that running tasks use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// By digest.
    pub digests: BTreeSet<Digest>,
    /// By the tag that their task definitions name.
    pub tags: BTreeSet<Tag>,
}

impl InUse {
    fn has(&self, image: &FoundImage) -> bool {
        self.digests.contains(&image.digest) || image.row.tags.iter().any(|tag| self.tags.contains(tag))
    }
}

/// Nothing runs.
pub(crate) struct NothingInUse;

impl ImagesInUse for NothingInUse {
    fn in_use(&self, _: &RepositoryKeys) -> InUse {
        InUse::default()
    }
}

/// Why an image is kept although a rule says that it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBecause {
    /// A list of manifests that stays needs it.
    NeededByManifestList,
    /// A running task uses it.
    UsedByRunningTask,
}

impl Registry {
    /// Sets a repository's policy. It is run within minutes, not here.
    pub async fn lifecycle_put(&self, keys: &RepositoryKeys, text: &str) -> Result<PolicyRow, RegistryError> {
        let row = self.lifecycle_row(text)?;
        let txn = Txn::new().require_exists(keys.repository()).put(keys.lifecycle(), encode(&row));
        match self.metadata.store.txn(txn).await {
            Ok(_) => {}
            Err(TxnError::Conflict { .. }) => {
                return Err(RegistryError::repository_not_found(keys.scope(), keys.name()));
            }
            Err(TxnError::Store(error)) => return Err(error.into()),
        }
        Ok(row)
    }

    /// The row of a policy that is set now.
    pub(crate) fn lifecycle_row(&self, text: &str) -> Result<PolicyRow, RegistryError> {
        parse(text)?;
        Ok(PolicyRow { text: Policy::normalized(text), put_at_ms: self.now().as_millis(), evaluated_at_ms: None })
    }

    /// A repository's policy.
    pub async fn lifecycle(&self, keys: &RepositoryKeys) -> Result<PolicyRow, RegistryError> {
        Ok(self.lifecycle_read(keys).await?.row)
    }

    async fn lifecycle_read(&self, keys: &RepositoryKeys) -> Result<Read<PolicyRow>, RegistryError> {
        self.metadata.repository(keys).await?;
        self.metadata.get(&keys.lifecycle()).await?.ok_or_else(|| RegistryError::LifecyclePolicyNotFound {
            name: keys.name().to_string(),
            registry: keys.scope().account.clone(),
        })
    }

    /// Removes a repository's policy and returns what it was.
    pub async fn lifecycle_delete(&self, keys: &RepositoryKeys) -> Result<PolicyRow, RegistryError> {
        let key = keys.lifecycle();
        for _ in 0..ATTEMPTS_MAX {
            let Read { row, revision } = self.lifecycle_read(keys).await?;
            match self.metadata.store.txn(Txn::new().require(&key, revision).delete(&key)).await {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Whether an image is not a policy's to decide on: it is about another image of the repository.
    async fn goes_with_its_subject(&self, keys: &RepositoryKeys, image: &FoundImage) -> Result<bool, RegistryError> {
        match &image.row.subject {
            Some(subject) => Ok(self.metadata.image(keys, subject).await?.is_some()),
            None => Ok(false),
        }
    }
}

/// Refuses a text that is no policy.
pub(crate) fn check(text: &str) -> Result<(), RegistryError> {
    parse(text).map(drop)
}

/// Reads a policy's text.
fn parse(text: &str) -> Result<Policy, RegistryError> {
    Policy::parse(text).map_err(|error| RegistryError::Parameter {
        member: "LifecyclePolicyText",
        constraint: format!("Lifecycle policy validation failure: {error}"),
    })
}

/// What a policy may know of an image.
fn facts(image: &FoundImage) -> lifecycle::Image<'_> {
    let tie = image.digest.hex().get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok());
    lifecycle::Image {
        tie: tie.unwrap_or_default(),
        tags: image.row.tags.iter().map(Tag::as_str).collect(),
        pushed_at: Timestamp::from_millis(image.row.pushed_at_ms),
        pulled_at: image.row.pulled_at_ms.map(Timestamp::from_millis),
        archived_at: image.row.archived_at_ms.map(Timestamp::from_millis),
        class: match image.row.archived {
            true => lifecycle::StorageClass::Archive,
            false => lifecycle::StorageClass::Standard,
        },
    }
}
