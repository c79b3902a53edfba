use std::time::Duration;

use super::*;
use crate::deployment::{StopKind, Trouble};

#[test]
fn every_service_event() {
    let instance = || "0123456789abcdef0123456789abcdef".to_owned();
    let closest = |lack| ServiceEvent::NotPlaced(PlacementTrouble::Closest { instance: instance(), lack });
    let deployment = || "ecs-svc/1234567890123456789".to_owned();
    let events = [
        ServiceEvent::Started { tasks: vec!["a1".into(), "b2".into()] },
        ServiceEvent::Stopped { tasks: vec!["a1".into()] },
        ServiceEvent::DeploymentCompleted { deployment: deployment() },
        ServiceEvent::DeploymentFailed { deployment: deployment(), cause: Cause::CircuitBreaker },
        ServiceEvent::DeploymentFailed { deployment: deployment(), cause: Cause::Alarms(vec!["high".into()]) },
        ServiceEvent::DeploymentFailed { deployment: deployment(), cause: Cause::Stopped(StopKind::Rollback) },
        ServiceEvent::DeploymentFailed {
            deployment: deployment(),
            cause: Cause::Stage { stage: "POST_SCALE_UP", trouble: Trouble::HookTimedOut },
        },
        ServiceEvent::RollingBack { deployment: deployment() },
        ServiceEvent::SteadyState,
        ServiceEvent::NotPlaced(PlacementTrouble::NoInstances),
        closest(Lack::Cpu),
        closest(Lack::Memory),
        closest(Lack::Port),
        closest(Lack::Attribute),
        closest(Lack::Agent),
        closest(Lack::Daemon),
        closest(Lack::Other("RESOURCE:ENI".into())),
        ServiceEvent::NotPlaced(PlacementTrouble::CapacityUnavailable),
        ServiceEvent::RoleNotAssumed(RoleNotAssumed::Task("arn:aws:iam::000000000000:role/app".into())),
        ServiceEvent::RoleNotAssumed(RoleNotAssumed::Infrastructure("arn:aws:iam::000000000000:role/disks".into())),
        ServiceEvent::StartImpaired,
        ServiceEvent::FailedContainerHealthChecks { task: "a1".into() },
        ServiceEvent::ConfigurationStuck,
        ServiceEvent::ProtectedTasks { deployment: deployment() },
    ];
    let page: Vec<String> = events.iter().map(|event| event.message("web")).collect();
    insta::assert_snapshot!("service_events", page.join("\n"));
}

#[test]
fn every_stopped_reason() {
    let reasons = [
        StoppedReason::EssentialContainerExited,
        StoppedReason::TaskFailedToStart,
        StoppedReason::FailedContainerHealthChecks,
        StoppedReason::FailedTargetGroupHealthChecks { target_group: "arn:tg".into() },
        StoppedReason::ScalingActivity { deployment: "ecs-svc/1".into() },
        StoppedReason::GivenByUser("because".into()),
        StoppedReason::StoppedByUser,
        StoppedReason::HostTerminated { instance: "i-1".into() },
        StoppedReason::HostStopped { instance: "i-1".into() },
        StoppedReason::HostLost { instance: "i-1".into(), seconds: 600 },
        StoppedReason::DeregistrationForced,
        StoppedReason::SpotInterrupted,
        StoppedReason::Maintenance,
        StoppedReason::NetworkInterfaceTimeout,
        StoppedReason::NotPlaced { code: "RESOURCE:MEMORY".into() },
        StoppedReason::ResourceInitialization { message: "failed to initialize logging driver: no group".into() },
        StoppedReason::Container(ContainerReason::out_of_memory()),
        StoppedReason::DependenciesUnresolved { task: "arn:task".into() },
        StoppedReason::NotStopping,
    ];
    let page: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("stopped_reasons", page.join("\n"));
}

#[test]
fn container_reasons() {
    let mut page: Vec<String> =
        ContainerError::ALL.iter().map(|&error| ContainerReason::new(error, "why").to_string()).collect();
    page.push(ContainerReason::vanished().to_string());
    page.push(ContainerReason::timed_out("started", Duration::from_secs(180)).to_string());
    page.push(ContainerReason::timed_out("pulled", Duration::from_millis(7_205_250)).to_string());
    page.push(ContainerReason::timed_out("stopped", Duration::from_secs(30)).to_string());
    page.push(ContainerReason::stopped_before_pull("arn:task").to_string());
    insta::assert_snapshot!("container_reasons", page.join("\n"));
}

#[test]
fn long_reasons_are_cut_between_characters() {
    let long = "ä".repeat(2000);
    assert_eq!(trimmed(&long).chars().count(), REASON_CHARS_MAX);
    assert_eq!(trimmed("short"), "short");
}

#[test]
fn every_failure_of_a_volume() {
    let failures = [
        VolumeFailure::NoRoom { gib: 100, free_mib: 512 },
        VolumeFailure::NoProgram("mkfs.xfs".into()),
        VolumeFailure::Other("mounting: Input/output error".into()),
    ];
    let page: Vec<String> = failures.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("volume_failures", page.join("\n"));
}
