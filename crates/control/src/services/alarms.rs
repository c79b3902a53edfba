//! The alarms that a service's deployments watch.

use gantry_api::{alarm::AlarmState, ecs};
use gantry_domain::arn::Scope;

use super::configuration;
use crate::view::EcsView;

/// Those that are in ALARM.
pub(crate) fn firing(view: &EcsView, scope: &Scope, configuration: &ecs::DeploymentConfiguration) -> Vec<String> {
    let Some(space) = view.namespace(scope) else { return Vec::new() };
    let fires = |name: &&String| space.alarms().get(*name).is_some_and(|row| row.state == AlarmState::Alarm);
    names(configuration).iter().filter(fires).cloned().collect()
}

/// Those that are watched.
pub(crate) fn names(configuration: &ecs::DeploymentConfiguration) -> &[String] {
    configuration::alarms(configuration).and_then(|alarms| alarms.alarm_names.as_deref()).unwrap_or_default()
}

/// How long a deployment is watched after it has reached its goal: as configured, or for as long as its alarms look
/// back.
pub(crate) fn bake_ms(view: &EcsView, scope: &Scope, configuration: &ecs::DeploymentConfiguration) -> i64 {
    let given = configuration::minutes_ms(configuration.bake_time_in_minutes);
    let Some(space) = view.namespace(scope).filter(|_| given == 0) else { return given };
    let seconds = names(configuration).iter().filter_map(|name| space.alarms().get(name)?.evaluation_seconds.into());
    i64::from(seconds.max().unwrap_or(0u32)) * 1000
}
