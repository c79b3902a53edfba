//! Rules on the members of the document itself.

use gantry_api::ecs::{Compatibility, IsolationMode, NetworkMode, ProxyConfiguration};
use gantry_domain::arn::is_account;
use gantry_domain::limits::{
    CONTAINERS_PER_TASK_MAX, EPHEMERAL_STORAGE_GIB, NAME_LENGTH_MAX, PLACEMENT_CONSTRAINTS_MAX,
    PLACEMENT_EXPRESSION_LENGTH_MAX,
};
use gantry_domain::query::Expression;
use gantry_domain::task_definition;

use crate::task_definition::document::{Document, list, text};
use crate::task_definition::invalid::Invalid;

/// Family, number of containers.
pub(super) fn check_identity(document: Document<'_>) -> Result<(), Invalid> {
    match text(&document.task.family) {
        "" => return Err(Invalid::FamilyBlank),
        family if family.chars().count() > NAME_LENGTH_MAX => return Err(Invalid::FamilyLength),
        family if !is_name(family) => return Err(Invalid::FamilyCharacters),
        _ => {}
    }
    match document.containers().count() {
        0 => Err(Invalid::NoContainers),
        count if count > CONTAINERS_PER_TASK_MAX => Err(Invalid::TooManyContainers),
        _ => Ok(()),
    }
}

/// Letters, digits, hyphens and underscores.
pub(super) fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

pub(super) fn check(document: Document<'_>) -> Result<(), Invalid> {
    let task = document.task;
    if !document.containers().any(|container| container.is_essential()) {
        return Err(Invalid::NoEssentialContainer);
    }
    for role in [&task.task_role_arn, &task.execution_role_arn].into_iter().flatten() {
        check_role(role)?;
    }
    check_placement_constraints(document)?;
    check_ephemeral_storage(document)?;
    if let Some(proxy) = &task.proxy_configuration {
        check_proxy(document, proxy)?;
    }
    let awsvpc_or_host = matches!(document.network_mode(), NetworkMode::Awsvpc | NetworkMode::Host);
    if task.enable_fault_injection == Some(true) && !awsvpc_or_host {
        return Err(Invalid::FaultInjectionMode { mode: document.network_mode().to_string() });
    }
    check_trusted_execution(document)
}

/// A role's name or its ARN. An empty text is what some clients send for "none".
fn check_role(role: &str) -> Result<(), Invalid> {
    let name_ok = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&byte);
        !name.is_empty() && name.len() <= 512 && name.bytes().all(allowed)
    };
    if role.is_empty() {
        return Ok(());
    }
    let Some(arn) = role.strip_prefix("arn:") else { return if name_ok(role) { Ok(()) } else { Err(Invalid::Role) } };
    let parts: Vec<&str> = arn.splitn(5, ':').collect();
    let [partition, "iam", "", account, resource] = parts[..] else { return Err(Invalid::Role) };
    let role_ok = resource.strip_prefix("role/").is_some_and(name_ok);
    if partition.starts_with("aws") && is_account(account) && role_ok { Ok(()) } else { Err(Invalid::Role) }
}

fn check_placement_constraints(document: Document<'_>) -> Result<(), Invalid> {
    let constraints = list(&document.task.placement_constraints);
    if constraints.len() > PLACEMENT_CONSTRAINTS_MAX {
        return Err(Invalid::TooManyPlacementConstraints);
    }
    for constraint in constraints {
        let expression = text(&constraint.expression);
        let length = expression.chars().count();
        if constraint.r#type.is_none() || expression.trim().is_empty() || length > PLACEMENT_EXPRESSION_LENGTH_MAX {
            return Err(Invalid::PlacementExpression);
        }
        expression.parse::<Expression>().map_err(|problem| Invalid::PlacementSyntax {
            expression: expression.to_owned(),
            problem: problem.to_string(),
        })?;
    }
    Ok(())
}

fn check_ephemeral_storage(document: Document<'_>) -> Result<(), Invalid> {
    let size = document.task.ephemeral_storage.as_ref().map(|storage| storage.size_in_gi_b.unwrap_or_default());
    match size {
        Some(size) if !EPHEMERAL_STORAGE_GIB.contains(&size) => {
            Err(Invalid::TaskSetting { member: "ephemeralStorage" })
        }
        _ => Ok(()),
    }
}

fn check_proxy(document: Document<'_>, proxy: &ProxyConfiguration) -> Result<(), Invalid> {
    if *document.network_mode() != NetworkMode::Awsvpc {
        return Err(Invalid::ProxyMode);
    }
    let container = text(&proxy.container_name);
    if document.container(container).is_none() {
        return Err(Invalid::ProxyContainer { container: container.to_owned() });
    }
    let pairs = list(&proxy.properties).iter().map(|pair| (text(&pair.name), text(&pair.value)));
    task_definition::proxy(pairs).map(drop).map_err(Invalid::ProxyProperties)
}

/// Isolation is a feature of Managed Instances; elsewhere it would be a promise nobody keeps.
fn check_trusted_execution(document: Document<'_>) -> Result<(), Invalid> {
    let Some(trusted) = &document.task.trusted_execution_configuration else { return Ok(()) };
    for (compatibility, launch_type) in
        [(Compatibility::Ec2, "EC2"), (Compatibility::Fargate, "FARGATE"), (Compatibility::External, "EXTERNAL")]
    {
        if document.requires(&compatibility) {
            return Err(Invalid::Compatibility { launch_type });
        }
    }
    let policy = text(&trusted.attestation_policy);
    let base64 = !policy.is_empty()
        && policy.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
        && policy.len().is_multiple_of(4);
    match trusted.isolation_mode {
        Some(IsolationMode::ConfidentialSandbox) if !base64 => Err(Invalid::AttestationPolicy),
        _ => Ok(()),
    }
}
