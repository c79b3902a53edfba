//! `dependsOn`, `links` and `volumesFrom`: whether a container may proceed.

use gantry_domain::task::HealthStatus;

use super::state::{ContainerState, Phase, TaskState};
use crate::firelens::DRIVER;
use crate::task::{Condition, ContainerDefinition, TaskSpec};

/// Whether a container may go on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// Not yet. Time alone changes the answer at `until_ms`, when a start time-out runs out.
    Waiting {
        until_ms: Option<u64>,
    },
    /// Never, and why.
    Impossible(String),
}

/// Looks at everything that container `index` depends on. The first impossible dependency decides.
pub(crate) fn readiness(now_ms: u64, task: &TaskSpec, state: &TaskState, index: usize) -> Readiness {
    let target = &task.containers[index];
    let mut overall = Readiness::Ready;
    for (name, condition) in dependencies(target) {
        let one = match task.index_of(name) {
            Some(on) => one(now_ms, &task.containers[on], &state.containers[on], condition, &target.name),
            None => Readiness::Impossible(format!(
                "container ordering dependency [{name}] for target [{}] does not exist.",
                target.name
            )),
        };
        match (&mut overall, one) {
            (_, Readiness::Ready) => {}
            (_, impossible @ Readiness::Impossible(_)) => return impossible,
            (Readiness::Waiting { until_ms }, Readiness::Waiting { until_ms: other }) => {
                *until_ms = earliest(*until_ms, other);
            }
            (overall, waiting) => *overall = waiting,
        }
    }
    overall
}

/// Whether every container that depends on `index` has stopped, so that it may be stopped itself.
pub(crate) fn dependents_stopped(task: &TaskSpec, state: &TaskState, index: usize) -> bool {
    let name = &task.containers[index].name;
    task.containers.iter().zip(&state.containers).enumerate().all(|(other, (definition, known))| {
        // What a container printed last is still on its way to the router.
        let sending = task.containers[index].firelens.is_some() && definition.log.driver == DRIVER && known.owes_logs();
        let stopped = known.phase == Phase::Stopped && !sending;
        other == index || stopped || !dependencies(definition).any(|(on, _)| on == name)
    })
}

/// What a dependency waits for: one of the four conditions, or (for `volumesFrom`) that the source was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Created,
    Condition(Condition),
}

fn dependencies(definition: &ContainerDefinition) -> impl Iterator<Item = (&String, Wanted)> {
    let explicit = definition.depends_on.iter().map(|on| (&on.container, Wanted::Condition(on.condition)));
    let links = definition.links.iter().map(|link| (&link.container, Wanted::Condition(Condition::Start)));
    let volumes = definition.volumes_from.iter().map(|from| (&from.container, Wanted::Created));
    explicit.chain(links).chain(volumes)
}

fn one(
    now_ms: u64,
    definition: &ContainerDefinition,
    known: &ContainerState,
    wanted: Wanted,
    target: &str,
) -> Readiness {
    let stopped = known.phase == Phase::Stopped;
    let started = known.first_started_ms.is_some();
    let fulfilled = match wanted {
        Wanted::Created => known.spec.is_some() || started,
        Wanted::Condition(Condition::Start) => started,
        Wanted::Condition(Condition::Complete) => stopped && known.exit_code.is_some(),
        Wanted::Condition(Condition::Success) => stopped && known.exit_code == Some(0),
        Wanted::Condition(Condition::Healthy) => !stopped && known.health.status == HealthStatus::Healthy,
    };
    if fulfilled {
        return Readiness::Ready;
    }
    let name = &definition.name;
    if stopped {
        return Readiness::Impossible(if started {
            format!(
                "failed to resolve the container ordering dependency [{name}] for target [{target}] as dependency did \
                 not exit successfully."
            )
        } else {
            format!(
                "failed to resolve the container ordering dependency [{name}] for target [{target}] as dependency \
                 has not started and never will."
            )
        });
    }
    if wanted == Wanted::Condition(Condition::Healthy) && definition.health_check.is_none() {
        return Readiness::Impossible(format!(
            "container ordering dependency [{name}] for target [{target}] has no health check."
        ));
    }
    let until_ms = match wanted {
        Wanted::Created | Wanted::Condition(Condition::Start) => None,
        Wanted::Condition(_) => timeout_at(definition, known),
    };
    match until_ms {
        Some(at) if now_ms >= at => Readiness::Impossible(format!(
            "container ordering dependency [{name}] for target [{target}] has timed out."
        )),
        _ => Readiness::Waiting { until_ms },
    }
}

/// The end of the dependency's start time-out, counted from its first start.
fn timeout_at(definition: &ContainerDefinition, known: &ContainerState) -> Option<u64> {
    let seconds = definition.start_timeout_seconds.filter(|seconds| *seconds > 0)?;
    Some(known.first_started_ms? + seconds * 1000)
}

pub(crate) fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
