//! The `detail` of each kind of event, and its id.

use std::sync::Arc;

use gantry_domain::{
    Timestamp,
    arn::{Scope, uuid_text},
    deployment::RolloutState,
};
use gantry_store::Revision;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    instances::wire::{self as instance_wire, Include},
    keys::{InstanceKey, ServiceKey, ServiceKind, TaskKey},
    records::{DeploymentRecord, EventRecord, ExecSessionRecord, TaskRecord},
    tasks::wire::Seen,
    view::{EcsView, TaskRow},
};

/// The task as DescribeTasks shows it, in the words of events.
pub(super) fn task(view: &EcsView, key: &TaskKey, record: TaskRecord, now: Timestamp) -> Value {
    let definition =
        view.namespace(&key.scope).and_then(|space| space.definition(record.kind(), &record.task_definition)).cloned();
    let row = Arc::new(TaskRow { id: key.id, revision: 0, definition, record });
    let task = Seen::new(view, &row).wire(&key.scope, &key.cluster, false);
    let mut detail = object(serde_json::to_value(task));
    detail.remove("tags");
    if let Some(Value::Array(attachments)) = detail.get_mut("attachments") {
        for attachment in attachments.iter_mut().filter(|one| one["type"] == "ElasticNetworkInterface") {
            attachment["type"] = "eni".into();
        }
    }
    finish(detail, now)
}

/// The instance as DescribeContainerInstances shows it, in the words of events.
pub(super) fn instance(view: &EcsView, key: &InstanceKey, now: Timestamp) -> Option<Value> {
    let host = view.host(key)?;
    let instance = instance_wire::instance(key, host, host.row.as_deref()?, Include::default());
    let mut detail = object(serde_json::to_value(instance));
    for name in ["tags", "attachments", "runningTasksCount", "pendingTasksCount", "registeredAt"] {
        detail.remove(name);
    }
    detail.insert("clusterArn".to_owned(), key.scope.cluster_arn(key.cluster.as_str()).into());
    Some(finish(detail, now))
}

/// What a service said, if it is of the kinds that are told.
pub(super) fn service_action(key: &ServiceKey, event: &EventRecord) -> Option<Value> {
    let (kind, name) = event.name.as_deref()?.split_once(' ')?;
    if key.kind == ServiceKind::Daemon {
        return daemon_action(key, name, event);
    }
    Some(json!({
        "eventType": kind,
        "eventName": name,
        "clusterArn": key.scope.cluster_arn(key.cluster.as_str()),
        "createdAt": iso(event.at),
        "reason": event.message,
    }))
}

/// What a managed daemon says: only that its tasks do not start.
fn daemon_action(key: &ServiceKey, name: &str, event: &EventRecord) -> Option<Value> {
    let failure = match name {
        "SERVICE_TASK_START_IMPAIRED" => "TASK_FAILED_TO_RUN",
        "SERVICE_TASK_PLACEMENT_FAILURE" => "TASK_CREATION_FAILED",
        _ => return None,
    };
    Some(json!({
        "eventType": "WARNING",
        "eventName": "DAEMON_TASK_START_IMPAIRED",
        "failureType": failure,
        "clusterArn": key.scope.cluster_arn(key.cluster.as_str()),
        "daemonArn": key.arn(),
        "createdAt": iso(event.at),
        "reason": event.message,
    }))
}

/// A deployment that began, is done, or was given up.
pub(super) fn deployment(kind: ServiceKind, deployment: &DeploymentRecord) -> Value {
    let (level, state) = match deployment.rollout {
        RolloutState::InProgress => ("INFO", "IN_PROGRESS"),
        RolloutState::Completed => ("INFO", "COMPLETED"),
        RolloutState::Failed => ("ERROR", "FAILED"),
    };
    let of = match kind {
        ServiceKind::Service => "SERVICE",
        ServiceKind::Daemon => "DAEMON",
    };
    json!({
        "eventType": level,
        "eventName": format!("{of}_DEPLOYMENT_{state}"),
        "deploymentId": deployment.id.to_string(),
        "updatedAt": iso(deployment.updated_at),
        "reason": deployment.rollout_reason,
    })
}

/// Who opened a session where, as CloudTrail has it. The token is nobody's business.
pub(super) fn exec_session(scope: &Scope, id: &str, record: &ExecSessionRecord) -> Value {
    json!({
        "eventSource": "ecs.amazonaws.com",
        "eventName": "ExecuteCommand",
        "eventTime": iso(record.created_at),
        "awsRegion": scope.region,
        "recipientAccountId": scope.account,
        "userIdentity": {"accountId": scope.account, "arn": record.owner},
        "requestParameters": {
            "cluster": record.cluster,
            "task": record.task_arn,
            "container": record.container,
            "command": shlex::try_join(record.command.iter().map(String::as_str)).unwrap_or_default(),
            "interactive": true,
        },
        "responseElements": {"session": {"sessionId": id, "tokenValue": "HIDDEN_DUE_TO_SECURITY_REASONS"}},
    })
}

fn object(value: serde_json::Result<Value>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(object)) => object,
        // Wire types are objects with string keys.
        _ => Map::new(),
    }
}

fn finish(mut detail: Map<String, Value>, now: Timestamp) -> Value {
    detail.insert("updatedAt".to_owned(), iso(now).into());
    let mut detail = Value::Object(detail);
    write_times(&mut detail);
    detail
}

/// The API writes moments as numbers of seconds, events as text.
fn write_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_f64().filter(|_| name.ends_with("At")) {
                    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of our own timestamps")]
                    Some(seconds) => *member = iso(Timestamp::from_millis((seconds * 1000.0).round() as i64)).into(),
                    None => write_times(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_times),
        _ => {}
    }
}

/// `2026-01-05T10:00:09.120Z`
fn iso(at: Timestamp) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.as_millis()) * 1_000_000).ok();
    moment.and_then(|moment| moment.format(&format).ok()).unwrap_or_default()
}

/// The same for the same news of the same transaction, whenever it is told.
pub(super) fn id(revision: Revision, detail_type: &str, resource: &str, detail: &Value) -> String {
    // A transaction may hold several news of one service; their names and reasons differ.
    let which = format!("{revision} {detail_type} {resource} {} {}", detail["eventName"], detail["reason"]);
    let digest: [u8; 32] = Sha256::digest(which.as_bytes()).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid_text(bytes)
}
