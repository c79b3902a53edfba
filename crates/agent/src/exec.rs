//! Sessions of ECS Exec: commands that users run in the containers of this host.
//!
//! The control plane says which sessions there are; each has a task of its own here ([`session`]), with a connection of
//! its own ([`link`]) to the control plane, which hands the client's frames on. A session and its process belong to
//! this agent: when the agent ends they end, and the next agent says so of sessions that it does not know. What a
//! session printed is on disk ([`transcript`]) where it is wanted, and outlives the agent.

mod link;
mod patience;
mod process;
mod session;
mod transcript;

use std::{collections::BTreeMap, sync::Arc};

use gantry_api::exec::{ExecSession, ExecState};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use tracing::{info, warn};

use crate::{aws::AwsClient, host::Host, reason::chain};

/// What the control plane said last; none before it said anything.
pub(crate) type Wanted = watch::Sender<Option<Vec<ExecSession>>>;

struct Running {
    told: watch::Sender<ExecSession>,
    task: AbortHandle,
}

/// Runs what sessions there are, for ever.
pub(crate) async fn run(host: &Arc<Host>, client: &Arc<AwsClient>) {
    let mut wanted = host.exec_sessions.subscribe();
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let Some(sessions) = wanted.borrow_and_update().clone() else { continue };
                let gone: Vec<String> = running.keys().filter(|id| !is_among(&sessions, id)).cloned().collect();
                for id in gone {
                    // Dropping the task drops its process.
                    if let Some(gone) = running.remove(&id) {
                        gone.task.abort();
                    }
                }
                if let Err(error) = transcript::forget_others(&host.dirs, |id| is_among(&sessions, id)) {
                    warn!(error = chain(&error), "transcripts of sessions that are gone were not removed");
                }
                for session in sessions {
                    match running.get(&session.session_id) {
                        Some(known) => drop(known.told.send_replace(session)),
                        None => {
                            let id = session.session_id.clone();
                            running.insert(id, start(&mut tasks, host, client, session));
                        }
                    }
                }
            }
            // A task ends only when it is aborted; it is forgotten then already.
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
}

fn is_among(sessions: &[ExecSession], id: &str) -> bool {
    sessions.iter().any(|session| session.session_id == id)
}

fn start(tasks: &mut JoinSet<()>, host: &Arc<Host>, client: &Arc<AwsClient>, session: ExecSession) -> Running {
    // A session that an agent had, and this one does not know, was another's.
    let lost = session.state != ExecState::New;
    info!(session = session.session_id, task = session.task_arn, lost, "exec session");
    let (told, news) = watch::channel(session);
    let task = tasks.spawn(session::run(Arc::clone(host), Arc::clone(client), news, lost));
    Running { told, task }
}
