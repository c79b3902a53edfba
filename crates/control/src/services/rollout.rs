//! Deployments with two sides: how one begins, how the domain sees it, and what it shows.

use gantry_api::ecs;
use gantry_domain::{
    Timestamp,
    deployment::DeploymentId,
    rollout::{ALL, Course, Direction, Rollout, Stage},
};

use super::{configuration::minutes_ms, hooks, wire};
use crate::records::{DeploymentRecord, HookRunRecord, RolloutRecord, ServiceRecord};

/// The row of a deployment that is about to become the primary one; none when its tasks simply replace the others.
pub(crate) fn begin(record: &ServiceRecord, deployment: &DeploymentRecord, now: Timestamp) -> Option<RolloutRecord> {
    let configuration = &record.deployment_configuration;
    course(configuration)?;
    let blue = match record.deployments.as_slice() {
        [one] => Some(one.id),
        _ => None,
    };
    let several = record.deployments.len() > 1;
    let mut row = RolloutRecord {
        configuration: configuration.clone(),
        service_deployment: deployment.service_deployment.clone(),
        green: deployment.id,
        blue,
        direction: Direction::Forward,
        stage: Stage::PreScaleUp,
        since: now,
        production: 0,
        test: 0,
        runs: Vec::new(),
        runs_made: 0,
    };
    let stage = if several { Stage::ReconcileService } else { Stage::PreScaleUp };
    let begun = of(&row)?.entering(stage, now);
    row.update(&begun);
    Some(row)
}

/// As the domain sees it.
pub(crate) fn of(row: &RolloutRecord) -> Option<Rollout> {
    Some(Rollout {
        course: course(&row.configuration)?,
        bake_ms: minutes_ms(row.configuration.bake_time_in_minutes),
        hooks: hooks::of(&row.configuration),
        green: row.green,
        blue: row.blue,
        direction: row.direction,
        stage: row.stage,
        since: row.since,
        production: row.production,
        test: row.test,
        runs: row.runs.iter().map(HookRunRecord::run).collect(),
        runs_made: row.runs_made,
    })
}

/// How production moves over; none for ROLLING.
fn course(configuration: &ecs::DeploymentConfiguration) -> Option<Course> {
    use ecs::DeploymentStrategy as Strategy;
    match configuration.strategy.as_ref()? {
        Strategy::BlueGreen => Some(Course::BlueGreen),
        Strategy::Linear => {
            let linear = configuration.linear_configuration.as_ref();
            Some(Course::Linear {
                step: tenths(linear.and_then(|linear| linear.step_percent).unwrap_or(10.0)),
                bake_ms: minutes_ms(linear.and_then(|linear| linear.step_bake_time_in_minutes)),
            })
        }
        Strategy::Canary => {
            let canary = configuration.canary_configuration.as_ref();
            Some(Course::Canary {
                first: tenths(canary.and_then(|canary| canary.canary_percent).unwrap_or(5.0)),
                bake_ms: minutes_ms(canary.and_then(|canary| canary.canary_bake_time_in_minutes)),
            })
        }
        Strategy::Rolling | Strategy::Unknown(_) => None,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0.1 to 100, clamped")]
fn tenths(percent: f64) -> u32 {
    (percent * 10.0).round().clamp(0.0, 1000.0) as u32
}

/// What a deployment serves, in percent: production and test traffic. None when traffic is not divided.
pub(crate) fn weights(row: &RolloutRecord, deployment: &DeploymentRecord) -> Option<(f64, f64)> {
    let (production, test) = if deployment.id == row.green {
        (row.production, row.test)
    } else if Some(deployment.id) == row.blue {
        (ALL - row.production.min(ALL), ALL - row.test.min(ALL))
    } else {
        return None;
    };
    Some((f64::from(production) / 10.0, f64::from(test) / 10.0))
}

/// `lifecycleStage`. The moment before a step of production has no name of its own there.
pub(crate) fn stage(row: &RolloutRecord) -> ecs::ServiceDeploymentLifecycleStage {
    let stage = match row.stage {
        Stage::PreProductionTrafficShift => Stage::ProductionTrafficShift,
        stage => stage,
    };
    ecs::ServiceDeploymentLifecycleStage::from(stage.as_str())
}

/// `lifecycleHookDetails`.
pub(crate) fn hook_details(row: &RolloutRecord) -> Vec<ecs::DeploymentLifecycleHookDetail> {
    let hooks = row.configuration.lifecycle_hooks.as_deref().unwrap_or_default();
    let detail = |record: &HookRunRecord| {
        let hook = hooks.get(record.hook);
        ecs::DeploymentLifecycleHookDetail {
            hook_id: Some(record.run().id()),
            target_type: hook.and_then(|hook| hook.target_type.clone()),
            target_arn: hook.and_then(|hook| hook.hook_target_arn.clone()),
            status: Some(ecs::DeploymentLifecycleHookStatus::from(record.status.as_str())),
            expires_at: Some(wire::timestamp(record.expires_at)),
            timeout_action: hook.and_then(|hook| hook.timeout_configuration.as_ref()?.action.clone()),
        }
    };
    row.runs.iter().map(detail).collect()
}

/// Whether a side is to be at the full count.
pub(crate) fn is_full(row: &RolloutRecord, side: DeploymentId) -> bool {
    let forward = row.direction == Direction::Forward;
    if side == row.green {
        return forward && row.stage >= Stage::ScaleUp;
    }
    Some(side) == row.blue && !(forward && row.stage == Stage::CleanUp)
}
