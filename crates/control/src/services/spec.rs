//! Reads what CreateService and UpdateService ask for, and refuses what is wrong or cannot be honoured.

use gantry_api::{Fault, ecs};
use gantry_domain::{
    Timestamp,
    arn::{Scope, TaskDefinitionKey},
    capacity::strategy,
    limits::{
        ATTRIBUTE_NAME_LENGTH_MAX, PLACEMENT_CONSTRAINTS_MAX, PLACEMENT_STRATEGIES_MAX, SECURITY_GROUPS_MAX,
        SERVICE_CLIENT_TOKEN_LENGTH_MAX, SUBNETS_MAX, TASKS_PER_SERVICE_MAX,
    },
    query::Expression,
};
use sha2::{Digest, Sha256};

use crate::{
    capacity_providers, clusters, fault,
    records::{
        ClusterRecord, LaunchType, ServiceRevisionRecord, SharedRow, TaskDefinitionRecord, TaskDefinitionStatus,
    },
    task_definition,
    tasks::request,
    view::EcsView,
    volumes,
};

/// What a service revision is made of, as asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) task_definition: Option<String>,
    pub(crate) launch_type: Option<ecs::LaunchType>,
    pub(crate) capacity_provider_strategy: Vec<ecs::CapacityProviderStrategyItem>,
    pub(crate) platform_version: Option<String>,
    pub(crate) network_configuration: Option<ecs::NetworkConfiguration>,
    pub(crate) volume_configurations: Vec<ecs::ServiceVolumeConfiguration>,
}

/// The revision that `asked` describes.
pub(crate) fn revision(
    view: &EcsView,
    scope: &Scope,
    cluster: &ClusterRecord,
    asked: &Asked,
    now: Timestamp,
) -> Result<ServiceRevisionRecord, Fault> {
    let (task_definition, row) = find_task_definition(view, scope, asked.task_definition.as_deref())?;
    build((view, scope), cluster, asked, task_definition, row, now)
}

/// The same with a task definition that the service uses already, which may have been deregistered since.
pub(crate) fn revision_of_known(
    view: &EcsView,
    scope: &Scope,
    cluster: &ClusterRecord,
    asked: &Asked,
    task_definition: &TaskDefinitionKey,
    now: Timestamp,
) -> Result<ServiceRevisionRecord, Fault> {
    let row = view.namespace(scope).and_then(|space| space.task_definition(task_definition));
    let row = row.ok_or_else(|| fault::client("TaskDefinition not found."))?;
    build((view, scope), cluster, asked, task_definition.clone(), row, now)
}

fn build(
    (view, scope): (&EcsView, &Scope),
    cluster: &ClusterRecord,
    asked: &Asked,
    task_definition: TaskDefinitionKey,
    row: &TaskDefinitionRecord,
    now: Timestamp,
) -> Result<ServiceRevisionRecord, Fault> {
    let (launch_type, strategy) = launch(view, scope, cluster, asked)?;
    check_task_definition(row, launch_type)?;
    volumes::check(&row.document, launch_type, &asked.volume_configurations)?;
    Ok(ServiceRevisionRecord {
        created_at: now,
        task_definition,
        launch_type,
        capacity_provider_strategy: strategy,
        platform_version: platform_version(launch_type, asked.platform_version.as_deref())?,
        network_configuration: network(row, asked.network_configuration.as_ref())?,
        volume_configurations: asked.volume_configurations.clone(),
        image_digests: Default::default(),
        daemon: None,
    })
}

type Strategy = Vec<ecs::CapacityProviderStrategyItem>;

fn launch(
    view: &EcsView,
    scope: &Scope,
    cluster: &ClusterRecord,
    asked: &Asked,
) -> Result<(LaunchType, Strategy), Fault> {
    let strategy = &asked.capacity_provider_strategy;
    if let Some(launch_type) = &asked.launch_type {
        if !strategy.is_empty() {
            return Err(fault::invalid("Specify either Launch Type or Capacity Provider Strategy, but not both."));
        }
        let known = LaunchType::ALL.into_iter().find(|known| known.to_wire() == *launch_type);
        let known = known.ok_or_else(|| fault::unsupported(&format!("launchType '{}'", launch_type.as_str())))?;
        return Ok((known, Vec::new()));
    }
    let strategy = if strategy.is_empty() { &cluster.default_capacity_provider_strategy } else { strategy };
    if strategy.is_empty() {
        return Ok((LaunchType::Ec2, Vec::new()));
    }
    let checked = clusters::check_strategy(view, scope, strategy, &cluster.capacity_providers)?;
    if strategy::check(&clusters::items(&checked)) == Err(strategy::Invalid::Weights) {
        return Err(fault::invalid("At least one capacity provider must have a weight greater than 0."));
    }
    let first = checked.first().and_then(|item| item.capacity_provider.as_deref()).unwrap_or_default();
    let fargate = matches!(capacity_providers::kind(view, scope, first), Some(capacity_providers::Kind::Fargate));
    Ok((if fargate { LaunchType::Fargate } else { LaunchType::Ec2 }, checked))
}

