//! The simulated world: the real control plane over a store in memory, agents that behave or misbehave on request, and
//! a clock that moves only when everybody waits. The same seed gives the same run.
//!
//! [`World::run_script`] drives it from text (see `tests/scenarios`), [`World::check`] says what must never break, and
//! a restart of the control plane is one more thing that may happen between any two steps.

mod agent;
mod daemons;
mod deployments;
mod monitor;
mod script;
mod show;
mod task_sets;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_api::{Caller, Fault};
use gantry_control::{
    Control, Door, EcsService, Random, Settings, TokioClock, keys::ServiceKind, reconcile::Reconcilers,
    records::ServiceStatus,
};
use gantry_domain::{
    Timestamp,
    arn::{Name, Scope, TaskId},
};
use gantry_store::{Memory, MemoryOptions, Revision, Store, Watch};

pub use agent::Behaviour;
use agent::FakeAgent;
use deployments::FakeHooks;
use monitor::Monitor;

/// The virtual clock begins here: 2026-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp::from_seconds(1_767_225_600);
/// How often agents look at their tasks.
const TICK: Duration = Duration::from_millis(100);
/// Between two ticks nobody has so much to write, unless two parts of the control plane undo each other's work.
const WRITES_PER_TICK_MAX: u32 = 2000;
/// No scenario needs longer to become steady; one that does is stuck.
const STEADY_BUDGET_MS: i64 = 1_800_000;

/// Everything there is.
pub struct World {
    store: Store,
    clock: TokioClock,
    settings: Settings,
    random: Random,
    scope: Scope,
    cluster: Name,
    running: Option<Running>,
    agents: BTreeMap<String, FakeAgent>,
    behaviours: BTreeMap<String, Behaviour>,
    monitor: Monitor,
    hooks: Arc<FakeHooks>,
    names: BTreeMap<TaskId, String>,
    /// What is written, and up to where the agents have seen it.
    activity: Watch,
    looked_at: Revision,
    /// The control plane dies once the store has reached this revision.
    crash_at: Option<u64>,
}

/// A control plane with its reconcilers; dropping it is `kill -9`.
struct Running {
    control: Control,
    door: Door,
    _reconcilers: Reconcilers,
}

impl World {
    /// A world without instances. Call it in a runtime whose clock is paused.
    pub async fn new(seed: u64) -> Self {
        let store = Store::new(Memory::new(&MemoryOptions::default()));
        let mut world = Self {
            monitor: Monitor::new(&store),
            activity: store.watch("/", 1),
            looked_at: 0,
            store,
            clock: TokioClock::starting_at(BEGINNING),
            settings: Settings::default(),
            random: Random::seeded(seed),
            scope: Scope::new("000000000000", "us-east-1"),
            cluster: "default".parse().expect("a name"),
            running: None,
            agents: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            hooks: deployments::hooks(),
            names: BTreeMap::new(),
            crash_at: None,
        };
        world.start_control().await;
        world
    }

    /// Kills the control plane and starts another one on the same store.
    pub async fn restart_control(&mut self) {
        self.running = None;
        self.agents.values_mut().for_each(FakeAgent::disconnect);
        self.start_control().await;
    }

    async fn start_control(&mut self) {
        let control = Control::open(self.store.clone(), Arc::new(self.clock), self.settings.clone()).await;
        let control = control.expect("the store in memory opens").with_random(self.random.clone());
        let control = control.with_hooks(self.hooks.clone());
        let reconcilers = Reconcilers::start(&control);
        let door = Door::open(control.clone());
        self.running = Some(Running { control, door, _reconcilers: reconcilers });
    }

    /// The control plane.
    pub fn control(&self) -> &Control {
        &self.running.as_ref().expect("it is running between steps").control
    }

