//! The control plane's picture of everything ECS keeps, indexed for the questions requests ask. Built from the store's
//! events and nothing else; every index is brought up to date with each event, so no request walks all tasks.

mod cluster;
mod family;
mod feed;
mod group;
mod host;
mod tasks;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use gantry_api::alarm::AlarmRow;
use gantry_domain::arn::{Name, Scope, TaskDefinitionKey, TaskId};
use gantry_store::{Event, Model};
use serde::de::DeserializeOwned;

pub use cluster::{ClusterView, Kept};
pub use family::FamilyView;
pub use feed::{Change, ChangeFeed};
pub use group::{Counts, Group, Phase};
pub use host::{Host, HostedTask, PortCounts};
pub use tasks::{TaskRow, Tasks};

use crate::{
    keys::{ClusterKey, InstanceKey, Key, PerKind, ServiceKey, ServiceKind, TaskKey},
    records::{
        AccountSettingRecord, AttributeSets, CapacityProviderRecord, ClientTokenRecord, ExecSessionRecord,
        InstanceRecord, InstanceStatus, Row, SharedRow, SubnetBlockRecord, SubnetRecord, TaskDefinitionRecord,
        TaskRecord, decode,
    },
};

/// Everything, by account and region.
#[derive(Debug, Default)]
pub struct EcsView {
    namespaces: BTreeMap<Scope, Namespace>,
    hosts: BTreeMap<InstanceKey, Host>,
    fleet: BTreeSet<InstanceKey>,
    /// By account: how many of the fleet's ACTIVE hosts are in each zone.
    fleet_zones: BTreeMap<String, BTreeMap<String, u32>>,
    subnet_blocks: BTreeMap<u16, SharedRow<SubnetBlockRecord>>,
    exec_sessions: BTreeMap<String, ExecSessionRow>,
    attribute_sets: AttributeSets,
    feed: ChangeFeed,
}

/// A session of ECS Exec, with the account and region that it belongs to.
#[derive(Debug, Clone)]
pub struct ExecSessionRow {
    /// Account and region.
    pub scope: Scope,
    /// The session.
    pub row: SharedRow<ExecSessionRecord>,
}

/// One account in one region.
#[derive(Debug, Default)]
pub struct Namespace {
    clusters: BTreeMap<Name, ClusterView>,
    capacity_providers: BTreeMap<Name, SharedRow<CapacityProviderRecord>>,
    families: PerKind<BTreeMap<Name, FamilyView>>,
    deleting: BTreeSet<(ServiceKind, TaskDefinitionKey)>,
    account_settings: BTreeMap<(String, String), SharedRow<AccountSettingRecord>>,
    client_tokens: BTreeMap<(String, Name, String), SharedRow<ClientTokenRecord>>,
    subnets: BTreeMap<String, SubnetView>,
    alarms: BTreeMap<String, SharedRow<AlarmRow>>,
    /// Attachments of tasks that are not STOPPED.
    attachments: BTreeMap<String, TaskKey>,
}

/// One subnet.
#[derive(Debug, Default)]
pub struct SubnetView {
    /// The subnet, once it exists.
    pub row: Option<SharedRow<SubnetRecord>>,
    /// Addresses of tasks that are not STOPPED.
    pub taken: BTreeMap<Ipv4Addr, TaskId>,
}

impl EcsView {
    /// The namespace, when anything was ever written there.
    pub fn namespace(&self, scope: &Scope) -> Option<&Namespace> {
        self.namespaces.get(scope)
    }

    /// The cluster, deleted ones included.
    pub fn cluster(&self, scope: &Scope, name: &Name) -> Option<&ClusterView> {
        self.namespaces.get(scope)?.clusters.get(name)
    }

    /// The task.
    pub fn task(&self, key: &TaskKey) -> Option<&Arc<TaskRow>> {
        self.cluster(&key.scope, &key.cluster)?.tasks().get(key.id)
    }

    /// The host: a registered (or deregistered) container instance with what is on it.
    pub fn host(&self, key: &InstanceKey) -> Option<&Host> {
        self.hosts.get(key)
    }

    /// The host with its key as the view holds it.
    pub fn host_entry(&self, key: &InstanceKey) -> Option<(&InstanceKey, &Host)> {
        self.hosts.get_key_value(key)
    }

