//! What is kept of machines, a row each:
//!
//! ```text
//! /machines/ACCOUNT/REGION/tokens/ID
//! /machines/ACCOUNT/REGION/activations/ID
//! /machines/ACCOUNT/REGION/identities/ID
//! ```

use std::collections::BTreeMap;

use gantry_api::machine::AboutMachine;
use serde::{Deserialize, Serialize};

/// Everything of machines is below this.
pub(super) const PREFIX: &str = "/machines/";

pub(super) fn token_key(account: &str, region: &str, id: &str) -> String {
    format!("{PREFIX}{account}/{region}/tokens/{id}")
}

pub(crate) fn activation_key(account: &str, region: &str, id: &str) -> String {
    format!("{PREFIX}{account}/{region}/activations/{id}")
}

/// Where a machine's identity lies: whoever deletes it ends the machine's sessions.
pub fn identity_key(account: &str, region: &str, id: &str) -> String {
    format!("{PREFIX}{account}/{region}/identities/{id}")
}

/// A join token. Times in rows are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenRow {
    pub(super) hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<String>,
    #[serde(default)]
    pub(super) fargate: bool,
    pub(super) uses: u32,
    pub(super) uses_left: u32,
    pub(super) created_at: u64,
    pub(super) expires_at: u64,
}

/// An activation of managed instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ActivationRow {
    pub(crate) hash: String,
    /// Name of the role.
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) default_instance_name: String,
    pub(crate) limit: u32,
    pub(crate) registrations: u32,
    pub(crate) created_at: u64,
    pub(crate) expires_at: u64,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// What a machine joined with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// The token of the server's own machine.
    Own,
    /// A join token, by its id.
    Token(String),
    /// An activation, by its id.
    Activation(String),
}

/// A machine that joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdentityRow {
    /// Base64.
    pub(crate) public_key: String,
    pub(crate) origin: Origin,
    /// Name of the role.
    pub(crate) role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    #[serde(default)]
    pub(crate) fargate: bool,
    pub(crate) joined_at: u64,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) about: AboutMachine,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

impl IdentityRow {
    /// Whether it is a managed instance of Systems Manager.
    pub(crate) fn is_managed(&self) -> bool {
        matches!(self.origin, Origin::Activation(_))
    }
}
