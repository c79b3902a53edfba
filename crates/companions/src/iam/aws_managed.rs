//! The managed policies that every account has from the start, under the ARNs that AWS gives them.
//!
//! They are written by us, after what the policies are for, for the services that Gantry has; `aws_managed.json` holds
//! them with the number of the version they follow.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// Before path and name.
pub(crate) const ARN_PREFIX: &str = "arn:aws:iam::aws:policy/";

/// A policy that belongs to no account.
#[derive(Debug)]
pub(crate) struct AwsManaged {
    pub(crate) arn: String,
    pub(crate) document: String,
    description: String,
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    version: u32,
    description: String,
    document: serde_json::Value,
}

static POLICIES: LazyLock<Vec<AwsManaged>> = LazyLock::new(|| {
    let entries: Vec<Entry> =
        serde_json::from_str(include_str!("aws_managed.json")).expect("a test reads the same file");
    let policy = |entry: Entry| AwsManaged {
        arn: format!("{ARN_PREFIX}{}", entry.name),
        document: serde_json::to_string_pretty(&entry.document).unwrap_or_default(),
        description: entry.description,
        version: entry.version,
    };
    entries.into_iter().map(policy).collect()
});

static BY_ARN: LazyLock<HashMap<&'static str, &'static AwsManaged>> =
    LazyLock::new(|| POLICIES.iter().map(|policy| (policy.arn.as_str(), policy)).collect());

/// All of them, by ARN.
pub(crate) fn all() -> &'static [AwsManaged] {
    &POLICIES
}

/// The one with this ARN.
pub(crate) fn find(arn: &str) -> Option<&'static AwsManaged> {
    BY_ARN.get(arn).copied()
}

impl AwsManaged {
    /// When they are said to be made, milliseconds since the epoch: when AWS made the first of them.
    pub(crate) const CREATED_AT: u64 = 1_423_159_200_000;

    fn resource(&self) -> &str {
        self.arn.strip_prefix(ARN_PREFIX).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.resource().rsplit('/').next().unwrap_or_default()
    }

    /// `/` or, for example, `/service-role/`.
    pub(crate) fn path(&self) -> &str {
        let Self { arn, .. } = self;
        &arn[ARN_PREFIX.len() - 1..arn.len() - self.name().len()]
    }

    pub(crate) fn description(&self) -> String {
        self.description.clone()
    }

    /// For example `v3`.
    pub(crate) fn version_id(&self) -> String {
        format!("v{}", self.version)
    }

    /// `ANPA…`, the same at every start.
    pub(crate) fn id(&self) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.arn.as_bytes());
        let letters =
            digest.iter().take(17).map(|byte| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(byte % 32)]));
        format!("ANPA{}", letters.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gantry_domain::policy::{Document, Kind};

    use super::*;

    #[test]
    fn every_one_is_a_policy_under_its_name() {
        assert!(all().is_sorted_by(|left, right| left.arn < right.arn));
        for policy in all() {
            Document::parse(&policy.document, Kind::Identity).unwrap_or_else(|error| panic!("{}: {error}", policy.arn));
            assert_eq!(policy.arn, format!("arn:aws:iam::aws:policy{}{}", policy.path(), policy.name()));
            assert_eq!(policy.id().len(), 21);
        }
        let policy = find("arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy").unwrap();
        assert_eq!((policy.path(), policy.version_id().as_str()), ("/service-role/", "v1"));
    }
}
