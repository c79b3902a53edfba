//! A new session: whether it may be, and its row.

use gantry_api::{Caller, Fault, agent::RoleKind};
use gantry_domain::{
    arn::Scope,
    limits::{EXEC_COMMAND_LENGTH_MAX, EXEC_SESSIONS_MAX, EXEC_SESSIONS_PER_CONTAINER_MAX},
    task::{ContainerStatus, LastStatus},
};
use gantry_store::Txn;

use super::{logging, token};
use crate::{
    Control, EcsView,
    control::{Plan, active_cluster},
    fault,
    keys::{self, TaskKey},
    records::{ContainerRecord, Destination, ExecSessionRecord, ExecSessionStatus, TranscriptStatus, encode},
    task_roles::of_task,
    view::TaskRow,
};

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// None: the only one.
    pub(crate) container: Option<String>,
    pub(crate) command: String,
    pub(crate) reason: Option<String>,
}

/// What the client needs to take it up.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session_id: String,
    pub(crate) stream_url: String,
    pub(crate) token: String,
    pub(crate) container: String,
    /// Last part of the container's ARN.
    pub(crate) container_id: String,
}

/// Opens a session.
pub(crate) async fn open(control: &Control, caller: &Caller, key: &TaskKey, asked: Asked) -> Result<Opened, Fault> {
    let command = words(&asked.command)?;
    let session_id = new_id(control);
    let now = control.now();
    let (token, kept) = token::make(&control.random, now);
    let destination = destination(control, key, asked.container.as_deref(), &session_id).await?;
    let container = control
        .transact(|view| {
            let (task, container) = find(view, key, asked.container.as_deref())?;
            let record = ExecSessionRecord {
                cluster: key.cluster.to_string(),
                task_arn: key.arn(),
                container: container.name.clone(),
                runtime_id: container.runtime_id.clone().ok_or_else(fault::exec_not_enabled)?,
                host: task.host.clone(),
                command: command.clone(),
                owner: caller.principal_arn.clone(),
                reason: asked.reason.clone(),
                created_at: now,
                ended_at: None,
                status: ExecSessionStatus::Waiting,
                text: String::new(),
                token: Some(kept.clone()),
                transcript: TranscriptStatus::None,
                task_role: destination.as_ref().and_then(|_| of_task(task, RoleKind::Task)).map(str::to_owned),
                destination: destination.clone(),
            };
            let forget = make_room(view, &key.scope, &record)?;
            let path = keys::exec_session(&key.scope, &session_id);
            let txn = forget.into_iter().fold(Txn::new().require(&path, 0), Txn::delete);
            Ok(Plan::Commit(txn.put(path, encode(&record)), container.clone()))
        })
        .await?;
    tracing::info!(
        session = session_id,
        task = key.arn(),
        container = container.name,
        principal = caller.principal_arn,
        "exec session opened"
    );
    Ok(Opened {
        stream_url: stream_url(&control.settings.endpoint, caller, &session_id),
        session_id,
        token,
        container: container.name,
        container_id: container.id,
    })
}

fn new_id(control: &Control) -> String {
    let digits: String = hex::encode(control.random.id()).chars().take(17).collect();
    format!("ecs-execute-command-{digits}")
}

/// Program and arguments, as a shell would split them; no shell is needed in the container.
fn words(command: &str) -> Result<Vec<String>, Fault> {
    let words = shlex::split(command).filter(|words| !words.is_empty());
    words.filter(|_| command.len() <= EXEC_COMMAND_LENGTH_MAX).ok_or_else(fault::exec_command_invalid)
}

/// The task and the container, when a command can run there.
fn find<'a>(
    view: &'a EcsView,
    key: &TaskKey,
    container: Option<&str>,
) -> Result<(&'a TaskRow, &'a ContainerRecord), Fault> {
    active_cluster(view, &key.scope, &key.cluster)?;
    let task = view.task(key).ok_or_else(fault::task_not_found)?;
    let container = match (container, task.containers.as_slice()) {
        (Some(name), all) => {
            all.iter().find(|one| one.name == name).ok_or_else(|| fault::exec_container_unknown(name))?
        }
        (None, [only]) => only,
        (None, _) => return Err(fault::exec_container_missing()),
    };
    let runs = container.last_status == ContainerStatus::Running && task.life.last_status < LastStatus::Stopped;
    if !task.enable_execute_command || !runs {
        return Err(fault::exec_not_enabled());
    }
    let host = task.host.as_ref().and_then(|host| view.host(host)).and_then(|host| host.row.as_ref());
    if !host.is_some_and(|host| host.agent_connected) {
        return Err(fault::exec_not_connected());
    }
    Ok((task, container))
}

