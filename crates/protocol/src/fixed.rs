//! The principals that need no IAM: the root of an account, and the agent of a container instance.

use std::sync::{Arc, LazyLock};

use gantry_api::{Caller, PrincipalKind};
use gantry_domain::policy::{Document, Identity, Kind, Principal, PrincipalPolicies};

use crate::access::INSTANCE_ACTIONS;
use crate::principals::{Authority, Principals};

/// Knows roots and instances; whoever else comes has no policies.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fixed;

impl Principals for Fixed {
    fn authority(&self, caller: &Caller) -> Arc<Authority> {
        let identity = match (caller.kind, caller.role_name()) {
            (PrincipalKind::Root, _) => Identity::Root { account: caller.account.clone() },
            (_, Some(role)) => Identity::RoleSession {
                arn: caller.principal_arn.clone(),
                role_arn: format!("arn:aws:iam::{}:role/{role}", caller.account),
                id: caller.session.as_ref().map(|session| session.principal_id.clone()).unwrap_or_default(),
            },
            (_, None) => Identity::User { arn: caller.principal_arn.clone(), id: String::new() },
        };
        let mut policies = PrincipalPolicies::default();
        if caller.kind == PrincipalKind::Instance {
            policies.identity.push(instance_policy());
        }
        Arc::new(Authority { principal: Principal::new(identity), policies })
    }
}

/// What the agent of a container instance may do, as an identity policy.
pub fn instance_policy() -> Arc<Document> {
    static POLICY: LazyLock<Arc<Document>> = LazyLock::new(|| {
        let text = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": INSTANCE_ACTIONS, "Resource": "*"},
        });
        Arc::new(Document::parse(&text.to_string(), Kind::Identity).expect("a list of actions is a policy"))
    });
    Arc::clone(&POLICY)
}
