//! Faults that a task asks for in its own network, as AWS FIS does through the program that it puts into tasks.
//!
//! Which faults run is asked of the namespace each time ([`Networks::blackhole`], [`Networks::impairment`]): nothing is
//! kept here, so the answer is right after a restart of the agent, and a fault ends with its task at the latest.
//!
//! [`Networks::blackhole`]: gantry_runtime::network::Networks::blackhole
//! [`Networks::impairment`]: gantry_runtime::network::Networks::impairment

mod request;

use std::{sync::Arc, time::Duration};

use gantry_runtime::network::{ImpairmentChange, ImpairmentKind, NetworkError};
use hyper::StatusCode;
use serde_json::json;
use tokio::time::timeout;
use tracing::{info, warn};

use self::request::Wanted;
use super::{
    answer::Answer,
    route::{FaultAction, FaultKind},
};
use crate::{
    host::Host,
    reason::chain,
    task::{TaskNetwork, TaskSpec},
};

/// A change of the packet filter may take this long: less than an answer may.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(4);

/// No task has this id.
pub(super) fn unknown() -> Answer {
    error(StatusCode::NOT_FOUND, "unable to lookup container")
}

/// A body that was too long or broke off is none.
pub(super) async fn answer(
    host: &Arc<Host>,
    task: &TaskSpec,
    kind: FaultKind,
    action: FaultAction,
    body: Option<&[u8]>,
) -> Answer {
    let wanted = match request::read(kind, action, body.unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(invalid) => return error(StatusCode::BAD_REQUEST, &invalid.to_string()),
    };
    if let Err(refusal) = allowed(task) {
        return error(StatusCode::BAD_REQUEST, &refusal);
    }
    match timeout(CHANGE_TIMEOUT, change(host, task, &wanted)).await {
        Ok(Ok(Outcome::Runs(runs))) => {
            if action != FaultAction::Status {
                info!(task_arn = task.arn, ?wanted, "fault of a task");
            }
            Answer::ok(&json!({ "Status": status(action, runs) }))
        }
        Ok(Ok(Outcome::Conflict(other))) => {
            let what = match other {
                ImpairmentKind::Latency => "latency",
                ImpairmentKind::PacketLoss => "packet loss",
            };
            error(StatusCode::CONFLICT, &format!("There is already one network {what} fault running"))
        }
        Ok(Err(failure)) => {
            warn!(task_arn = task.arn, error = chain(&failure), "a fault was not changed");
            error(StatusCode::INTERNAL_SERVER_ERROR, &unchanged(kind, &failure))
        }
        Err(_) => {
            let late = format!("{} {}: request timed out", verb(action), name(kind));
            error(StatusCode::INTERNAL_SERVER_ERROR, &late)
        }
    }
}

/// How a fault is after a request.
enum Outcome {
    Runs(bool),
    /// It did not start, because this one runs.
    Conflict(ImpairmentKind),
}

async fn change(host: &Host, task: &TaskSpec, wanted: &Wanted) -> Result<Outcome, NetworkError> {
    let networks = &host.runtime.networks;
    match wanted {
        Wanted::Blackhole(hole, change) => networks.blackhole(task.id(), *hole, change).await.map(Outcome::Runs),
        Wanted::Impairment(kind, change) => {
            let before = networks.impairment(task.id(), change).await?;
            Ok(match (change, before) {
                (ImpairmentChange::Start(_), Some(other)) => Outcome::Conflict(other),
                (ImpairmentChange::Start(_), None) => Outcome::Runs(true),
                (ImpairmentChange::Stop(_), _) => Outcome::Runs(false),
                (ImpairmentChange::Look, before) => Outcome::Runs(before == Some(*kind)),
            })
        }
    }
}

/// Whether this task may have faults, or why not.
fn allowed(task: &TaskSpec) -> Result<(), String> {
    if !task.about.fault_injection {
        return Err(format!("enableFaultInjection is not enabled for task: {}", task.arn));
    }
    let other_mode = |mode| Err(format!("{mode} mode is not supported. Please use either host or awsvpc mode."));
    match &task.network {
        TaskNetwork::Bridge => other_mode("bridge"),
        TaskNetwork::None => other_mode("none"),
        // It would be the machine's network: this agent's, and that of every other task in host mode.
        TaskNetwork::Host => Err("host mode is not supported. Please use awsvpc mode.".to_owned()),
        TaskNetwork::Awsvpc(_) => Ok(()),
    }
}

/// What a task is told of a failure: nothing of the machine's inside, but what it cannot do.
fn unchanged(kind: FaultKind, failure: &NetworkError) -> String {
    match failure {
        NetworkError::Unsupported { what } => {
            format!("{} is not supported on this container instance: its kernel has no {what}", name(kind))
        }
        _ => "internal error".to_owned(),
    }
}

fn status(action: FaultAction, runs: bool) -> &'static str {
    match (action, runs) {
        (_, true) => "running",
        (FaultAction::Stop, false) => "stopped",
        (FaultAction::Start | FaultAction::Status, false) => "not-running",
    }
}

fn name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::BlackholePort => "network-blackhole-port",
        FaultKind::Latency => "network-latency",
        FaultKind::PacketLoss => "network-packet-loss",
    }
}

fn verb(action: FaultAction) -> &'static str {
    match action {
        FaultAction::Start => "start",
        FaultAction::Stop => "stop",
        FaultAction::Status => "check status",
    }
}

fn error(status: StatusCode, message: &str) -> Answer {
    Answer::new(status, &json!({ "Error": message }))
}
