//! What control plane and agent say to each other about sessions of ECS Exec.
//!
//! The agent hears of its sessions over its own connection ([`crate::agent::ControlMessage::ExecSessions`]) and opens
//! one more WebSocket for each, at [`path`]: binary frames there are the client's and the host's, handed on as they are
//! ([`crate::data_channel`]); text frames are [`ExecOrder`]s and [`ExecReport`]s.

use serde::{Deserialize, Serialize};

/// Where an agent connects for a session.
pub fn path(session_id: &str) -> String {
    format!("/agent/v1/exec/{session_id}")
}

/// A session as its agent is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecSession {
    /// `ecs-execute-command-…`.
    pub session_id: String,
    /// `ecs:CLUSTER_TASK_RUNTIME-ID`.
    pub target: String,
    /// ARN of its task.
    pub task_arn: String,
    /// The container's id in the host's runtime.
    pub runtime_id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it is.
    pub state: ExecState,
    /// It ends after so long without a byte in either direction.
    pub idle_seconds_max: u32,
    /// What it prints is kept and handed over at its end.
    pub transcript: bool,
}

/// Where a session is, as the control plane knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ExecState {
    /// No agent has it yet. Nothing may be started before [`ExecOrder::Begin`] says that this is known.
    New,
    /// An agent has it. One that does not know it has lost it.
    Begun,
    /// It is to end.
    Ending {
        /// For the user.
        reason: String,
    },
    /// It ended; its transcript is still missing.
    Ended,
}

/// Control plane → agent, text frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ExecOrder {
    /// It is durable that this agent has the session.
    Begin,
    /// A client is connected, for the first time or again.
    Attached,
    /// The client's connection is gone.
    Detached,
}

/// Agent → control plane, text frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ExecReport {
    /// The session is over. Binary frames after it are the transcript, from its beginning.
    Ended {
        /// What the user is told.
        text: String,
    },
    /// The transcript is whole.
    TranscriptWhole,
    /// There is no transcript, or it cannot be read.
    TranscriptLost,
}