/// Whether a session could be opened now.
pub(super) fn can_be_opened(view: &EcsView, key: &TaskKey, container: &str) -> bool {
    find(view, key, Some(container)).is_ok()
}

/// Where the session is logged, in the name of the task's role. What the container logs to by itself is tried; what the
/// cluster names must take it.
async fn destination(
    control: &Control,
    key: &TaskKey,
    container: Option<&str>,
    session_id: &str,
) -> Result<Option<Destination>, Fault> {
    let (destination, role, must) = {
        let view = control.read();
        let (task, container) = find(&view, key, container)?;
        let row = view.cluster(&key.scope, &key.cluster).and_then(|cluster| cluster.row());
        let configuration = row.and_then(|row| row.configuration.as_ref());
        let definitions = task.definition.as_ref().and_then(|row| row.document.container_definitions.as_ref());
        let mut definitions = definitions.into_iter().flatten();
        let definition = definitions.find(|one| one.name.as_deref() == Some(container.name.as_str()));
        let destination = logging::destination(configuration, definition, &key.scope.region, session_id);
        (destination, of_task(task, RoleKind::Task).map(str::to_owned), logging::must_be_logged(configuration))
    };
    let Some(destination) = destination else { return Ok(None) };
    match control.transcripts.check(&key.arn(), role.as_deref(), &destination).await {
        Ok(()) => Ok(Some(destination)),
        Err(why) if must => Err(fault::exec_not_logged(&why)),
        Err(why) => {
            tracing::info!(session = session_id, why, "a session is not logged");
            Ok(None)
        }
    }
}

/// Refuses one session too many; the oldest of the ended ones are forgotten for a new one.
fn make_room(view: &EcsView, scope: &Scope, new: &ExecSessionRecord) -> Result<Vec<String>, Fault> {
    let own = || view.exec_sessions().iter().filter(|(_, entry)| entry.scope == *scope);
    let live = || own().filter(|(_, entry)| entry.row.is_live());
    let beside = live().filter(|(_, entry)| entry.row.runtime_id == new.runtime_id).count();
    if beside >= EXEC_SESSIONS_PER_CONTAINER_MAX || live().count() >= EXEC_SESSIONS_MAX {
        return Err(fault::exec_too_many_sessions());
    }
    let mut over: Vec<_> = own().filter(|(_, entry)| !entry.row.concerns_agent()).collect();
    over.sort_by_key(|(_, entry)| entry.row.created_at);
    let surplus = (over.len() + 1).saturating_sub(EXEC_SESSIONS_MAX);
    Ok(over.into_iter().take(surplus).map(|(id, _)| keys::exec_session(scope, id)).collect())
}

/// Where the client goes on: the server as it called it.
pub(super) fn stream_url(endpoint: &str, caller: &Caller, session_id: &str) -> String {
    let own = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let (scheme, host) = match &caller.origin.host {
        // Behind a proxy that speaks TLS only the configured endpoint says so.
        Some(host) if host != own.1 => (if caller.origin.secure { "https" } else { "http" }, host.as_str()),
        _ => own,
    };
    let scheme = if scheme == "https" { "wss" } else { "ws" };
    format!("{scheme}://{host}/v1/data-channel/{session_id}?role=publish_subscribe")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_would() {
        let cases = [
            ("/bin/sh", vec!["/bin/sh"]),
            (r#"sh -c "echo 'a b'; exit 3""#, vec!["sh", "-c", "echo 'a b'; exit 3"]),
            (r"echo a\ b", vec!["echo", "a b"]),
        ];
        for (command, expected) in cases {
            assert_eq!(words(command).unwrap(), expected);
        }
        for command in ["", "  ", "echo 'a", &"x".repeat(EXEC_COMMAND_LENGTH_MAX + 1)] {
            assert!(words(command).is_err(), "{command}");
        }
    }

    #[test]
    fn the_client_goes_on_where_it_came() {
        let came = |host: Option<&str>, secure: bool| {
            let mut caller = Caller::root("000000000000", "us-east-1");
            caller.origin.host = host.map(str::to_owned);
            caller.origin.secure = secure;
            let url = stream_url("https://gantry.example", &caller, "s");
            url.strip_suffix("/v1/data-channel/s?role=publish_subscribe").unwrap().to_owned()
        };
        assert_eq!(came(None, false), "wss://gantry.example");
        assert_eq!(came(Some("gantry.example"), false), "wss://gantry.example");
        assert_eq!(came(Some("localhost:4566"), false), "ws://localhost:4566");
        assert_eq!(came(Some("10.0.0.1:4566"), true), "wss://10.0.0.1:4566");
    }
}
