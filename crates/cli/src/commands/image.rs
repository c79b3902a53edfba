//! `gantry image history`: where the tags of a repository pointed, and since when.

use std::process::ExitCode;

use anyhow::Result;
use gantry_registry::history::HistoryEntry;

use crate::{
    arguments::{ImageCommand, ImageHistoryOptions, Output},
    client::Client,
    server::own::{HistoryRequest, HistoryResponse},
};

pub(crate) async fn run(command: &ImageCommand) -> Result<ExitCode> {
    match command {
        ImageCommand::History(options) => history(options).await,
    }
}

async fn history(options: &ImageHistoryOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let (repository, tag) = match options.image.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag.to_owned())),
        None => (options.image.as_str(), None),
    };
    let mut input = HistoryRequest { repository: repository.to_owned(), tag, next: None };
    let mut entries = Vec::new();
    loop {
        let page: HistoryResponse = client.own("ecr", "image-history", &input).await?;
        entries.extend(page.entries);
        input.next = page.next;
        if input.next.is_none() {
            break;
        }
    }
    match options.client.output.output {
        Output::Json => super::print(&(serde_json::to_string_pretty(&entries)? + "\n")),
        Output::Text => super::print(&table(&entries)),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(entries: &[HistoryEntry]) -> String {
    let rows = entries.iter().map(|entry| {
        let digest = entry.row.digest.as_ref().map_or_else(|| "(deleted)".to_owned(), ToString::to_string);
        vec![entry.tag.to_string(), super::time(entry.row.at_ms), digest, entry.row.actor.clone()]
    });
    super::table(&["TAG", "SINCE", "DIGEST", "BY"], rows)
}
