//! `settings`, `configuration` and `serviceConnectDefaults` of a cluster.

use std::collections::BTreeMap;

use gantry_api::{
    Fault,
    ecs::{ClusterConfiguration, ClusterServiceConnectDefaultsRequest, ClusterSetting, ExecuteCommandLogging},
};
use gantry_domain::limits::NAMESPACE_LENGTH_MAX;

use crate::fault;

/// The only setting a cluster has.
pub(crate) const CONTAINER_INSIGHTS: &str = "containerInsights";

/// The settings of a request, later ones winning.
pub(crate) fn check_settings(settings: Option<&[ClusterSetting]>) -> Result<BTreeMap<String, String>, Fault> {
    let mut checked = BTreeMap::new();
    for setting in settings.unwrap_or_default() {
        let name = setting.name.as_ref().map(|name| name.as_str()).unwrap_or_default();
        let value = setting.value.as_deref().unwrap_or_default();
        if name != CONTAINER_INSIGHTS || !["enhanced", "enabled", "disabled"].contains(&value) {
            return Err(fault::cluster_setting(name, value));
        }
        checked.insert(name.to_owned(), value.to_owned());
    }
    Ok(checked)
}

/// Where ECS Exec logs go must be said when it is said that they go elsewhere.
pub(crate) fn check_configuration(configuration: Option<&ClusterConfiguration>) -> Result<(), Fault> {
    let Some(execute) = configuration.and_then(|configuration| configuration.execute_command_configuration.as_ref())
    else {
        return Ok(());
    };
    let overrides = execute.logging == Some(ExecuteCommandLogging::Override);
    match &execute.log_configuration {
        None if overrides => Err(fault::log_configuration_missing()),
        None => Ok(()),
        Some(logging) => {
            let named = |name: &Option<String>| name.as_deref().is_some_and(|name| !name.is_empty());
            let somewhere = named(&logging.cloud_watch_log_group_name) || named(&logging.s3_bucket_name);
            if overrides && somewhere { Ok(()) } else { Err(fault::log_configuration_invalid()) }
        }
    }
}

/// What becomes of the namespace: none, when a request leaves it alone; `Some(None)` when it clears it.
pub(crate) fn check_namespace(
    defaults: Option<&ClusterServiceConnectDefaultsRequest>,
) -> Result<Option<Option<String>>, Fault> {
    let Some(namespace) = defaults.map(|defaults| defaults.namespace.as_deref().unwrap_or_default()) else {
        return Ok(None);
    };
    if namespace.chars().count() > NAMESPACE_LENGTH_MAX || namespace.contains(['>', '<', '"']) {
        return Err(fault::namespace_invalid());
    }
    // The one slash allowed is the ARN's.
    if namespace.contains('/') && !namespace.starts_with("arn:") {
        return Err(fault::namespace_invalid());
    }
    Ok(Some(Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty())))
}
