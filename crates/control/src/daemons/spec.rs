//! Reads what CreateDaemon and UpdateDaemon ask for.

use gantry_api::{
    Fault,
    ecs::{self, DaemonDeploymentConfiguration, DaemonPropagateTags, DeploymentConfiguration},
};
use gantry_domain::{
    Timestamp,
    arn::{Scope, TaskDefinitionKey},
};

use super::definition;
use crate::{
    capacity_providers::{Kind, kind},
    fault,
    records::{
        ClusterRecord, DaemonRevisionRecord, LaunchType, Scheduling, ServiceRevisionRecord, TaskDefinitionStatus,
    },
    services::{configuration, spec},
    view::EcsView,
    volumes,
};

/// Percent of the instances that a deployment works on at once when a request does not say.
pub(crate) const DRAIN_PERCENT_DEFAULT: f64 = 25.0;

/// The members that CreateDaemon and UpdateDaemon share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) task_definition: Option<String>,
    pub(crate) capacity_providers: Vec<String>,
    pub(crate) propagate_tags: Option<DaemonPropagateTags>,
    pub(crate) enable_ecs_managed_tags: Option<bool>,
    pub(crate) enable_execute_command: Option<bool>,
    pub(crate) critical: Option<bool>,
}

/// The revision that `asked` describes; what it does not say is as it was `before`.
pub(crate) fn revision(
    view: &EcsView,
    scope: &Scope,
    cluster: &ClusterRecord,
    asked: &Asked,
    before: Option<&DaemonRevisionRecord>,
    now: Timestamp,
) -> Result<ServiceRevisionRecord, Fault> {
    let task_definition = task_definition(view, scope, asked.task_definition.as_deref().unwrap_or_default())?;
    let propagates = asked.propagate_tags.as_ref().map(|from| *from == DaemonPropagateTags::Daemon);
    let managed_tags = asked.enable_ecs_managed_tags.or(before.map(|before| before.enable_ecs_managed_tags));
    let commands = asked.enable_execute_command.or(before.map(|before| before.enable_execute_command));
    Ok(ServiceRevisionRecord {
        created_at: now,
        task_definition,
        launch_type: LaunchType::Ec2,
        capacity_provider_strategy: Vec::new(),
        platform_version: None,
        network_configuration: None,
        volume_configurations: Vec::new(),
        image_digests: Default::default(),
        daemon: Some(DaemonRevisionRecord {
            capacity_providers: providers(view, scope, cluster, &asked.capacity_providers)?,
            critical: asked.critical.or(before.map(|before| before.critical)).unwrap_or(true),
            propagate_tags: propagates.or(before.map(|before| before.propagate_tags)).unwrap_or(false),
            enable_ecs_managed_tags: managed_tags.unwrap_or(false),
            enable_execute_command: commands.unwrap_or(false),
        }),
    })
}

fn task_definition(view: &EcsView, scope: &Scope, reference: &str) -> Result<TaskDefinitionKey, Fault> {
    let named = scope.daemon_task_definition(reference).map_err(|error| fault::task_definition_reference(&error))?;
    let (key, row) = definition::find(view, scope, &named).ok_or_else(fault::daemon_task_definition_unknown)?;
    if row.status != TaskDefinitionStatus::Active {
        return Err(fault::daemon_task_definition_inactive());
    }
    spec::check_task_definition(&row, LaunchType::Ec2)?;
    volumes::check(&row.document, LaunchType::Ec2, &[])?;
    Ok(key)
}

/// The providers by name, each once.
fn providers(view: &EcsView, scope: &Scope, cluster: &ClusterRecord, asked: &[String]) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::new();
    for text in asked {
        let name = scope.capacity_provider(text).map_err(|_| fault::capacity_provider_not_found())?.to_string();
        match kind(view, scope, &name) {
            None => return Err(fault::capacity_provider_not_found()),
            Some(Kind::Fargate) => return Err(fault::daemon_on_fargate()),
            Some(Kind::Group(_)) if !cluster.capacity_providers.contains(&name) => {
                return Err(fault::daemon_provider_elsewhere(&name));
            }
            Some(Kind::Group(_)) if !names.contains(&name) => names.push(name),
            Some(Kind::Group(_)) => {}
        }
    }
    if names.is_empty() { Err(fault::daemon_without_providers()) } else { Ok(names) }
}

/// The configuration of a daemon's deployments as that of a service, with its drain percent. The circuit breaker is
/// always on, and goes back.
pub(crate) fn deployment(
    asked: Option<&DaemonDeploymentConfiguration>,
    before: Option<(&DeploymentConfiguration, f64)>,
) -> Result<(DeploymentConfiguration, f64), Fault> {
    let drain = asked.and_then(|asked| asked.drain_percent).or(before.map(|(_, percent)| percent));
    let drain = drain.unwrap_or(DRAIN_PERCENT_DEFAULT);
    if !(0.0..=100.0).contains(&drain) {
        return Err(fault::invalid("drainPercent must be between 0.0 and 100.0."));
    }
    let alarms = asked.and_then(|asked| asked.alarms.as_ref()).map(|alarms| {
        let on = alarms.enable == Some(true);
        ecs::DeploymentAlarms { alarm_names: alarms.alarm_names.clone(), enable: Some(on), rollback: Some(on) }
    });
    let circuit_breaker = ecs::DeploymentCircuitBreaker {
        enable: Some(true),
        rollback: Some(true),
        ..ecs::DeploymentCircuitBreaker::default()
    };
    let asked = DeploymentConfiguration {
        alarms,
        bake_time_in_minutes: asked.and_then(|asked| asked.bake_time_in_minutes),
        deployment_circuit_breaker: Some(circuit_breaker),
        ..DeploymentConfiguration::default()
    };
    let merged = configuration::merged(Some(asked), before.map(|(before, _)| before), Scheduling::Daemon)?;
    Ok((merged, drain))
}
