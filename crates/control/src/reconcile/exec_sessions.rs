//! Ends sessions of ECS Exec that nobody else will end, and forgets those that ended long ago.

use gantry_domain::{
    Timestamp,
    limits::{EXEC_AGENT_SECONDS_MAX, EXEC_SESSION_RETENTION_SECONDS, EXEC_TRANSCRIPT_SECONDS_MAX},
};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control, EcsView, exec,
    keys::{self, TaskKey},
    records::{ExecSessionRecord, ExecSessionStatus, TranscriptStatus, encode},
    view::Change,
};

/// Ends and forgets sessions.
#[derive(Debug)]
pub struct ExecSessions {
    control: Control,
}

impl ExecSessions {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for ExecSessions {
    type Key = String;
    type Error = TxnError;

    const NAME: &'static str = "exec sessions";

    fn keys(&self) -> Vec<String> {
        self.control.read().exec_sessions().keys().cloned().collect()
    }

    fn keys_of(&self, change: &Change) -> Vec<String> {
        match change {
            Change::ExecSession { id, .. } => vec![id.clone()],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, id: &String) -> Result<Wake, TxnError> {
        let now = self.control.now();
        let (txn, ended) = {
            let view = self.control.read();
            let Some(entry) = view.exec_session(id) else { return Ok(Wake::OnChange) };
            let path = keys::exec_session(&entry.scope, id);
            let required = Txn::new().require(&path, entry.row.revision);
            match decide(&entry.row, is_task_gone(&view, &entry.row, now), now) {
                Decision::Wait(next) => return Ok(Wake::from(next)),
                Decision::Forget => (required.delete(path), None),
                Decision::End(text) => {
                    let mut record = entry.row.record.clone();
                    record.end(text, now);
                    (required.put(path, encode(&record)), Some(record))
                }
                Decision::LoseTranscript => {
                    tracing::error!(session = id, "the transcript of a session is lost: its agent did not bring it");
                    let record = ExecSessionRecord { transcript: TranscriptStatus::Lost, ..entry.row.record.clone() };
                    (required.put(path, encode(&record)), None)
                }
            }
        };
        self.control.commit(txn).await?;
        if let Some(record) = ended {
            exec::send_client_away(&self.control, id, &record);
        }
        Ok(Wake::OnChange)
    }
}

/// Whether the task stopped so long ago that its agent would have said that the session ended.
fn is_task_gone(view: &EcsView, record: &ExecSessionRecord, now: Timestamp) -> bool {
    match TaskKey::from_arn(&record.task_arn).and_then(|key| view.task(&key).cloned()) {
        Some(task) => {
            let stopped_at = task.life.times.stopped_at;
            task.is_stopped() && stopped_at.is_none_or(|at| at.plus_seconds(EXEC_AGENT_SECONDS_MAX) <= now)
        }
        None => true,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Wait(Option<Timestamp>),
    End(&'static str),
    LoseTranscript,
    Forget,
}

fn decide(record: &ExecSessionRecord, task_gone: bool, now: Timestamp) -> Decision {
    let due = |since: Timestamp, seconds: i64, decision: Decision| {
        let at = since.plus_seconds(seconds);
        if at <= now { decision } else { Decision::Wait(Some(at)) }
    };
    let ended_at = record.ended_at.unwrap_or(record.created_at);
    match (record.status, record.transcript) {
        (ExecSessionStatus::Ended, TranscriptStatus::Wanted) => {
            due(ended_at, EXEC_TRANSCRIPT_SECONDS_MAX, Decision::LoseTranscript)
        }
        (ExecSessionStatus::Ended, _) => due(ended_at, EXEC_SESSION_RETENTION_SECONDS, Decision::Forget),
        _ if task_gone => Decision::End("The session ended because its container stopped."),
        (ExecSessionStatus::Waiting, _) => {
            let text = "The session ended because the agent of its host did not take it up.";
            due(record.created_at, EXEC_AGENT_SECONDS_MAX, Decision::End(text))
        }
        _ => Decision::Wait(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_and_are_forgotten_in_time() {
        use ExecSessionStatus::{Ended, Running, Waiting};
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let check = |status, transcript, gone, seconds| {
            decide(&ExecSessionRecord { transcript, ..ExecSessionRecord::example(status) }, gone, at(seconds))
        };
        let none = TranscriptStatus::None;
        assert_eq!(check(Waiting, none, false, 119), Decision::Wait(Some(at(120))));
        assert!(matches!(check(Waiting, none, false, 120), Decision::End(text) if text.contains("agent")));
        assert_eq!(check(Running, none, false, 1_000_000), Decision::Wait(None));
        assert!(matches!(check(Running, none, true, 1), Decision::End(text) if text.contains("container")));
        assert_eq!(check(Ended, TranscriptStatus::Wanted, true, 3_599), Decision::Wait(Some(at(3_600))));
        assert_eq!(check(Ended, TranscriptStatus::Wanted, true, 3_600), Decision::LoseTranscript);
        assert_eq!(check(Ended, TranscriptStatus::Stored, true, 30 * 86_400), Decision::Forget);
    }
}
