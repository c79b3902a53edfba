//! The roles of tasks: the control plane knows the task, IAM the role.

use std::time::Duration;

use gantry_api::{Caller, TaskSession, agent::RoleCredentials};
use gantry_companions::iam::Iam;
use gantry_control::TaskRoles;

/// Takes roles on for tasks, for so long at a time.
pub(crate) struct RolesOfTasks {
    pub(crate) iam: Iam,
    pub(crate) lifetime: Duration,
}

impl TaskRoles for RolesOfTasks {
    fn caller(&self, role: &str, task_arn: &str) -> Option<Caller> {
        self.iam.task_role_caller(role, task_arn)
    }

    fn is_infrastructure(&self, role_arn: &str, cluster_arn: &str) -> bool {
        self.iam.is_infrastructure_role(role_arn, cluster_arn)
    }

    fn credentials(&self, role: &str, task: TaskSession) -> Option<RoleCredentials> {
        let given = self.iam.task_role_credentials(role, task, self.lifetime.as_secs());
        given.inspect_err(|fault| tracing::error!(%fault, role, "no credentials for a task")).ok()?
    }
}
