//! Services of this server that act in a role: who they are then, if the role's trust policy lets them.

use std::sync::Arc;

use gantry_api::{Caller, PrincipalKind};
use gantry_domain::policy::{
    Context, Decision, Document, Identity, Kind, Policies, Principal, PrincipalPolicies, Request, evaluate_trust,
};

use super::Iam;

impl Iam {
    /// `service`, for instance `events.amazonaws.com`, in a session of a role; none when there is no such role or its
    /// trust policy does not let the service assume it. What the session may do, its role's policies say.
    pub(crate) fn as_service(&self, role_arn: &str, region: &str, service: &str, session: &str) -> Option<Caller> {
        let role = self.assumable_role(role_arn)?;
        let trust = Document::parse(&role.trust, Kind::Trust).ok()?;
        let principal =
            Principal { identity: Identity::Service { name: service.to_owned() }, tags: Default::default() };
        let context = Context::default();
        let request = Request {
            principal: &principal,
            action: "sts:AssumeRole",
            resource: &role.arn,
            account: &role.account,
            now: self.now_timestamp(),
            context: &context,
        };
        let own = PrincipalPolicies::default();
        let policies = Policies { principal: &own, resource: &[Arc::new(trust)] };
        if !matches!(evaluate_trust(&request, &policies), Decision::Allow) {
            return None;
        }
        Some(Caller {
            principal_arn: format!("arn:aws:sts::{}:assumed-role/{}/{session}", role.account, role.name),
            kind: PrincipalKind::AssumedRole,
            // No key signed; the name under which the session's policies are kept.
            access_key_id: format!("{service} {role_arn}"),
            request_id: uuid::Uuid::new_v4().to_string(),
            ..Caller::root(role.account, region)
        })
    }
}
