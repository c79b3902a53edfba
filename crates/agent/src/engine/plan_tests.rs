//! One row per situation: what is known of a task's containers, and what is done next.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use gantry_runtime::{
    container::{ContainerSpec, ExitRecord, LogFile, Namespace, Started},
    image::{Image, Rootfs},
};

use super::{
    plan::{Action, Plan, advance, plan_task},
    state::{ContainerNetwork, Event, Exit, Phase, Provision, TaskState},
};
use crate::{
    engine_tests::{container, depends, task},
    reason::{ContainerReason, StopCode},
    task::{Condition, HealthCheck, RestartPolicy, SharedNamespace, TaskSpec},
};

const NOW: u64 = 1_000_000;

/// A task's state, advanced by events.
struct Case {
    task: TaskSpec,
    state: TaskState,
    busy: BTreeSet<Action>,
}

impl Case {
    fn new(task: TaskSpec) -> Self {
        let mut state = TaskState::new(&task, "boot", NOW);
        state.recorded = true;
        state.provision = Some(Provision::default());
        Self { task, state, busy: BTreeSet::new() }
    }

    fn event(mut self, index: usize, event: Event) -> Self {
        self.state.apply(NOW, &self.task, index, event);
        self
    }

    fn pulled(self, index: usize) -> Self {
        let image = Image { digest: "d".into(), config_digest: "c".into(), config: Default::default(), layers: vec![] };
        self.event(index, Event::Pulled(Ok(Box::new(image))))
    }

    fn networked(self, index: usize) -> Self {
        let network = ContainerNetwork { namespace: Namespace::Private, address: None, bindings: vec![] };
        self.event(index, Event::Networked(Ok(network)))
    }

    fn created(self, index: usize) -> Self {
        self.pulled(index).networked(index).event(index, Event::Created(Ok(Box::new(spec()))))
    }

    fn running(self, index: usize) -> Self {
        self.created(index).event(index, Event::Started(Ok(Started { pid: 1, started_at_ms: NOW })))
    }

    fn exited(self, index: usize, code: i32) -> Self {
        let record = ExitRecord { exit_code: code, oom_killed: false, started_at_ms: NOW, finished_at_ms: NOW };
        let mut case = self.running(index).event(index, Event::Exited(Exit::Recorded(record)));
        case.state.containers[index].logs_flushed = true;
        case
    }

    fn stop(mut self) -> Self {
        self.state.request_stop(StopCode::Requested, String::new(), NOW);
        self
    }

    fn busy(mut self, actions: &[Action]) -> Self {
        self.busy.extend(actions);
        self
    }

    fn plan_at(&mut self, now_ms: u64) -> Plan {
        advance(now_ms, &self.task, &mut self.state, &self.busy);
        plan_task(now_ms, &self.task, &self.state, &self.busy)
    }

    fn check(mut self, expected: &[Action]) {
        let plan = self.plan_at(NOW);
        assert_eq!(plan.actions, expected, "{:#?}", self.state);
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        id: "id".into(),
        task_cgroup: String::new(),
        rootfs: Rootfs { lower_dirs: vec![], upper_dir: "/u".into(), work_dir: "/w".into(), mount_point: "/m".into() },
        readonly_rootfs: false,
        args: vec![],
        env: vec![],
        held_env: Default::default(),
        working_dir: "/".into(),
        user: String::new(),
        hostname: None,
        network: Namespace::Private,
        pid: Namespace::Private,
        ipc: Namespace::Private,
        mounts: vec![],
        limits: Default::default(),
        privileged: false,
        capabilities_add: vec![],
        capabilities_drop: vec![],
        ulimits: Default::default(),
        sysctls: Default::default(),
        devices: Vec::new(),
        hooks: Vec::new(),
        additional_groups: Vec::new(),
        shm_bytes: None,
        init_process: false,
        no_new_privileges: false,
        stdin_open: false,
        terminal: false,
        log: LogFile { path: "/l".into(), max_bytes: None, max_files: 1 },
        labels: Default::default(),
    }
}

fn one() -> Case {
    Case::new(task(vec![container("a")]))
}

/// `b` depends on `a`.
fn two(condition: Condition) -> Case {
    let mut a = container("a");
    a.essential = false;
    a.start_timeout_seconds = Some(30);
    let mut b = container("b");
    b.depends_on = depends("a", condition);
    Case::new(task(vec![a, b]))
}

use Action::{Create, FlushLogs, Kill, Network, Probe, Provision as Provide, Pull, Record, Signal, Start, Wait};

#[test]
fn a_container_goes_through_its_steps() {
    let mut fresh = one();
    fresh.state.recorded = false;
    fresh.state.provision = None;
    fresh.check(&[Record, Provide, Pull(0), Network(0)]);
    one().busy(&[Pull(0), Network(0)]).check(&[]);
    one().pulled(0).check(&[Network(0)]);
    one().pulled(0).networked(0).check(&[Create(0)]);
    one().created(0).check(&[Start(0)]);
    one().created(0).busy(&[Start(0)]).check(&[]);
    one().running(0).check(&[Wait(0)]);
}

#[test]
fn nothing_starts_before_the_record_is_on_disk() {
    let mut case = one().created(0).busy(&[Record]);
    case.state.recorded = false;
    case.check(&[]);
}

