//! `gantry alarm`: says how alarms stand, for deployments that watch them, and makes alarms that trigger scaling policies.

use std::process::ExitCode;

use anyhow::Result;
use gantry_companions::application_autoscaling::{AlarmDefinition, AlarmMetric, NamedDefinition};
use gantry_control::alarms::NamedAlarm;

use crate::{
    arguments::{AlarmCommand, AlarmPutOptions, AlarmSetOptions, ClientOptions, Output},
    client::Client,
    server::own::{DeleteAlarmRequest, Empty, GANTRY, ListAlarmsRequest, ListAlarmsResponse, SetAlarmRequest},
};

pub(crate) async fn run(command: &AlarmCommand) -> Result<ExitCode> {
    match command {
        AlarmCommand::Set(options) => set(options).await,
        AlarmCommand::Put(options) => put(options).await,
        AlarmCommand::Delete(options) => {
            let name = options.name.clone();
            let client = Client::new(&options.client)?;
            let _: Empty = client.own(GANTRY.signing_name, "delete-alarm", &DeleteAlarmRequest { name }).await?;
            Ok(ExitCode::SUCCESS)
        }
        AlarmCommand::List(options) => list(options).await,
    }
}

async fn set(options: &AlarmSetOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let AlarmSetOptions { name, state, reason, .. } = options.clone();
    let _: Empty = client.own(GANTRY.signing_name, "set-alarm-state", &SetAlarmRequest { name, state, reason }).await?;
    Ok(ExitCode::SUCCESS)
}

async fn put(options: &AlarmPutOptions) -> Result<ExitCode> {
    let client = Client::new(&options.client)?;
    let metric = options.metric.clone().zip(options.service.clone()).zip(options.threshold);
    let metric = metric.map(|((metric, service), threshold)| AlarmMetric {
        cluster: options.cluster.clone().unwrap_or_else(|| "default".to_owned()),
        service,
        metric,
        threshold,
        comparison: options.comparison.clone().unwrap_or_else(|| "GreaterThanThreshold".to_owned()),
        period: options.period.unwrap_or(60),
        evaluation_periods: options.evaluation_periods.unwrap_or(1),
    });
    let alarm = AlarmDefinition { metric, actions: options.action.clone() };
    let input = NamedDefinition { name: options.name.clone(), alarm };
    let _: Empty = client.own(GANTRY.signing_name, "put-alarm", &input).await?;
    Ok(ExitCode::SUCCESS)
}

async fn list(options: &ClientOptions) -> Result<ExitCode> {
    let client = Client::new(options)?;
    let mut alarms: Vec<NamedAlarm> = Vec::new();
    loop {
        let input = ListAlarmsRequest { after: alarms.last().map(|alarm| alarm.name.clone()) };
        let page: ListAlarmsResponse = client.own(GANTRY.signing_name, "list-alarms", &input).await?;
        if page.alarms.is_empty() {
            break;
        }
        alarms.extend(page.alarms);
    }
    match options.output.output {
        Output::Json => super::print(&(serde_json::to_string_pretty(&alarms)? + "\n")),
        Output::Text => super::print(&super::table(&["ALARM", "STATE", "SINCE", "REASON"], alarms.iter().map(row))),
    }
    Ok(ExitCode::SUCCESS)
}

fn row(alarm: &NamedAlarm) -> Vec<String> {
    let NamedAlarm { name, alarm } = alarm;
    let reason = alarm.reason.clone().unwrap_or_default();
    vec![name.clone(), alarm.state.as_str().to_owned(), super::time(alarm.updated_ms), reason]
}
