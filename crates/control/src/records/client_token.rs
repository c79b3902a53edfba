//! What a request with a client token led to, so that its repetition leads to the same.

use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::text;

/// The memory of one client token; operation, cluster and token are in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTokenRecord {
    /// SHA-256 of the request, hexadecimal: another request with the same token is refused.
    pub request: String,
    /// Ids or names of what was made.
    pub resources: Vec<String>,
    /// When the token may be forgotten.
    #[serde(with = "text::millis")]
    pub expires_at: Timestamp,
}
