//! Service-linked roles: made for a service, changed and used by it alone.

use std::collections::BTreeMap;

use gantry_api::iam::{
    CreateServiceLinkedRoleRequest, CreateServiceLinkedRoleResponse, DeleteServiceLinkedRoleRequest,
    DeleteServiceLinkedRoleResponse, DeletionTaskStatusType, GetServiceLinkedRoleDeletionStatusRequest,
    GetServiceLinkedRoleDeletionStatusResponse,
};
use gantry_api::{Caller, Fault};

use super::aws_managed;
use super::rows::{Grants, Role};
use super::{Iam, fault, names, wire};

/// Service principal, role name, and the managed policy that the role gets.
const SERVICES: &[(&str, &str, Option<&str>)] = &[
    ("ecs.amazonaws.com", "AWSServiceRoleForECS", Some("AmazonECSServiceRolePolicy")),
    ("ecs-compute.amazonaws.com", "AWSServiceRoleForECSCompute", Some("AmazonECSComputeServiceRolePolicy")),
    ("replication.ecr.amazonaws.com", "AWSServiceRoleForECRReplication", Some("ECRReplicationServiceRolePolicy")),
    (
        "pullthroughcache.ecr.amazonaws.com",
        "AWSServiceRoleForECRPullThroughCache",
        Some("AWSECRPullThroughCache_ServiceRolePolicy"),
    ),
    ("ecs.application-autoscaling.amazonaws.com", "AWSServiceRoleForApplicationAutoScaling_ECSService", None),
    ("autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling", None),
    ("elasticloadbalancing.amazonaws.com", "AWSServiceRoleForElasticLoadBalancing", None),
    ("ssm.amazonaws.com", "AWSServiceRoleForAmazonSSM", None),
];

pub(super) async fn create_service_linked_role(
    iam: &Iam,
    caller: &Caller,
    input: CreateServiceLinkedRoleRequest,
) -> Result<CreateServiceLinkedRoleResponse, Fault> {
    let service = input.aws_service_name.unwrap_or_default();
    let known = SERVICES.iter().find(|(known, _, _)| *known == service);
    let (_, base, policy) =
        known.ok_or_else(|| fault::invalid(format!("Service name {service} is not recognized.")))?;
    let name = match input.custom_suffix {
        Some(_) if service != "autoscaling.amazonaws.com" => {
            return Err(fault::invalid(format!("Custom suffix is not allowed for {service}")));
        }
        Some(suffix) => format!("{base}_{suffix}"),
        None => (*base).to_owned(),
    };
    let trust = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    ]});
    let attached = policy.map(|policy| format!("{}aws-service-role/{policy}", aws_managed::ARN_PREFIX));
    let role = Role {
        id: names::unique_id("AROA")?,
        name,
        path: format!("/aws-service-role/{service}/"),
        created_at: iam.now(),
        trust: trust.to_string(),
        trusted_ids: BTreeMap::new(),
        description: input.description,
        session_seconds_max: 3600,
        tags: BTreeMap::new(),
        boundary: None,
        grants: Grants { inline: BTreeMap::new(), attached: attached.into_iter().collect() },
        service: Some(service),
    };
    let account = &caller.account;
    let shown = iam
        .change(account, |picture, changes| {
            if picture.role(&role.name).is_ok() {
                return Err(fault::service_role_taken(&role.name));
            }
            changes.put(&role);
            Ok(wire::whole_role(account, picture, &role))
        })
        .await?;
    Ok(CreateServiceLinkedRoleResponse { role: Some(shown) })
}

pub(super) async fn delete_service_linked_role(
    iam: &Iam,
    caller: &Caller,
    input: DeleteServiceLinkedRoleRequest,
) -> Result<DeleteServiceLinkedRoleResponse, Fault> {
    let name = input.role_name.unwrap_or_default();
    let service = iam
        .change(&caller.account, |picture, changes| {
            let role = picture.role(&name)?;
            let service = role.service.clone().ok_or_else(|| fault::no_role(&name))?;
            changes.delete(&**role);
            Ok(service)
        })
        .await?;
    let task = format!("task/aws-service-role/{service}/{name}/{}", uuid::Uuid::new_v4());
    Ok(DeleteServiceLinkedRoleResponse { deletion_task_id: Some(task) })
}

/// Deletion is done when it is answered, so every task that can be asked for has succeeded.
pub(super) async fn get_service_linked_role_deletion_status(
    iam: &Iam,
    caller: &Caller,
    input: GetServiceLinkedRoleDeletionStatusRequest,
) -> Result<GetServiceLinkedRoleDeletionStatusResponse, Fault> {
    let id = input.deletion_task_id.unwrap_or_default();
    let parts: Vec<&str> = id.split('/').collect();
    let ["task", "aws-service-role", _, role, uuid] = parts[..] else {
        return Err(fault::invalid("The deletion task id is malformed."));
    };
    if uuid.parse::<uuid::Uuid>().is_err() {
        return Err(fault::invalid("The deletion task id is malformed."));
    }
    let there = iam.look(&caller.account, |picture| picture.role(role).is_ok());
    let status = if there { DeletionTaskStatusType::NotStarted } else { DeletionTaskStatusType::Succeeded };
    Ok(GetServiceLinkedRoleDeletionStatusResponse { status: Some(status), reason: None })
}
