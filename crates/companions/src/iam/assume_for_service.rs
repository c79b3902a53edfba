//! Roles that services of this program take on, without credentials of their own: the trust policy decides.

use std::sync::Arc;

use gantry_api::{Caller, PrincipalKind};
use gantry_domain::policy::{
    Context, Decision, Document, Identity, Kind, Policies, Principal, PrincipalPolicies, Request, evaluate_trust,
};

use super::{AssumableRole, Iam};

impl Iam {
    /// A session of the role, for `service` (`ecr.amazonaws.com`) acting in `region` on behalf of the role's account;
    /// none when there is no such role or it does not trust the service. What the role may do is looked up at each use.
    pub fn assume_for_service(&self, role_arn: &str, service: &str, region: &str, session: &str) -> Option<Caller> {
        let role = self.assumable_role(role_arn)?;
        if !self.trusts(&role, service, None) {
            return None;
        }
        let principal_arn = format!("arn:aws:sts::{}:assumed-role/{}/{session}", role.account, role.name);
        Some(Caller {
            // What is known of a principal is remembered by key; this is one that nobody can sign with.
            access_key_id: format!("{service} {role_arn}"),
            principal_arn,
            kind: PrincipalKind::AssumedRole,
            request_id: uuid::Uuid::new_v4().to_string(),
            ..Caller::root(role.account, region)
        })
    }

    /// Whether the trust policy of the role lets `service` take it on, for the role's own account (and the resource
    /// `source_arn` of it).
    pub(crate) fn trusts(&self, role: &AssumableRole, service: &str, source_arn: Option<&str>) -> bool {
        let Ok(trust) = Document::parse(&role.trust, Kind::Trust) else { return false };
        let principal = Principal::new(Identity::Service { name: service.to_owned() });
        let mut context = Context::default().with("aws:SourceAccount", role.account.clone());
        if let Some(arn) = source_arn {
            context.add("aws:SourceArn", arn.to_owned());
        }
        let request = Request {
            principal: &principal,
            action: "sts:AssumeRole",
            resource: &role.arn,
            account: &role.account,
            now: self.now_timestamp(),
            context: &context,
        };
        let policies = Policies { principal: &PrincipalPolicies::default(), resource: &[Arc::new(trust)] };
        matches!(evaluate_trust(&request, &policies), Decision::Allow)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gantry_api::iam::{CreateRoleRequest, Iam as _, PutRolePolicyRequest};
    use gantry_domain::Timestamp;
    use gantry_protocol::principals::Principals;
    use gantry_store::Memory;

    use super::*;
    use crate::sealing::Sealer;

    #[tokio::test]
    async fn a_service_takes_on_the_roles_that_trust_it() {
        let clock = Arc::new(|| Timestamp::from_seconds(1_700_000_000));
        let iam = Iam::open(Memory::store(), Sealer::ephemeral().unwrap(), clock).await.unwrap();
        let root = Caller::root("000000000000", "us-east-1");
        let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ecr.amazonaws.com"},"Condition":{"StringEquals":{"aws:SourceAccount":"000000000000"}}}}"#;
        let input = CreateRoleRequest {
            role_name: Some("puller".into()),
            assume_role_policy_document: Some(trust.into()),
            ..Default::default()
        };
        let arn = iam.create_role(&root, input).await.unwrap().role.unwrap().arn.unwrap();
        let assumed = |service: &str| iam.assume_for_service(&arn, service, "us-east-1", "s");
        assert!(assumed("ecs-tasks.amazonaws.com").is_none());
        assert!(iam.assume_for_service(&arn.replace("puller", "none"), "ecr.amazonaws.com", "r", "s").is_none());
        let session = assumed("ecr.amazonaws.com").unwrap();
        assert_eq!(session.principal_arn, "arn:aws:sts::000000000000:assumed-role/puller/s");
        assert!(iam.authority(&session).policies.identity.is_empty());
        let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#;
        let input = PutRolePolicyRequest {
            role_name: Some("puller".into()),
            policy_name: Some("p".into()),
            policy_document: Some(policy.into()),
        };
        iam.put_role_policy(&root, input).await.unwrap();
        assert_eq!(iam.authority(&session).policies.identity.len(), 1, "a change of the role is in force at once");
    }
}
