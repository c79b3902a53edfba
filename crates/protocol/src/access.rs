//! Which principal may call what. Policies come with IAM; until then there are two kinds of principals, and what an
//! instance may do is this list.

use gantry_api::{Caller, Fault, PrincipalKind, ServiceInfo};

/// What the agent of a container instance needs, and nothing else: the actions of AWS's container service role for
/// EC2.
pub(crate) const INSTANCE_ACTIONS: &[&str] = &[
    "ecs:CreateCluster",
    "ecs:DeregisterContainerInstance",
    "ecs:DiscoverPollEndpoint",
    "ecs:Poll",
    "ecs:RegisterContainerInstance",
    "ecs:StartTelemetrySession",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sts:GetCallerIdentity",
];

/// Refuses `operation` of `service` when the caller may not call it.
pub fn authorize(caller: &Caller, service: &ServiceInfo, operation: &str) -> Result<(), Fault> {
    // The registry decides by itself: a repository's policy may allow what no policy of the caller does.
    if caller.kind == PrincipalKind::Root || service.signing_name == gantry_api::ecr::SERVICE.signing_name {
        return Ok(());
    }
    let action = format!("{}:{operation}", service.signing_name);
    if INSTANCE_ACTIONS.contains(&action.as_str()) {
        return Ok(());
    }
    let (code, status) = if service.query { ("AccessDenied", 403) } else { ("AccessDeniedException", 400) };
    let message = format!(
        "User: {} is not authorized to perform: {action} because no identity-based policy allows the {action} action",
        caller.principal_arn
    );
    Err(Fault::new(code, status, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: PrincipalKind, service: &ServiceInfo, operation: &str) -> Result<(), &'static str> {
        let caller = Caller {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            principal_arn: "arn:aws:iam::000000000000:root".into(),
            kind,
            access_key_id: "AKIA".into(),
            request_id: "r".into(),
            ..Caller::root("000000000000", "us-east-1")
        };
        authorize(&caller, service, operation).map_err(|fault| fault.code)
    }

    #[test]
    fn an_instance_registers_itself_but_manages_nothing() {
        assert_eq!(check(PrincipalKind::Instance, &gantry_api::ecs::SERVICE, "RegisterContainerInstance"), Ok(()));
        let denied = Err("AccessDeniedException");
        assert_eq!(check(PrincipalKind::Instance, &gantry_api::ecs::SERVICE, "RunTask"), denied);
        assert_eq!(check(PrincipalKind::Instance, &gantry_api::logs::SERVICE, "DeleteLogGroup"), denied);
        assert_eq!(check(PrincipalKind::Instance, &gantry_api::sts::SERVICE, "AssumeRole"), Err("AccessDenied"));
        assert_eq!(check(PrincipalKind::Root, &gantry_api::ecs::SERVICE, "RunTask"), Ok(()));
    }
}
