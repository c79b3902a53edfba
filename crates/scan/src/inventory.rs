//! The packages of an image, read from its layers.
//!
//! Layers are read as streams, from the lowest up, once. What is kept are packages, not contents; at most one file is
//! in memory at a time. A layer's whiteouts hide what lower layers had. Nothing is ever written, so that names which
//! point outside of the image are merely of no interest.
//!
//! Layers come from strangers. [`Limits`] bound what is inflated, how many entries are looked at, how large a file
//! may be and how many packages there are; the caller bounds the time. Each has its own [`InventoryError`].

mod apk;
mod cargo;
mod dpkg;
mod elf;
mod files;
mod go;
mod image;
mod npm;
mod python;
mod rpm;
mod tar;

use std::io;

use serde::{Deserialize, Serialize};

use crate::ecosystem::Distribution;
pub use image::ImageReader;

/// Longest package name; npm allows 214 bytes and the others are shorter in practice.
pub const NAME_BYTES_MAX: usize = 214;
/// Longest version.
pub const VERSION_BYTES_MAX: usize = 128;

/// Packages one file may yield before the rest is not looked at: more than an image may have.
const PACKAGES_PER_FILE_MAX: usize = 100_000;

/// What a scan may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all layers together, inflated.
    pub inflated_bytes_max: u64,
    /// Entries of all layers together.
    pub entries_max: u64,
    /// One file that is parsed, in bytes: what a scan holds in memory.
    pub file_bytes_max: u64,
    /// Packages found.
    pub packages_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Inflating takes about a second per gibibyte and core.
            inflated_bytes_max: 32 << 30,
            entries_max: 10_000_000,
            // RPM databases of full desktops reach 100 MiB.
            file_bytes_max: 192 << 20,
            packages_max: 50_000,
        }
    }
}

/// Why there is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// More content than a scan may read.
    #[error("the image has more than {0} bytes of content")]
    TooLarge(u64),
    /// More entries than a scan may look at.
    #[error("the image has more than {0} files")]
    TooManyEntries(u64),
    /// More packages than a scan may keep.
    #[error("the image has more than {0} packages")]
    TooManyPackages(usize),
    /// The time given was over.
    #[error("the scan took too long")]
    TimedOut,
    /// Something the scanner does not read.
    #[error("UnsupportedImageError: {0}")]
    Unsupported(String),
    /// A layer is not what it claims to be.
    #[error("a layer cannot be read: {0}")]
    Damaged(String),
    /// The layer's bytes could not be had.
    #[error("cannot read a layer")]
    Source(#[source] io::Error),
}

/// What keeps track of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Manager {
    /// Debian and Ubuntu.
    #[serde(rename = "dpkg")]
    Dpkg,
    /// Alpine.
    #[serde(rename = "apk")]
    Apk,
    /// Red Hat, SUSE.
    #[serde(rename = "rpm")]
    Rpm,
    /// pip and relatives.
    #[serde(rename = "python")]
    Python,
    /// npm, yarn, pnpm.
    #[serde(rename = "npm")]
    Npm,
    /// Go modules.
    #[serde(rename = "go")]
    Go,
    /// Rust crates.
    #[serde(rename = "cargo")]
    Cargo,
}

impl Manager {
    /// `packageManager` of a finding, in Inspector's words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpkg => "OS",
            Self::Apk => "OS",
            Self::Rpm => "OS",
            Self::Python => "PYTHONPKG",
            Self::Npm => "NODEPKG",
            Self::Go => "GOBINARY",
            Self::Cargo => "CARGO",
        }
    }

    /// Whether the distribution answers for the package.
    pub fn is_system(self) -> bool {
        matches!(self, Self::Dpkg | Self::Apk | Self::Rpm)
    }
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// What keeps track of it.
    #[serde(rename = "m")]
    pub manager: Manager,
    /// Its name.
    #[serde(rename = "n")]
    pub name: String,
    /// Its version, in the spelling of the manager.
    #[serde(rename = "v")]
    pub version: String,
    /// Name and version of the source package it was built from, when the manager tells.
    #[serde(default, rename = "s", skip_serializing_if = "Option::is_none")]
    pub source: Option<(String, String)>,
    /// Architecture, when the manager tells.
    #[serde(default, rename = "a", skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// The file that says so, from the root without a leading slash.
    #[serde(rename = "p")]
    pub path: String,
}

impl Package {
    fn new(manager: Manager, name: impl Into<String>, version: impl Into<String>, path: &str) -> Self {
        let path = path.chars().take(256).collect();
        Self { manager, name: name.into(), version: version.into(), source: None, arch: String::new(), path }
    }

    /// Whether name and version are there and of a reasonable length. Others could not be in any advisory.
    fn is_named(&self) -> bool {
        let fits = |text: &str, max: usize| !text.is_empty() && text.len() <= max && !text.contains(char::is_control);
        let source = self.source.as_ref();
        fits(&self.name, NAME_BYTES_MAX)
            && fits(&self.version, VERSION_BYTES_MAX)
            && self.arch.len() <= 64
            && source.is_none_or(|(name, version)| fits(name, NAME_BYTES_MAX) && fits(version, VERSION_BYTES_MAX))
    }
}

/// What is in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// What its os-release says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Its packages, each once, in order.
    pub packages: Vec<Package>,
    /// What was seen and could not be read; file names and reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests;
