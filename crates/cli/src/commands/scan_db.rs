//! `gantry scan-db`: the advisories that images are scanned against.
//!
//! Works on the files below the data directory; a server that runs notices that another file has taken the place of
//! the one it has open. So an import needs no network, and no server.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use gantry_scan::database::{self, Database, DatabaseError, ImportError, Imported, Progress, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    Hint,
    arguments::{Output, ScanDbCommand, ScanDbImportOptions, ScanDbOptions, ScanDbStatusOptions},
    config::DEFAULT_DATA_DIR,
};

/// Imports, or shows.
pub(crate) async fn run(options: ScanDbOptions) -> Result<ExitCode> {
    // Both are nothing but file work.
    tokio::task::spawn_blocking(move || match options.command {
        ScanDbCommand::Import(options) => import(&options),
        ScanDbCommand::Status(options) => status(&options),
    })
    .await?
}

fn folder(options: &ScanDbStatusOptions) -> PathBuf {
    options.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)).join("scan-db")
}

fn import(options: &ScanDbImportOptions) -> Result<ExitCode> {
    let folder = folder(&options.status);
    let bar = ProgressBar::hidden();
    if std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    let now = gantry_registry::system_clock()().as_millis();
    let mut report = |progress: Progress| {
        // A line at a time where nobody watches a spinner.
        const LINE_EVERY: u64 = 50_000;
        let text = || format!("{} advisories read, {} kept", progress.read, progress.kept);
        if bar.is_hidden() && progress.read.is_multiple_of(LINE_EVERY) {
            eprintln!("{}", text());
        } else if progress.read.is_multiple_of(100) {
            bar.set_message(text());
        }
    };
    let outcome = database::import(&folder, &options.sources, now, &mut report);
    bar.finish_and_clear();
    let imported = outcome.map_err(|error| explain(error, &folder))?;
    tell_what_was_left_out(&imported);
    print(&imported.summary, options.status.output.output);
    Ok(ExitCode::SUCCESS)
}

fn explain(error: ImportError, folder: &Path) -> anyhow::Error {
    match error {
        ImportError::Nothing { .. } => Hint::error(
            error.to_string(),
            "give it archives of osv.dev, one per ecosystem: Debian/all.zip, Alpine/all.zip, PyPI/all.zip, ...",
        ),
        ImportError::Io(_) => {
            let context = format!("could not write to {}", folder.display());
            anyhow::Error::new(error).context(context)
        }
        error => anyhow::Error::new(error).context("import failed; the advisories are what they were before"),
    }
}

fn tell_what_was_left_out(imported: &Imported) {
    if imported.left_out > 0 {
        eprintln!("{} advisories are withdrawn, or about packages that a scan does not look for", imported.left_out);
    }
    if imported.unreadable > 0 {
        eprintln!("{} files are not OSV records, for example:", imported.unreadable);
        for example in &imported.examples {
            eprintln!("  {example}");
        }
    }
}

fn status(options: &ScanDbStatusOptions) -> Result<ExitCode> {
    let folder = folder(options);
    match Database::open(&folder) {
        Ok(database) => print(database.summary(), options.output.output),
        Err(error @ DatabaseError::Absent(_)) => {
            return Err(Hint::error(error.to_string(), "load one with 'gantry scan-db import FILE|DIR'"));
        }
        Err(error) => return Err(error).context(format!("in {}", folder.display())),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(summary: &Summary, output: Output) {
    let imported_at = time::OffsetDateTime::from_unix_timestamp(summary.imported_at_ms / 1000)
        .ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default();
    if output == Output::Json {
        let answer = json!({
            "advisories": summary.advisories, "importedAt": imported_at, "newestModified": summary.newest,
            "generation": summary.generation, "ecosystems": summary.ecosystems,
        });
        super::print(&format!("{answer}\n"));
        return;
    }
    eprintln!("{} advisories, the newest of {}, imported at {imported_at}", summary.advisories, summary.newest);
    let rows = summary.ecosystems.iter().map(|(key, count)| vec![key.clone(), count.to_string()]);
    super::print(&super::table(&["ECOSYSTEM", "PACKAGES × ADVISORIES"], rows));
}
