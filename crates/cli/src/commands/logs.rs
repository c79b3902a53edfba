//! `gantry logs`: the output of a task, or a log group, oldest first.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use gantry_api::{
    ecs::{self, DescribeTaskDefinitionResponse, DescribeTasksResponse},
    logs::{self, FilterLogEventsRequest, FilterLogEventsResponse},
};
use serde_json::json;

use crate::{
    Hint,
    arguments::{LogsOptions, Output},
    client::Client,
};

/// How often `--follow` asks for more.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Where to read.
struct Source {
    group: String,
    streams: Option<Vec<String>>,
}

/// Prints events to standard output.
pub(crate) async fn run(options: &LogsOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    for source in sources(&client, options).await? {
        follow(&client, options, &source).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn follow(client: &Client, options: &LogsOptions, source: &Source) -> Result<()> {
    let mut input = FilterLogEventsRequest {
        log_group_name: Some(source.group.clone()),
        log_stream_names: source.streams.clone(),
        ..Default::default()
    };
    // Events of the last millisecond come again when asking from it on; these were printed already.
    let mut printed: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let page: FilterLogEventsResponse = client.call(&logs::SERVICE, "FilterLogEvents", &input).await?;
        for event in page.events.iter().flatten() {
            let id = event.event_id.clone().unwrap_or_default();
            let timestamp = event.timestamp.unwrap_or(0);
            if printed.insert(id, timestamp).is_none() {
                super::print(&line(options.client.output.output, event)?);
            }
            input.start_time = input.start_time.max(Some(timestamp));
        }
        input.next_token = page.next_token;
        if input.next_token.is_some() {
            continue;
        }
        if !options.follow {
            return Ok(());
        }
        printed.retain(|_, timestamp| Some(*timestamp) >= input.start_time);
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

fn line(output: Output, event: &logs::FilteredLogEvent) -> Result<String> {
    if output == Output::Json {
        return Ok(serde_json::to_string(event)? + "\n");
    }
    let stream = event.log_stream_name.as_deref().unwrap_or_default();
    Ok(format!("{stream} {}\n", event.message.as_deref().unwrap_or_default().trim_end_matches('\n')))
}

/// A log group as it is; for a task, the streams of its containers that use awslogs.
async fn sources(client: &Client, options: &LogsOptions) -> Result<Vec<Source>> {
    let id = options.target.rsplit('/').next().unwrap_or_default();
    let is_task = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_task {
        return Ok(vec![Source { group: options.target.clone(), streams: None }]);
    }
    let input = json!({ "cluster": options.cluster, "tasks": [options.target] });
    let described: DescribeTasksResponse = client.call(&ecs::SERVICE, "DescribeTasks", &input).await?;
    let Some(task) = described.tasks.unwrap_or_default().into_iter().next() else {
        let hint = "name its cluster with --cluster; stopped tasks are forgotten after an hour";
        return Err(Hint::error(format!("there is no task {} in cluster {}", options.target, options.cluster), hint));
    };
    let input = json!({ "taskDefinition": task.task_definition_arn });
    let described: DescribeTaskDefinitionResponse =
        client.call(&ecs::SERVICE, "DescribeTaskDefinition", &input).await?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let definition = described.task_definition.unwrap_or_default();
    for container in definition.container_definitions.unwrap_or_default() {
        let options = container.log_configuration.unwrap_or_default().options.unwrap_or_default();
        let Some(group) = options.get("awslogs-group") else { continue };
        let name = container.name.unwrap_or_default();
        let stream = match options.get("awslogs-stream-prefix") {
            Some(prefix) => format!("{prefix}/{name}/{id}"),
            None => continue,
        };
        groups.entry(group.clone()).or_default().push(stream);
    }
    if groups.is_empty() {
        bail!("no container of the task writes to CloudWatch Logs with a stream prefix");
    }
    Ok(groups.into_iter().map(|(group, streams)| Source { group, streams: Some(streams) }).collect())
}
