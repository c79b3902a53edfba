//! Planning a batch of launches on one picture.

use std::collections::{BTreeMap, BTreeSet};

use gantry_domain::{
    Timestamp,
    arn::{Scope, TaskId},
    gpus,
    limits::CLIENT_TOKEN_LIFETIME_SECONDS,
    placement::{Lack, Needs, Rejection, place, resource_lacks},
    task_definition::{TaskRequirements, TaskResources},
};
use gantry_store::{Op, Revision, Txn};

use super::{
    Launch, LaunchError, Launched, NetworkRequest, Refusal, Refused, Target,
    instances::{Candidate, Table, TakenByHost, free_gpus, instance},
    network::Addresses,
    providers::{may_wait, parts},
    refused,
};
use crate::{
    control::active_cluster,
    fault, keys,
    keys::{ClusterKey, InstanceKey, TaskKey},
    random::Random,
    records::{ClientTokenRecord, InstanceStatus, NetworkRecord, TaskRecord, encode},
    services::daemon::{Claims, Reserved},
    view::EcsView,
};

/// A transaction in the making, and what it takes from the picture it is planned on.
#[derive(Debug, Default)]
pub(super) struct Batch {
    taken: TakenByHost,
    addresses: Addresses,
    /// GPUs that its tasks get, by host.
    gpus: BTreeMap<InstanceKey, BTreeSet<String>>,
    hosts: BTreeMap<InstanceKey, (Revision, Revision)>,
    compares: BTreeMap<String, Revision>,
    exists: BTreeSet<String>,
    puts: BTreeMap<String, Op>,
    tasks: usize,
    /// How many of them wait for an instance, by cluster.
    waiting: BTreeMap<ClusterKey, usize>,
}

/// Where the tasks of a launch go.
#[derive(Default)]
struct Choice<'a> {
    places: Vec<Candidate<'a>>,
    launched: Launched,
    /// Tasks that must still run there when these come: rows with their revisions.
    rests_on: Vec<(String, Revision)>,
}

/// What planning one launch gave.
pub(super) enum Planned {
    /// This becomes true with the batch (or is true already, when no task was placed).
    Done(Launched),
    /// It touches a key that the batch touches already: it must wait for the next one.
    Later,
}

impl Batch {
    /// An empty one. `subnet_seed` goes into the choice of new subnets' addresses.
    pub(super) fn new(subnet_seed: &str) -> Self {
        Self { addresses: Addresses::new(subnet_seed), ..Self::default() }
    }

    /// How many tasks it creates.
    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    /// How many rows it writes.
    pub(super) fn changes(&self) -> usize {
        self.puts.len()
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        self.puts.is_empty()
    }

    /// Adds a launch. `table` is what the launch before left of the hosts: most launches of a batch ask for the same.
    pub(super) fn plan<'a>(
        &mut self,
        (view, now): (&'a EcsView, Timestamp),
        table: &mut Option<Table<'a>>,
        launch: &Launch,
        random: &Random,
    ) -> Result<Planned, LaunchError> {
        if self.collides(launch) {
            return Ok(Planned::Later);
        }
        if let Some(earlier) = repeated(view, launch, now)? {
            return Ok(Planned::Done(earlier));
        }
        let (_, cluster) = active_cluster(view, &launch.cluster.scope, &launch.cluster.cluster)?;
        // Chosen before anything is created: a launch that is refused leaves nothing in the batch. An instance is of one
        // provider, so the parts do not see each other's tasks.
        let parts = parts(launch);
        let chosen: Vec<_> =
            parts.iter().map(|(part, waits)| (part, *waits, self.choose(view, table, part, random))).collect();
        let unplaced =
            chosen.iter().filter(|(_, waits, _)| *waits).map(|(.., of_part)| of_part.launched.unplaced).sum();
        let waiting = self.waiting.get(&launch.cluster).copied().unwrap_or(0);
        let mut may_wait = may_wait(view, launch, unplaced, waiting).inspect_err(|_| *table = None)?;
        let mut launched: Option<Launched> = None;
        for (part, waits, Choice { places, launched: mut of_part, rests_on }) in chosen {
            self.compares.extend(rests_on);
            self.create((view, random, now), part, &places, &mut of_part);
            if of_part.tasks.len() < places.len() {
                // The table counts tasks that got no address.
                *table = None;
            }
            if waits {
                let waiting = of_part.unplaced.min(may_wait);
                may_wait -= waiting;
                self.create_waiting(part, waiting, (random, now), &mut of_part);
            }
            launched = Some(match launched {
                Some(launched) => launched.and(of_part),
                None => of_part,
            });
        }
        let launched = launched.unwrap_or_default();
        if !launched.tasks.is_empty() {
            let scope = &launch.cluster.scope;
            self.compares.insert(keys::cluster(scope, launch.cluster.cluster.as_str()), cluster.revision);
            self.exists.insert(keys::task_definition(scope, launch.task.kind(), &launch.definition));
            self.remember(view, launch, &launched.tasks, now);
            self.join(&launch.with);
        }
        Ok(Planned::Done(launched))
    }

