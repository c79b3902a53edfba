//! ECS Exec: commands that users run in containers.
//!
//! A session is a row ([`ExecSessionRecord`]); the agent of its host is told of it and connects for it
//! ([`agent_socket`]), and so does the user's client ([`client_socket`]). Between the two this server carries frames and
//! understands none of them: numbers, acknowledgements and resending are the ends' business
//! ([`gantry_api::data_channel`]), so that a restart of this server, which forgets who was connected ([`hub`]), costs
//! the session nothing.
//!
//! - [`open`]: ExecuteCommand's and StartSession's preconditions, and the row.
//! - [`sessions`]: Systems Manager's operations on sessions.
//! - [`transcript`]: where what a session printed goes.

mod agent_socket;
mod client_socket;
mod hub;
mod logging;
pub(crate) mod open;
pub mod sessions;
mod token;
mod transcript;

use gantry_api::{
    Fault,
    data_channel::host::closing,
    exec::{ExecSession, ExecState},
};
use gantry_domain::limits::EXEC_IDLE_SECONDS_MAX;
use gantry_store::Txn;

pub use agent_socket::router as agent_router;
pub use client_socket::router as client_router;
pub(crate) use hub::Hub;
pub(crate) use transcript::NoTranscripts;
pub use transcript::{NotStored, Transcripts};

use crate::{
    Control, EcsView,
    control::Plan,
    keys::{self, InstanceKey},
    records::{ExecSessionRecord, ExecSessionStatus, encode},
};

/// The sessions that the agent of an instance is to know of.
pub(crate) fn of_host(view: &EcsView, instance: &InstanceKey) -> Vec<ExecSession> {
    let Some(host) = view.host(instance) else { return Vec::new() };
    let rows = host.exec_sessions.iter().filter_map(|id| Some((id, view.exec_session(id)?)));
    rows.map(|(id, entry)| {
        let record = &entry.row.record;
        ExecSession {
            session_id: id.clone(),
            target: record.target(),
            task_arn: record.task_arn.clone(),
            runtime_id: record.runtime_id.clone(),
            command: record.command.clone(),
            state: match record.status {
                ExecSessionStatus::Waiting => ExecState::New,
                ExecSessionStatus::Running => ExecState::Begun,
                ExecSessionStatus::Ending => ExecState::Ending { reason: record.text.clone() },
                ExecSessionStatus::Ended => ExecState::Ended,
            },
            idle_seconds_max: EXEC_IDLE_SECONDS_MAX,
            transcript: record.destination.is_some(),
        }
    })
    .collect()
}

/// Tells the client of a session that is over, if one is connected here. One whose agent said goodbye to it already
/// hears it twice and heeds the first.
pub(crate) fn send_client_away(control: &Control, id: &str, record: &ExecSessionRecord) {
    let now_ms = u64::try_from(control.now().as_millis()).unwrap_or(0);
    let goodbye = closing(id, &record.target(), &record.text, now_ms);
    control.exec_hub.end_client(id, goodbye.into());
}

/// Changes a session, if `change` says so; returns what it is afterwards, or none when there is no such session.
pub(crate) async fn change(
    control: &Control,
    id: &str,
    mut change: impl FnMut(&mut ExecSessionRecord) -> Result<(), Fault>,
) -> Result<Option<ExecSessionRecord>, Fault> {
    control
        .transact(|view| {
            let Some(entry) = view.exec_session(id) else { return Ok(Plan::Done(None)) };
            let mut record = entry.row.record.clone();
            change(&mut record)?;
            if record == entry.row.record {
                return Ok(Plan::Done(Some(record)));
            }
            let path = keys::exec_session(&entry.scope, id);
            let txn = Txn::new().require(&path, entry.row.revision).put(path, encode(&record));
            Ok(Plan::Commit(txn, Some(record)))
        })
        .await
}
