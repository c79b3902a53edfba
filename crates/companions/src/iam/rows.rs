//! What IAM keeps, a row each:
//!
//! ```text
//! /iam/ACCOUNT/epoch                       counts the changes of the account
//! /iam/ACCOUNT/users/NAME                  with its access keys, inline policies, attachments and groups
//! /iam/ACCOUNT/groups/NAME
//! /iam/ACCOUNT/roles/NAME
//! /iam/ACCOUNT/policies/NAME               with its versions
//! /iam/ACCOUNT/instance-profiles/NAME
//! /iam/ACCOUNT/oidc-providers/NAME         HOST, or HOST/PATH
//! ```
//!
//! Names in keys are in lower case, because they are unique without regard to case. IAM is global: no region. Every
//! row is small: the service's quotas bound it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Everything of this service is below this.
pub(super) const PREFIX: &str = "/iam/";

/// The row that every change of an account puts: changes are planned one after the other.
pub(super) fn epoch_key(account: &str) -> String {
    format!("{PREFIX}{account}/epoch")
}

/// A kind of row.
pub(super) trait Row: Serialize + DeserializeOwned + Send + Sync {
    /// As in the key.
    const KIND: &'static str;
    /// As the user wrote it.
    fn name(&self) -> &str;
}

/// The key of a row.
pub(super) fn key<R: Row>(account: &str, name: &str) -> String {
    format!("{PREFIX}{account}/{}/{}", R::KIND, name.to_lowercase())
}

/// The policies of a user, group or role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grants {
    /// Name → document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) inline: BTreeMap<String, String>,
    /// ARNs of managed policies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) attached: BTreeSet<String>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) path: String,
    /// Milliseconds since the epoch, as all times here.
    pub(crate) created_at: u64,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) boundary: Option<String>,
    #[serde(default)]
    pub(crate) grants: Grants,
    /// Names of its groups in lower case.
    #[serde(default)]
    pub(crate) groups: BTreeSet<String>,
    #[serde(default)]
    pub(crate) keys: Vec<AccessKey>,
}

/// A long-term access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    /// Encrypted with the server's key and bound to the id, base64.
    pub(crate) sealed_secret: String,
    pub(crate) active: bool,
    pub(crate) created_at: u64,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).field("active", &self.active).finish_non_exhaustive()
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) created_at: u64,
    #[serde(default)]
    pub(crate) grants: Grants,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) created_at: u64,
    /// The trust policy as it was given.
    pub(crate) trust: String,
    /// The users and roles that the trust policy names, with the ids they had when it was saved: another one that
    /// later has the same name is not trusted.
    #[serde(default)]
    pub(crate) trusted_ids: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) session_seconds_max: u32,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) boundary: Option<String>,
    #[serde(default)]
    pub(crate) grants: Grants,
    /// The service that a service-linked role belongs to.
    #[serde(default)]
    pub(crate) service: Option<String>,
}

/// A customer's managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) default_version: u32,
    /// The number the next version gets: numbers are not used again.
    pub(crate) next_version: u32,
    pub(crate) versions: BTreeMap<u32, PolicyVersion>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// A version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyVersion {
    pub(crate) document: String,
    pub(crate) created_at: u64,
}

/// An instance profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceProfile {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) created_at: u64,
    /// Name of its role in lower case.
    #[serde(default)]
    pub(crate) role: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// An issuer of OpenID Connect tokens that the account believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OidcProvider {
    /// The issuer, as its tokens must say it.
    pub(crate) url: String,
    /// The address without its scheme.
    pub(crate) name: String,
    pub(crate) created_at: u64,
    /// Whom its tokens may be for.
    #[serde(default)]
    pub(crate) client_ids: Vec<String>,
    #[serde(default)]
    pub(crate) thumbprints: Vec<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

macro_rules! rows {
    ($($row:ident $kind:literal),*) => {
        $(impl Row for $row {
            const KIND: &'static str = $kind;
            fn name(&self) -> &str {
                &self.name
            }
        })*
    };
}

rows!(User "users", Group "groups", Role "roles", Policy "policies", InstanceProfile "instance-profiles", OidcProvider "oidc-providers");

/// The ARN of something with a path and a name.
pub(crate) fn arn(account: &str, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

macro_rules! arns {
    ($($row:ident $kind:literal),*) => {
        $(impl $row {
            /// Its ARN in `account`.
            pub(crate) fn arn(&self, account: &str) -> String {
                arn(account, $kind, &self.path, &self.name)
            }
        })*
    };
}

arns!(User "user", Group "group", Role "role", Policy "policy", InstanceProfile "instance-profile");

impl OidcProvider {
    /// Its ARN in `account`.
    pub(crate) fn arn(&self, account: &str) -> String {
        arn(account, "oidc-provider", "/", &self.name)
    }
}

impl Policy {
    /// The document in force.
    pub(crate) fn document(&self) -> &str {
        self.versions.get(&self.default_version).map_or("", |version| &version.document)
    }
}