    /// The transaction.
    pub(super) fn into_txn(self) -> Txn {
        let mut txn = Txn::new();
        for (host, (instance, placements)) in &self.hosts {
            let path = host.placements_path();
            txn = txn.require(host.path(), *instance).require(path.clone(), *placements).put(path, "{}");
        }
        for (key, revision) in self.compares {
            txn = txn.require(key, revision);
        }
        for key in self.exists {
            txn = txn.require_exists(key);
        }
        txn = self.addresses.into_txn(txn);
        txn.then.extend(self.puts.into_values());
        txn
    }

    fn collides(&self, launch: &Launch) -> bool {
        let token = launch.token.as_ref().map(|token| token_key(launch, &token.token));
        let own = launch.with.then.iter().filter_map(|op| match op {
            Op::Put { key, .. } | Op::Delete { key } => Some(key.clone()),
            Op::DeletePrefix { .. } => None,
        });
        own.chain(token).any(|key| self.puts.contains_key(&key))
    }

    /// A host for each task that finds one.
    fn choose<'a>(
        &self,
        view: &'a EcsView,
        table: &mut Option<Table<'a>>,
        launch: &Launch,
        random: &Random,
    ) -> Choice<'a> {
        let needs = needs(launch);
        let reserved = match launch.target {
            Target::Fleet => Reserved::default(),
            _ => Reserved::of(view, &launch.cluster, &needs.group, launch.task.kind()),
        };
        if let Target::Named(_) = launch.target {
            *table = None;
            return self.choose_named(view, launch, &needs, &reserved);
        }
        let known = table.take().filter(|table| table.is_of(&launch.cluster, &launch.target));
        let mut own = known.unwrap_or_else(|| Table::new(view, &launch.cluster, &launch.target, &self.taken));
        let placement = if reserved.is_empty() {
            place(&needs, &mut own.instances, launch.count, random.bits())
        } else {
            let mut instances = own.instances.clone();
            let mut claims = reserved.claims();
            own.candidates.iter().zip(&mut instances).for_each(|(candidate, free)| claims.take(*candidate, free));
            let placement = place(&needs, &mut instances, launch.count, random.bits());
            placement.chosen.iter().for_each(|index| own.instances[*index].take(&needs.resources, &needs.group));
            placement
        };
        let refuse = |rejection: &Rejection| {
            own.candidates.get(rejection.instance).map(|(key, ..)| refused((*key).clone(), rejection))
        };
        // A service says what came closest and nothing about the others, and it asks again and again.
        let listed = if launch.task.keeper.is_some() { &[][..] } else { &placement.rejections };
        let launched = Launched {
            tasks: Vec::new(),
            unplaced: placement.unplaced,
            refused: listed.iter().filter_map(refuse).collect(),
            closest: placement.closest().and_then(refuse),
            no_instances: own.candidates.is_empty(),
        };
        let places: Vec<_> = placement.chosen.iter().filter_map(|index| own.candidates.get(*index).copied()).collect();
        *table = Some(own);
        let rests_on = places.iter().flat_map(|place| reserved.rests_on(*place)).collect();
        Choice { places, launched, rests_on }
    }

    fn choose_named<'a>(&self, view: &'a EcsView, launch: &Launch, needs: &Needs, reserved: &Reserved) -> Choice<'a> {
        let Target::Named(ids) = &launch.target else { return Choice::default() };
        let Choice { mut places, mut launched, mut rests_on } = Choice::default();
        let mut taken = self.taken.clone();
        let mut claims = reserved.claims();
        for id in ids {
            let key =
                InstanceKey { scope: launch.cluster.scope.clone(), cluster: launch.cluster.cluster.clone(), id: *id };
            // A daemon wants no instance that has left meanwhile; StartTask hears that it has.
            if launch.task.keeper.is_some() && !takes_tasks(view, &key) {
                continue;
            }
            match named(view, &key, needs, (&taken, &mut claims)) {
                Ok(candidate) => {
                    taken.entry(key).or_default().push((needs.resources.clone(), needs.group.clone()));
                    rests_on.extend(reserved.rests_on(candidate));
                    places.push(candidate);
                }
                Err(why) => {
                    launched.unplaced += 1;
                    launched.refused.push(Refused { instance: key, why });
                }
            }
        }
        Choice { places, launched, rests_on }
    }

    /// Creates the tasks on their hosts.
    fn create(
        &mut self,
        (view, random, now): (&EcsView, &Random, Timestamp),
        launch: &Launch,
        places: &[Candidate<'_>],
        launched: &mut Launched,
    ) {
        let scope = &launch.cluster.scope;
        for (index, place) in places.iter().enumerate() {
            let (host, entry, row) = *place;
            let Ok(network) = self.network(view, launch, random, self.tasks + index) else {
                launched.unplaced += 1;
                launched.refused.push(Refused { instance: host.clone(), why: Refusal::Addresses });
                continue;
            };
            let at = Some((host, row.zone()));
            let mut record = launch.task.record(index, &launch.definition, at, network, (random, now));
            if !self.give_gpus(&mut record, &launch.task.requirements, *place) {
                launched.unplaced += 1;
                launched.refused.push(Refused { instance: host.clone(), why: Refusal::Lacks(Lack::Gpu) });
                continue;
            }
            let id = TaskId::from_bytes(random.id());
            self.put_task(TaskKey { scope: scope.clone(), cluster: launch.cluster.cluster.clone(), id }, &record);
            let resources = launch.task.resources();
            self.taken.entry(host.clone()).or_default().push((resources, launch.task.group.clone()));
            self.hosts.insert(host.clone(), (row.revision, entry.placements_revision));
            launched.tasks.push(id);
        }
        self.tasks += launched.tasks.len();
    }

    /// Gives each container of a task the GPUs that it asks for, of those that neither a task nor the batch holds.
    /// Whether there were enough of them: placement counted them, so there are.
    pub(super) fn give_gpus(
        &mut self,
        record: &mut TaskRecord,
        requirements: &TaskRequirements,
        (key, host, row): Candidate<'_>,
    ) -> bool {
        if record.reserved.gpus == 0 {
            return true;
        }
        let given = self.gpus.entry(key.clone()).or_default();
        let free = free_gpus(host, &row.resources).filter(|gpu| !given.contains(*gpu)).map(String::as_str);
        let wanted =
            record.containers.iter().map(|one| requirements.container(&one.name).map_or(0, |container| container.gpus));
        let Some(assigned) = gpus::assign(wanted, free) else { return false };
        given.extend(assigned.iter().flatten().cloned());
        record.containers.iter_mut().zip(assigned).for_each(|(container, gpus)| container.gpus = gpus);
        true
    }

    /// Creates tasks that wait for an instance of their provider.
    fn create_waiting(
        &mut self,
        launch: &Launch,
        count: usize,
        (random, now): (&Random, Timestamp),
        launched: &mut Launched,
    ) {
        let (scope, cluster) = (&launch.cluster.scope, &launch.cluster.cluster);
        for index in 0..count {
            let record = launch.task.record(index, &launch.definition, None, None, (random, now));
            let id = TaskId::from_bytes(random.id());
            self.put_task(TaskKey { scope: scope.clone(), cluster: cluster.clone(), id }, &record);
            launched.tasks.push(id);
        }
        launched.unplaced -= count;
        launched.no_instances &= count == 0;
        self.tasks += count;
        *self.waiting.entry(launch.cluster.clone()).or_default() += count;
    }

    /// What the batch took from each host.
    pub(super) fn taken(&self) -> &TakenByHost {
        &self.taken
    }

    /// An address of one of the subnets.
    pub(super) fn draw_address(
        &mut self,
        view: &EcsView,
        scope: &Scope,
        request: &NetworkRequest,
        random: &Random,
    ) -> Option<NetworkRecord> {
        self.addresses.draw(view, scope, request, random, self.tasks)
    }

    /// Writes a task that is there.
    pub(super) fn change_task(&mut self, key: &TaskKey, revision: Revision, record: &TaskRecord) {
        self.compares.insert(key.path(), revision);
        self.put(key.path(), encode(record));
    }

    /// Writes a task that is there and now has a host, from which it takes what it needs. `rests_on` must be as it is.
    pub(super) fn move_to_host(
        &mut self,
        key: &TaskKey,
        revision: Revision,
        record: &TaskRecord,
        (host, entry, row): Candidate<'_>,
        taken: (TaskResources, String),
        rests_on: impl Iterator<Item = (String, Revision)>,
    ) {
        self.change_task(key, revision, record);
        self.compares.extend(rests_on);
        self.taken.entry(host.clone()).or_default().push(taken);
        self.hosts.insert(host.clone(), (row.revision, entry.placements_revision));
        self.tasks += 1;
    }

    fn network(
        &mut self,
        view: &EcsView,
        launch: &Launch,
        random: &Random,
        turn: usize,
    ) -> Result<Option<NetworkRecord>, Refusal> {
        match &launch.task.network {
            Some(request) if launch.task.needs_address() => {
                let drawn = self.addresses.draw(view, &launch.cluster.scope, request, random, turn);
                drawn.map(Some).ok_or(Refusal::Addresses)
            }
            _ => Ok(None),
        }
    }

    fn put_task(&mut self, key: TaskKey, record: &TaskRecord) {
        let path = key.path();
        self.compares.insert(path.clone(), 0);
        self.put(path, encode(record));
    }

    fn put(&mut self, key: String, value: bytes::Bytes) {
        self.puts.insert(key.clone(), Op::Put { key, value, lease: None, told: true });
    }

    fn remember(&mut self, view: &EcsView, launch: &Launch, tasks: &[TaskId], now: Timestamp) {
        let Some(token) = &launch.token else { return };
        let key = token_key(launch, &token.token);
        let old = known_token(view, launch, &token.token).map_or(0, |row| row.revision);
        let lifetime = i64::try_from(CLIENT_TOKEN_LIFETIME_SECONDS).unwrap_or(i64::MAX);
        let record = ClientTokenRecord {
            request: token.request.clone(),
            resources: tasks.iter().map(TaskId::to_string).collect(),
            expires_at: now.plus_seconds(lifetime),
        };
        self.compares.insert(key.clone(), old);
        self.put(key, encode(&record));
    }

    fn join(&mut self, with: &Txn) {
        for compare in &with.compares {
            match compare {
                gantry_store::Compare::ModRevision { key, revision } => {
                    self.compares.insert(key.clone(), *revision);
                }
                gantry_store::Compare::Exists { key } => {
                    self.exists.insert(key.clone());
                }
            }
        }
        for op in &with.then {
            let (Op::Put { key, .. } | Op::Delete { key } | Op::DeletePrefix { prefix: key }) = op;
            self.puts.insert(key.clone(), op.clone());
        }
    }
}

