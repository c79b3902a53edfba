//! Turns the service models of `models/` into the wire types of `crates/api`.
//!
//! The output is committed; `--check` (run by CI) fails when it differs from what the models say. Output is laid out
//! for diffs: one file per operation for the shapes that only this operation uses, one for the shared shapes.

mod model;
mod names;
mod service;
mod shapes;
mod validation;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use model::Model;

/// The services that have a trait in `gantry-api`, with the error code that refuses input against the model.
pub(crate) const SERVICES: &[(&str, &str)] = &[
    ("application-autoscaling", "ValidationException"),
    ("ecs", "InvalidParameterException"),
    ("ecr", "InvalidParameterException"),
    ("events", "ValidationException"),
    ("iam", "ValidationError"),
    ("logs", "InvalidParameterException"),
    ("secretsmanager", "InvalidParameterException"),
    ("ssm", "ValidationException"),
    ("sts", "ValidationError"),
    ("xray", "InvalidRequestException"),
];

/// Whether to write the generated files or to compare them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write.
    Write,
    /// Compare and fail on any difference.
    Check,
}

/// Generates all services.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = workspace_root()?;
    for (name, validation_code) in SERVICES {
        let model = Model::read(&root.join(format!("models/{name}.json")))?;
        let files = format_all(service::generate(name, validation_code, &model)?)?;
        let target = root.join("crates/api/src");
        match mode {
            Mode::Write => write(&target, &names::module(name), &files)?,
            Mode::Check => compare(&target, &names::module(name), &files)?,
        }
    }
    Ok(())
}

/// The workspace's root directory.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").context("run through `cargo xtask`")?;
    Ok(Path::new(&manifest).parent().context("xtask lies in the workspace")?.to_path_buf())
}

fn write(target: &Path, module: &str, files: &BTreeMap<String, String>) -> Result<()> {
    let folder = target.join(module);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("operations"))?;
    for (path, text) in files {
        fs::write(target.join(path), text).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

fn compare(target: &Path, module: &str, files: &BTreeMap<String, String>) -> Result<()> {
    for (path, text) in files {
        if fs::read_to_string(target.join(path)).unwrap_or_default() != *text {
            bail!("crates/api/src/{path} differs from its model: run `cargo xtask generate`");
        }
    }
    for entry in fs::read_dir(target.join(module).join("operations"))? {
        let path = format!("{module}/operations/{}", entry?.file_name().to_string_lossy());
        if !files.contains_key(&path) {
            bail!("crates/api/src/{path} is not generated from its model any more");
        }
    }
    Ok(())
}

/// Runs rustfmt once over all files, so that the committed output obeys the workspace's format.
fn format_all(files: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let scratch = std::env::temp_dir().join(format!("gantry-generate-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let mut paths = Vec::new();
    for (index, text) in files.values().enumerate() {
        let path = scratch.join(format!("{index}.rs"));
        // Without its `mod` lines, so that rustfmt does not look for the files behind them.
        fs::write(&path, text.replace("\nmod ", "\n//mod ").replace("\npub mod ", "\n//pub mod "))?;
        paths.push(path);
    }
    let config = workspace_root()?.join("rustfmt.toml");
    let status = std::process::Command::new("rustfmt").arg("--config-path").arg(config).args(&paths).status()?;
    if !status.success() {
        bail!("rustfmt failed on the generated code in {}", scratch.display());
    }
    let mut formatted = BTreeMap::new();
    for (path, name) in paths.iter().zip(files.keys()) {
        let text = fs::read_to_string(path)?.replace("\n//mod ", "\nmod ").replace("\n//pub mod ", "\npub mod ");
        formatted.insert(name.clone(), text);
    }
    fs::remove_dir_all(&scratch)?;
    Ok(formatted)
}
