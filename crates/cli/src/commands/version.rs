//! `gantry version`.

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::{Output, OutputOptions};

/// Prints the version to standard output.
pub(crate) fn run(options: &OutputOptions) -> Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    match options.output {
        Output::Text => super::print(&format!("gantry {version}\n")),
        Output::Json => super::print(&format!("{}\n", serde_json::json!({ "version": version }))),
    }
    Ok(ExitCode::SUCCESS)
}
