//! Systems Manager's operations on sessions, as far as they are sessions of ECS Exec.

use gantry_api::{
    Caller, Fault, Timestamp,
    ssm::{
        self, ConnectionStatus, DescribeSessionsRequest, DescribeSessionsResponse, GetConnectionStatusRequest,
        GetConnectionStatusResponse, ResumeSessionRequest, ResumeSessionResponse, SessionFilterKey, SessionState,
        SessionStatus, StartSessionRequest, StartSessionResponse, TerminateSessionRequest, TerminateSessionResponse,
        fault,
    },
};
use gantry_domain::{arn::Scope, paging::Pager};

use super::{
    change,
    open::{self, Asked, Opened},
    send_client_away, token,
};
use crate::{
    Control, EcsView,
    control::scope,
    keys::TaskKey,
    records::{ExecSessionRecord, ExecSessionStatus},
    view::ExecSessionRow,
};

/// The document behind every session of ECS Exec.
const DOCUMENT: &str = "AmazonECS-ExecuteInteractiveCommand";
const PAGE_SIZE_DEFAULT: i32 = 50;
const PAGE_SIZE_MAX: i32 = 200;
/// What a session runs when its document's parameter does not say.
const COMMAND_DEFAULT: &str = "/bin/sh";

/// `StartSession` on `ecs:CLUSTER_TASK_RUNTIME-ID`.
///
/// # Errors
/// The fault for the client.
pub async fn start(
    control: &Control,
    caller: &Caller,
    input: StartSessionRequest,
) -> Result<StartSessionResponse, Fault> {
    let target = input.target.unwrap_or_default();
    if input.document_name.as_deref().is_some_and(|name| name != DOCUMENT) {
        return Err(fault::invalid_document("The specified SSM document doesn't exist."));
    }
    let (key, container) = {
        let view = control.read();
        find(&view, &scope(caller), &target).ok_or_else(|| not_connected(&target))?
    };
    let command = input.parameters.and_then(|mut parameters| parameters.remove("command"));
    let asked = Asked {
        container: Some(container),
        command: command.and_then(|all| all.into_iter().next()).unwrap_or_else(|| COMMAND_DEFAULT.to_owned()),
        reason: input.reason,
    };
    let Opened { session_id, stream_url, token, .. } = open::open(control, caller, &key, asked).await?;
    Ok(StartSessionResponse { session_id: Some(session_id), stream_url: Some(stream_url), token_value: Some(token) })
}

/// `ResumeSession`: a new token for a client whose connection was lost. An ended session gets none, which the plugin
/// takes for its end.
///
/// # Errors
/// The fault for the client.
pub async fn resume(
    control: &Control,
    caller: &Caller,
    input: ResumeSessionRequest,
) -> Result<ResumeSessionResponse, Fault> {
    let id = input.session_id.unwrap_or_default();
    own(&control.read(), caller, &id)?;
    let (token, kept) = token::make(&control.random, control.now());
    let record = change(control, &id, |record| {
        if record.is_live() {
            record.token = Some(kept.clone());
        }
        Ok(())
    });
    let live = record.await?.is_some_and(|record| record.is_live());
    Ok(ResumeSessionResponse {
        stream_url: Some(open::stream_url(&control.settings.endpoint, caller, &id)),
        session_id: Some(id),
        token_value: Some(if live { token } else { String::new() }),
    })
}

/// `TerminateSession`. A session that is over stays so.
///
/// # Errors
/// The fault for the client.
pub async fn terminate(
    control: &Control,
    caller: &Caller,
    input: TerminateSessionRequest,
) -> Result<TerminateSessionResponse, Fault> {
    let id = input.session_id.unwrap_or_default();
    own(&control.read(), caller, &id)?;
    let now = control.now();
    let asked = change(control, &id, |record| {
        match record.status {
            // No agent has started anything.
            ExecSessionStatus::Waiting => record.end(TERMINATED, now),
            ExecSessionStatus::Running => {
                record.status = ExecSessionStatus::Ending;
                record.text = TERMINATED.to_owned();
            }
            ExecSessionStatus::Ending | ExecSessionStatus::Ended => {}
        }
        Ok(())
    });
    if let Some(record) = asked.await?.filter(|record| !record.is_live()) {
        send_client_away(control, &id, &record);
    }
    Ok(TerminateSessionResponse { session_id: Some(id) })
}

const TERMINATED: &str = "The session was terminated.";

