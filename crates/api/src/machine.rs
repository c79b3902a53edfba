//! How a machine joins and proves who it is: `POST /agent/v1/join` and `POST /agent/v1/session`, JSON both.
//!
//! A machine makes a key pair, trades a join token or an activation for an identity once, and from then on asks for
//! temporary credentials with statements that it signs. Nobody else ever holds its private key.

use serde::{Deserialize, Serialize};

/// Where a machine joins.
pub const JOIN_PATH: &str = "/agent/v1/join";
/// Where a machine gets its temporary credentials.
pub const SESSION_PATH: &str = "/agent/v1/session";
/// How far the clocks of a machine and of the server may differ, milliseconds.
pub const CLOCK_SKEW_MS_MAX: u64 = 5 * 60 * 1000;

/// The machine behind a session: an identity that joined, and what it was let in for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// `i-…`, or `mi-…` of one that joined by an activation.
    pub id: String,
    /// The only cluster that it may register in; none for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Joined by an activation: serves launch type EXTERNAL.
    #[serde(default)]
    pub external: bool,
    /// May offer itself to the Fargate fleet, whose tasks come from every cluster of the account.
    #[serde(default)]
    pub fargate: bool,
}

/// What entitles a machine to an identity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum JoinProof {
    /// Of `gantry instance token create`.
    Token {
        /// The token.
        token: String,
    },
    /// Of `ssm:CreateActivation`.
    Activation {
        /// Its id.
        activation_id: String,
        /// Its code.
        activation_code: String,
    },
}

impl std::fmt::Debug for JoinProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "JoinProof::Token",
            Self::Activation { .. } => "JoinProof::Activation",
        })
    }
}

/// A machine wants to join. Saying it again with the same key is answered the same and uses up nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinRequest {
    /// Why it may.
    pub proof: JoinProof,
    /// Ed25519 public key, base64.
    pub public_key: String,
    /// What the machine says about itself, for people to read.
    #[serde(default)]
    pub about: AboutMachine,
}

/// What a machine says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AboutMachine {
    /// Its host name.
    pub computer_name: String,
    /// For example `Debian GNU/Linux`.
    pub platform_name: String,
    /// For example `12`.
    pub platform_version: String,
    /// Of the agent.
    pub agent_version: String,
}

/// The machine has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinResponse {
    /// Its name from now on.
    pub machine_id: String,
    /// Where it belongs.
    pub account: String,
    /// Where it belongs.
    pub region: String,
    /// The only cluster that it may register in; none for any.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Serves launch type EXTERNAL.
    #[serde(default)]
    pub external: bool,
}

/// A machine asks for temporary credentials of its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionRequest {
    /// Who asks.
    pub machine_id: String,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// Ed25519 signature of [`session_statement`], base64.
    pub signature: String,
}

/// What a machine signs to get credentials.
pub fn session_statement(machine_id: &str, at_ms: u64) -> String {
    format!("gantry session\n{machine_id}\n{at_ms}")
}

/// Temporary credentials.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionResponse {
    /// `ASIA…`.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Goes with every request.
    pub session_token: String,
    /// When they end, milliseconds since the epoch.
    pub expires_at_ms: u64,
}

impl std::fmt::Debug for SessionResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionResponse").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
