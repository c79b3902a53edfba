//! Checks that the crates use only what ARCHITECTURE.md allows.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Crate → the crates of ours that it may use outside its tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("gantry-domain", &[]),
    ("gantry-api", &[]),
    ("gantry-store", &["gantry-domain"]),
    ("gantry-layers", &[]),
    ("gantry-runtime", &["gantry-domain", "gantry-layers"]),
    ("gantry-protocol", &["gantry-domain", "gantry-api"]),
    ("gantry-control", &["gantry-domain", "gantry-api", "gantry-store", "gantry-protocol"]),
    ("gantry-scan", &["gantry-domain"]),
    (
        "gantry-registry",
        &["gantry-domain", "gantry-layers", "gantry-api", "gantry-store", "gantry-protocol", "gantry-scan"],
    ),
    ("gantry-companions", &["gantry-domain", "gantry-api", "gantry-store", "gantry-protocol"]),
    ("gantry-agent", &["gantry-domain", "gantry-api", "gantry-runtime"]),
];

/// Fails with one line per arrow that points the wrong way.
pub(crate) fn check() -> Result<()> {
    let output = std::process::Command::new("cargo").args(["metadata", "--format-version=1", "--no-deps"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may_use) = allowed.get(name) else { continue };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            if used.starts_with("gantry-") && dependency["kind"].as_str() != Some("dev") && !may_use.contains(&used) {
                wrong.push(format!("{name} must not use {used}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}
