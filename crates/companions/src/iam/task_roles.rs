//! The roles of tasks: ECS takes them on for a task, whose id names the session. The role must be one of the task's own
//! account, and its trust policy decides, with the task as `aws:SourceArn`.

use gantry_api::agent::RoleCredentials;
use gantry_api::{Caller, Fault, PrincipalKind, Session, TaskSession};

use super::{AssumableRole, Iam, Owner};

/// Who takes roles on for tasks.
const SERVICE: &str = "ecs-tasks.amazonaws.com";
/// Who takes roles on to make what tasks need.
const INFRASTRUCTURE: &str = "ecs.amazonaws.com";

impl Iam {
    /// The role, given by name or ARN, as the task acts in it; none when there is no such role in the task's account or it
    /// does not trust tasks. For what the server does on a task's behalf: what the role may do is looked up at each use.
    pub fn task_role_caller(&self, role: &str, task_arn: &str) -> Option<Caller> {
        let role = self.role_of_task(role, task_arn)?;
        let region = task_arn.split(':').nth(3)?;
        Some(Caller {
            // What is known of a principal is remembered by key; this is one that nobody can sign with.
            access_key_id: format!("{SERVICE} {}", role.arn),
            principal_arn: session_arn(&role, task_arn),
            kind: PrincipalKind::AssumedRole,
            request_id: uuid::Uuid::new_v4().to_string(),
            ..Caller::root(role.account, region)
        })
    }

    /// Credentials of the role for so many seconds, which end with the task; none as in [`Self::task_role_caller`].
    ///
    /// # Errors
    /// When no secret can be made.
    pub fn task_role_credentials(
        &self,
        role: &str,
        task: TaskSession,
        seconds: u64,
    ) -> Result<Option<RoleCredentials>, Fault> {
        let Some(role) = self.role_of_task(role, &task.task_arn) else { return Ok(None) };
        let now = self.now_seconds();
        let session = Session {
            principal_id: format!("{}:{}", role.id, task_id(&task.task_arn)),
            issued_at: now,
            expires_at: now + seconds,
            ..Session::default()
        };
        let arn = session_arn(&role, &task.task_arn);
        let session = Session { task: Some(task), ..session };
        let owner = Owner::Role { name: role.name.to_lowercase(), id: role.id };
        let new = self.begin_session(&role.account, &arn, owner, session)?;
        Ok(Some(RoleCredentials {
            role_arn: role.arn,
            access_key_id: new.access_key_id,
            secret_access_key: new.secret,
            session_token: new.token,
            expires_at_ms: (now + seconds) * 1000,
        }))
    }

    /// Whether ECS may take a role on, by its ARN, to make what tasks of the cluster need.
    pub fn is_infrastructure_role(&self, role_arn: &str, cluster_arn: &str) -> bool {
        role_arn.starts_with("arn:") && self.role_for(INFRASTRUCTURE, role_arn, cluster_arn).is_some()
    }

    fn role_of_task(&self, role: &str, task_arn: &str) -> Option<AssumableRole> {
        self.role_for(SERVICE, role, task_arn)
    }

    /// The role, if it is of the account that `source_arn` is in and trusts the service to act for that.
    fn role_for(&self, service: &str, role: &str, source_arn: &str) -> Option<AssumableRole> {
        let account = source_arn.split(':').nth(4)?;
        let role = if role.starts_with("arn:") {
            self.assumable_role(role).filter(|role| role.account == account)
        } else {
            self.role_named(account, role)
        };
        role.filter(|role| self.trusts(role, service, Some(source_arn)))
    }
}

/// The session is named after the task.
fn session_arn(role: &AssumableRole, task_arn: &str) -> String {
    format!("arn:aws:sts::{}:assumed-role/{}/{}", role.account, role.name, task_id(task_arn))
}

