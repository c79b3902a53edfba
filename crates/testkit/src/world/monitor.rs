//! Watches every transaction for what must never happen, also between two steps of a scenario.

use std::collections::{BTreeMap, BTreeSet};

use gantry_control::{
    keys::{InstanceKey, Key, ServiceKind},
    records::{
        DaemonRevisionRecord, InstanceRecord, InstanceStatus, Scheduling, ServiceRecord, ServiceRevisionRecord,
        ServiceStatus, TaskRecord, decode,
    },
};
use gantry_domain::{
    arn::{Name, TaskId},
    deployment::{DeploymentLimits, RolloutState, drained_at_once},
    task::{DesiredStatus, LastStatus, StopCode},
};
use gantry_store::{Event, Store, Watch};

/// A service or a managed daemon.
type Keeper = (ServiceKind, Name);

/// The monitor's own picture, one transaction at a time.
pub(super) struct Monitor {
    watch: Watch,
    store: Store,
    seen: u64,
    services: BTreeMap<Keeper, ServiceRecord>,
    /// Of managed daemons, by number.
    revisions: BTreeMap<(Name, u64), DaemonRevisionRecord>,
    tasks: BTreeMap<TaskId, TaskRecord>,
    instances: BTreeMap<InstanceKey, InstanceRecord>,
    /// Tasks of each service that are not STOPPED, as of the last transaction.
    live: BTreeMap<Keeper, u32>,
}

