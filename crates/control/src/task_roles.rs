//! The roles of tasks: the task role, in which its containers act, and the execution role, in which ECS does on the
//! task's behalf what it needs to start and to log.
//!
//! Who may take a role on is IAM's to say; the control plane knows which role, for which task.

use gantry_api::{
    Caller, Fault, TaskSession,
    agent::{RoleCredentials, RoleKind},
    ecs,
};
use gantry_domain::reason::RoleNotAssumed;

use crate::{
    Control, fault,
    keys::{ServiceKey, TaskKey},
    launch::{Launch, LaunchError},
    view::TaskRow,
    volumes,
};

/// Takes roles on for tasks. A role is given as the task definition has it, by name or ARN.
pub trait TaskRoles: Send + Sync + 'static {
    /// The role as the task acts in it; none when it is not there or does not trust tasks.
    fn caller(&self, role: &str, task_arn: &str) -> Option<Caller>;

    /// Whether ECS may take the role on, by its ARN, for what it makes for tasks of the cluster.
    fn is_infrastructure(&self, role_arn: &str, cluster_arn: &str) -> bool;

    /// New credentials of the role, which end with the task; none as above.
    fn credentials(&self, role: &str, task: TaskSession) -> Option<RoleCredentials>;
}

/// For a control plane without IAM: there are no roles.
#[derive(Debug)]
pub(crate) struct NoRoles;

impl TaskRoles for NoRoles {
    fn caller(&self, _: &str, _: &str) -> Option<Caller> {
        None
    }

    fn is_infrastructure(&self, _: &str, _: &str) -> bool {
        false
    }

    fn credentials(&self, _: &str, _: TaskSession) -> Option<RoleCredentials> {
        None
    }
}

/// Why nothing can be done in a task's role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRole {
    /// The task is not known.
    #[error("the task is not there")]
    NoTask,
    /// The task names no such role.
    #[error("the task has no such role")]
    None,
    /// The role is not there or does not trust tasks.
    #[error("ECS was unable to assume the role '{0}'")]
    NotAssumed(String),
}

impl Control {
    /// The execution role of a task, as whoever acts for the task.
    ///
    /// # Errors
    /// [`NoRole`].
    pub fn execution_role(&self, task: &TaskKey) -> Result<Caller, NoRole> {
        let row = self.read().task(task).cloned().ok_or(NoRole::NoTask)?;
        let role = of_task(&row, RoleKind::Execution).ok_or(NoRole::None)?;
        self.roles.caller(role, &task.arn()).ok_or_else(|| NoRole::NotAssumed(role.to_owned()))
    }

    /// Whether credentials that were given to a task still hold: those of the task role until it is STOPPED, those of the
    /// execution role as long as it is known, because its last output may be delivered later.
    pub fn holds_role(&self, session: &TaskSession) -> bool {
        let Some(key) = TaskKey::from_arn(&session.task_arn) else { return false };
        let view = self.read();
        view.task(&key).is_some_and(|row| session.role == RoleKind::Execution || !row.is_stopped())
    }

    /// Refuses a launch whose roles cannot be taken on.
    pub(crate) fn check_roles(&self, launch: &Launch) -> Result<(), LaunchError> {
        let roles = {
            let view = self.read();
            let space = view.namespace(&launch.cluster.scope);
            // One that is gone is refused by the launcher.
            let row = space.and_then(|space| space.definition(launch.task.kind(), &launch.definition));
            let Some(row) = row else { return Ok(()) };
            let role = |kind| of(&row.document, launch.task.overrides.as_ref(), kind).map(str::to_owned);
            [role(RoleKind::Task), role(RoleKind::Execution)]
        };
        // The task has no id yet; a trust policy may name its cluster.
        let cluster_arn = launch.cluster.scope.cluster_arn(launch.cluster.cluster.as_str());
        let task_arn = format!("{}/*", cluster_arn.replacen(":cluster/", ":task/", 1));
        for role in roles.into_iter().flatten() {
            if self.roles.caller(&role, &task_arn).is_none() {
                let role = role_arn(&launch.cluster.scope.account, &role);
                return Err(LaunchError::Role(RoleNotAssumed::Task(role)));
            }
        }
        match &launch.task.volume {
            Some(volume) if !self.roles.is_infrastructure(&volume.role_arn, &cluster_arn) => {
                Err(LaunchError::Role(RoleNotAssumed::Infrastructure(volume.role_arn.clone())))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a service whose tasks' volumes could not be made.
    pub(crate) fn check_volume_roles(
        &self,
        service: &ServiceKey,
        volumes: Option<&[ecs::ServiceVolumeConfiguration]>,
    ) -> Result<(), Fault> {
        let cluster_arn = service.scope.cluster_arn(service.cluster.as_str());
        let mut roles = volumes::roles(volumes.unwrap_or_default());
        match roles.find(|role| !self.roles.is_infrastructure(role, &cluster_arn)) {
            Some(role) => Err(fault::role_not_assumed(&RoleNotAssumed::Infrastructure(role.to_owned()))),
            None => Ok(()),
        }
    }
}

/// The role of a task that is there, as written.
pub(crate) fn of_task(row: &TaskRow, kind: RoleKind) -> Option<&str> {
    of(&row.definition.as_ref()?.document, row.overrides.as_deref(), kind)
}

/// The role of a task definition, unless an override names another.
fn of<'a>(
    definition: &'a ecs::TaskDefinition,
    overrides: Option<&'a ecs::TaskOverride>,
    kind: RoleKind,
) -> Option<&'a str> {
    let (own, other) = match kind {
        RoleKind::Task => (&definition.task_role_arn, overrides.and_then(|given| given.task_role_arn.as_deref())),
        RoleKind::Execution => {
            (&definition.execution_role_arn, overrides.and_then(|given| given.execution_role_arn.as_deref()))
        }
    };
    other.filter(|role| !role.is_empty()).or(own.as_deref()).filter(|role| !role.is_empty())
}

/// As it is told to people.
fn role_arn(account: &str, role: &str) -> String {
    if role.starts_with("arn:") { role.to_owned() } else { format!("arn:aws:iam::{account}:role/{role}") }
}
