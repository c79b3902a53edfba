//! How a task's life is written into its row.

use gantry_domain::{
    Timestamp,
    reason::StoppedReason,
    task::{DesiredStatus, LastStatus, Stop, StopCode, TaskLife, TaskPath, TaskTimes},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

#[derive(Serialize, Deserialize)]
struct LifeRow {
    #[serde(with = "text::last_status")]
    last: LastStatus,
    #[serde(with = "text::desired_status")]
    desired: DesiredStatus,
    version: i64,
    #[serde(default)]
    attachments: bool,
    #[serde(default)]
    registrations: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<StopRow>,
    #[serde(with = "text::millis")]
    created: Timestamp,
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    connectivity: Option<Timestamp>,
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pull_started: Option<Timestamp>,
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pull_stopped: Option<Timestamp>,
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    stopping: Option<Timestamp>,
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    execution_stopped: Option<Timestamp>,
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    stopped: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct StopRow {
    #[serde(with = "text::stop_code")]
    code: StopCode,
    reason: String,
}

impl From<&TaskLife> for LifeRow {
    fn from(life: &TaskLife) -> Self {
        let TaskLife { path, last_status, desired_status, times, stop, version } = life;
        Self {
            last: *last_status,
            desired: *desired_status,
            version: *version,
            attachments: path.attachments,
            registrations: path.registrations,
            stop: stop.as_ref().map(|stop| StopRow { code: stop.code, reason: stop.reason.to_string() }),
            created: times.created_at,
            connectivity: times.connectivity_at,
            pull_started: times.pull_started_at,
            pull_stopped: times.pull_stopped_at,
            started: times.started_at,
            stopping: times.stopping_at,
            execution_stopped: times.execution_stopped_at,
            stopped: times.stopped_at,
        }
    }
}

impl From<LifeRow> for TaskLife {
    fn from(row: LifeRow) -> Self {
        Self {
            path: TaskPath { attachments: row.attachments, registrations: row.registrations },
            last_status: row.last,
            desired_status: row.desired,
            times: TaskTimes {
                created_at: row.created,
                connectivity_at: row.connectivity,
                pull_started_at: row.pull_started,
                pull_stopped_at: row.pull_stopped,
                started_at: row.started,
                stopping_at: row.stopping,
                execution_stopped_at: row.execution_stopped,
                stopped_at: row.stopped,
            },
            stop: row.stop.map(|stop| Stop { code: stop.code, reason: StoppedReason::Verbatim(stop.reason) }),
            version: row.version,
        }
    }
}

pub(super) fn serialize<S: Serializer>(life: &TaskLife, serializer: S) -> Result<S::Ok, S::Error> {
    LifeRow::from(life).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TaskLife, D::Error> {
    LifeRow::deserialize(deserializer).map(TaskLife::from)
}