/// `DescribeSessions`.
///
/// # Errors
/// The fault for the client.
pub fn describe(
    control: &Control,
    caller: &Caller,
    input: &DescribeSessionsRequest,
) -> Result<DescribeSessionsResponse, Fault> {
    let here = scope(caller);
    let history = input.state == Some(SessionState::History);
    let filters = input.filters.as_deref().unwrap_or_default();
    let size = input.max_results.unwrap_or(PAGE_SIZE_DEFAULT).clamp(1, PAGE_SIZE_MAX);
    let question = format!("DescribeSessions {history} {filters:?}");
    let pager = Pager::new(&question, usize::try_from(size).unwrap_or(1));
    let bad_token = |_| fault::invalid_next_token("The specified token isn't valid.");
    let after = pager.after(input.next_token.as_deref()).map_err(bad_token)?;
    let view = control.read();
    let mut shown = Vec::new();
    for (id, entry) in view.exec_sessions().iter().filter(|(_, entry)| entry.scope == here) {
        let session = wire(id, entry);
        let mut matches = entry.row.is_live() != history;
        for filter in filters {
            let wanted = filter.value.as_deref().unwrap_or_default();
            matches &= is_match(&session, filter.key.as_ref(), wanted)?;
        }
        if matches && after.as_ref().is_none_or(|after| id > after) {
            shown.push(session);
        }
    }
    let page = pager.page(shown, |session| session.session_id.clone().unwrap_or_default());
    Ok(DescribeSessionsResponse { sessions: Some(page.items), next_token: page.next_token })
}

fn is_match(session: &ssm::Session, key: Option<&SessionFilterKey>, wanted: &str) -> Result<bool, Fault> {
    let is = |value: &Option<String>| value.as_deref() == Some(wanted);
    let started = session.start_date.map_or(0.0, |date| date.0);
    let moment = || {
        let parsed = time::OffsetDateTime::parse(wanted, &time::format_description::well_known::Rfc3339);
        parsed.map(|at| at.unix_timestamp() as f64).map_err(|_| bad_filter("the value is no time"))
    };
    Ok(match key {
        Some(SessionFilterKey::Target) => is(&session.target),
        Some(SessionFilterKey::Owner) => is(&session.owner),
        Some(SessionFilterKey::SessionId) => is(&session.session_id),
        Some(SessionFilterKey::Status) => session.status.as_ref().is_some_and(|status| status.as_str() == wanted),
        Some(SessionFilterKey::InvokedAfter) => started > moment()?,
        Some(SessionFilterKey::InvokedBefore) => started < moment()?,
        _ => return Err(bad_filter("the key is not supported")),
    })
}

fn bad_filter(why: &str) -> Fault {
    fault::invalid_filter_key(format!("The filter is not valid: {why}."))
}

/// `GetConnectionStatus` of `ecs:CLUSTER_TASK_RUNTIME-ID`.
pub fn connection_status(
    control: &Control,
    caller: &Caller,
    input: GetConnectionStatusRequest,
) -> GetConnectionStatusResponse {
    let target = input.target.unwrap_or_default();
    let connected = {
        let view = control.read();
        let found = find(&view, &scope(caller), &target);
        found.is_some_and(|(key, container)| open::can_be_opened(&view, &key, &container))
    };
    let status = if connected { ConnectionStatus::Connected } else { ConnectionStatus::Notconnected };
    GetConnectionStatusResponse { target: Some(target), status: Some(status) }
}

/// The session, when it is the caller's account's.
fn own(view: &EcsView, caller: &Caller, id: &str) -> Result<(), Fault> {
    let found = view.exec_session(id).filter(|entry| entry.scope == scope(caller));
    found.map(drop).ok_or_else(|| fault::does_not_exist_exception(format!("Session {id} does not exist.")))
}

fn not_connected(target: &str) -> Fault {
    fault::target_not_connected(format!("{target} is not connected."))
}

/// The task and the container's name behind `ecs:CLUSTER_TASK_RUNTIME-ID`. Names of clusters may have underscores.
fn find(view: &EcsView, scope: &Scope, target: &str) -> Option<(TaskKey, String)> {
    let (rest, runtime_id) = target.strip_prefix("ecs:")?.rsplit_once('_')?;
    let (cluster, task) = rest.rsplit_once('_')?;
    let key = TaskKey { scope: scope.clone(), cluster: cluster.parse().ok()?, id: task.parse().ok()? };
    let task = view.task(&key)?;
    let container = task.containers.iter().find(|one| one.runtime_id.as_deref() == Some(runtime_id))?;
    Some((key, container.name.clone()))
}

fn wire(id: &str, entry: &ExecSessionRow) -> ssm::Session {
    let record: &ExecSessionRecord = &entry.row;
    let time = |at: gantry_domain::Timestamp| Timestamp::from_millis(u64::try_from(at.as_millis()).unwrap_or(0));
    let status = match record.status {
        ExecSessionStatus::Waiting => SessionStatus::Connecting,
        ExecSessionStatus::Running => SessionStatus::Connected,
        ExecSessionStatus::Ending => SessionStatus::Terminating,
        ExecSessionStatus::Ended => SessionStatus::Terminated,
    };
    ssm::Session {
        session_id: Some(id.to_owned()),
        target: Some(record.target()),
        status: Some(status),
        start_date: Some(time(record.created_at)),
        end_date: record.ended_at.map(time),
        document_name: Some(DOCUMENT.to_owned()),
        owner: Some(record.owner.clone()),
        reason: record.reason.clone(),
        details: Some(record.text.clone()).filter(|text| !text.is_empty()),
        ..Default::default()
    }
}
