//! What tasks refer to, for the agent that runs them: the control plane knows the task and whose it is, somebody else
//! finds the values. Nothing of an answer is kept.

use axum::{
    Extension,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use gantry_api::{
    Caller, Fault,
    agent::DesiredTask,
    ecs::ContainerDefinition,
    task_values::{TASK_VALUES_REFUSED, TaskValues},
};
use gantry_domain::arn::{Name, Scope};
use gantry_domain::reason::ValuesFailure;

use super::Door;
use crate::{Control, NoRole, instances::owner, keys::TaskKey, tasks::desired};

/// Finds the values that a task refers to, with the permissions of its execution role.
pub trait ValuesOfTasks: Send + Sync + 'static {
    /// The values, or what the task is told. `role` is the execution role as the task acts in it.
    fn values<'a>(
        &'a self,
        task: &'a DesiredTask,
        role: &'a Caller,
    ) -> BoxFuture<'a, Result<TaskValues, ValuesFailure>>;
}

/// For a control plane without companions: there are no values.
#[derive(Debug)]
pub(super) struct NoValues;

impl ValuesOfTasks for NoValues {
    fn values<'a>(&'a self, _: &'a DesiredTask, _: &'a Caller) -> BoxFuture<'a, Result<TaskValues, ValuesFailure>> {
        Box::pin(async { Err(ValuesFailure::NoRole) })
    }
}

/// What an agent asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Everything that the task refers to: it is to run.
    Everything,
    /// The options of its log drivers: its output is to be delivered, whether it runs or has ended.
    LogOptions,
}

pub(super) async fn answer(door: State<Door>, caller: Extension<Caller>, path: Path<(String, String)>) -> Response {
    answered(door, caller, path, Asked::Everything).await
}

pub(super) async fn answer_log_options(
    door: State<Door>,
    caller: Extension<Caller>,
    path: Path<(String, String)>,
) -> Response {
    answered(door, caller, path, Asked::LogOptions).await
}

async fn answered(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path((cluster, task)): Path<(String, String)>,
    asked: Asked,
) -> Response {
    let answered = match wanted(&door.shared.control, &caller, &cluster, &task, asked) {
        Ok((key, task)) => values(&door, &key, &task).await,
        Err(fault) => Err(fault),
    };
    let (status, body) = match answered {
        Ok(body) => (StatusCode::OK, body),
        Err(fault) => {
            tracing::info!(task, code = fault.code, message = fault.message, "an agent does not get a task's values");
            let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST);
            (status, gantry_protocol::json::fault_body(&fault))
        }
    };
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The task with what is asked for, when it is the caller's own container instance's.
fn wanted(
    control: &Control,
    caller: &Caller,
    cluster: &str,
    task: &str,
    asked: Asked,
) -> Result<(TaskKey, DesiredTask), Fault> {
    let key = || {
        let cluster: Name = cluster.parse().ok()?;
        Some(TaskKey { scope: Scope::new(&caller.account, &caller.region), cluster, id: task.parse().ok()? })
    };
    let no_task = || Fault::new("InvalidParameterException", 400, "The task was not found.");
    let key = key().ok_or_else(no_task)?;
    let view = control.read();
    let row = view.task(&key).ok_or_else(no_task)?;
    let host = row.host.as_ref().and_then(|host| view.host(host)).and_then(|host| host.row.as_ref());
    if !host.is_some_and(|host| owner::speaks_for(caller, host)) {
        return Err(owner::denied(caller, "ecs:Poll", &key.arn()));
    }
    if row.is_stopped() && asked == Asked::Everything {
        return Err(no_task());
    }
    let mut desired = desired::desired(&key.scope, &key.cluster, row).ok_or_else(no_task)?;
    drop(view);
    if asked == Asked::LogOptions {
        desired.task_definition.container_definitions.iter_mut().flatten().for_each(leave_log_options);
        desired.overrides.container_overrides = None;
    }
    Ok((key, desired))
}

/// Leaves of what a container refers to the options of its log driver.
fn leave_log_options(container: &mut ContainerDefinition) {
    *container = ContainerDefinition {
        name: container.name.take(),
        log_configuration: container.log_configuration.take(),
        ..ContainerDefinition::default()
    };
}

async fn values(door: &Door, key: &TaskKey, task: &DesiredTask) -> Result<Vec<u8>, Fault> {
    let finder = door.shared.values.lock().clone();
    let found = match door.shared.control.execution_role(key) {
        Ok(role) => finder.values(task, &role).await,
        Err(NoRole::NotAssumed(role)) => Err(ValuesFailure::NotAssumed { role }),
        Err(NoRole::None | NoRole::NoTask) => Err(ValuesFailure::NoRole),
    };
    let found = found
        .map_err(|failure| Fault::new(TASK_VALUES_REFUSED, 400, failure.message(task.launch_type == "FARGATE")))?;
    serde_json::to_vec(&found).map_err(|error| Fault::new("InternalFailure", 500, error.to_string()))
}