fn takes_tasks(view: &EcsView, key: &InstanceKey) -> bool {
    let row = view.host_entry(key).and_then(|(_, host)| host.row.as_deref());
    row.is_some_and(|row| row.status == InstanceStatus::Active)
}

fn named<'a>(
    view: &'a EcsView,
    key: &InstanceKey,
    needs: &Needs,
    (taken, claims): (&TakenByHost, &mut Claims<'_>),
) -> Result<Candidate<'a>, Refusal> {
    let (key, host) = view.host_entry(key).ok_or(Refusal::Missing)?;
    let row = host.row.as_deref().ok_or(Refusal::Missing)?;
    if row.status == InstanceStatus::Inactive {
        return Err(Refusal::Inactive);
    }
    let candidate = (key, host, row);
    let mut free = instance(candidate, taken);
    claims.take(candidate, &mut free);
    match resource_lacks(needs, &free).into_iter().next() {
        None => Ok(candidate),
        Some(lack) => Err(Refusal::Lacks(lack)),
    }
}

fn needs(launch: &Launch) -> Needs {
    let requirements = &launch.task.requirements;
    // The fleet's hosts are ours: what they can do is our business, not the task definition's.
    let attributes = if launch.target == Target::Fleet { Vec::new() } else { requirements.attributes.clone() };
    Needs {
        resources: launch.task.resources(),
        attributes,
        group: launch.task.group.clone(),
        constraints: launch.constraints.clone(),
        strategies: launch.strategies.clone(),
    }
}

