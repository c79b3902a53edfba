//! What a provider is asked to do with its Auto Scaling group.

use gantry_api::{
    Fault,
    ecs::{
        AutoScalingGroupProvider, AutoScalingGroupProviderUpdate, ManagedDraining, ManagedScaling,
        ManagedScalingStatus, ManagedTerminationProtection,
    },
};
use gantry_domain::{
    arn::Scope,
    limits::{
        INSTANCE_WARMUP_SECONDS_DEFAULT, NAME_LENGTH_MAX, SCALING_STEP_SIZE_MAX, SCALING_STEP_SIZE_MIN,
        TARGET_CAPACITY_MAX,
    },
};

use crate::fault;

/// The group of a new provider, defaults filled in. The numbers are in their ranges: the model has them.
pub(crate) fn created(scope: &Scope, asked: &AutoScalingGroupProvider) -> Result<AutoScalingGroupProvider, Fault> {
    let group = asked.auto_scaling_group_arn.clone().unwrap_or_default();
    if !is_group(scope, &group) {
        return Err(fault::auto_scaling_group_invalid());
    }
    let protection = asked.managed_termination_protection.clone();
    let filled = AutoScalingGroupProvider {
        auto_scaling_group_arn: Some(group),
        managed_scaling: Some(scaling(asked.managed_scaling.as_ref(), None)),
        managed_termination_protection: Some(protection.unwrap_or(ManagedTerminationProtection::Disabled)),
        managed_draining: Some(asked.managed_draining.clone().unwrap_or(ManagedDraining::Enabled)),
    };
    check(filled)
}

/// The group after an update; what the update does not name stays.
pub(crate) fn changed(
    current: &AutoScalingGroupProvider,
    update: &AutoScalingGroupProviderUpdate,
) -> Result<AutoScalingGroupProvider, Fault> {
    let protection = update.managed_termination_protection.clone();
    check(AutoScalingGroupProvider {
        auto_scaling_group_arn: current.auto_scaling_group_arn.clone(),
        managed_scaling: Some(scaling(update.managed_scaling.as_ref(), current.managed_scaling.as_ref())),
        managed_termination_protection: protection.or_else(|| current.managed_termination_protection.clone()),
        managed_draining: update.managed_draining.clone().or_else(|| current.managed_draining.clone()),
    })
}

/// A block without a status switches scaling on; no block leaves it as it is, or off.
fn scaling(asked: Option<&ManagedScaling>, current: Option<&ManagedScaling>) -> ManagedScaling {
    let number = |of: fn(&ManagedScaling) -> Option<i32>, default: i32| {
        Some(asked.and_then(of).or_else(|| current.and_then(of)).unwrap_or(default))
    };
    let status = match asked {
        Some(asked) => asked.status.clone().unwrap_or(ManagedScalingStatus::Enabled),
        None => current.and_then(|current| current.status.clone()).unwrap_or(ManagedScalingStatus::Disabled),
    };
    ManagedScaling {
        status: Some(status),
        target_capacity: number(|scaling| scaling.target_capacity, TARGET_CAPACITY_MAX),
        minimum_scaling_step_size: number(|scaling| scaling.minimum_scaling_step_size, SCALING_STEP_SIZE_MIN),
        maximum_scaling_step_size: number(|scaling| scaling.maximum_scaling_step_size, SCALING_STEP_SIZE_MAX),
        instance_warmup_period: number(|scaling| scaling.instance_warmup_period, INSTANCE_WARMUP_SECONDS_DEFAULT),
    }
}

fn check(group: AutoScalingGroupProvider) -> Result<AutoScalingGroupProvider, Fault> {
    let scaling = group.managed_scaling.as_ref();
    let steps = scaling.map(|scaling| (scaling.minimum_scaling_step_size, scaling.maximum_scaling_step_size));
    if steps.is_some_and(|(least, most)| least > most) {
        return Err(fault::scaling_steps());
    }
    let managed = scaling.and_then(|scaling| scaling.status.as_ref()) == Some(&ManagedScalingStatus::Enabled);
    let protected = group.managed_termination_protection == Some(ManagedTerminationProtection::Enabled);
    if protected && !managed { Err(fault::termination_protection()) } else { Ok(group) }
}

/// The name of a group, or its ARN in this account and region.
fn is_group(scope: &Scope, text: &str) -> bool {
    let is_name = |name: &str| (1..=NAME_LENGTH_MAX).contains(&name.len()) && !name.contains(':');
    if !text.starts_with("arn:") {
        return is_name(text);
    }
    // arn:PARTITION:autoscaling:REGION:ACCOUNT:autoScalingGroup:UUID:autoScalingGroupName/NAME
    match text.splitn(8, ':').collect::<Vec<_>>()[..] {
        [_, _, "autoscaling", region, account, "autoScalingGroup", _, name] => {
            region == scope.region
                && account == scope.account
                && name.strip_prefix("autoScalingGroupName/").is_some_and(is_name)
        }
        _ => false,
    }
}
