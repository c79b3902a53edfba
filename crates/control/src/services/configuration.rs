//! `deploymentConfiguration`: what is asked, merged with what was, checked, and read as the domain wants it.

use gantry_api::{Fault, ecs};
use gantry_domain::{
    deployment::{CircuitBreaker, DeploymentLimits, EarlySuccess, Threshold},
    limits::{DEPLOYMENT_ALARMS_MAX, DEPLOYMENT_MINUTES_MAX},
};

use super::hooks;
use crate::{fault, records::Scheduling};

/// The configuration with defaults (or what it was before) filled in.
pub(crate) fn merged(
    asked: Option<ecs::DeploymentConfiguration>,
    before: Option<&ecs::DeploymentConfiguration>,
    scheduling: Scheduling,
) -> Result<ecs::DeploymentConfiguration, Fault> {
    use ecs::DeploymentStrategy as Strategy;
    let asked = asked.unwrap_or_default();
    let new = before.is_none();
    let before = before.cloned().unwrap_or_else(|| defaults(scheduling));
    let strategy = asked.strategy.clone().or_else(|| before.strategy.clone()).unwrap_or(Strategy::Rolling);
    check_members(&asked, &strategy, scheduling)?;
    let becomes_blue_green = strategy == Strategy::BlueGreen && (new || before.strategy != Some(Strategy::BlueGreen));
    if becomes_blue_green && asked.bake_time_in_minutes.is_none() {
        return Err(fault::invalid("bakeTimeInMinutes is required for the BLUE_GREEN deployment strategy."));
    }
    let rolling = strategy == Strategy::Rolling;
    let merged = ecs::DeploymentConfiguration {
        alarms: asked.alarms.or(before.alarms),
        deployment_circuit_breaker: asked.deployment_circuit_breaker.or(before.deployment_circuit_breaker),
        maximum_percent: asked.maximum_percent.or(before.maximum_percent),
        minimum_healthy_percent: asked.minimum_healthy_percent.or(before.minimum_healthy_percent),
        bake_time_in_minutes: asked.bake_time_in_minutes.or(before.bake_time_in_minutes),
        // What belongs to another strategy than the new one goes.
        lifecycle_hooks: asked.lifecycle_hooks.or(before.lifecycle_hooks).filter(|_| !rolling).map(hooks::filled_in),
        linear_configuration: (strategy == Strategy::Linear)
            .then(|| linear(asked.linear_configuration.or(before.linear_configuration))),
        canary_configuration: (strategy == Strategy::Canary)
            .then(|| canary(asked.canary_configuration.or(before.canary_configuration))),
        early_success_criteria: asked.early_success_criteria.or(before.early_success_criteria).filter(|_| rolling),
        strategy: Some(strategy),
    };
    check(&merged, scheduling)?;
    Ok(merged)
}

fn defaults(scheduling: Scheduling) -> ecs::DeploymentConfiguration {
    let DeploymentLimits { minimum_healthy_percent, maximum_percent } = match scheduling {
        Scheduling::Replica => DeploymentLimits::REPLICA,
        Scheduling::Daemon => DeploymentLimits::DAEMON,
    };
    ecs::DeploymentConfiguration {
        deployment_circuit_breaker: Some(ecs::DeploymentCircuitBreaker {
            enable: Some(false),
            rollback: Some(false),
            ..ecs::DeploymentCircuitBreaker::default()
        }),
        maximum_percent: i32::try_from(maximum_percent).ok(),
        minimum_healthy_percent: i32::try_from(minimum_healthy_percent).ok(),
        strategy: Some(ecs::DeploymentStrategy::Rolling),
        bake_time_in_minutes: Some(0),
        ..ecs::DeploymentConfiguration::default()
    }
}

fn linear(given: Option<ecs::LinearConfiguration>) -> ecs::LinearConfiguration {
    let given = given.unwrap_or_default();
    ecs::LinearConfiguration {
        step_percent: given.step_percent.or(Some(10.0)),
        step_bake_time_in_minutes: given.step_bake_time_in_minutes.or(Some(6)),
    }
}

