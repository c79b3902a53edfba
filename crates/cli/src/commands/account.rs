//! `gantry account`: accounts beside the one that the server has from the start.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use crate::{
    accounts,
    arguments::{AccountCommand, Output},
    config::{DEFAULT_DATA_DIR, Running},
};

/// Makes an account, or lists them.
pub(crate) fn run(command: &AccountCommand) -> Result<ExitCode> {
    match command {
        AccountCommand::Create(options) => {
            let data_dir = options.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
            let own = Running::read(data_dir).ok().map(|running| running.account);
            accounts::create(data_dir, &options.account, own.as_deref())?;
            eprintln!("Account {} is there. Use it with: eval \"$(gantry env --account {0})\"", options.account);
        }
        AccountCommand::List(options) => {
            let data_dir = options.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
            let mut list = accounts::list(data_dir)?;
            list.extend(Running::read(data_dir).ok().map(|running| running.account));
            list.sort();
            list.dedup();
            match options.output.output {
                Output::Json => super::print(&(serde_json::to_string_pretty(&list)? + "\n")),
                Output::Text => super::print(&list.iter().map(|account| format!("{account}\n")).collect::<String>()),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
