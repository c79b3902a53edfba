//! The registry's rows as they are stored. Times are milliseconds since the epoch.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::changes::ChangedImage;
use crate::digest::Digest;
use crate::mutability::Mutability;
use crate::name::Tag;

/// A repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRow {
    /// When it was created.
    pub created_at_ms: i64,
    /// Which tags may move.
    pub mutability: Mutability,
    /// The filters of the two modes that take them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mutability_filters: Vec<String>,
    /// `imageScanningConfiguration.scanOnPush`: under BASIC, images are scanned when they come.
    #[serde(default)]
    pub scan_on_push: bool,
    /// Resource tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Somebody is checking that the repository is empty in order to delete it. A push takes the mark away, and with
    /// it the deletion: its transaction names this row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
}

/// A manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRow {
    /// Its media type.
    pub media_type: String,
    /// Length of the manifest.
    pub manifest_size: u64,
    /// Sum of configuration and layers; for an index, that of its largest child.
    pub image_size: u64,
    /// When this digest came into the repository.
    pub pushed_at_ms: i64,
    /// When it was last pulled, to within a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_at_ms: Option<i64>,
    /// `artifactType`, or the configuration's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifest this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// Whether it is a list of manifests.
    #[serde(default)]
    pub is_index: bool,
    /// It cannot be pulled until it is brought back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    /// When it was last archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at_ms: Option<i64>,
    /// When it was last brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at_ms: Option<i64>,
    /// The tags that point here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
}

impl ImageRow {
    /// What changes tell of the image.
    pub(crate) fn changed(&self, digest: &Digest) -> ChangedImage {
        ChangedImage {
            digest: digest.clone(),
            media_type: self.media_type.clone(),
            artifact_type: self.artifact_type.clone(),
            subject: self.subject.clone(),
            is_index: self.is_index,
        }
    }
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRow {
    /// The manifest it points at.
    pub digest: Digest,
    /// Entries its history has had, this one included; 0 when it was set before there was a history.
    #[serde(default)]
    pub entries: u64,
}

/// A blob in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRow {
    /// Its length.
    pub size: u64,
    /// When somebody was last told that it is here: it is not collected soon after, because they count on it.
    pub seen_at_ms: i64,
    /// A manifest has referred to it since this was last false. The collector clears it before it looks for
    /// references, so that a push which comes in between is noticed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
    /// Its content was found damaged or lost: it counts as absent until somebody uploads it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

/// A manifest that names another as its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerRow {
    /// Its media type.
    pub media_type: String,
    /// Its length.
    pub size: u64,
    /// `artifactType`, or the configuration's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations; none here when they are too long for a row, and then they are read from the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}