    /// The Fargate fleet of an account, over all regions and clusters: hosts that registered for it.
    pub fn fleet<'a>(&'a self, account: &str) -> impl Iterator<Item = (&'a InstanceKey, &'a Host)> + use<'a> {
        let account = account.to_owned();
        let own = self.fleet.iter().filter(move |key| key.scope.account == account);
        own.filter_map(|key| self.hosts.get_key_value(key))
    }

    /// The zones that have ACTIVE hosts of an account's Fargate fleet.
    pub fn fleet_zones(&self, account: &str) -> impl Iterator<Item = &str> {
        self.fleet_zones.get(account).into_iter().flat_map(|zones| zones.keys()).map(String::as_str)
    }

    /// The hosts of one cluster, in the order of their ids.
    pub fn hosts_of_cluster(
        &self,
        scope: &Scope,
        cluster: &Name,
    ) -> impl Iterator<Item = (&InstanceKey, &Host)> + use<'_> {
        let key = |byte| InstanceKey {
            scope: scope.clone(),
            cluster: cluster.clone(),
            id: gantry_domain::arn::ContainerInstanceId::from_bytes([byte; 16]),
        };
        self.hosts.range(key(0)..=key(u8::MAX))
    }

    /// The hosts of one account and region.
    pub fn hosts_of_scope<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = (&'a InstanceKey, &'a Host)> {
        // Instances are counted in their cluster, so it is there as long as they are.
        let clusters = self.namespaces.get(scope).into_iter().flat_map(|space| space.clusters.keys());
        clusters.flat_map(|cluster| self.hosts_of_cluster(scope, cluster))
    }

    /// Every host, in the order of account, region, cluster and id.
    pub fn hosts(&self) -> impl Iterator<Item = (&InstanceKey, &Host)> {
        self.hosts.iter()
    }

    /// Every namespace.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Scope, &Namespace)> {
        self.namespaces.iter()
    }

    /// The owner of a block of addresses.
    pub fn subnet_block(&self, block: u16) -> Option<&SharedRow<SubnetBlockRecord>> {
        self.subnet_blocks.get(&block)
    }

    /// How many blocks of addresses are owned.
    pub fn subnet_blocks(&self) -> usize {
        self.subnet_blocks.len()
    }

    /// A session of ECS Exec by its id, which is random enough to be alone in all accounts.
    pub fn exec_session(&self, id: &str) -> Option<&ExecSessionRow> {
        self.exec_sessions.get(id)
    }

    /// Every session of ECS Exec by its id.
    pub fn exec_sessions(&self) -> &BTreeMap<String, ExecSessionRow> {
        &self.exec_sessions
    }

    /// Changes from now on. A view that loads itself again closes the feed: subscribe again and look at everything.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<Change> {
        self.feed.subscribe()
    }

    fn apply_key(&mut self, scope: Scope, key: Key, event: &Event) {
        let space = self.namespaces.entry(scope.clone()).or_default();
        match key {
            Key::Cluster { name } => {
                let cluster = space.clusters.entry(name.clone()).or_default();
                cluster.set_row(row(event));
                if cluster.is_forgotten() {
                    space.clusters.remove(&name);
                }
                self.feed.send(Change::Cluster(ClusterKey { scope, cluster: name }));
            }
            Key::CapacityProvider { name } => {
                set(&mut space.capacity_providers, name.clone(), row(event));
                self.feed.send(Change::CapacityProvider(scope, name));
            }
            Key::Family { kind, family } => {
                space.families.of_mut(kind).entry(family).or_default().set_counter(row(event));
            }
            Key::TaskDefinition(kind, key) => {
                let family = space.families.of_mut(kind).entry(key.family.clone()).or_default();
                if family.set_revision(key.revision.get(), row(event)) {
                    space.deleting.insert((kind, key.clone()));
                } else {
                    space.deleting.remove(&(kind, key.clone()));
                }
                self.feed.send(Change::TaskDefinition(scope, kind, key));
            }
            Key::Task { cluster, id } => self.apply_task(TaskKey { scope, cluster, id }, event),
            Key::Service { kind, cluster, name } => {
                space.clusters.entry(cluster.clone()).or_default().set_service(kind, &name, row(event));
                self.feed.send(Change::Service(ServiceKey { kind, scope, cluster, service: name }));
            }
            Key::ServiceDeployment { kind, cluster, service, id } => {
                space.clusters.entry(cluster).or_default().set_deployment(kind, (service, id), row(event));
            }
            Key::ServiceRevision { kind, cluster, service, id } => {
                space.clusters.entry(cluster).or_default().set_revision(kind, (service, id), row(event));
            }
            Key::Instance { cluster, id } => self.apply_instance(InstanceKey { scope, cluster, id }, event),
            Key::Placements { cluster, id } => {
                let key = InstanceKey { scope, cluster, id };
                self.hosts.entry(key.clone()).or_default().placements_revision = match event {
                    Event::Put(kv) => kv.mod_revision,
                    Event::Delete { .. } => 0,
                };
                self.drop_empty_host(&key);
            }
            Key::AccountSetting { principal, name } => set(&mut space.account_settings, (principal, name), row(event)),
            Key::ClientToken { operation, cluster, token } => {
                set(&mut space.client_tokens, (operation, cluster, token), row(event));
            }
            Key::ExecSession { id } => self.apply_exec_session(scope, id, event),
            Key::Subnet { subnet } => space.set_subnet(subnet, row(event)),
            Key::Alarm { name } => {
                set(&mut space.alarms, name.clone(), row(event));
                self.feed.send(Change::Alarm(scope, name));
            }
            Key::SubnetBlock { block } => set(&mut self.subnet_blocks, block, row(event)),
        }
    }

    fn apply_instance(&mut self, key: InstanceKey, event: &Event) {
        let space = self.namespaces.entry(key.scope.clone()).or_default();
        let host = self.hosts.entry(key.clone()).or_default();
        let was = host.row.take();
        host.row = row(event).map(|row: SharedRow<InstanceRecord>| {
            let mut row = Arc::unwrap_or_clone(row);
            self.attribute_sets.share(&mut row.record.attributes);
            self.attribute_sets.share(&mut row.record.custom_attributes);
            Arc::new(row)
        });
        if host.row.as_ref().is_some_and(|row| row.fargate && row.is_registered()) {
            self.fleet.insert(key.clone());
        } else {
            self.fleet.remove(&key);
        }
        let fleet_zone = |row: Option<&Row<InstanceRecord>>| {
            let row = row.filter(|row| row.fargate && row.status == InstanceStatus::Active)?;
            row.zone().map(str::to_owned)
        };
        let (before, now) = (fleet_zone(was.as_deref()), fleet_zone(host.row.as_deref()));
        if before != now {
            let zones = self.fleet_zones.entry(key.scope.account.clone()).or_default();
            if let Some(before) = before {
                host::uncount(zones, before.as_str());
            }
            if let Some(now) = now {
                *zones.entry(now).or_default() += 1;
            }
        }
        let cluster = space.clusters.entry(key.cluster.clone()).or_default();
        cluster.count_instance(was.as_deref(), host.row.as_deref());
        self.drop_empty_host(&key);
        self.feed.send(Change::Instance(key));
    }

    fn apply_exec_session(&mut self, scope: Scope, id: String, event: &Event) {
        let new = row(event).map(|row| ExecSessionRow { scope, row });
        let old = self.exec_sessions.get(&id).cloned();
        set(&mut self.exec_sessions, id.clone(), new.clone());
        let host_of = |entry: &Option<ExecSessionRow>| entry.as_ref().and_then(|entry| entry.row.host.clone());
        let host = host_of(&new).or_else(|| host_of(&old));
        if let Some(host) = &host {
            let told = new.is_some_and(|entry| entry.row.concerns_agent());
            let entry = self.hosts.entry(host.clone()).or_default();
            if told {
                entry.exec_sessions.insert(id.clone());
            } else {
                entry.exec_sessions.remove(&id);
            }
            self.drop_empty_host(host);
        }
        self.feed.send(Change::ExecSession { id, host });
    }

    /// A host of which nothing is known any more.
    fn drop_empty_host(&mut self, key: &InstanceKey) {
        let empty = |host: &Host| {
            let unused = host.tasks().is_empty() && host.exec_sessions.is_empty();
            host.row.is_none() && unused && host.placements_revision == 0
        };
        if self.hosts.get(key).is_some_and(empty) {
            self.hosts.remove(key);
        }
    }

    fn apply_task(&mut self, key: TaskKey, event: &Event) {
        let space = self.namespaces.entry(key.scope.clone()).or_default();
        let decoded: Option<SharedRow<TaskRecord>> = row(event);
        let new = decoded.map(|row| {
            let definition = space.definition(row.kind(), &row.task_definition).cloned();
            let record = Arc::unwrap_or_clone(row);
            Arc::new(TaskRow { id: key.id, revision: record.revision, definition, record: record.record })
        });
        let cluster = space.clusters.entry(key.cluster.clone()).or_default();
        let old = cluster.tasks_mut().replace(key.id, new.clone());
        space.track_network(&key, old.as_deref(), new.as_deref());
        let owner = key.cluster_key();
        for (task, present) in [(&old, false), (&new, true)] {
            let Some(host) = task.as_ref().and_then(|task| task.record.host.clone()) else { continue };
            let entry = self.hosts.entry(host.clone()).or_default();
            if present {
                entry.add(&owner, task.as_ref())
            } else {
                entry.remove(task.as_ref())
            }
            self.drop_empty_host(&host);
        }
        let host = new.as_ref().or(old.as_ref()).and_then(|task| task.record.host.clone());
        let service = new.as_ref().or(old.as_ref()).and_then(|task| task.record.keeper_key(&key));
        self.feed.send(Change::Task { key, host, service });
    }
}

