//! Credentials of the roles of this host's tasks, as the control plane gives them: in memory, never on disk or in a log.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use gantry_api::agent::{RoleCredentials, RoleGrant, RoleKind};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    aws::{AwsError, RoleRefused, Signer},
    config::Credentials,
    task::TaskSpec,
};

/// Of all tasks.
#[derive(Default)]
pub(crate) struct TaskCredentials {
    /// By ARN; tasks that were not announced get none.
    tasks: Mutex<BTreeMap<String, [watch::Sender<Given>; 2]>>,
}

/// What is known of a role.
#[derive(Clone, Default)]
enum Given {
    #[default]
    NotYet,
    Refused,
    Credentials(Arc<RoleCredentials>),
}

impl TaskCredentials {
    /// Announces a task that is here.
    pub(crate) fn expect(&self, task_arn: &str) {
        self.tasks.lock().entry(task_arn.to_owned()).or_default();
    }

    /// Takes in what the control plane gives. What is there is better than a refusal, until it ends by itself.
    pub(crate) fn take_in(&self, grant: RoleGrant) {
        let tasks = self.tasks.lock();
        let Some(roles) = tasks.get(&grant.task_arn) else { return };
        roles[index(grant.role)].send_modify(|given| match grant.credentials {
            Some(credentials) => *given = Given::Credentials(Arc::new(credentials)),
            None if matches!(given, Given::Credentials(_)) => {}
            None => *given = Given::Refused,
        });
    }

    /// The newest credentials, when there are some.
    pub(crate) fn of(&self, task_arn: &str, role: RoleKind) -> Option<Arc<RoleCredentials>> {
        match &*self.tasks.lock().get(task_arn)?[index(role)].borrow() {
            Given::Credentials(credentials) => Some(Arc::clone(credentials)),
            Given::NotYet | Given::Refused => None,
        }
    }

    /// Waits for the first credentials.
    pub(crate) async fn first(&self, task_arn: &str, role: RoleKind) -> Result<Arc<RoleCredentials>, RoleRefused> {
        let mut watch = {
            let tasks = self.tasks.lock();
            let Some(roles) = tasks.get(task_arn) else { return Err(RoleRefused) };
            roles[index(role)].subscribe()
        };
        match watch.wait_for(|given| !matches!(given, Given::NotYet)).await.as_deref() {
            Ok(Given::Credentials(credentials)) => Ok(Arc::clone(credentials)),
            _ => Err(RoleRefused),
        }
    }

    /// The task has ended: nobody acts in its task role any more.
    pub(crate) fn ended(&self, task_arn: &str) {
        if let Some(roles) = self.tasks.lock().get(task_arn) {
            roles[index(RoleKind::Task)].send_replace(Given::NotYet);
        }
    }

    /// Nothing is left to do for the task.
    pub(crate) fn forget(&self, task_arn: &str) {
        self.tasks.lock().remove(task_arn);
    }
}

const fn index(role: RoleKind) -> usize {
    match role {
        RoleKind::Task => 0,
        RoleKind::Execution => 1,
    }
}

/// Signs in a role of a task.
#[derive(Clone)]
pub(crate) struct InRole {
    pub(crate) credentials: Arc<TaskCredentials>,
    pub(crate) task_arn: String,
    pub(crate) role: RoleKind,
}

impl InRole {
    /// In the execution role, when the task has one.
    pub(crate) fn execution(credentials: &Arc<TaskCredentials>, task: &TaskSpec) -> Option<Arc<dyn Signer>> {
        task.roles.execution.as_ref()?;
        let (credentials, task_arn) = (Arc::clone(credentials), task.arn.clone());
        Some(Arc::new(Self { credentials, task_arn, role: RoleKind::Execution }))
    }
}

#[async_trait]
impl Signer for InRole {
    async fn credentials(&self) -> Result<Credentials, AwsError> {
        let given = self.credentials.first(&self.task_arn, self.role).await?;
        Ok(Credentials {
            access_key_id: given.access_key_id.clone(),
            secret_access_key: given.secret_access_key.clone(),
            session_token: Some(given.session_token.clone()),
        })
    }

    /// New ones come by themselves.
    fn refused(&self) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grant(task: &str, key: Option<&str>) -> RoleGrant {
        let credentials = key.map(|key| RoleCredentials {
            role_arn: "arn:aws:iam::000000000000:role/app".into(),
            access_key_id: key.into(),
            secret_access_key: "secret".into(),
            session_token: "token".into(),
            expires_at_ms: 1,
        });
        RoleGrant { task_arn: task.into(), role: RoleKind::Task, credentials }
    }

    #[tokio::test]
    async fn whoever_comes_before_the_credentials_waits_for_them() {
        let all = Arc::new(TaskCredentials::default());
        all.expect("a");
        let waiting = tokio::spawn({
            let all = Arc::clone(&all);
            async move { all.first("a", RoleKind::Task).await }
        });
        all.take_in(grant("a", Some("ASIA1")));
        assert_eq!(waiting.await.unwrap().unwrap().access_key_id, "ASIA1");
        all.take_in(grant("a", Some("ASIA2")));
        assert_eq!(all.of("a", RoleKind::Task).unwrap().access_key_id, "ASIA2", "the newest are served");
        all.take_in(grant("a", None));
        assert!(all.of("a", RoleKind::Task).is_some(), "until they end by themselves");
        assert!(all.of("a", RoleKind::Execution).is_none());
        all.ended("a");
        assert!(all.of("a", RoleKind::Task).is_none());
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_strangers_get_nothing() {
        let all = TaskCredentials::default();
        all.take_in(grant("b", Some("ASIA1")));
        assert!(all.of("b", RoleKind::Task).is_none());
        all.expect("a");
        all.take_in(grant("a", None));
        assert_eq!(all.first("a", RoleKind::Task).await, Err(RoleRefused));
        all.take_in(grant("a", Some("ASIA1")));
        assert!(all.first("a", RoleKind::Task).await.is_ok(), "the role was repaired");
        all.forget("a");
        assert_eq!(all.first("a", RoleKind::Task).await, Err(RoleRefused));
    }
}
