//! Faults that a task asks for in its own network, as AWS FIS does through the program that it puts into tasks.
//!
//! Which faults run is asked of the namespace each time ([`Networks::blackhole`]): nothing is kept here, so the answer
//! is right after a restart of the agent, and a fault ends with its task at the latest.
//!
//! [`Networks::blackhole`]: gantry_runtime::network::Networks::blackhole

mod request;

use std::{sync::Arc, time::Duration};

use gantry_runtime::network::FaultChange;
use hyper::StatusCode;
use serde_json::json;
use tokio::time::timeout;
use tracing::{info, warn};

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
    let wanted = allowed(task, kind)
        .and_then(|()| request::blackhole(body.unwrap_or_default()).map_err(|invalid| invalid.to_string()));
    let (hole, spared) = match wanted {
        Ok(wanted) => wanted,
        Err(refusal) => return error(StatusCode::BAD_REQUEST, &refusal),
    };
    let change = match action {
        FaultAction::Start => FaultChange::Start(spared),
        FaultAction::Stop => FaultChange::Stop,
        FaultAction::Status => FaultChange::Look,
    };
    match timeout(CHANGE_TIMEOUT, host.runtime.networks.blackhole(task.id(), hole, &change)).await {
        Ok(Ok(runs)) => {
            if action != FaultAction::Status {
                info!(task_arn = task.arn, ?hole, ?action, "fault of a task");
            }
            Answer::ok(&json!({ "Status": status(action, runs) }))
        }
        Ok(Err(failure)) => {
            warn!(task_arn = task.arn, error = chain(&failure), "a fault was not changed");
            error(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
        Err(_) => {
            let late = format!("{} {}: request timed out", verb(action), name(kind));
            error(StatusCode::INTERNAL_SERVER_ERROR, &late)
        }
    }
}

/// Whether this task may have such faults, or why not.
fn allowed(task: &TaskSpec, kind: FaultKind) -> Result<(), String> {
    if !task.about.fault_injection {
        return Err(format!("enableFaultInjection is not enabled for task: {}", task.arn));
    }
    let other_mode = |mode| Err(format!("{mode} mode is not supported. Please use either host or awsvpc mode."));
    match (&task.network, kind) {
        (TaskNetwork::Bridge, _) => other_mode("bridge"),
        (TaskNetwork::None, _) => other_mode("none"),
        (TaskNetwork::Host, _) => Err("host mode is not supported. Please use awsvpc mode.".to_owned()),
        (TaskNetwork::Awsvpc(_), FaultKind::BlackholePort) => Ok(()),
        (TaskNetwork::Awsvpc(_), kind) => Err(format!("{} is not supported by this agent", name(kind))),
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
