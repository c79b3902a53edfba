//! A session of ECS Exec: a command that a user runs in a container.

use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::{task::host_text, text};
use crate::keys::InstanceKey;

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecSessionStatus {
    /// No agent has it yet.
    Waiting,
    /// Its agent has it.
    Running,
    /// It was asked to end.
    Ending,
    /// It is over.
    Ended,
}

/// Where its transcript is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TranscriptStatus {
    /// Nobody wants one.
    #[default]
    None,
    /// With the agent still.
    Wanted,
    /// Where it belongs.
    Stored,
    /// Nowhere: its agent did not come back with it, or the place did not take it.
    Lost,
}

/// Where a transcript goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// A log group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
    /// The region of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_region: Option<String>,
    /// The stream in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_stream: Option<String>,
    /// A bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The object in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The bucket must be one that encrypts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bucket_encrypted: bool,
}

/// One of the places of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The log group.
    LogGroup,
    /// The bucket.
    Bucket,
}

impl Destination {
    /// The places it has.
    pub fn places(&self) -> Vec<Place> {
        let log_group = self.log_group.is_some().then_some(Place::LogGroup);
        log_group.into_iter().chain(self.bucket.is_some().then_some(Place::Bucket)).collect()
    }

    /// The one place alone.
    pub fn only(&self, place: Place) -> Self {
        match place {
            Place::LogGroup => Self { bucket: None, object: None, bucket_encrypted: false, ..self.clone() },
            Place::Bucket => Self { log_group: None, log_region: None, log_stream: None, ..self.clone() },
        }
    }

    /// Without the place.
    pub fn without(&self, place: Place) -> Self {
        match place {
            Place::LogGroup => self.only(Place::Bucket),
            Place::Bucket => self.only(Place::LogGroup),
        }
    }
}

/// What opens a session's data channel, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// SHA-256 of the token, hexadecimal.
    pub digest: String,
    /// Not good any more from then on.
    #[serde(with = "text::millis")]
    pub expires_at: Timestamp,
}

/// A session; its id is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSessionRecord {
    /// Name of the task's cluster.
    pub cluster: String,
    /// ARN of the task.
    pub task_arn: String,
    /// Name of the container.
    pub container: String,
    /// Its id in the host's runtime.
    pub runtime_id: String,
    /// Whose agent has it.
    #[serde(with = "host_text", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<InstanceKey>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// ARN of the principal who opened it.
    pub owner: String,
    /// As given to StartSession.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was opened.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// When it was over.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Where it is.
    pub status: ExecSessionStatus,
    /// Why it is to end, and then what the user was told at its end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// With which the next client may come; none when it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenRecord>,
    /// The task's role, in whose name it is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_role: Option<String>,
    /// Where its transcript goes; places that have it, or do not take it, go out of this before the others have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// Whether it is there.
    #[serde(default)]
    pub transcript: TranscriptStatus,
}

impl ExecSessionRecord {
    /// One of a container without anything special.
    #[cfg(test)]
    pub(crate) fn example(status: ExecSessionStatus) -> Self {
        Self {
            cluster: "c".to_owned(),
            task_arn: String::new(),
            container: "app".to_owned(),
            runtime_id: "r".to_owned(),
            host: None,
            command: Vec::new(),
            owner: String::new(),
            reason: None,
            created_at: Timestamp::from_millis(0),
            ended_at: None,
            status,
            text: String::new(),
            token: None,
            task_role: None,
            destination: None,
            transcript: TranscriptStatus::None,
        }
    }

    /// `ecs:CLUSTER_TASK_RUNTIME-ID`, as clients name the container.
    pub fn target(&self) -> String {
        let task = self.task_arn.rsplit('/').next().unwrap_or_default();
        format!("ecs:{}_{task}_{}", self.cluster, self.runtime_id)
    }

    /// Whether it is not over.
    pub fn is_live(&self) -> bool {
        self.status != ExecSessionStatus::Ended
    }

    /// Whether its agent has to know of it.
    pub fn concerns_agent(&self) -> bool {
        self.is_live() || self.transcript == TranscriptStatus::Wanted
    }

    /// It is over.
    pub fn end(&mut self, text: impl Into<String>, now: Timestamp) {
        if self.is_live() {
            self.text = text.into();
            self.ended_at = Some(now);
        }
        self.status = ExecSessionStatus::Ended;
        self.token = None;
    }
}