impl Namespace {
    /// The clusters, deleted ones included, in the order of their names.
    pub fn clusters(&self) -> &BTreeMap<Name, ClusterView> {
        &self.clusters
    }

    /// The capacity providers, deleted ones included, in the order of their names.
    pub fn capacity_providers(&self) -> &BTreeMap<Name, SharedRow<CapacityProviderRecord>> {
        &self.capacity_providers
    }

    /// The families of task definitions, in the order of their names.
    pub fn families(&self) -> &BTreeMap<Name, FamilyView> {
        self.families_of(ServiceKind::Service)
    }

    /// The families of task definitions, or of daemon task definitions.
    pub fn families_of(&self, kind: ServiceKind) -> &BTreeMap<Name, FamilyView> {
        self.families.of(kind)
    }

    /// One revision of a task definition.
    pub fn task_definition(&self, key: &TaskDefinitionKey) -> Option<&SharedRow<TaskDefinitionRecord>> {
        self.definition(ServiceKind::Service, key)
    }

    /// One revision of a task definition, or of a daemon task definition.
    pub fn definition(&self, kind: ServiceKind, key: &TaskDefinitionKey) -> Option<&SharedRow<TaskDefinitionRecord>> {
        self.families.of(kind).get(&key.family)?.revisions().get(&key.revision.get())
    }