fn canary(given: Option<ecs::CanaryConfiguration>) -> ecs::CanaryConfiguration {
    let given = given.unwrap_or_default();
    ecs::CanaryConfiguration {
        canary_percent: given.canary_percent.or(Some(5.0)),
        canary_bake_time_in_minutes: given.canary_bake_time_in_minutes.or(Some(10)),
    }
}

/// What was given must belong to the strategy.
fn check_members(
    asked: &ecs::DeploymentConfiguration,
    strategy: &ecs::DeploymentStrategy,
    scheduling: Scheduling,
) -> Result<(), Fault> {
    use ecs::DeploymentStrategy as Strategy;
    let only = |given: bool, member: &str, wanted: &str| match given {
        true => Err(fault::invalid(format!("{member} can only be specified with the {wanted} deployment strategy."))),
        false => Ok(()),
    };
    only(asked.linear_configuration.is_some() && *strategy != Strategy::Linear, "linearConfiguration", "LINEAR")?;
    only(asked.canary_configuration.is_some() && *strategy != Strategy::Canary, "canaryConfiguration", "CANARY")?;
    let rolling = *strategy == Strategy::Rolling;
    let early = asked.early_success_criteria.as_ref().is_some_and(|early| early.enable == Some(true));
    only(early && !rolling, "earlySuccessCriteria", "ROLLING")?;
    let hooks = asked.lifecycle_hooks.as_ref().is_some_and(|hooks| !hooks.is_empty());
    only(hooks && rolling, "lifecycleHooks", "BLUE_GREEN, LINEAR or CANARY")?;
    if scheduling == Scheduling::Daemon && !rolling {
        return Err(fault::invalid(format!(
            "The {} deployment strategy is not supported for services that use the DAEMON scheduling strategy.",
            strategy.as_str()
        )));
    }
    Ok(())
}

fn check(merged: &ecs::DeploymentConfiguration, scheduling: Scheduling) -> Result<(), Fault> {
    let (minimum, maximum) = (merged.minimum_healthy_percent.unwrap_or(0), merged.maximum_percent.unwrap_or(0));
    if minimum < 0 || maximum < 0 {
        return Err(fault::invalid("minimumHealthyPercent and maximumPercent cannot be negative numbers."));
    }
    if maximum == 0 || maximum < minimum {
        return Err(fault::invalid("maximumPercent must be greater than 0 and not less than minimumHealthyPercent."));
    }
    if scheduling == Scheduling::Daemon && maximum != 100 {
        return Err(fault::invalid(
            "The maximumPercent must be 100 for services that use the DAEMON scheduling strategy.",
        ));
    }
    let threshold = merged.deployment_circuit_breaker.as_ref();
    if let Some(threshold) = threshold.and_then(|breaker| breaker.threshold_configuration.as_ref())
        && !matches!(threshold.value, Some(1..))
    {
        return Err(fault::invalid("The circuit breaker threshold value must be greater than 0."));
    }
    minutes("bakeTimeInMinutes", merged.bake_time_in_minutes)?;
    if let Some(linear) = &merged.linear_configuration {
        percent("stepPercent", linear.step_percent, 3.0)?;
        minutes("stepBakeTimeInMinutes", linear.step_bake_time_in_minutes)?;
    }
    if let Some(canary) = &merged.canary_configuration {
        percent("canaryPercent", canary.canary_percent, 0.1)?;
        minutes("canaryBakeTimeInMinutes", canary.canary_bake_time_in_minutes)?;
    }
    if let Some(alarms) = merged.alarms.as_ref().filter(|alarms| alarms.enable == Some(true)) {
        check_alarms(alarms)?;
    }
    if let Some(early) = merged.early_success_criteria.as_ref().filter(|early| early.enable == Some(true))
        && early.healthy_percent.is_some_and(|percent| percent < minimum)
    {
        return Err(fault::invalid("healthyPercent cannot be less than minimumHealthyPercent."));
    }
    hooks::check(merged.lifecycle_hooks.as_deref().unwrap_or_default())
}

