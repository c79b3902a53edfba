//! One explicitly stored account setting; its name and principal are in the key.

use serde::{Deserialize, Serialize};

/// A setting of a principal, or of the account when stored under its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettingRecord {
    /// `enabled`, `disabled`, …
    pub value: String,
}