    /// How much time has passed here.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now().millis_since(BEGINNING).unsigned_abs())
    }

    fn ecs(&self) -> EcsService {
        EcsService::new(self.control().clone())
    }

    fn caller(&self) -> Caller {
        Caller::root(self.scope.account.clone(), self.scope.region.clone())
    }

    fn now(&self) -> Timestamp {
        self.control().now()
    }

    /// Lets time pass. Everything that can happen meanwhile does; agents work at every tick that has work for them.
    pub async fn pass(&mut self, span: Duration) {
        let end = self.now().plus_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        while self.now() < end {
            self.pass_to_work(end).await;
        }
    }

    /// Lets time pass until agents have worked once more, or until `end`.
    async fn pass_to_work(&mut self, end: Timestamp) {
        self.crash_if_due().await;
        self.sleep_until_work(end).await;
        self.looked_at = self.store.revision();
        self.work_agents().await;
        self.check().await;
    }

    /// Sleeps until the first tick at which an agent has something to do: because its tasks come that far, or because
    /// something was written since the agents worked last. At most until `end`.
    async fn sleep_until_work(&mut self, end: Timestamp) {
        let begin = self.now();
        let behaviour = |image: &str| self.behaviours.get(image).cloned().unwrap_or_default();
        let due = self.agents.values().filter_map(|agent| agent.due(begin, behaviour)).min();
        let alarm = tokio::time::sleep(ticks_to(begin, due.map_or(end, |due| due.min(end))));
        tokio::pin!(alarm);
        let mut written = 0;
        loop {
            tokio::select! {
                biased;
                batch = self.activity.next_or_progress() => {
                    // The watch breaks only when nobody looked for very long.
                    if batch.is_ok_and(|batch| batch.revision <= self.looked_at) {
                        continue;
                    }
                    if written == 0 {
                        let passed = Duration::from_millis(self.now().millis_since(begin).unsigned_abs());
                        let next = ticks_to(begin, self.now().plus_millis(1)).saturating_sub(passed);
                        alarm.as_mut().reset(tokio::time::Instant::now() + next);
                    }
                    written += 1;
                    assert!(written < WRITES_PER_TICK_MAX, "the control plane writes without end:\n{}", self.show_all());
                }
                () = &mut alarm => return,
            }
        }
    }

    /// Kills the control plane after so many more transactions, in the middle of whatever it does then.
    pub fn crash_after(&mut self, transactions: u64) {
        self.crash_at = Some(self.store.revision() + transactions);
    }

    async fn crash_if_due(&mut self) {
        // Everything here runs on one thread: each yield lets the others take one step.
        for _ in 0..1000 {
            match self.crash_at {
                None => return,
                Some(at) if self.store.revision() >= at => {
                    self.crash_at = None;
                    self.restart_control().await;
                }
                Some(_) => tokio::task::yield_now().await,
            }
        }
    }

    /// Lets time pass until every service is steady (deleted ones: gone). Panics when that never comes.
    pub async fn pass_until_steady(&mut self) {
        let end = self.now().plus_millis(STEADY_BUDGET_MS);
        while self.now() < end {
            self.pass_to_work(end).await;
            if self.is_steady() {
                return;
            }
        }
        panic!("never steady:\n{}", self.show_all());
    }

    fn is_steady(&self) -> bool {
        let view = self.control().read();
        let cluster = view.cluster(&self.scope, &self.cluster);
        let kept = cluster.into_iter().flat_map(|cluster| ServiceKind::ALL.map(|kind| cluster.kept(kind)));
        kept.flat_map(|kept| kept.rows().values()).all(|row| match row.status {
            ServiceStatus::Active if row.external => row.task_sets.iter().all(|set| set.steady_since.is_some()),
            // A service that is where it should be may still be moving between zones.
            ServiceStatus::Active => row.steady_since.is_some() && !row.rebalancing,
            ServiceStatus::Draining => false,
            ServiceStatus::Inactive => true,
        })
    }

    /// Lets every agent that is up look at its tasks once.
    async fn work_agents(&mut self) {
        let (now, caller) = (self.now(), self.caller());
        let Some(running) = &self.running else { return };
        for agent in self.agents.values_mut() {
            let behaviour = |image: &str| self.behaviours.get(image).cloned().unwrap_or_default();
            agent.work(&running.door, &caller, now, behaviour).await;
        }
    }

    /// What must never break. Panics with the state of the world when it did.
    pub async fn check(&mut self) {
        if let Err(broken) = self.monitor.catch_up().await {
            panic!("{broken}\n{}", self.show_all());
        }
        let view = self.control().read();
        for (key, host) in view.hosts() {
            let Some(row) = &host.row else { continue };
            let fits = host.cpu_reserved() <= row.resources.cpu && host.memory_reserved() <= row.resources.memory;
            assert!(fits, "{} gives more than it has\n{}", key.id, self.show_all());
        }
    }
}

/// From `begin` to the first tick at or after `until`, one at least.
fn ticks_to(begin: Timestamp, until: Timestamp) -> Duration {
    let tick = TICK.as_millis() as i64;
    let ticks = (until.millis_since(begin) + tick - 1) / tick;
    TICK * u32::try_from(ticks.max(1)).unwrap_or(u32::MAX)
}

/// A fault as a scenario shows it.
fn refusal(fault: &Fault) -> String {
    format!("{}: {}", fault.code, fault.message)
}