    /// Task definitions that are DELETE_IN_PROGRESS.
    pub fn deleting(&self) -> &BTreeSet<(ServiceKind, TaskDefinitionKey)> {
        &self.deleting
    }

    /// Explicitly stored account settings by principal and name.
    pub fn account_settings(&self) -> &BTreeMap<(String, String), SharedRow<AccountSettingRecord>> {
        &self.account_settings
    }

    /// What a client token led to.
    pub fn client_token(&self, operation: &str, cluster: &Name, token: &str) -> Option<&SharedRow<ClientTokenRecord>> {
        self.client_tokens.get(&(operation.to_owned(), cluster.clone(), token.to_owned()))
    }

    /// Every remembered client token: operation, cluster, token.
    pub fn client_tokens(&self) -> &BTreeMap<(String, Name, String), SharedRow<ClientTokenRecord>> {
        &self.client_tokens
    }

    /// The subnet, once a task or request made it.
    pub fn subnet(&self, subnet: &str) -> Option<&SubnetView> {
        self.subnets.get(subnet)
    }

    /// Every subnet by its id.
    pub fn subnets(&self) -> impl Iterator<Item = (&String, &SubnetView)> {
        self.subnets.iter()
    }

    /// Alarms by their names.
    pub fn alarms(&self) -> &BTreeMap<String, SharedRow<AlarmRow>> {
        &self.alarms
    }

    /// The task of an attachment.
    pub fn attachment(&self, id: &str) -> Option<&TaskKey> {
        self.attachments.get(id)
    }

    fn set_subnet(&mut self, subnet: String, row: Option<SharedRow<SubnetRecord>>) {
        let entry = self.subnets.entry(subnet.clone()).or_default();
        entry.row = row;
        if entry.row.is_none() && entry.taken.is_empty() {
            self.subnets.remove(&subnet);
        }
    }

    fn track_network(&mut self, key: &TaskKey, old: Option<&TaskRow>, new: Option<&TaskRow>) {
        let network = |row: &TaskRow| {
            let network = row.record.network.as_ref().filter(|_| !row.record.is_stopped())?;
            let interface = &network.interface;
            Some((network.attachment_id.clone(), interface.subnet.clone(), interface.address))
        };
        let (old, new) = (old.and_then(network), new.and_then(network));
        if old == new {
            return;
        }
        if let Some((attachment, subnet, address)) = old {
            self.attachments.remove(&attachment);
            self.subnets.entry(subnet).or_default().taken.remove(&address);
        }
        if let Some((attachment, subnet, address)) = new {
            self.attachments.insert(attachment, key.clone());
            self.subnets.entry(subnet).or_default().taken.insert(address, key.id);
        }
    }
}

impl Model for EcsView {
    fn apply(&mut self, event: &Event) {
        match Key::parse(event.key()) {
            Some((scope, key)) => self.apply_key(scope, key, event),
            None => tracing::warn!(key = event.key(), "a key that this version does not know is left alone"),
        }
    }
}

/// The row after an event. A record that cannot be read is treated as absent, loudly: one damaged row must not keep the
/// rest from being served.
fn row<T: DeserializeOwned>(event: &Event) -> Option<SharedRow<T>> {
    let Event::Put(kv) = event else { return None };
    match decode(&kv.value) {
        Ok(record) => Some(Arc::new(Row { revision: kv.mod_revision, record })),
        Err(error) => {
            tracing::error!(key = &*kv.key, %error, "a stored record cannot be read");
            None
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