fn check_alarms(alarms: &ecs::DeploymentAlarms) -> Result<(), Fault> {
    let names = alarms.alarm_names.as_deref().unwrap_or_default();
    if names.is_empty() {
        return Err(fault::invalid("alarmNames can not be empty when alarms are enabled."));
    }
    if names.len() > DEPLOYMENT_ALARMS_MAX {
        return Err(fault::invalid(format!("alarmNames can have at most {DEPLOYMENT_ALARMS_MAX} items.")));
    }
    match names.iter().find(|name| !gantry_api::alarm::is_name(name)) {
        Some(name) => Err(fault::invalid(format!("Invalid alarm name: {name}"))),
        None => Ok(()),
    }
}

fn minutes(member: &str, value: Option<i32>) -> Result<(), Fault> {
    match value {
        Some(value) if !(0..=DEPLOYMENT_MINUTES_MAX).contains(&value) => {
            Err(fault::invalid(format!("{member} must be between 0 and {DEPLOYMENT_MINUTES_MAX}.")))
        }
        _ => Ok(()),
    }
}

/// Between `least` and 100, in tenths.
fn percent(member: &str, value: Option<f64>, least: f64) -> Result<(), Fault> {
    let Some(value) = value else { return Ok(()) };
    let tenths = value * 10.0;
    if (least..=100.0).contains(&value) && (tenths - tenths.round()).abs() < 1e-6 {
        return Ok(());
    }
    Err(fault::invalid(format!("{member} must be between {least:.1} and 100.0, in steps of 0.1.")))
}

/// The two percentages of a stored configuration, which always has them.
pub(crate) fn limits(configuration: &ecs::DeploymentConfiguration) -> DeploymentLimits {
    let percent = |value: Option<i32>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    let DeploymentLimits { minimum_healthy_percent, maximum_percent } = DeploymentLimits::REPLICA;
    DeploymentLimits {
        minimum_healthy_percent: percent(configuration.minimum_healthy_percent, minimum_healthy_percent),
        maximum_percent: percent(configuration.maximum_percent, maximum_percent),
    }
}

/// The circuit breaker, when it is enabled.
pub(crate) fn circuit_breaker(configuration: &ecs::DeploymentConfiguration) -> Option<CircuitBreaker> {
    let breaker = configuration.deployment_circuit_breaker.as_ref().filter(|breaker| breaker.enable == Some(true))?;
    Some(CircuitBreaker {
        threshold: threshold(configuration),
        rollback: breaker.rollback == Some(true),
        reset_on_healthy_task: breaker.reset_on_healthy_task != Some(false),
    })
}

/// When the circuit breaker trips, or would.
pub(crate) fn threshold(configuration: &ecs::DeploymentConfiguration) -> Threshold {
    let breaker = configuration.deployment_circuit_breaker.as_ref();
    let Some(given) = breaker.and_then(|breaker| breaker.threshold_configuration.as_ref()) else {
        return Threshold::DEFAULT;
    };
    let value = given.value.and_then(|value| u32::try_from(value).ok());
    match (&given.r#type, value) {
        (Some(ecs::ThresholdType::Count), Some(value)) => Threshold::Count(value),
        (Some(ecs::ThresholdType::UnboundedPercent), Some(value)) => Threshold::UnboundedPercent(value),
        (_, Some(value)) => Threshold::BoundedPercent(value),
        (_, None) => Threshold::DEFAULT,
    }
}

/// The criteria of early success, when they are enabled.
pub(crate) fn early_success(configuration: &ecs::DeploymentConfiguration) -> Option<EarlySuccess> {
    let early = configuration.early_success_criteria.as_ref().filter(|early| early.enable == Some(true))?;
    Some(EarlySuccess {
        healthy_percent: early.healthy_percent.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(100),
        cleanup_deferred: early.source_service_revision_cleanup == Some(ecs::ServiceRevisionCleanup::Deferred),
    })
}

