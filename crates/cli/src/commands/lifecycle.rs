//! `gantry registry lifecycle run`: runs a repository's lifecycle policy now.

use std::process::ExitCode;

use anyhow::Result;
use gantry_registry::lifecycle::{KeptBecause, run::Report};

use crate::{
    arguments::{LifecycleCommand, Output},
    client::Client,
    server::own::LifecycleRunRequest,
};

pub(crate) async fn run(command: &LifecycleCommand) -> Result<ExitCode> {
    let LifecycleCommand::Run(options) = command;
    let client = Client::new(&options.client)?;
    let input = LifecycleRunRequest { repository: options.repository.clone() };
    let report: Report = client.own("ecr", "lifecycle-run", &input).await?;
    match options.client.output.output {
        Output::Json => super::print(&(serde_json::to_string_pretty(&report)? + "\n")),
        Output::Text => super::print(&text(&report)),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(report: &Report) -> String {
    let mut out = format!("{} expired, {} archived, {} kept\n", report.expired, report.archived, report.kept_total);
    for kept in &report.kept {
        let because = match kept.because {
            KeptBecause::NeededByManifestList => "a manifest list needs it",
            KeptBecause::UsedByRunningTask => "a running task uses it",
        };
        out += &format!("kept {}: {because}\n", kept.digest);
    }
    if report.kept.len() < report.kept_total {
        out += &format!("and {} more kept\n", report.kept_total - report.kept.len());
    }
    out
}
