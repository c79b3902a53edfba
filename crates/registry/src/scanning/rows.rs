//! What is stored of scans and their configuration. Times are milliseconds since the epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rules::Frequency;

/// How the scan of an image went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRow {
    /// Where it is.
    pub status: ScanStatus,
    /// What to say about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When somebody asked for it last, by a call or by a push.
    pub requested_at_ms: i64,
    /// When it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at_ms: Option<i64>,
    /// When it first ended with findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_completed_at_ms: Option<i64>,
    /// The advisory database that the findings come from, by its generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// When that database was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_updated_at_ms: Option<i64>,
    /// Findings by severity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, i32>,
    /// Which rows of findings belong to this; 0 before there are any.
    #[serde(default)]
    pub round: u64,
    /// Which rows hold what is installed; 0 before there are any.
    #[serde(default)]
    pub inventory_round: u64,
}

/// Where a scan is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScanStatus {
    /// In the queue or under way.
    #[default]
    InProgress,
    /// There are findings, or there are truly none.
    Complete,
    /// The image could not be read.
    Failed,
    /// The image is of a kind that is not read.
    UnsupportedImage,
    /// There is nothing to compare the image with.
    FindingsUnavailable,
    /// The image has more content than a scan may read.
    ImageSizeExceeded,
}

/// How a registry scans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanningRow {
    /// `ENHANCED`; else `BASIC`.
    #[serde(default)]
    pub enhanced: bool,
    /// At most one per frequency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ScanningRule>,
}

/// Which repositories are scanned how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanningRule {
    /// How often.
    pub frequency: Frequency,
    /// Which repositories; any is enough.
    pub filters: Vec<String>,
}
