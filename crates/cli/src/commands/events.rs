//! `gantry events`: what happened, newest last.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use gantry_companions::events::{LoggedEvent, ReplayRequest, ReplayedPage};
use gantry_domain::event_pattern::EventPattern;

use crate::{
    arguments::{EventsCommand, EventsOptions, Output, ReplayOptions},
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
    if let Some(EventsCommand::Replay(options)) = &options.command {
        return replay(options).await;
    }
    let filter = Filter::new(options)?;
    let client = Client::new(&options.client)?;
    // The newest that the filter lets through may be anywhere in the log.
    let everything = EventsRequest { after: Some(0), limit: None };
    let newest = EventsRequest { after: None, limit: Some(options.lines) };
    let mut input = if filter.is_open() { newest } else { everything };
    let mut first = VecDeque::new();
    loop {
        let page: EventsResponse = client.own(GANTRY.signing_name, "events", &input).await?;
        let last = page.events.last().map(|last| last.position);
        first.extend(page.events.into_iter().filter(|logged| filter.lets_through(logged)));
        while first.len() > options.lines {
            first.pop_front();
        }
        (input.after, input.limit) = (last.or(input.after), None);
        if last.is_none() || filter.is_open() {
            break;
        }
    }
    for logged in &first {
        super::print(&line(options.client.output.output, logged)?);
    }
    if !options.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let page: EventsResponse = client.own(GANTRY.signing_name, "events", &input).await?;
        for logged in page.events.iter().filter(|logged| filter.lets_through(logged)) {
            super::print(&line(options.client.output.output, logged)?);
        }
        match page.events.last() {
            Some(last) => input.after = Some(last.position),
            None => tokio::time::sleep(FOLLOW_INTERVAL).await,
        }
    }
}

/// Has events sent to a rule's targets again, page by page, as fast as the targets take them.
async fn replay(options: &ReplayOptions) -> Result<ExitCode> {
    let millis = |text: &str| {
        let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let moment = time::PrimitiveDateTime::parse(text, format);
        let moment = moment.with_context(|| format!("{text} is not a moment like 2026-01-31T08:00:00Z"))?;
        anyhow::Ok(moment.assume_utc().unix_timestamp() * 1000)
    };
    let client = Client::new(&options.client)?;
    let mut asked = ReplayRequest {
        rule: options.rule.clone(),
        name: options.name.clone().unwrap_or_else(|| format!("replay-{}", uuid::Uuid::new_v4())),
        from_ms: millis(&options.from)?,
        to_ms: millis(&options.to)?,
        after: 0,
    };
    let mut sent = 0;
    loop {
        let page: ReplayedPage = client.own("events", "events-replay", &asked).await?;
        sent += page.sent;
        match page.after {
            Some(after) => asked.after = after,
            None => break,
        }
        if page.busy {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
    super::print(&match options.client.output.output {
        Output::Json => format!("{}\n", serde_json::json!({"replayName": asked.name, "events": sent})),
        _ => format!("{sent} events sent again as {}\n", asked.name),
    });
    Ok(ExitCode::SUCCESS)
}

/// Which events are printed.
struct Filter<'a> {
    sources: &'a [String],
    detail_types: &'a [String],
    pattern: Option<EventPattern>,
}

impl<'a> Filter<'a> {
    fn new(options: &'a EventsOptions) -> Result<Self> {
        let pattern = options.pattern.as_deref().map(EventPattern::parse).transpose();
        let pattern = pattern.context("--pattern is not an event pattern")?;
        Ok(Self { sources: &options.source, detail_types: &options.detail_type, pattern })
    }

    /// Whether it lets everything through.
    fn is_open(&self) -> bool {
        self.sources.is_empty() && self.detail_types.is_empty() && self.pattern.is_none()
    }

    fn lets_through(&self, logged: &LoggedEvent) -> bool {
        let event = &logged.event;
        let one_of = |wanted: &[String], text: &String| wanted.is_empty() || wanted.contains(text);
        one_of(self.sources, &event.source)
            && one_of(self.detail_types, &event.detail_type)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(&delivered(logged)))
    }
}

/// The event as EventBridge delivers it.
fn delivered(logged: &LoggedEvent) -> serde_json::Value {
    logged.event.delivered(&super::time(logged.event.time_ms))
}

/// One line: JSON as EventBridge delivers events, or the parts a person looks for.
fn line(output: Output, logged: &LoggedEvent) -> Result<String> {
    let event = &logged.event;
    let time = super::time(event.time_ms);
    if output == Output::Json {
        return Ok(delivered(logged).to_string() + "\n");
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
