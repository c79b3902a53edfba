//! What RunTask and StartTask ask for, and what services ask of each of their tasks: from wire values to a launch.

use gantry_api::{Fault, ecs};
use gantry_domain::{
    limits::{GROUP_LENGTH_MAX, STARTED_BY_LENGTH_MAX},
    placement::{Constraint, Field, Resource, Strategy},
    query::Expression,
    tags::Tags,
    task_definition::TaskRequirements,
};

use super::overrides;
use crate::{
    fault,
    launch::{NetworkRequest, TaskTemplate},
    records::{LaunchType, PlatformRecord, ServiceRevisionRecord, TaskDefinitionRecord, WaitingRecord},
    tags, task_definition,
};

/// The platform version that `LATEST` means.
const PLATFORM_LATEST: &str = "1.4.0";

/// A task of what `revision` describes. Group, starter, service, tags and providers are for the caller to fill in.
pub(crate) fn template(
    revision: &ServiceRevisionRecord,
    definition: &TaskDefinitionRecord,
    overrides: Option<ecs::TaskOverride>,
) -> Result<TaskTemplate, Fault> {
    let mut requirements = task_definition::requirements(&definition.document);
    let launch_type = revision.launch_type;
    overrides::apply(&mut requirements, &overrides.clone().unwrap_or_default(), launch_type)?;
    let given = overrides.filter(|overrides| *overrides != ecs::TaskOverride::default());
    Ok(TaskTemplate {
        group: format!("family:{}", revision.task_definition.family),
        started_by: None,
        keeper: None,
        image_digests: Default::default(),
        launch_type,
        capacity_providers: Vec::new(),
        waiting: WaitingRecord {
            network_configuration: revision.network_configuration.clone(),
            ..WaitingRecord::default()
        },
        platform: (launch_type == LaunchType::Fargate).then(|| platform(revision.platform_version.as_deref())),
        overrides: given,
        network: network(revision)?,
        volume: None,
        tags: Vec::new(),
        enable_execute_command: false,
        requirements,
    })
}

fn platform(version: Option<&str>) -> PlatformRecord {
    let version = version.filter(|version| *version != "LATEST").unwrap_or(PLATFORM_LATEST);
    PlatformRecord { version: version.to_owned(), family: "Linux".to_owned() }
}

fn network(revision: &ServiceRevisionRecord) -> Result<Option<NetworkRequest>, Fault> {
    let request = network_request(revision.network_configuration.as_ref());
    let public = request.as_ref().is_some_and(|request| request.assign_public_ip);
    if public && revision.launch_type != LaunchType::Fargate {
        return Err(fault::invalid("Assign public IP is not supported for this launch type."));
    }
    Ok(request)
}

/// What a network configuration asks for.
pub(crate) fn network_request(configuration: Option<&ecs::NetworkConfiguration>) -> Option<NetworkRequest> {
    let configuration = configuration?.awsvpc_configuration.as_ref()?;
    Some(NetworkRequest {
        subnets: configuration.subnets.clone().unwrap_or_default(),
        security_groups: configuration.security_groups.clone().unwrap_or_default(),
        assign_public_ip: configuration.assign_public_ip == Some(ecs::AssignPublicIp::Enabled),
    })
}

/// Constraints of a request together with those of the task definition.
pub(crate) fn constraints(
    requirements: &TaskRequirements,
    asked: &[ecs::PlacementConstraint],
) -> Result<Vec<Constraint>, Fault> {
    let parse = |text: &str| text.parse::<Expression>().map_err(|error| fault::expression(text, &error));
    let own = requirements.placement_expressions.iter().map(|text| parse(text).map(Constraint::MemberOf));
    let asked = asked.iter().map(|constraint| match &constraint.r#type {
        Some(ecs::PlacementConstraintType::DistinctInstance) => Ok(Constraint::DistinctInstance),
        _ => parse(constraint.expression.as_deref().unwrap_or_default()).map(Constraint::MemberOf),
    });
    own.chain(asked).collect()
}

/// Strategies of a request, checked before (see [`crate::services`]).
pub(crate) fn strategies(asked: &[ecs::PlacementStrategy]) -> Vec<Strategy> {
    let one = |strategy: &ecs::PlacementStrategy| {
        let field = strategy.field.as_deref().unwrap_or_default();
        match &strategy.r#type {
            Some(ecs::PlacementStrategyType::Spread) => Strategy::Spread(spread_field(field)),
            Some(ecs::PlacementStrategyType::Binpack) if field.eq_ignore_ascii_case("cpu") => {
                Strategy::Binpack(Resource::Cpu)
            }
            Some(ecs::PlacementStrategyType::Binpack) => Strategy::Binpack(Resource::Memory),
            _ => Strategy::Random,
        }
    };
    asked.iter().map(one).collect()
}

fn spread_field(field: &str) -> Field {
    attribute_of(field).map_or(Field::Instance, |attribute| Field::Attribute(attribute.to_owned()))
}

/// NAME of a strategy's field `attribute:NAME`.
pub(crate) fn attribute_of(field: &str) -> Option<&str> {
    let (kind, name) = field.split_once(':')?;
    kind.eq_ignore_ascii_case("attribute").then_some(name)
}

/// `startedBy` of a request.
pub(crate) fn started_by(asked: Option<String>) -> Result<Option<String>, Fault> {
    let Some(text) = asked.filter(|text| !text.is_empty()) else { return Ok(None) };
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_/".contains(letter);
    if text.chars().count() > STARTED_BY_LENGTH_MAX {
        return Err(fault::invalid(format!("startedBy can have at most {STARTED_BY_LENGTH_MAX} characters.")));
    }
    if !text.chars().all(allowed) {
        return Err(fault::invalid("startedBy contains invalid characters."));
    }
    Ok(Some(text))
}

/// `group` of a request; `service:` groups belong to services.
pub(crate) fn group(asked: Option<String>, family: &str) -> Result<String, Fault> {
    match asked.filter(|text| !text.is_empty()) {
        None => Ok(format!("family:{family}")),
        Some(text) if text.chars().count() > GROUP_LENGTH_MAX => {
            Err(fault::invalid(format!("group can have at most {GROUP_LENGTH_MAX} characters.")))
        }
        Some(text) if text.starts_with("service:") => {
            Err(fault::invalid("A group that begins with 'service:' is reserved for services."))
        }
        Some(text) => Ok(text),
    }
}

/// The tags of a new task: those of its task definition when asked for, then the request's, then the managed ones.
pub(crate) fn task_tags(
    definition: &TaskDefinitionRecord,
    propagate: Option<&ecs::PropagateTags>,
    asked: Option<&[ecs::Tag]>,
    managed: &[(&str, &str)],
) -> Result<Vec<(String, String)>, Fault> {
    let inherited = match propagate {
        Some(ecs::PropagateTags::TaskDefinition) => Tags::from_stored(definition.tags.clone()),
        Some(ecs::PropagateTags::Service) => {
            return Err(fault::invalid("propagateTags SERVICE is not valid for tasks that no service starts."));
        }
        _ => Tags::default(),
    };
    let mut all = inherited.merged(tags::parse(asked)?).map_err(|error| fault::tags(&error))?;
    for (key, value) in managed {
        all.set_managed(key, value);
    }
    Ok(all.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}
