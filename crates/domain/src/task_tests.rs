#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn stop(code: StopCode, reason: StoppedReason) -> Stop {
    Stop { code, reason }
}

#[test]
fn matrix() {
    let mut page = format!("{:<26}", "");
    for from in LastStatus::ALL {
        write!(page, " {from:<14}").unwrap();
    }
    for event in TaskEvent::ALL {
        write!(page, "\n{:<26}", format!("{event:?}")).unwrap();
        for from in LastStatus::ALL {
            let cell = match next_status(from, event) {
                Err(_) => "illegal",
                Ok(next) if next == from => "=",
                Ok(next) => next.as_str(),
            };
            write!(page, " {cell:<14}").unwrap();
        }
    }
    let page: Vec<&str> = page.lines().map(str::trim_end).collect();
    insta::assert_snapshot!("task_matrix", page.join("\n"));
}

#[test]
fn a_status_never_goes_back() {
    for from in LastStatus::ALL {
        for event in TaskEvent::ALL {
            if let Ok(next) = next_status(from, event) {
                assert!(next >= from, "{from} took {event:?} back to {next}");
            }
        }
    }
}

#[test]
fn every_event_may_be_repeated() {
    for from in LastStatus::ALL {
        for event in TaskEvent::ALL {
            if let Ok(next) = next_status(from, event) {
                assert_eq!(next_status(next, event), Ok(next), "{from} {event:?} twice");
            }
        }
    }
}

#[test]
fn a_task_with_attachments_walks_the_long_way_and_stamps_each_step() {
    let path = TaskPath { attachments: true, registrations: true };
    let mut life = TaskLife::new(path, at(1));
    assert_eq!(life.last_status, LastStatus::Provisioning);
    assert!(life.apply(TaskEvent::Provisioned, None, at(2)).unwrap());
    assert!(life.apply(path.started(), None, at(3)).unwrap());
    assert_eq!((life.last_status, life.times.started_at), (LastStatus::Activating, None));
    assert!(life.apply(TaskEvent::Registered, None, at(4)).unwrap());
    assert_eq!(life.times.started_at, Some(at(4)));
    assert!(life.request_stop(stop(StopCode::UserInitiated, StoppedReason::StoppedByUser), true, at(5)));
    assert_eq!((life.last_status, life.times.stopping_at), (LastStatus::Deactivating, Some(at(5))));
    assert!(life.apply(TaskEvent::Deregistered, None, at(6)).unwrap());
    assert!(life.apply(path.containers_stopped(), None, at(7)).unwrap());
    assert_eq!((life.last_status, life.times.stopped_at), (LastStatus::Deprovisioning, None));
    assert!(life.apply(TaskEvent::Deprovisioned, None, at(8)).unwrap());
    assert_eq!((life.last_status, life.times.stopped_at), (LastStatus::Stopped, Some(at(8))));
    assert_eq!(life.version, 8);
}

#[test]
fn an_exit_by_itself_skips_stopping() {
    let mut life = TaskLife::new(TaskPath::default(), at(1));
    life.apply(TaskEvent::Started, None, at(2)).unwrap();
    let why = stop(StopCode::EssentialContainerExited, StoppedReason::EssentialContainerExited);
    life.apply(TaskEvent::ContainersStopped, Some(why.clone()), at(3)).unwrap();
    assert_eq!((life.last_status, life.desired_status), (LastStatus::Stopped, DesiredStatus::Stopped));
    assert_eq!((life.stop, life.times.stopping_at), (Some(why), None));
}

#[test]
fn the_first_reason_stays() {
    let mut life = TaskLife::new(TaskPath::default(), at(1));
    life.apply(TaskEvent::Started, None, at(2)).unwrap();
    let first = stop(StopCode::UserInitiated, StoppedReason::GivenByUser("deploying".into()));
    assert!(life.request_stop(first.clone(), true, at(3)));
    assert!(!life.request_stop(stop(StopCode::UserInitiated, StoppedReason::StoppedByUser), true, at(4)));
    let exited = stop(StopCode::EssentialContainerExited, StoppedReason::EssentialContainerExited);
    life.apply(TaskEvent::ContainersStopped, Some(exited), at(5)).unwrap();
    assert_eq!(life.stop, Some(first));
    assert_eq!(life.times.stopping_at, Some(at(3)));
}

#[test]
fn a_task_no_agent_knows_stops_at_once() {
    let mut life = TaskLife::new(TaskPath { attachments: true, registrations: false }, at(1));
    life.request_stop(stop(StopCode::UserInitiated, StoppedReason::StoppedByUser), false, at(2));
    assert_eq!((life.last_status, life.times.stopped_at), (LastStatus::Stopped, Some(at(2))));
}

#[test]
fn a_late_running_report_does_not_revive_a_stopping_task() {
    let mut life = TaskLife::new(TaskPath::default(), at(1));
    life.request_stop(stop(StopCode::UserInitiated, StoppedReason::StoppedByUser), true, at(2));
    assert!(!life.apply(TaskEvent::Started, None, at(3)).unwrap());
    assert_eq!((life.last_status, life.times.started_at), (LastStatus::Stopping, None));
}

#[test]
fn containers_only_go_forward() {
    use ContainerStatus::*;
    assert_eq!(Pending.after_report(Running), Running);
    assert_eq!(Stopped.after_report(Running), Stopped);
    assert_eq!(Pending.after_report(Stopped), Stopped);
}

#[test]
fn health_of_a_task() {
    use HealthStatus::*;
    let check = |containers: &[(bool, HealthStatus)], expected: HealthStatus| {
        let essential = containers.iter().map(|&(has_check, health)| EssentialHealth { has_check, health });
        assert_eq!(task_health(essential), expected, "{containers:?}");
    };
    check(&[], Unknown);
    check(&[(false, Unknown)], Unknown);
    check(&[(true, Unknown)], Unknown);
    check(&[(true, Healthy)], Healthy);
    check(&[(true, Healthy), (false, Unknown)], Healthy);
    check(&[(true, Healthy), (true, Unknown)], Unknown);
    check(&[(true, Unknown), (true, Unhealthy)], Unhealthy);
}

#[test]
fn names_round_trip() {
    for status in LastStatus::ALL {
        assert_eq!(LastStatus::parse(status.as_str()), Some(status));
    }
    for code in StopCode::ALL {
        assert_eq!(StopCode::parse(code.as_str()), Some(code));
    }
}
