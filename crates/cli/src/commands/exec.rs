//! `gantry exec`: a command in a container of a task, over the same channel that the session-manager-plugin uses.
//!
//! What the plugin does not do: the exit code is the command's, and input that is piped in is the command's whole input,
//! with its end. Without a terminal the command gets pipes, so that no byte is changed.

mod connection;
mod conversation;
mod target;
mod terminal;

use std::{io::IsTerminal, process::ExitCode};

use anyhow::{Context, Result, bail};
use gantry_api::{
    data_channel::payload::Wishes,
    ecs::{self, ExecuteCommandResponse},
};
use serde_json::json;

use crate::{arguments::ExecOptions, client::Client};
use connection::Connector;
use conversation::{Conversation, End};

/// What runs when nothing is said.
const COMMAND_DEFAULT: &str = "/bin/sh";
/// When the session ended before its command did.
const EXIT_LOST: u8 = 255;

/// Runs the command and ends with its exit code.
pub(crate) async fn run(options: &ExecOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let target = target::find(&client, options).await?;
    let command = match options.command.as_slice() {
        [] => COMMAND_DEFAULT.to_owned(),
        words => shlex::try_join(words.iter().map(String::as_str)).context("a NUL byte in the command")?,
    };
    let input = json!({
        "cluster": options.cluster,
        "task": target.task_arn,
        "container": target.container,
        "command": command,
        "interactive": true,
    });
    let opened: ExecuteCommandResponse = client.call(&ecs::SERVICE, "ExecuteCommand", &input).await?;
    let Some(session) = opened.session else { bail!("the answer of ExecuteCommand has no session") };
    let terminal = !options.no_terminal && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let connector = Connector::new(client, session);
    let conversation = Conversation::begin(connector, Wishes { terminal })?;
    let End { exit_code, text } = conversation.run().await?;
    match (exit_code, text.as_str()) {
        (None, "") => eprintln!("The session ended before its command did."),
        (Some(_), "") => {}
        // That is what the exit code says.
        (Some(_), text) if text.starts_with("The command exited") => {}
        (_, text) => eprintln!("{text}"),
    }
    let code = exit_code.and_then(|code| u8::try_from(code & 0xff).ok());
    Ok(ExitCode::from(code.unwrap_or(EXIT_LOST)))
}
