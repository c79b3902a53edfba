//! Log configurations and log routers of a desired task.

use gantry_api::ecs;

use crate::{
    firelens,
    task::{Condition, ContainerDefinition, Dependency, Firelens, LogConfiguration, RouterKind},
};

/// Log drivers that the agent has.
pub(super) const LOG_DRIVERS: [&str; 10] =
    ["", firelens::DRIVER, "awslogs", "fluentd", "gelf", "journald", "json-file", "none", "splunk", "syslog"];

pub(super) fn log_configuration(wire: ecs::LogConfiguration) -> LogConfiguration {
    LogConfiguration {
        driver: wire.log_driver.map(|driver| driver.as_str().to_owned()).unwrap_or_default(),
        options: wire.options.unwrap_or_default(),
        secret_options: wire.secret_options.unwrap_or_default().into_iter().filter_map(|secret| secret.name).collect(),
    }
}

pub(super) fn router(wire: ecs::FirelensConfiguration) -> Firelens {
    let options = wire.options.unwrap_or_default();
    let kind = match wire.r#type {
        Some(ecs::FirelensConfigurationType::Fluentd) => RouterKind::Fluentd,
        _ => RouterKind::Fluentbit,
    };
    let is_fetched = options.get("config-file-type").is_some_and(|place| place == "s3");
    Firelens {
        kind,
        metadata: options.get("enable-ecs-log-metadata").is_none_or(|value| value != "false"),
        config_file: match is_fetched {
            true => Some(firelens::fetched_file(kind).to_owned()),
            false => options.get("config-file-value").cloned(),
        },
        is_fetched,
    }
}

/// Containers that send to the task's log router start after it, unless the router itself waits for somebody.
pub(super) fn start_router_first(containers: &mut [ContainerDefinition]) {
    let router = containers.iter().find(|container| container.firelens.is_some());
    let Some(router) = router.filter(|router| router.depends_on.is_empty()).map(|router| router.name.clone()) else {
        return;
    };
    for container in containers.iter_mut().filter(|container| container.log.driver == firelens::DRIVER) {
        if container.depends_on.iter().all(|on| on.container != router) {
            container.depends_on.push(Dependency { container: router.clone(), condition: Condition::Start });
        }
    }
}

/// Log options of its senders that are secrets are variables of the router.
pub(super) fn hold_options_for_router(containers: &mut [ContainerDefinition]) {
    let mut senders = containers.iter().filter(|container| container.log.driver == firelens::DRIVER);
    let has_secrets = senders.any(|sender| !sender.log.secret_options.is_empty());
    for router in containers.iter_mut().filter(|container| container.firelens.is_some()) {
        router.has_held_environment |= has_secrets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_tests::container;

    #[test]
    fn a_configuration_in_a_bucket_is_included_where_it_is_put() {
        use ecs::FirelensConfigurationType::{Fluentbit, Fluentd};
        for (kind, place, value, config_file, is_fetched) in [
            (Fluentbit, "file", "/extra.conf", "/extra.conf", false),
            (Fluentbit, "s3", "arn:aws:s3:::b/k", "/fluent-bit/etc/external.conf", true),
            (Fluentd, "s3", "arn:aws:s3:::b/k", "/fluentd/etc/external.conf", true),
        ] {
            let options = [("config-file-type", place), ("config-file-value", value)];
            let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let router = router(ecs::FirelensConfiguration { r#type: Some(kind), options: Some(options.into()) });
            assert_eq!((router.config_file.as_deref(), router.is_fetched), (Some(config_file), is_fetched));
        }
    }

    #[test]
    fn a_router_holds_variables_when_one_of_its_senders_has_secrets() {
        let sender = |driver: &str, secrets: &[&str]| ContainerDefinition {
            log: LogConfiguration {
                driver: driver.to_owned(),
                secret_options: secrets.iter().map(|name| (*name).to_owned()).collect(),
                ..LogConfiguration::default()
            },
            ..container("app")
        };
        for (sender, holds) in [
            (sender(firelens::DRIVER, &["apikey"]), true),
            (sender(firelens::DRIVER, &[]), false),
            (sender("splunk", &["splunk-token"]), false),
        ] {
            let options = ecs::FirelensConfiguration::default();
            let router = ContainerDefinition { firelens: Some(router(options)), ..container("router") };
            let mut containers = [sender, router];
            hold_options_for_router(&mut containers);
            assert_eq!(containers.map(|container| container.has_held_environment), [false, holds]);
        }
    }
}
