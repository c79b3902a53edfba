//! `gantry events`: what happened, newest last.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use gantry_companions::events::LoggedEvent;

use crate::{
    arguments::{EventsOptions, Output},
    client::Client,
    server::own::{EventsRequest, EventsResponse, GANTRY},
};

/// How often `--follow` asks for more.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// What a person looks for in an event of ECS.
const ECS_MEMBERS: [&str; 12] = [
    "agentConnected",
    "containerInstanceArn",
    "deploymentId",
    "desiredStatus",
    "eventName",
    "group",
    "healthStatus",
    "lastStatus",
    "reason",
    "status",
    "stoppedReason",
    "taskArn",
];

/// Prints events to standard output.
pub(crate) async fn run(options: &EventsOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let mut input = EventsRequest { after: None, limit: Some(options.lines) };
    loop {
        let page: EventsResponse = client.own(GANTRY.signing_name, "events", &input).await?;
        for logged in &page.events {
            super::print(&line(options.client.output.output, logged)?);
        }
        if !options.follow {
            return Ok(ExitCode::SUCCESS);
        }
        input.limit = None;
        match page.events.last() {
            Some(last) => input.after = Some(last.position),
            None => tokio::time::sleep(FOLLOW_INTERVAL).await,
        }
    }
}

/// One line: JSON as EventBridge delivers events, or the parts a person looks for.
fn line(output: Output, logged: &LoggedEvent) -> Result<String> {
    let event = &logged.event;
    let time = super::time(event.time_ms);
    if output == Output::Json {
        let mut value = serde_json::to_value(event)?;
        if let Some(object) = value.as_object_mut() {
            object.remove("time_ms");
            object.insert("time".into(), time.into());
            object.insert("version".into(), "0".into());
        }
        return Ok(value.to_string() + "\n");
    }
    let mut line = format!("{time} {}: {}", event.source, event.detail_type);
    for (name, value) in event.detail.as_object().into_iter().flatten() {
        // A task or an instance is told as a whole document.
        if event.source == "aws.ecs" && !ECS_MEMBERS.contains(&name.as_str()) {
            continue;
        }
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line += &format!(" {name}={value}");
    }
    Ok(line + "\n")
}
