//! What is kept, in rows:
//!
//! ```text
//! /parameters/ACCOUNT/REGION/NAME       what is known of a parameter; NAME without its first slash
//! /parameter-values/ID/VERSION          the value of a version, sealed; ID is never used again
//! ```

use std::collections::{BTreeMap, BTreeSet};

use gantry_domain::arn::Scope;
use gantry_domain::parameter::versions::{Version, Versions};
use gantry_store::Revision;
use serde::{Deserialize, Serialize};

/// Everything but the values is below this.
pub(super) const PREFIX: &str = "/parameters/";

/// The type whose values are shown only when they are asked for decrypted.
pub(super) const SECURE: &str = "SecureString";
pub(super) const STANDARD: &str = "Standard";
pub(super) const ADVANCED: &str = "Advanced";

pub(super) fn key(scope: &Scope, bare: &str) -> String {
    format!("{PREFIX}{}/{}/{bare}", scope.account, scope.region)
}

/// Scope and name of a row.
pub(super) fn of_key(key: &str) -> Option<(Scope, &str)> {
    let mut parts = key.strip_prefix(PREFIX)?.splitn(3, '/');
    let scope = Scope::new(parts.next()?, parts.next()?);
    Some((scope, parts.next()?))
}

/// Everything of an ARN before the name.
pub(super) fn arn_start(scope: &Scope) -> String {
    format!("arn:aws:ssm:{}:{}:parameter/", scope.region, scope.account)
}

/// The row of a value.
pub(super) fn value_key(id: &str, version: u64) -> String {
    format!("{}{version}", values_prefix(id))
}

/// The rows of a parameter's values.
pub(super) fn values_prefix(id: &str) -> String {
    format!("/parameter-values/{id}/")
}

/// What is known of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParameterRow {
    /// Where its values are, and what they are sealed for.
    pub(super) id: String,
    /// As it was made.
    pub(super) name: String,
    /// `String`, `StringList` or `SecureString`.
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(with = "version_rows")]
    pub(super) versions: Versions<About>,
}

/// Versions as the row has them.
mod version_rows {
    use serde::{Deserializer, Serializer};

    use super::{About, BTreeMap, Deserialize, Version, VersionRow, Versions};

    pub(super) fn serialize<S: Serializer>(versions: &Versions<About>, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |(number, version): (u64, &Version<About>)| {
            (number, VersionRow { about: version.about.clone(), labels: version.labels.clone() })
        };
        serializer.collect_map(versions.iter().map(row))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Versions<About>, D::Error> {
        let rows = BTreeMap::<u64, VersionRow>::deserialize(deserializer)?;
        let version = |(number, VersionRow { about, labels })| (number, Version { about, labels });
        Ok(rows.into_iter().map(version).collect())
    }
}

#[derive(Serialize, Deserialize)]
struct VersionRow {
    #[serde(flatten)]
    about: About,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    labels: BTreeSet<String>,
}

/// What is known of a version, besides its value and labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// Milliseconds since the epoch.
    pub(super) at: u64,
    /// Whose ARN.
    pub(super) by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<String>,
    pub(super) tier: String,
    pub(super) data_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) policies: Vec<PolicyRow>,
}

/// A policy of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PolicyRow {
    pub(super) kind: String,
    pub(super) text: String,
    /// Milliseconds since the epoch.
    pub(super) expires_at: u64,
}

impl ParameterRow {
    pub(super) fn new(id: String, name: String, kind: String, tags: BTreeMap<String, String>) -> Self {
        Self { id, name, kind, tags, versions: Versions::default() }
    }

    /// The newest version: number and what is known of it.
    pub(super) fn newest(&self) -> Option<(u64, &About)> {
        self.versions.newest().map(|(number, version)| (number, &version.about))
    }

    /// The labels of all versions.
    pub(super) fn labels(&self) -> BTreeSet<&str> {
        self.versions.iter().flat_map(|(_, version)| &version.labels).map(String::as_str).collect()
    }
}

/// A parameter as the picture has it.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) scope: Scope,
    pub(super) row: ParameterRow,
    pub(super) revision: Revision,
}

impl Parameter {
    /// What its ARN calls it.
    pub(super) fn bare(&self) -> &str {
        gantry_domain::parameter::name::bare(&self.row.name)
    }

    pub(super) fn arn(&self) -> String {
        format!("{}{}", arn_start(&self.scope), self.bare())
    }

    pub(super) fn key(&self) -> String {
        key(&self.scope, self.bare())
    }

    /// Whether its expiration is over.
    pub(super) fn is_over(&self, now: u64) -> bool {
        let policies = self.row.newest().map_or(&[][..], |(_, about)| &about.policies);
        policies.iter().any(|policy| policy.expires_at <= now)
    }
}