#[test]
fn an_ended_container_flushes_its_logs_and_ends_the_task() {
    let mut case = one().exited(0, 3);
    case.state.containers[0].logs_flushed = false;
    assert_eq!(case.plan_at(NOW).actions, [FlushLogs(0)]);
    assert_eq!(case.state.reported_phase(), Phase::Running, "not stopped before its logs are there");
    case.state.containers[0].logs_flushed = true;
    assert_eq!(case.plan_at(NOW).actions, []);
    assert_eq!(case.state.reported_phase(), Phase::Stopped);
    assert_eq!(case.state.stop.unwrap().code, StopCode::EssentialContainerExited);
}

#[test]
fn a_stop_sends_the_signal_and_then_kills() {
    one().running(0).busy(&[Wait(0)]).stop().check(&[Signal(0)]);
    let signalled = || one().running(0).busy(&[Wait(0)]).stop().event(0, Event::Signalled { kill_after_ms: 5_000 });
    let mut case = signalled();
    assert_eq!(case.plan_at(NOW), Plan { actions: vec![], wake_at_ms: Some(NOW + 5_000) });
    assert_eq!(case.plan_at(NOW + 5_000).actions, [Kill(0)]);
    let mut killed = signalled().event(0, Event::Killed);
    assert_eq!(killed.plan_at(NOW + 1).wake_at_ms, Some(NOW + 5_000), "a kill without effect is repeated");
}

#[test]
fn a_stop_before_the_start_ends_the_task_at_once() {
    for case in [one().stop(), one().busy(&[Pull(0)]).stop(), one().created(0).stop()] {
        let mut case = case;
        assert_eq!(case.plan_at(NOW).actions, []);
        assert_eq!(case.state.reported_phase(), Phase::Stopped);
        assert_eq!(case.state.containers[0].exit_code, None);
    }
    // A start under way is waited for: its process must be stopped, not forgotten.
    for action in [Network(0), Create(0), Start(0)] {
        let mut case = one().busy(&[action]).stop();
        let _ = case.plan_at(NOW);
        assert_eq!(case.state.reported_phase(), Phase::Pending, "{action:?}");
    }
}

#[test]
fn dependents_wait_for_their_condition() {
    use Condition::{Complete, Healthy, Success};
    two(Condition::Start).busy(&[Pull(0), Network(0)]).check(&[]);
    two(Condition::Start).running(0).busy(&[Wait(0)]).check(&[Pull(1), Network(1)]);
    two(Condition::Start).exited(0, 1).check(&[Pull(1), Network(1)]);
    two(Complete).running(0).busy(&[Wait(0)]).check(&[]);
    two(Complete).exited(0, 1).check(&[Pull(1), Network(1)]);
    two(Success).exited(0, 0).check(&[Pull(1), Network(1)]);
    for case in [two(Success).exited(0, 1), two(Healthy).exited(0, 0), two(Healthy).running(0).busy(&[Wait(0)])] {
        let mut case = case;
        let _ = case.plan_at(NOW);
        assert_eq!(case.state.containers[1].exit_code, Some(143));
        assert!(matches!(case.state.containers[1].reason, Some(ContainerReason::Dependency(_))));
    }
}

#[test]
fn a_dependency_has_until_its_start_timeout() {
    let mut case = two(Condition::Success).running(0).busy(&[Wait(0)]);
    assert_eq!(case.plan_at(NOW).wake_at_ms, Some(NOW + 30_000));
    let _ = case.plan_at(NOW + 30_000);
    assert_eq!(case.state.containers[1].exit_code, Some(143));
}

#[test]
fn a_dependency_is_stopped_after_its_dependents() {
    let both = || two(Condition::Start).running(0).running(1).busy(&[Wait(0), Wait(1)]).stop();
    both().check(&[Signal(1)]);
    both().exited(1, 0).check(&[Signal(0)]);
}

#[test]
fn a_restart_keeps_the_container_and_its_task_running() {
    let mut a = container("a");
    a.restart_policy = Some(RestartPolicy { ignored_exit_codes: vec![], attempt_period_seconds: 0 });
    let case = || Case::new(task(vec![a.clone()])).exited(0, 1);
    case().check(&[Start(0)]);
    let mut stopped = case().stop();
    assert_eq!(stopped.plan_at(NOW).actions, []);
    assert_eq!(stopped.state.containers[0].exit_code, Some(1));
    // Killed between the start and its record: the description is made again.
    let mut without = case();
    without.state.containers[0].spec = None;
    without.state.containers[0].image = None;
    without.state.containers[0].network = None;
    without.check(&[Pull(0), Network(0)]);
}

#[test]
fn health_checks_come_when_they_are_due() {
    let mut a = container("a");
    a.health_check = Some(HealthCheck {
        args: vec![],
        interval_seconds: 10,
        timeout_seconds: 1,
        retries: 1,
        start_period_seconds: 0,
    });
    let mut case = Case::new(task(vec![a])).running(0).busy(&[Wait(0)]);
    assert_eq!(case.plan_at(NOW), Plan { actions: vec![], wake_at_ms: Some(NOW + 10_000) });
    assert_eq!(case.plan_at(NOW + 10_000).actions, [Probe(0)]);
}

#[test]
fn the_first_container_of_a_shared_namespace_is_created_alone() {
    let mut shared = task(vec![container("a"), container("b")]);
    shared.pid = SharedNamespace::Task;
    let ready = || Case::new(shared.clone()).pulled(0).networked(0).pulled(1).networked(1);
    ready().check(&[Create(0)]);
    ready().busy(&[Create(0)]).check(&[]);
    ready().created(0).check(&[Start(0), Create(1)]);
    let mut unrecorded = ready().busy(&[Record]);
    unrecorded.state.recorded = false;
    unrecorded.check(&[]);
}