/// The revision a reference names, or the latest ACTIVE one of the family it names.
fn find_task_definition<'a>(
    view: &'a EcsView,
    scope: &Scope,
    reference: Option<&str>,
) -> Result<(TaskDefinitionKey, &'a SharedRow<TaskDefinitionRecord>), Fault> {
    let reference = reference.filter(|text| !text.is_empty());
    let reference = reference.ok_or_else(|| fault::invalid("TaskDefinition can not be blank."))?;
    let not_found = || fault::client("TaskDefinition not found.");
    let named = scope.task_definition(reference).map_err(|error| fault::elsewhere(&error))?;
    let family = view.namespace(scope).and_then(|space| space.families().get(&named.family)).ok_or_else(not_found)?;
    let (number, row) = match named.revision {
        Some(revision) => family.revisions().get_key_value(&revision.get()).map(|(number, row)| (*number, row)),
        None => family.latest_active(),
    }
    .ok_or_else(not_found)?;
    if row.status != TaskDefinitionStatus::Active {
        return Err(fault::client("TaskDefinition is inactive"));
    }
    let revision = gantry_domain::arn::Revision::new(number).ok_or_else(not_found)?;
    Ok((TaskDefinitionKey { family: named.family, revision }, row))
}

pub(crate) fn check_task_definition(row: &TaskDefinitionRecord, launch_type: LaunchType) -> Result<(), Fault> {
    let wanted = ecs::Compatibility::from(launch_type.as_str());
    let can = row.document.compatibilities.as_deref().unwrap_or_default();
    if !can.contains(&wanted) {
        return Err(fault::invalid(format!("Task definition does not support launch_type {}.", launch_type.as_str())));
    }
    match task_definition::refusals(&row.document, &launch_type.to_wire()).first() {
        Some(refusal) => Err(fault::unsupported(&refusal.to_string())),
        None => Ok(()),
    }
}

fn platform_version(launch_type: LaunchType, asked: Option<&str>) -> Result<Option<String>, Fault> {
    let asked = asked.filter(|version| !version.is_empty());
    match (launch_type, asked) {
        (LaunchType::Fargate, None) => Ok(Some("LATEST".to_owned())),
        (LaunchType::Fargate, Some(version @ ("LATEST" | "1.4.0"))) => Ok(Some(version.to_owned())),
        (LaunchType::Fargate, Some(_)) => {
            Err(ecs::fault::platform_unknown_exception("The specified platform version doesn't exist."))
        }
        (_, None) => Ok(None),
        (other, Some(_)) => Err(fault::invalid(format!(
            "The platform version must be null when specifying an {} launch type.",
            other.as_str()
        ))),
    }
}