impl Monitor {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            watch: store.watch("/", 1),
            store: store.clone(),
            seen: 0,
            services: BTreeMap::new(),
            revisions: BTreeMap::new(),
            tasks: BTreeMap::new(),
            instances: BTreeMap::new(),
            live: BTreeMap::new(),
        }
    }

    /// Looks at every transaction so far. The error says which rule was broken.
    pub(super) async fn catch_up(&mut self) -> Result<(), String> {
        while self.seen < self.store.revision() {
            let batch = self.watch.next_or_progress().await.map_err(|error| format!("the watch broke: {error:?}"))?;
            self.seen = self.seen.max(batch.revision);
            let mut changed = false;
            // What a transaction says of services holds for the tasks that it changes.
            let (tasks, others): (Vec<&Event>, Vec<&Event>) = batch.events.iter().partition(|event| is_of_task(event));
            for event in others.into_iter().chain(tasks) {
                changed |= self.take_in(event)?;
            }
            if changed {
                let live = self.live_by_service();
                self.check_ceiling(&live)?;
                self.check_ports()?;
                self.check_gpus()?;
                self.live = live;
            }
        }
        Ok(())
    }

    /// Whether a service or a task changed.
    fn take_in(&mut self, event: &Event) -> Result<bool, String> {
        let Some((scope, key)) = Key::parse(event.key()) else { return Ok(false) };
        let value = match event {
            Event::Put(kv) => Some(&kv.value),
            Event::Delete { .. } => None,
        };
        match (key, value) {
            (Key::Service { kind, name, .. }, Some(value)) => {
                self.services.insert((kind, name), decode(value).map_err(|error| error.to_string())?);
            }
            (Key::Service { kind, name, .. }, None) => {
                self.services.remove(&(kind, name));
            }
            (Key::ServiceRevision { kind: ServiceKind::Daemon, service, id, .. }, Some(value)) => {
                let record: ServiceRevisionRecord = decode(value).map_err(|error| error.to_string())?;
                if let Some((number, daemon)) = id.parse().ok().zip(record.daemon) {
                    self.revisions.insert((service, number), daemon);
                }
                return Ok(false);
            }
            (Key::Instance { cluster, id }, Some(value)) => {
                let record = decode(value).map_err(|error| error.to_string())?;
                self.instances.insert(InstanceKey { scope, cluster, id }, record);
                return Ok(false);
            }
            (Key::Task { id, .. }, Some(value)) => {
                let new: TaskRecord = decode(value).map_err(|error| error.to_string())?;
                let old = self.tasks.insert(id, new.clone());
                self.check_task(id, old.as_ref(), &new)?;
            }
            (Key::Task { id, .. }, None) => {
                self.tasks.remove(&id);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// No two tasks of an instance have the same host port.
    fn check_ports(&self) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for (id, task) in self.tasks.iter().filter(|(_, task)| !task.is_stopped()) {
            let ports = task.reserved.tcp.iter().map(|port| ("tcp", *port));
            for port in ports.chain(task.reserved.udp.iter().map(|port| ("udp", *port))) {
                if task.host.is_some() && !taken.insert((&task.host, port)) {
                    return Err(format!("task {id} was given {port:?}, which another task of {:?} has", task.host));
                }
            }
        }
        Ok(())
    }

    /// No two containers of an instance have the same GPU, and who has a place has as many as it asked for.
    fn check_gpus(&self) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for (id, task) in self.tasks.iter().filter(|(_, task)| task.host.is_some() && task.holds_resources()) {
            let gpus = task.containers.iter().flat_map(|container| &container.gpus);
            let mut count = 0;
            for gpu in gpus {
                count += 1;
                if !taken.insert((&task.host, gpu)) {
                    return Err(format!("task {id} was given {gpu}, which another task of {:?} has", task.host));
                }
            }
            if count != task.reserved.gpus {
                return Err(format!("task {id} was given {count} GPUs and asked for {}", task.reserved.gpus));
            }
        }
        Ok(())
    }

    fn check_task(&self, id: TaskId, old: Option<&TaskRecord>, new: &TaskRecord) -> Result<(), String> {
        let life = &new.life;
        if let Some(old) = old {
            if life.last_status < old.life.last_status {
                return Err(format!("task {id} went from {} back to {}", old.life.last_status, life.last_status));
            }
            if old.life.desired_status == DesiredStatus::Stopped && life.desired_status == DesiredStatus::Running {
                return Err(format!("task {id} was brought back"));
            }
        } else {
            let instance = new.host.as_ref().and_then(|host| self.instances.get(host));
            if instance.is_some_and(|instance| instance.status != InstanceStatus::Active) {
                return Err(format!("task {id} was placed on an instance that takes none"));
            }
        }
        if let Some(host) = new.host.as_ref().filter(|_| old.is_none_or(|old| old.host.is_none())) {
            self.check_daemons(id, new, host)?;
        }
        if life.last_status == LastStatus::Running && life.times.started_at.is_none() {
            return Err(format!("task {id} is RUNNING and never started"));
        }
        if life.last_status.is_final() && (life.stop.is_none() || life.times.stopped_at.is_none()) {
            return Err(format!("task {id} is STOPPED without a reason"));
        }
        self.check_floor(id, old, new)
    }

    /// The scheduler's own stops leave enough healthy tasks. Healthy here is the weakest reading, RUNNING and not
    /// UNHEALTHY; the domain's properties check the exact one.
    fn check_floor(&self, id: TaskId, old: Option<&TaskRecord>, new: &TaskRecord) -> Result<(), String> {
        let ours = new.life.stop.as_ref().is_some_and(|stop| stop.code == StopCode::ServiceSchedulerInitiated);
        let asked = old.is_some_and(|old| old.life.desired_status == DesiredStatus::Running && serves(old))
            && new.life.desired_status == DesiredStatus::Stopped;
        let Some((name, service)) = self.service_of(new).filter(|_| ours && asked) else { return Ok(()) };
        let floor = match &service.daemon {
            // All go, or one that is where none is wanted.
            _ if service.status != ServiceStatus::Active || !self.is_in_place(name, service, new) => 0,
            Some(daemon) => {
                let hundredths = (daemon.drain_percent * 100.0).round() as u32;
                service.desired_count.saturating_sub(drained_at_once(service.desired_count, hundredths))
            }
            None => limits(service).floor(service.desired_count),
        };
        let own = |task: &&TaskRecord| task.keeper() == Some((name.0, name.1.as_str()));
        let counts = |task: &&TaskRecord| own(task) && serves(task) && self.is_in_place(name, service, task);
        let left = self.tasks.values().filter(counts);
        let left = u32::try_from(left.count()).unwrap_or(u32::MAX);
        if left < floor {
            return Err(format!("stopping task {id} left {name:?} with {left} tasks, the floor is {floor}"));
        }
        Ok(())
    }

    /// Whether a task of a managed daemon is on an instance that the primary deployment is for.
    fn is_in_place(&self, (kind, name): &Keeper, service: &ServiceRecord, task: &TaskRecord) -> bool {
        let number = service.primary().map(|primary| primary.revision).filter(|_| *kind == ServiceKind::Daemon);
        let Some(revision) = number.and_then(|number| self.revisions.get(&(name.clone(), number))) else { return true };
        let instance = task.host.as_ref().and_then(|host| self.instances.get(host));
        instance.is_some_and(|instance| {
            let provider = instance.capacity_provider.as_ref();
            instance.status == InstanceStatus::Active
                && provider.is_some_and(|own| revision.capacity_providers.contains(own))
        })
    }

    /// A managed daemon is on the instances of its providers alone, and other tasks come there only while a critical one
    /// runs.
    fn check_daemons(&self, id: TaskId, new: &TaskRecord, host: &InstanceKey) -> Result<(), String> {
        let provider = self.instances.get(host).and_then(|instance| instance.capacity_provider.as_ref());
        let is_for =
            |daemon: &DaemonRevisionRecord| provider.is_some_and(|own| daemon.capacity_providers.contains(own));
        for ((kind, name), service) in self.services.iter().filter(|(_, service)| service.daemon.is_some()) {
            let Some(primary) = service.primary() else { continue };
            let Some(revision) = self.revisions.get(&(name.clone(), primary.revision)) else { continue };
            let of_it = |task: &TaskRecord| task.keeper() == Some((*kind, name.as_str()));
            if of_it(new) {
                if !is_for(revision) {
                    return Err(format!(
                        "task {id} of the managed daemon {name} is on {host:?}, where it does not belong"
                    ));
                }
                continue;
            }
            // One that was given up is not waited for, and managed daemons do not wait for each other.
            let waits = service.status == ServiceStatus::Active
                && primary.rollout != RolloutState::Failed
                && new.keeper().is_none_or(|(kind, _)| kind != ServiceKind::Daemon);
            let runs = || self.tasks.values().any(|task| of_it(task) && task.host.as_ref() == Some(host) && runs(task));
            if waits && revision.critical && is_for(revision) && !runs() {
                return Err(format!("task {id} is on {host:?}, where the critical daemon {name} does not run"));
            }
        }
        Ok(())
    }

    fn check_ceiling(&self, now: &BTreeMap<Keeper, u32>) -> Result<(), String> {
        for (name, &live) in now {
            let Some(service) = self.services.get(name) else { continue };
            if service.scheduling == Scheduling::Daemon {
                self.check_one_each(name)?;
                continue;
            }
            // Two sides have a ceiling of their own.
            let ceiling = match &service.rollout {
                Some(_) => service.desired_count.saturating_mul(2),
                None => limits(service).ceiling(service.desired_count),
            };
            let had = self.live.get(name).copied().unwrap_or(0);
            // Lowering the desired count lowers the ceiling under what exists already.
            if live > ceiling && live > had {
                return Err(format!("{name:?} went from {had} to {live} tasks, the ceiling is {ceiling}"));
            }
        }
        Ok(())
    }

    /// No instance holds two tasks of a daemon.
    fn check_one_each(&self, name: &Keeper) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for task in self.tasks.values().filter(|task| !task.is_stopped()) {
            let ours = self.service_of(task).is_some_and(|(service, _)| service == name);
            if ours && !taken.insert(&task.host) {
                return Err(format!("{name:?} has two tasks on {:?}", task.host));
            }
        }
        Ok(())
    }

    fn live_by_service(&self) -> BTreeMap<Keeper, u32> {
        let mut live = BTreeMap::new();
        for task in self.tasks.values().filter(|task| !task.is_stopped()) {
            if let Some((name, _)) = self.service_of(task) {
                *live.entry(name.clone()).or_default() += 1;
            }
        }
        live
    }

    /// The service whose deployment started the task: not a later one of the same name.
    fn service_of(&self, task: &TaskRecord) -> Option<(&Keeper, &ServiceRecord)> {
        let (kind, name) = task.keeper()?;
        let (name, service) = self.services.get_key_value(&(kind, name.parse().ok()?))?;
        let started_by = task.started_by.as_deref()?;
        service.deployments.iter().any(|deployment| deployment.id.to_string() == started_by).then_some((name, service))
    }
}

fn is_of_task(event: &Event) -> bool {
    matches!(Key::parse(event.key()), Some((_, Key::Task { .. })))
}

fn runs(task: &TaskRecord) -> bool {
    task.life.last_status == LastStatus::Running && task.life.desired_status == DesiredStatus::Running
}

fn serves(task: &TaskRecord) -> bool {
    runs(task) && task.health != gantry_domain::task::HealthStatus::Unhealthy
}

fn limits(service: &ServiceRecord) -> DeploymentLimits {
    let percent = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(100);
    DeploymentLimits {
        minimum_healthy_percent: percent(service.deployment_configuration.minimum_healthy_percent),
        maximum_percent: percent(service.deployment_configuration.maximum_percent),
    }
}