fn task_id(task_arn: &str) -> &str {
    task_arn.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use gantry_api::agent::RoleKind;
    use gantry_api::iam::{CreateRoleRequest, DeleteRoleRequest, Iam as _};
    use gantry_domain::Timestamp;
    use gantry_protocol::identity::Keys;
    use gantry_store::Memory;

    use super::*;
    use crate::sealing::Sealer;

    const TASK: &str = "arn:aws:ecs:eu-west-1:000000000000:task/default/0123";

    async fn iam_with(name: &str, principal: &str, condition: &str) -> (Iam, String) {
        let clock = Arc::new(|| Timestamp::from_seconds(1_700_000_000));
        let iam = Iam::open(Memory::store(), Sealer::ephemeral().unwrap(), clock).await.unwrap();
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"Service":"{principal}"}},"Condition":{condition}}}}}"#
        );
        let input = CreateRoleRequest {
            role_name: Some(name.into()),
            path: Some("/app/".into()),
            assume_role_policy_document: Some(trust),
            ..Default::default()
        };
        let created = iam.create_role(&Caller::root("000000000000", "us-east-1"), input).await.unwrap();
        (iam, created.role.unwrap().arn.unwrap())
    }

    #[tokio::test]
    async fn a_task_acts_in_its_role_under_its_own_id() {
        let condition = r#"{"ArnLike":{"aws:SourceArn":"arn:aws:ecs:eu-west-1:000000000000:*"},"StringEquals":{"aws:SourceAccount":"000000000000"}}"#;
        let (iam, arn) = iam_with("web", SERVICE, condition).await;
        for role in [arn.as_str(), "web"] {
            let caller = iam.task_role_caller(role, TASK).unwrap();
            assert_eq!(caller.principal_arn, "arn:aws:sts::000000000000:assumed-role/web/0123");
            assert_eq!((caller.account.as_str(), caller.region.as_str()), ("000000000000", "eu-west-1"));
        }
        let session = TaskSession { task_arn: TASK.into(), role: RoleKind::Task };
        let given = iam.task_role_credentials("web", session.clone(), 3600).unwrap().unwrap();
        assert_eq!((given.role_arn.as_str(), given.expires_at_ms), (arn.as_str(), 1_700_003_600_000));
        let key = iam.key(&given.access_key_id, Some(&given.session_token)).unwrap();
        assert_eq!(key.secret, given.secret_access_key);
        assert_eq!(key.principal_arn, "arn:aws:sts::000000000000:assumed-role/web/0123");
        assert_eq!(key.session.as_ref().unwrap().task.as_ref(), Some(&session));
        let other = iam.task_role_credentials("web", session, 3600).unwrap().unwrap();
        assert_ne!(other.access_key_id, given.access_key_id, "each rotation is a new key");
        assert!(!format!("{given:?}").contains(&given.secret_access_key));

        let root = Caller::root("000000000000", "us-east-1");
        iam.delete_role(&root, DeleteRoleRequest { role_name: Some("web".into()) }).await.unwrap();
        assert!(iam.key(&given.access_key_id, Some(&given.session_token)).is_none(), "it ends with the role");
        assert!(iam.task_role_caller(&arn, TASK).is_none());
    }

    #[tokio::test]
    async fn a_role_that_does_not_trust_the_task_is_not_taken_on() {
        let here = r#"{"ArnLike":{"aws:SourceArn":"arn:aws:ecs:us-east-1:*"}}"#;
        let (iam, arn) = iam_with("elsewhere", SERVICE, here).await;
        assert!(iam.task_role_caller(&arn, TASK).is_none(), "a task of another region");
        let session = TaskSession { task_arn: TASK.into(), role: RoleKind::Execution };
        assert!(iam.task_role_credentials(&arn, session, 3600).unwrap().is_none());
        let (iam, arn) = iam_with("machines", "ec2.amazonaws.com", "{}").await;
        assert!(iam.task_role_caller(&arn, TASK).is_none(), "another service's role");
        assert!(!iam.is_infrastructure_role(&arn, "arn:aws:ecs:eu-west-1:000000000000:cluster/default"));
        let (iam, arn) = iam_with("disks", INFRASTRUCTURE, "{}").await;
        assert!(iam.is_infrastructure_role(&arn, "arn:aws:ecs:eu-west-1:000000000000:cluster/default"));
        assert!(!iam.is_infrastructure_role(&arn, "arn:aws:ecs:eu-west-1:111122223333:cluster/default"));
        assert!(iam.task_role_caller(&arn, TASK).is_none());
        let (iam, arn) = iam_with("web", SERVICE, "{}").await;
        let foreign = TASK.replace("000000000000", "111122223333");
        assert!(iam.task_role_caller(&arn, &foreign).is_none(), "a role of another account");
        assert!(iam.task_role_caller("none", TASK).is_none() && iam.task_role_caller(&arn, TASK).is_some());
    }
}