/// The alarms, when they are enabled.
pub(crate) fn alarms(configuration: &ecs::DeploymentConfiguration) -> Option<&ecs::DeploymentAlarms> {
    configuration.alarms.as_ref().filter(|alarms| alarms.enable == Some(true))
}

/// Minutes of a stored configuration, in milliseconds.
pub(crate) fn minutes_ms(minutes: Option<i32>) -> i64 {
    i64::from(minutes.unwrap_or(0)) * 60_000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ecs::{DeploymentConfiguration, DeploymentStrategy as Strategy};

    use super::*;

    fn asked(strategy: Strategy) -> DeploymentConfiguration {
        DeploymentConfiguration {
            strategy: Some(strategy),
            bake_time_in_minutes: Some(3),
            ..DeploymentConfiguration::default()
        }
    }

    #[test]
    fn a_configuration_keeps_what_was_said_before_and_drops_what_its_strategy_does_not_know() {
        let linear = merged(Some(asked(Strategy::Linear)), None, Scheduling::Replica).unwrap();
        let steps = linear.linear_configuration.clone().unwrap();
        assert_eq!((steps.step_percent, steps.step_bake_time_in_minutes), (Some(10.0), Some(6)));
        let more = DeploymentConfiguration { maximum_percent: Some(150), ..DeploymentConfiguration::default() };
        let next = merged(Some(more), Some(&linear), Scheduling::Replica).unwrap();
        assert_eq!(next, DeploymentConfiguration { maximum_percent: Some(150), ..linear.clone() });
        let canary = merged(Some(asked(Strategy::Canary)), Some(&linear), Scheduling::Replica).unwrap();
        assert_eq!(canary.linear_configuration, None);
        assert_eq!(canary.canary_configuration.unwrap().canary_percent, Some(5.0));
    }

    #[test]
    fn hooks_are_filled_in_and_checked() {
        let with = |hook: ecs::DeploymentLifecycleHook| {
            let hooks = Some(vec![hook]);
            let asked = DeploymentConfiguration { lifecycle_hooks: hooks, ..asked(Strategy::BlueGreen) };
            merged(Some(asked), None, Scheduling::Replica)
        };
        let hook = |target: &str, stage: &str| ecs::DeploymentLifecycleHook {
            hook_target_arn: Some(target.to_owned()),
            lifecycle_stages: Some(vec![ecs::DeploymentLifecycleHookStage::from(stage)]),
            ..ecs::DeploymentLifecycleHook::default()
        };
        let kept = with(hook("https://h/x", "PRODUCTION_TRAFFIC_SHIFT")).unwrap().lifecycle_hooks.unwrap();
        let timeout = kept[0].timeout_configuration.clone().unwrap();
        assert_eq!(timeout.timeout_in_minutes, Some(1440));
        assert_eq!(timeout.action, Some(ecs::DeploymentLifecycleHookAction::Rollback));
        for target in ["", "http://", "https:///x", "http://h/a b", "h:80", "arn:aws:ecs:r:1:cluster/c"] {
            assert_eq!(with(hook(target, "PRE_SCALE_UP")).unwrap_err().code, "InvalidParameterException", "{target}");
        }
        let lambda = with(hook("arn:aws:lambda:us-east-1:1:function:f", "PRE_SCALE_UP")).unwrap_err();
        assert_eq!(lambda.code, "UnsupportedFeatureException");
        assert!(with(hook("http://h", "SCALE_UP")).is_err());
        let details = Some(serde_json::json!("not an object"));
        assert!(
            with(ecs::DeploymentLifecycleHook { hook_details: details, ..hook("http://h", "PRE_SCALE_UP") }).is_err()
        );
    }

    #[test]
    fn percents_are_tenths() {
        for (value, good) in [(0.1, true), (99.9, true), (100.0, true), (0.0, false), (5.25, false), (100.1, false)] {
            assert_eq!(percent("canaryPercent", Some(value), 0.1).is_ok(), good, "{value}");
        }
        assert!(percent("canaryPercent", Some(f64::NAN), 0.1).is_err());
    }
}
