//! The engine on the fake host: whole lives of tasks, and the agent killed at every point of them.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_api::agent::{ObservedStatus, ObservedTask};
use gantry_testkit::fake_runtime::{End, FakeHost, OnSignal, Program, Pull};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    clock::Clock,
    config::{Config, Join, RuntimeParts},
    engine::{
        state::runtime_id,
        supervisor::{Desired, Supervisor},
    },
    held_values::HeldValues,
    host::{Dirs, Host, HostParts},
    logs::Logs,
    registry_access::{OwnRegistry, RegistryAccesses},
    task::{
        About, Condition, ContainerDefinition, Dependency, HealthCheck, LaunchType, PortMapping, RestartPolicy, Roles,
        SharedNamespace, TaskNetwork, TaskSpec,
    },
};

pub(crate) const ARN: &str = "arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef";

pub(crate) fn container(name: &str) -> ContainerDefinition {
    ContainerDefinition { name: name.into(), image: name.into(), essential: true, ..Default::default() }
}

pub(crate) fn depends(name: &str, condition: Condition) -> Vec<Dependency> {
    vec![Dependency { container: name.into(), condition }]
}

pub(crate) fn task(containers: Vec<ContainerDefinition>) -> TaskSpec {
    TaskSpec {
        arn: ARN.into(),
        cluster: "default".into(),
        family: "web".into(),
        revision: 1,
        launch_type: LaunchType::Ec2,
        network: TaskNetwork::Bridge,
        pid: SharedNamespace::Private,
        ipc: SharedNamespace::Private,
        cpu_units: None,
        memory_mib: None,
        ephemeral_storage_gib: None,
        volumes: Vec::new(),
        containers,
        roles: Roles::default(),
        about: About::default(),
        refused: None,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A machine with one agent on it.
pub(crate) struct Bed {
    pub(crate) host: Arc<FakeHost>,
    data: TempDir,
    boot: u32,
    clock: Clock,
    configure: fn(&mut Config),
    agent: Option<Agent>,
}

pub(crate) struct Agent {
    pub(crate) host: Arc<Host>,
    commands: tokio::sync::mpsc::UnboundedSender<Vec<Desired>>,
    running: JoinHandle<()>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(configure: fn(&mut Config)) -> Self {
        let host = FakeHost::new();
        let clock = Clock::Tokio { start_ms: host.now_ms(), start: Instant::now() };
        let mut bed = Self { host, data: TempDir::new().unwrap(), boot: 1, clock, configure, agent: None };
        bed.start_agent().await;
        bed
    }

    pub(crate) async fn start_agent(&mut self) {
        let mut config = Config::new("http://127.0.0.1:1", Join::Known, self.data.path().into());
        config.region = "us-east-1".into();
        config.account = "000000000000".into();
        config.instance_id = "i-1".into();
        (self.configure)(&mut config);
        let registry = OwnRegistry {
            endpoint: config.endpoint.clone(),
            account: config.account.clone(),
            region: config.region.clone(),
            hosts: Vec::new(),
        };
        let values = Arc::new(HeldValues::new(None));
        let parts = HostParts {
            runtime: RuntimeParts {
                images: self.host.clone(),
                containers: self.host.clone(),
                networks: self.host.clone(),
            },
            clock: self.clock,
            boot_id: format!("boot-{}", self.boot),
            registries: RegistryAccesses::new(registry, None, self.clock),
            values: Arc::clone(&values),
            logs: Logs::open(Dirs::new(self.data.path()).logs(), "us-east-1", None, values, self.clock).unwrap(),
            credentials: Arc::default(),
            client: None,
        };
        let host = Host::new(config, parts).unwrap();
        let mut supervisor = Supervisor::recover(Arc::clone(&host)).await.unwrap();
        let (commands, mut inbox) = tokio::sync::mpsc::unbounded_channel::<Vec<Desired>>();
        let running = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(desired) = inbox.recv() => supervisor.set_desired(desired),
                    () = supervisor.reap() => {}
                }
            }
        });
        self.agent = Some(Agent { host, commands, running });
    }

    /// kill -9.
    pub(crate) async fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.running.abort();
            drop((&mut agent.running).await);
        }
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    pub(crate) fn want(&self, task: &TaskSpec, stop: bool) {
        self.agent().commands.send(vec![Desired { task: task.clone(), stop }]).unwrap();
    }

    /// The task's record.
    pub(crate) fn data_text(&self, task_id: &str) -> String {
        std::fs::read_to_string(self.data.path().join(format!("agent/tasks/{task_id}.json"))).unwrap()
    }

    fn want_nothing(&self) {
        self.agent().commands.send(Vec::new()).unwrap();
    }

    fn observed(&self) -> Option<ObservedTask> {
        self.agent().host.outbox.everything().into_iter().next()
    }

    async fn until(&self, what: &str, condition: impl Fn(&ObservedTask) -> bool) -> ObservedTask {
        let mut published = self.agent().host.outbox.watch_published();
        let reached = async {
            loop {
                published.borrow_and_update();
                if let Some(task) = self.observed().filter(&condition) {
                    return task;
                }
                published.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(seconds(4000), reached).await {
            Ok(task) => task,
            Err(_) => panic!("never {what}; last: {:#?}\n{:#?}", self.observed(), self.host.journal()),
        }
    }

    pub(crate) async fn until_running(&self) -> ObservedTask {
        self.until("RUNNING", |task| task.last_status == ObservedStatus::Running).await
    }

    pub(crate) async fn until_stopped(&self) -> ObservedTask {
        self.until("STOPPED", |task| task.last_status == ObservedStatus::Stopped).await
    }

    /// The control plane says it has everything.
    fn acknowledge(&self) {
        let outbox = &self.agent().host.outbox;
        outbox.unsend();
        let (_, versions) = outbox.changes(100);
        outbox.acknowledge(&versions);
    }

    /// Journal without the ids: `start app`.
    fn journal(&self, task: &TaskSpec) -> Vec<String> {
        let names: BTreeMap<String, &str> =
            task.containers.iter().map(|c| (runtime_id(task.id(), &c.name), c.name.as_str())).collect();
        let rename = |entry: String| {
            entry.split(' ').map(|word| *names.get(word).unwrap_or(&word)).collect::<Vec<_>>().join(" ")
        };
        self.host.journal().into_iter().map(rename).collect()
    }

    pub(crate) async fn until_taken_apart(&self) {
        let gone = self.host.until(|host| host.leftovers().is_empty());
        if tokio::time::timeout(seconds(100), gone).await.is_err() {
            panic!("left behind: {:?}", self.host.leftovers());
        }
    }
}

fn stop_of(task: &ObservedTask) -> (&str, &str) {
    task.stopped.as_ref().map_or(("", ""), |stop| (stop.code.as_str(), stop.reason.as_str()))
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_exits_and_is_taken_apart() {
    let bed = Bed::new().await;
    bed.host.program("app", Program { ends: vec![End::after(seconds(10), 7)], ..Program::default() });
    let mut app = container("app");
    app.ports = vec![PortMapping { container_ports: (80, 80), host_port: None, udp: false, is_range: false }];
    let task = task(vec![app]);
    bed.want(&task, false);
    let running = bed.until_running().await;
    assert_eq!(running.containers[0].network_bindings[0].host_port, Some(32_768));
    assert_eq!(running.containers[0].image_digest.as_deref(), Some("sha256:app-1"));
    assert!(running.pull_started_at_ms.is_some() && running.started_at_ms.is_some());
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].exit_code, Some(7));
    assert_eq!(stopped.containers[0].reason, None);
    assert_eq!(stop_of(&stopped), ("EssentialContainerExited", "Essential container in task exited"));
    assert_eq!(stopped.execution_stopped_at_ms.unwrap() - stopped.started_at_ms.unwrap(), 10_000);
    bed.until_taken_apart().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_task_is_forgotten_only_after_it_was_acknowledged_and_a_while() {
    let bed = Bed::new().await;
    bed.host.program("app", Program { ends: vec![End::after(seconds(1), 0)], ..Program::default() });
    let task = task(vec![container("app")]);
    bed.want(&task, false);
    bed.until_stopped().await;
    let record = bed.data.path().join(format!("agent/tasks/{}.json", task.id()));
    tokio::time::sleep(seconds(5 * 3600)).await;
    assert!(record.exists(), "nobody has acknowledged it");
    bed.acknowledge();
    tokio::time::sleep(seconds(1)).await;
    while record.exists() {
        tokio::time::sleep(seconds(1)).await;
    }
    assert_eq!(bed.observed(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stop_request_signals_then_kills() {
    let bed = Bed::new().await;
    bed.host.program("app", Program { on_signal: OnSignal::Ignore, ..Program::default() });
    let mut app = container("app");
    app.stop_timeout_seconds = Some(12);
    let task = task(vec![app]);
    bed.want(&task, false);
    bed.until_running().await;
    bed.want(&task, true);
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].exit_code, Some(137));
    assert_eq!(stopped.stopped, None, "the control plane keeps its own reason");
    assert_eq!(stopped.stopped_at_ms.unwrap() - stopped.stopping_at_ms.unwrap(), 12_000);
    assert_eq!(bed.journal(&task)[2..], ["signal app 15", "signal app 9", "exit app 137"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_no_longer_wanted_is_stopped() {
    let bed = Bed::new().await;
    let task = task(vec![container("app")]);
    bed.want(&task, false);
    bed.until_running().await;
    bed.want_nothing();
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].exit_code, Some(143));
}

#[tokio::test(start_paused = true)]
async fn a_task_stopped_while_pulling_ends_without_an_exit_code() {
    let bed = Bed::new().await;
    bed.host.program("app", Program { pull_takes: seconds(3600), ..Program::default() });
    let task = task(vec![container("app")]);
    bed.want(&task, false);
    bed.until("pulling", |task| task.pull_started_at_ms.is_some()).await;
    bed.want(&task, true);
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].exit_code, None);
    assert_eq!(stopped.started_at_ms, None);
    assert!(bed.host.starts().is_empty());
    bed.until_taken_apart().await;
}

#[tokio::test(start_paused = true)]
async fn failures_before_the_start_have_the_services_words() {
    let failing = |pull, start_error: Option<&str>| Program {
        pull,
        start_error: start_error.map(str::to_owned),
        ..Program::default()
    };
    for (program, expected) in [
        (
            failing(Pull::NotFound, None),
            "CannotPullContainerError: The task can\u{2019}t pull the image. Check whether the image exists. app: not \
             found",
        ),
        (
            failing(Pull::Denied, None),
            "CannotPullContainerError: The task can\u{2019}t pull the image. Check that the role has the permissions \
             to pull images from the registry. pull access denied for app, repository does not exist or may require \
             authorization",
        ),
        (
            failing(Pull::Works, Some("exec: \"x\": executable file not found in $PATH")),
            "CannotStartContainerError: exec: \"x\": executable file not found in $PATH",
        ),
    ] {
        let bed = Bed::new().await;
        bed.host.program("app", program);
        bed.want(&task(vec![container("app")]), false);
        let stopped = bed.until_stopped().await;
        assert_eq!(stopped.containers[0].reason.as_deref(), Some(expected));
        assert_eq!(stopped.containers[0].exit_code, None);
        assert_eq!(stop_of(&stopped), ("TaskFailedToStart", "Task failed to start"));
        bed.until_taken_apart().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_registry_does_not_matter_when_the_image_is_here() {
    let bed = Bed::new().await;
    bed.host.preload("app");
    bed.host.program("app", Program { pull: Pull::Unreachable, ..Program::default() });
    bed.want(&task(vec![container("app")]), false);
    bed.until_running().await;
}

#[tokio::test(start_paused = true)]
async fn a_warm_start_downloads_nothing_and_a_new_tag_is_noticed() {
    let bed = Bed::new().await;
    bed.host.preload("app");
    let task = task(vec![container("app")]);
    bed.want(&task, false);
    bed.until_running().await;
    assert_eq!(bed.journal(&task), ["start app"]);

    let bed = Bed::new().await;
    bed.host.preload("app");
    bed.host.program("app", Program { content: 2, ..Program::default() });
    bed.want(&task, false);
    let running = bed.until_running().await;
    assert_eq!(running.containers[0].image_digest.as_deref(), Some("sha256:app-2"));
}

#[tokio::test(start_paused = true)]
async fn memory_kills_are_named() {
    let bed = Bed::new().await;
    let end = End { after: seconds(1), code: 137, oom: true };
    bed.host.program("app", Program { ends: vec![end], ..Program::default() });
    bed.want(&task(vec![container("app")]), false);
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].reason.as_deref(), Some("OutOfMemoryError: Container killed due to memory usage"));
    assert_eq!(stopped.containers[0].exit_code, Some(137));
}

#[tokio::test(start_paused = true)]
async fn containers_start_and_stop_in_dependency_order() {
    let bed = Bed::new().await;
    bed.host.program("init", Program { ends: vec![End::after(seconds(3), 0)], ..Program::default() });
    bed.host.program("database", Program { probes: vec![Some(1), Some(0)], ..Program::default() });
    let mut init = container("init");
    init.essential = false;
    let mut database = container("database");
    database.depends_on = depends("init", Condition::Success);
    database.health_check = Some(HealthCheck {
        args: vec!["check".into()],
        interval_seconds: 5,
        timeout_seconds: 2,
        retries: 3,
        start_period_seconds: 0,
    });
    let mut app = container("app");
    app.depends_on = depends("database", Condition::Healthy);
    let task = task(vec![app, database, init]);
    bed.want(&task, false);
    let running = bed.until_running().await;
    assert_eq!(running.health, "HEALTHY");
    bed.want(&task, true);
    bed.until_stopped().await;
    assert_eq!(
        bed.journal(&task),
        [
            "pull init",
            "start init",
            "exit init 0",
            "pull database",
            "start database",
            "exec database",
            "exec database",
            "pull app",
            "start app",
            "signal app 15",
            "exit app 143",
            "signal database 15",
            "exit database 143"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_dependency_ends_the_task_with_143() {
    let bed = Bed::new().await;
    bed.host.program("init", Program { ends: vec![End::after(seconds(1), 1)], ..Program::default() });
    let mut init = container("init");
    init.essential = false;
    let mut app = container("app");
    app.depends_on = depends("init", Condition::Success);
    bed.want(&task(vec![app, init]), false);
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].exit_code, Some(143));
    assert_eq!(
        stopped.containers[0].reason.as_deref(),
        Some(
            "CannotStartContainerError: dependency graph: failed to resolve the container ordering dependency [init] \
             for target [app] as dependency did not exit successfully."
        )
    );
    assert_eq!(stop_of(&stopped).0, "TaskFailedToStart");
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_takes_too_long_times_out() {
    let bed = Bed::new().await;
    let mut init = container("init");
    init.essential = false;
    init.start_timeout_seconds = Some(60);
    let mut app = container("app");
    app.depends_on = depends("init", Condition::Complete);
    let started = Instant::now();
    bed.want(&task(vec![app, init]), false);
    let stopped = bed.until_stopped().await;
    assert!(stopped.containers[0].reason.as_deref().unwrap().ends_with("has timed out."));
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_restart_policy_restarts_without_the_task_noticing() {
    let bed = Bed::new().await;
    let end = |after, code| End::after(seconds(after), code);
    bed.host.program("app", Program { ends: vec![end(120, 1), end(90, 1), end(5, 1)], ..Program::default() });
    let mut app = container("app");
    app.restart_policy = Some(RestartPolicy { ignored_exit_codes: vec![], attempt_period_seconds: 60 });
    let task = task(vec![app]);
    bed.want(&task, false);
    let stopped = bed.until_stopped().await;
    assert_eq!(bed.host.starts().values().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(stopped.containers[0].exit_code, Some(1));
    assert_eq!(stopped.stopped_at_ms.unwrap() - stopped.started_at_ms.unwrap(), 215_000);
}

#[tokio::test(start_paused = true)]
async fn ignored_exit_codes_are_not_restarted() {
    let bed = Bed::new().await;
    bed.host.program("app", Program { ends: vec![End::after(seconds(600), 42)], ..Program::default() });
    let mut app = container("app");
    app.restart_policy = Some(RestartPolicy { ignored_exit_codes: vec![42], attempt_period_seconds: 60 });
    bed.want(&task(vec![app]), false);
    bed.until_stopped().await;
    assert_eq!(bed.host.starts().values().copied().collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_and_a_full_disk_are_clear_reasons() {
    let bed = Bed::new().await;
    bed.host.take_port(8080);
    let mut app = container("app");
    app.ports = vec![PortMapping { container_ports: (80, 80), host_port: Some(8080), udp: false, is_range: false }];
    bed.want(&task(vec![app]), false);
    let stopped = bed.until_stopped().await;
    assert_eq!(
        stopped.containers[0].reason.as_deref(),
        Some(
            "CannotStartContainerError: driver failed programming external connectivity: Bind for 0.0.0.0:8080 failed: \
             port is already allocated"
        )
    );
    let bed = Bed::new().await;
    bed.host.set_disk_full(true);
    bed.want(&task(vec![container("app")]), false);
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].reason.as_deref(), Some("CannotPullContainerError: no space left on device"));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_adopts_what_runs() {
    let mut bed = Bed::new().await;
    let task = task(vec![container("app")]);
    bed.want(&task, false);
    bed.until_running().await;
    bed.kill_agent().await;
    tokio::time::sleep(seconds(60)).await;
    bed.start_agent().await;
    let running = bed.until_running().await;
    assert!(running.started_at_ms.is_some());
    bed.want(&task, false);
    bed.kill_agent().await;
    bed.host.end(&runtime_id(task.id(), "app"), 9, false);
    bed.start_agent().await;
    let stopped = bed.until_stopped().await;
    assert_eq!(stopped.containers[0].exit_code, Some(9));
    assert_eq!(bed.host.starts().values().copied().collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_rebooted_host_has_stopped_tasks() {
    let mut bed = Bed::new().await;
    let task = task(vec![container("app")]);
    bed.want(&task, false);
    bed.until_running().await;
    bed.kill_agent().await;
    bed.host.reboot();
    bed.boot = 2;
    bed.start_agent().await;
    bed.want(&task, false);
    let stopped = bed.until_stopped().await;
    assert_eq!(stop_of(&stopped), ("TerminationNotice", "Host EC2 (instance i-1) stopped."));
    assert_eq!(
        stopped.containers[0].reason.as_deref(),
        Some("ContainerVanishedError: No container matching saved ID found")
    );
    assert_eq!(bed.host.starts().values().copied().collect::<Vec<_>>(), [1], "never run twice");
}

/// A task with an init container, a restarting side-car and an application that exits.
fn busy_task(host: &FakeHost) -> TaskSpec {
    host.program("init", Program { ends: vec![End::after(seconds(3), 0)], ..Program::default() });
    host.program("side", Program { ends: vec![End::after(seconds(70), 1)], ..Program::default() });
    host.program("app", Program { ends: vec![End::after(seconds(100), 5)], ..Program::default() });
    let mut init = container("init");
    init.essential = false;
    let mut side = container("side");
    side.restart_policy = Some(RestartPolicy { ignored_exit_codes: vec![], attempt_period_seconds: 60 });
    let mut app = container("app");
    app.depends_on = depends("init", Condition::Success);
    app.ports = vec![PortMapping { container_ports: (80, 80), host_port: Some(8080), udp: false, is_range: false }];
    task(vec![app, init, side])
}

/// Runs the busy task with an agent that is killed at `point` and started again.
async fn killed_at(point: u64) -> bool {
    let mut bed = Bed::new().await;
    let task = busy_task(&bed.host);
    let crash = bed.host.crash_at(point);
    bed.want(&task, false);
    let whole_life = async {
        bed.until_stopped().await;
        bed.until_taken_apart().await;
    };
    let survived = tokio::select! {
        _ = crash => false,
        () = whole_life => true,
    };
    if !survived {
        bed.kill_agent().await;
        bed.start_agent().await;
        bed.want(&task, false);
    }
    let stopped = bed.until_stopped().await;
    let starts = bed.host.starts();
    let started = |name: &str| starts.get(&runtime_id(task.id(), name)).copied().unwrap_or_default();
    assert_eq!((started("app"), started("init"), started("side")), (1, 1, 2), "killed at {point}");
    assert_eq!(stopped.containers[0].exit_code, Some(5), "killed at {point}");
    assert_eq!(stopped.containers[1].exit_code, Some(0), "killed at {point}");
    bed.until_taken_apart().await;
    survived
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_at_any_point_neither_loses_nor_repeats_a_container() {
    let mut point = 1;
    while !killed_at(point).await {
        point += 1;
    }
    assert!(point > 40, "only {point} points: the walk ended too early");
}

/// What a container of a random task does.
fn any_program() -> impl Strategy<Value = Program> {
    let ends = prop_oneof![
        3 => Just(vec![]),
        3 => (0..200_u64, 0..3_i32).prop_map(|(after, code)| vec![End::after(seconds(after), code)]),
        1 => Just(vec![End { after: seconds(5), code: 137, oom: true }]),
    ];
    let pull = prop_oneof![8 => Just(Pull::Works), 1 => Just(Pull::NotFound), 1 => Just(Pull::Unreachable)];
    let signal = prop_oneof![3 => Just(OnSignal::Exit(143)), 1 => Just(OnSignal::Ignore)];
    let start_error = prop_oneof![9 => Just(None), 1 => Just(Some("no such file".to_owned()))];
    (ends, pull, signal, start_error, 0..20_u64).prop_map(|(ends, pull, on_signal, start_error, pull_takes)| Program {
        ends,
        pull,
        on_signal,
        start_error,
        pull_takes: seconds(pull_takes),
        ..Program::default()
    })
}

/// A random task of three containers, each of which may depend on earlier ones.
fn any_task() -> impl Strategy<Value = (TaskSpec, Vec<Program>)> {
    let condition = prop_oneof![Just(Condition::Start), Just(Condition::Complete), Just(Condition::Success)];
    let dependency = proptest::option::of((0..2_usize, condition));
    let containers = proptest::collection::vec((any_program(), any::<bool>(), dependency), 3);
    containers.prop_map(|containers| {
        let names = ["a", "b", "c"];
        let mut definitions = Vec::new();
        let mut programs = Vec::new();
        for (index, (program, essential, dependency)) in containers.into_iter().enumerate() {
            let mut definition = container(names[index]);
            definition.essential = essential || index == 2;
            if let Some((on, condition)) = dependency.filter(|(on, _)| *on < index) {
                definition.depends_on = depends(names[on], condition);
            }
            definitions.push(definition);
            programs.push(program);
        }
        (task(definitions), programs)
    })
}

/// Kills the agent at each of `crashes` (points after the last start of an agent), perhaps with the host, and asks
/// the task to stop in the end.
async fn life(task: TaskSpec, programs: Vec<Program>, crashes: Vec<(u64, bool)>, stop_after: u64) {
    let mut bed = Bed::new().await;
    for (definition, program) in task.containers.iter().zip(programs) {
        bed.host.program(&definition.image, program);
    }
    bed.want(&task, false);
    let mut rebooted = false;
    for (point, reboots) in crashes {
        let crash = bed.host.crash_at(point);
        if tokio::time::timeout(seconds(stop_after), crash).await.is_err() {
            continue;
        }
        bed.kill_agent().await;
        if reboots {
            bed.host.reboot();
            bed.boot += 1;
            rebooted = true;
        }
        bed.start_agent().await;
        bed.want(&task, false);
    }
    // The last crash point may still be ahead; it must not hang this agent.
    drop(bed.host.crash_at(u64::MAX / 2));
    tokio::time::sleep(seconds(stop_after)).await;
    bed.want(&task, true);
    let stopped = bed.until_stopped().await;
    for (id, starts) in bed.host.starts() {
        assert_eq!(starts, 1, "{id} was run twice");
    }
    assert!(stopped.stopped_at_ms.is_some());
    for container in &stopped.containers {
        assert_eq!(container.last_status, "STOPPED");
        let ran = bed.host.starts().contains_key(&runtime_id(task.id(), &container.name));
        if ran && !rebooted {
            assert!(container.exit_code.is_some(), "{container:?} lost its exit code");
        }
        if !ran {
            assert!(matches!(container.exit_code, None | Some(143)), "{container:?} never ran");
        }
    }
    bed.until_taken_apart().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_task_ends_once_whatever_happens_to_the_agent(
        (task, programs) in any_task(),
        crashes in proptest::collection::vec((1..40_u64, prop_oneof![4 => Just(false), 1 => Just(true)]), 0..4),
        stop_after in 0..300_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(life(task, programs, crashes, stop_after));
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_over_its_ephemeral_storage_is_stopped() {
    let bed = Bed::new().await;
    bed.host.program("app", Program::default());
    let task = TaskSpec { ephemeral_storage_gib: Some(0), ..task(vec![container("app")]) };
    bed.want(&task, false);
    bed.until_running().await;
    // Somebody who wrote something.
    let volume = bed.data.path().join("agent/volumes").join(task.id()).join("scratch");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::write(volume.join("file"), "x").unwrap();
    let stopped = bed.until_stopped().await;
    let reason = "no space left on device: the task's ephemeral storage is over its limit of 0 GiB";
    assert_eq!(stop_of(&stopped), ("EssentialContainerExited", reason));
}
