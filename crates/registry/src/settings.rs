//! What an account decides about its registry in a region: account settings, and whose pulls do not count.
//!
//! ```text
//! /ecr/ACCOUNT/REGION/settings/NAME        SettingRow
//! /ecr/ACCOUNT/REGION/exclusions/ARN       ExclusionRow: pulls of this principal leave no trace
//! ```

use gantry_domain::arn::Scope;
use gantry_store::{Txn, TxnError};
use serde::{Deserialize, Serialize};

use crate::fault::RegistryError;
use crate::metadata::{Metadata, Read, encode, setting_key};
use crate::registry::Registry;

/// Principals whose pulls do not count, in one registry.
pub const EXCLUSIONS_MAX: usize = 100;

/// An account setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Which scanner basic scanning uses.
    BasicScanTypeVersion,
    /// Whether blobs are mounted from one repository into another.
    BlobMounting,
    /// Which actions the registry's policy decides on.
    RegistryPolicyScope,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Self; 3] = [Self::BasicScanTypeVersion, Self::BlobMounting, Self::RegistryPolicyScope];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BasicScanTypeVersion => "BASIC_SCAN_TYPE_VERSION",
            Self::BlobMounting => "BLOB_MOUNTING",
            Self::RegistryPolicyScope => "REGISTRY_POLICY_SCOPE",
        }
    }

    /// What it may be; the first is what it is when nobody decided.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Self::BasicScanTypeVersion => &["AWS_NATIVE"],
            Self::BlobMounting => &["ENABLED", "DISABLED"],
            Self::RegistryPolicyScope => &["V2", "V1"],
        }
    }

    /// The setting of this name.
    pub fn parse(name: &str) -> Result<Self, RegistryError> {
        Self::ALL.into_iter().find(|setting| setting.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|setting| setting.name()).collect();
            RegistryError::Parameter {
                member: "name",
                constraint: format!("Member must satisfy enum value set: [{}]", names.join(", ")),
            }
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct SettingRow {
    value: String,
}

/// A principal whose pulls do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusionRow {
    /// Since when, in milliseconds since the epoch.
    pub created_at_ms: i64,
}

fn exclusions_prefix(scope: &Scope) -> String {
    format!("/ecr/{}/{}/exclusions/", scope.account, scope.region)
}

impl Registry {
    /// What a setting is.
    pub async fn setting(&self, scope: &Scope, setting: Setting) -> Result<String, RegistryError> {
        let found: Option<Read<SettingRow>> = self.metadata.get(&setting_key(scope, setting.name())).await?;
        Ok(found.map_or_else(|| setting.values()[0].to_owned(), |found| found.row.value))
    }

    /// Decides a setting.
    pub async fn setting_put(&self, scope: &Scope, setting: Setting, value: &str) -> Result<(), RegistryError> {
        if !setting.values().contains(&value) {
            let constraint = format!("Member must satisfy enum value set: [{}]", setting.values().join(", "));
            return Err(RegistryError::Parameter { member: "value", constraint });
        }
        let row = SettingRow { value: value.to_owned() };
        self.metadata.store.txn(Txn::new().put(setting_key(scope, setting.name()), encode(&row))).await?;
        Ok(())
    }

    /// Makes pulls of a principal not count from now on.
    pub async fn exclusion_add(&self, scope: &Scope, arn: &str) -> Result<ExclusionRow, RegistryError> {
        let held = self.metadata.store.range(&exclusions_prefix(scope), EXCLUSIONS_MAX).await?;
        let key = format!("{}{arn}", exclusions_prefix(scope));
        let row = ExclusionRow { created_at_ms: self.now().as_millis() };
        if held.kvs.len() >= EXCLUSIONS_MAX && held.kvs.iter().all(|kv| *kv.key != *key) {
            return Err(RegistryError::LimitExceeded(format!(
                "The maximum number of pull time update exclusions, {EXCLUSIONS_MAX}, has been reached."
            )));
        }
        match self.metadata.store.txn(Txn::new().require_absent(&key).put(&key, encode(&row))).await {
            Ok(_) => Ok(row),
            Err(TxnError::Conflict { .. }) => Err(RegistryError::ExclusionAlreadyExists(arn.to_owned())),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// Makes pulls of a principal count again.
    pub async fn exclusion_remove(&self, scope: &Scope, arn: &str) -> Result<(), RegistryError> {
        let key = format!("{}{arn}", exclusions_prefix(scope));
        match self.metadata.store.txn(Txn::new().require_exists(&key).delete(&key)).await {
            Ok(_) => Ok(()),
            Err(TxnError::Conflict { .. }) => Err(RegistryError::ExclusionNotFound(arn.to_owned())),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// Principals whose pulls do not count, in the order of their ARNs.
    pub async fn exclusions(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, ExclusionRow)>, bool), RegistryError> {
        self.metadata.page(&exclusions_prefix(scope), after, limit, |arn| Some(arn.to_owned())).await
    }
}

/// Whether pulls of a principal do not count. A session of a role is its role.
pub(crate) async fn is_excluded(metadata: &Metadata, scope: &Scope, arn: &str) -> Result<bool, RegistryError> {
    let prefix = exclusions_prefix(scope);
    let (excluded, _): (Vec<(String, ExclusionRow)>, bool) =
        metadata.page(&prefix, None, EXCLUSIONS_MAX, |arn| Some(arn.to_owned())).await?;
    Ok(excluded.iter().any(|(excluded, _)| is_principal(excluded, arn)))
}

/// Whether the exclusion's role or user is the principal, or the role of which it is a session.
fn is_principal(excluded: &str, principal: &str) -> bool {
    if excluded == principal {
        return true;
    }
    let session = principal.split_once(":sts::").and_then(|(_, rest)| rest.split_once(":assumed-role/"));
    let role = excluded.split_once(":iam::").and_then(|(_, rest)| rest.split_once(":role/"));
    let (Some((session_account, session)), Some((role_account, path))) = (session, role) else { return false };
    // A session does not say in which path its role is.
    let (session_role, role) = (session.split('/').next(), path.rsplit('/').next());
    session_account == role_account && session_role == role
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_role() {
        let session = "arn:aws:sts::000000000000:assumed-role/ci/build-7";
        let cases = [
            ("arn:aws:iam::000000000000:role/ci", session, true),
            ("arn:aws:iam::000000000000:role/team/ci", session, true),
            ("arn:aws:iam::000000000000:role/ci2", session, false),
            ("arn:aws:iam::111111111111:role/ci", session, false),
            ("arn:aws:iam::000000000000:user/ci", session, false),
            ("arn:aws:iam::000000000000:user/ci", "arn:aws:iam::000000000000:user/ci", true),
        ];
        for (excluded, principal, expected) in cases {
            assert_eq!(is_principal(excluded, principal), expected, "{excluded} {principal}");
        }
    }
}