fn network(
    row: &TaskDefinitionRecord,
    asked: Option<&ecs::NetworkConfiguration>,
) -> Result<Option<ecs::NetworkConfiguration>, Fault> {
    let awsvpc = row.document.network_mode == Some(ecs::NetworkMode::Awsvpc);
    let configuration = asked.and_then(|asked| asked.awsvpc_configuration.as_ref());
    let Some(configuration) = configuration else {
        return match awsvpc {
            false => Ok(None),
            true => {
                Err(fault::invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified."))
            }
        };
    };
    if !awsvpc {
        return Err(fault::invalid(
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ));
    }
    match configuration.subnets.as_ref().map_or(0, Vec::len) {
        0 => return Err(fault::invalid("subnets can not be empty.")),
        1..=SUBNETS_MAX => {}
        _ => return Err(fault::invalid(format!("subnets can have at most {SUBNETS_MAX} items."))),
    }
    if configuration.security_groups.as_ref().map_or(0, Vec::len) > SECURITY_GROUPS_MAX {
        return Err(fault::invalid(format!("securityGroups can have at most {SECURITY_GROUPS_MAX} items.")));
    }
    Ok(asked.cloned())
}

/// The client token of a request that creates a service or a task set.
pub(crate) fn client_token(token: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    if token.len() > SERVICE_CLIENT_TOKEN_LENGTH_MAX || !token.bytes().all(|byte| (33..=126).contains(&byte)) {
        return Err(fault::invalid(format!(
            "clientToken can have up to {SERVICE_CLIENT_TOKEN_LENGTH_MAX} characters in the range 33-126."
        )));
    }
    Ok(Some(token.to_owned()))
}

/// What a request says, to compare a repeated one with.
pub(crate) fn digest(request: &impl serde::Serialize) -> String {
    // Wire documents have string keys only, so writing them cannot fail.
    hex::encode(Sha256::digest(serde_json::to_vec(request).unwrap_or_default()))
}

/// How many tasks are wanted.
pub(crate) fn desired_count(asked: i32) -> Result<u32, Fault> {
    let count = u32::try_from(asked).map_err(|_| fault::invalid("desiredCount cannot be a negative number."))?;
    if count > TASKS_PER_SERVICE_MAX {
        return Err(fault::invalid("Desired count exceeds limit."));
    }
    Ok(count)
}

/// Refuses the first member that was given and cannot be honoured.
pub(crate) fn refuse_first(given: &[(bool, &str)]) -> Result<(), Fault> {
    match given.iter().find(|(given, _)| *given) {
        Some((_, member)) => Err(fault::unsupported(member)),
        None => Ok(()),
    }
}

/// Placement of a service's tasks; Fargate places by itself.
pub(crate) fn check_placement(
    launch_type: LaunchType,
    constraints: &[ecs::PlacementConstraint],
    strategies: &[ecs::PlacementStrategy],
) -> Result<(), Fault> {
    if launch_type == LaunchType::Fargate {
        if !constraints.is_empty() {
            return Err(fault::invalid("Placement constraints are not supported with FARGATE launch type."));
        }
        if !strategies.is_empty() {
            return Err(fault::invalid("Placement strategies are not supported with FARGATE launch type."));
        }
    }
    if constraints.len() > PLACEMENT_CONSTRAINTS_MAX {
        return Err(fault::invalid(format!(
            "placementConstraints can have at most {PLACEMENT_CONSTRAINTS_MAX} items."
        )));
    }
    if strategies.len() > PLACEMENT_STRATEGIES_MAX {
        return Err(fault::invalid(format!("placementStrategy can have at most {PLACEMENT_STRATEGIES_MAX} items.")));
    }
    constraints.iter().try_for_each(check_constraint)?;
    strategies.iter().try_for_each(check_strategy)
}

/// A task has so many constraints at most, those of its task definition among them.
pub(crate) fn check_constraint_count(
    view: &EcsView,
    scope: &Scope,
    definition: &TaskDefinitionKey,
    asked: &[ecs::PlacementConstraint],
) -> Result<(), Fault> {
    let row = view.namespace(scope).and_then(|space| space.task_definition(definition));
    let own = row.and_then(|row| row.document.placement_constraints.as_ref()).map_or(0, Vec::len);
    if asked.is_empty() || own + asked.len() <= PLACEMENT_CONSTRAINTS_MAX {
        return Ok(());
    }
    Err(fault::invalid(format!("placementConstraints can have at most {PLACEMENT_CONSTRAINTS_MAX} items.")))
}

/// What a DAEMON service cannot have.
pub(crate) fn check_daemon(launch_type: LaunchType, strategies: &[ecs::PlacementStrategy]) -> Result<(), Fault> {
    if launch_type == LaunchType::Fargate {
        return Err(fault::invalid("The daemon scheduling strategy is not supported on FARGATE."));
    }
    if !strategies.is_empty() {
        return Err(fault::invalid("Placement strategies are not supported with the DAEMON scheduling strategy."));
    }
    Ok(())
}

/// A DAEMON service's tasks have no volumes of their own.
pub(crate) fn check_daemon_volumes(volumes: Option<&[ecs::ServiceVolumeConfiguration]>) -> Result<(), Fault> {
    match volumes.unwrap_or_default() {
        [] => Ok(()),
        _ => Err(fault::invalid("Volume configurations are not supported with the DAEMON scheduling strategy.")),
    }
}

fn check_constraint(constraint: &ecs::PlacementConstraint) -> Result<(), Fault> {
    use ecs::PlacementConstraintType as Type;
    let expression = constraint.expression.as_deref().filter(|text| !text.is_empty());
    match (&constraint.r#type, expression) {
        (Some(Type::DistinctInstance), None) => Ok(()),
        (Some(Type::DistinctInstance), Some(_)) => {
            Err(fault::invalid("Expression is not valid for placement constraint type distinctInstance."))
        }
        (Some(Type::MemberOf), Some(text)) => {
            text.parse::<Expression>().map(|_| ()).map_err(|error| fault::expression(text, &error))
        }
        (Some(Type::MemberOf), None) => {
            Err(fault::invalid("Expression is required for placement constraint type memberOf."))
        }
        _ => Err(fault::invalid("Invalid placement constraint type.")),
    }
}

fn check_strategy(strategy: &ecs::PlacementStrategy) -> Result<(), Fault> {
    use ecs::PlacementStrategyType as Type;
    let field = strategy.field.as_deref().unwrap_or_default();
    let lower = field.to_ascii_lowercase();
    let good = match &strategy.r#type {
        Some(Type::Random) => field.is_empty(),
        Some(Type::Spread) => match request::attribute_of(field) {
            Some(name) => is_attribute_name(name),
            None => matches!(lower.as_str(), "instanceid" | "host"),
        },
        Some(Type::Binpack) => matches!(lower.as_str(), "cpu" | "memory"),
        _ => return Err(fault::invalid("Invalid placement strategy type.")),
    };
    if good { Ok(()) } else { Err(fault::invalid(format!("Invalid placement strategy field: {field}"))) }
}

fn is_attribute_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/\\".contains(&byte);
    (1..=ATTRIBUTE_NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(allowed)
}