fn token_key(launch: &Launch, token: &str) -> String {
    keys::client_token(&launch.cluster.scope, "RunTask", launch.cluster.cluster.as_str(), token)
}

fn known_token<'a>(
    view: &'a EcsView,
    launch: &Launch,
    token: &str,
) -> Option<&'a crate::records::SharedRow<ClientTokenRecord>> {
    view.namespace(&launch.cluster.scope)?.client_token("RunTask", &launch.cluster.cluster, token)
}

/// What a launch with the same token led to.
fn repeated(view: &EcsView, launch: &Launch, now: Timestamp) -> Result<Option<Launched>, LaunchError> {
    let Some(token) = &launch.token else { return Ok(None) };
    let Some(known) = known_token(view, launch, &token.token).filter(|known| known.expires_at > now) else {
        return Ok(None);
    };
    let tasks: Vec<TaskId> = known.resources.iter().filter_map(|id| id.parse().ok()).collect();
    if known.request == token.request {
        return Ok(Some(Launched { tasks, ..Launched::default() }));
    }
    let cluster = launch.cluster.cluster.as_str();
    let arns = tasks.iter().map(|id| launch.cluster.scope.task_arn(cluster, *id)).collect();
    Err(fault::token_conflict(arns).into())
}

/// A placement code as the real service writes it.
pub(super) fn code(lack: &Lack) -> String {
    match lack {
        Lack::Agent => "AGENT".to_owned(),
        // The code of the real service is not known.
        Lack::Daemon => "Critical daemon is not running.".to_owned(),
        Lack::Cpu => "RESOURCE:CPU".to_owned(),
        Lack::Memory => "RESOURCE:MEMORY".to_owned(),
        Lack::Gpu => "RESOURCE:GPU".to_owned(),
        // The real service has no machine's disk to look at.
        Lack::Disk => "RESOURCE:DISK".to_owned(),
        Lack::Ports => "RESOURCE:PORTS".to_owned(),
        Lack::UdpPorts => "RESOURCE:PORTS_UDP".to_owned(),
        Lack::Attribute(_) => "ATTRIBUTE".to_owned(),
        Lack::MemberOf => "MemberOf placement constraint unsatisfied.".to_owned(),
        Lack::DistinctInstance => "DistinctInstance placement constraint unsatisfied.".to_owned(),
    }
}

impl Refusal {
    /// The placement code of the real service.
    pub fn code(&self) -> String {
        match self {
            Self::Lacks(lack) => code(lack),
            Self::Addresses => "RESOURCE:ENI".to_owned(),
            Self::Missing => "MISSING".to_owned(),
            Self::Inactive => "INACTIVE".to_owned(),
        }
    }
}
