//! What is kept, in rows:
//!
//! ```text
//! /secrets/ACCOUNT/REGION/NAME       what is known of a secret; names may have slashes
//! /secret-values/ID/VERSION          the value of a version, sealed; ID is never used again
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_api::Caller;
use gantry_domain::Timestamp;
use gantry_domain::policy::Document;
use gantry_domain::secret::versions::{Version, Versions};
use gantry_store::Revision;
use serde::{Deserialize, Serialize};

/// Everything but the values is below this.
pub(super) const PREFIX: &str = "/secrets/";

/// An account in a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    pub(super) account: String,
    pub(super) region: String,
}

impl Scope {
    pub(super) fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone() }
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{PREFIX}{}/{}/{name}", self.account, self.region)
    }

    /// The ARN of what comes after `secret:`.
    pub(super) fn arn(&self, rest: &str) -> String {
        format!("arn:aws:secretsmanager:{}:{}:secret:{rest}", self.region, self.account)
    }

    /// Scope and name of a row.
    pub(super) fn of_key(key: &str) -> Option<(Self, &str)> {
        let mut parts = key.strip_prefix(PREFIX)?.splitn(3, '/');
        let (account, region) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some((Self { account, region }, parts.next()?))
    }
}

/// The row of a value.
pub(super) fn value_key(id: &str, version: &str) -> String {
    format!("{}{version}", values_prefix(id))
}

/// The rows of a secret's values.
pub(super) fn values_prefix(id: &str) -> String {
    format!("/secret-values/{id}/")
}

/// What is known of a secret. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SecretRow {
    /// Where its values are, and what they are sealed for.
    pub(super) id: String,
    /// The six characters at the end of the ARN.
    pub(super) suffix: String,
    pub(super) created_at: u64,
    pub(super) changed_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kms_key_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    /// The day it was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) accessed_at: Option<u64>,
    /// When it goes, if it is to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_at: Option<u64>,
    /// The policy as it was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    versions: BTreeMap<String, VersionRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct VersionRow {
    created_at: i64,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    stages: BTreeSet<String>,
}

impl SecretRow {
    /// A secret without anything.
    pub(super) fn new(id: String, suffix: String, now: u64) -> Self {
        Self {
            id,
            suffix,
            created_at: now,
            changed_at: now,
            description: None,
            kms_key_id: None,
            kind: None,
            accessed_at: None,
            deletion_at: None,
            policy: None,
            tags: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    pub(super) fn versions(&self) -> Versions {
        let version = |(id, row): (&String, &VersionRow)| {
            (id.clone(), Version { created_at: Timestamp::from_millis(row.created_at), stages: row.stages.clone() })
        };
        self.versions.iter().map(version).collect()
    }

    pub(super) fn set_versions(&mut self, versions: Versions) {
        let row = |(id, version): (String, Version)| {
            (id, VersionRow { created_at: version.created_at.as_millis(), stages: version.stages })
        };
        self.versions = versions.into_iter().map(row).collect();
    }

    /// Version → its stages, of those that have some.
    pub(super) fn stages(&self) -> BTreeMap<String, Vec<String>> {
        let staged = self.versions.iter().filter(|(_, version)| !version.stages.is_empty());
        staged.map(|(id, version)| (id.clone(), version.stages.iter().cloned().collect())).collect()
    }
}

/// A secret as the picture has it.
#[derive(Debug)]
pub(super) struct Secret {
    pub(super) scope: Scope,
    pub(super) name: String,
    pub(super) row: SecretRow,
    pub(super) revision: Revision,
    /// Its policy, parsed.
    pub(super) policy: Option<Arc<Document>>,
}

impl Secret {
    pub(super) fn arn(&self) -> String {
        self.scope.arn(&format!("{}-{}", self.name, self.row.suffix))
    }

    pub(super) fn key(&self) -> String {
        self.scope.key(&self.name)
    }

    /// Whether it is to go.
    pub(super) fn is_deleted(&self) -> bool {
        self.row.deletion_at.is_some()
    }
}
