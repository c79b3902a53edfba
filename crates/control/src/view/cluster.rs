//! One cluster with what is in it.

use std::collections::{BTreeMap, BTreeSet};

use gantry_domain::arn::Name;

use super::Tasks;
use crate::keys::{PerKind, ServiceKind};
use crate::records::{
    ClusterRecord, InstanceRecord, InstanceStatus, Row, Scheduling, ServiceDeploymentRecord, ServiceRecord,
    ServiceRevisionRecord, ServiceStatus, SharedRow,
};

/// A cluster. Its instances are found through [`super::EcsView::hosts_of_cluster`].
#[derive(Debug, Default)]
pub struct ClusterView {
    row: Option<SharedRow<ClusterRecord>>,
    tasks: Tasks,
    kept: PerKind<Kept>,
    registered_instances: u32,
    zones: BTreeMap<String, u32>,
}

/// The services, or the managed daemons, of a cluster.
#[derive(Debug, Default)]
pub struct Kept {
    rows: BTreeMap<Name, SharedRow<ServiceRecord>>,
    daemons: BTreeSet<Name>,
    waiting: BTreeSet<Name>,
    deployments: BTreeMap<(Name, String), SharedRow<ServiceDeploymentRecord>>,
    revisions: BTreeMap<(Name, String), SharedRow<ServiceRevisionRecord>>,
}

impl Kept {
    /// Deleted ones included, in the order of their names.
    pub fn rows(&self) -> &BTreeMap<Name, SharedRow<ServiceRecord>> {
        &self.rows
    }

    /// Those that are ACTIVE.
    pub fn active(&self) -> impl Iterator<Item = (&Name, &SharedRow<ServiceRecord>)> {
        self.rows.iter().filter(|(_, row)| row.status == ServiceStatus::Active)
    }

    /// Deployments by name and id.
    pub fn deployments(&self) -> &BTreeMap<(Name, String), SharedRow<ServiceDeploymentRecord>> {
        &self.deployments
    }

    /// Revisions by name and id.
    pub fn revisions(&self) -> &BTreeMap<(Name, String), SharedRow<ServiceRevisionRecord>> {
        &self.revisions
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.deployments.is_empty() && self.revisions.is_empty()
    }
}

impl ClusterView {
    /// The cluster's own record, deleted clusters included.
    pub fn row(&self) -> Option<&SharedRow<ClusterRecord>> {
        self.row.as_ref()
    }

    /// The record when the cluster is ACTIVE.
    pub fn active(&self) -> Option<&SharedRow<ClusterRecord>> {
        self.row.as_ref().filter(|row| row.is_active())
    }

    /// Its tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Its services or its managed daemons.
    pub fn kept(&self, kind: ServiceKind) -> &Kept {
        self.kept.of(kind)
    }

    /// Its services, deleted ones included, in the order of their names.
    pub fn services(&self) -> &BTreeMap<Name, SharedRow<ServiceRecord>> {
        &self.kept(ServiceKind::Service).rows
    }

    /// Its DAEMON services and managed daemons, deleted ones included: every placement asks what they need.
    pub fn daemons(&self) -> impl Iterator<Item = (ServiceKind, &Name, &SharedRow<ServiceRecord>)> {
        let of = |kind| {
            let kept = self.kept(kind);
            let rows = kept.daemons.iter().filter_map(|name| kept.rows.get_key_value(name));
            rows.map(move |(name, row)| (kind, name, row))
        };
        ServiceKind::ALL.into_iter().flat_map(of)
    }

    /// Services and daemons whose last attempt to start found no room for all tasks.
    pub fn waiting(&self) -> impl Iterator<Item = (ServiceKind, &Name)> {
        ServiceKind::ALL.into_iter().flat_map(|kind| self.kept(kind).waiting.iter().map(move |name| (kind, name)))
    }

    /// Services that are ACTIVE.
    pub fn active_services(&self) -> impl Iterator<Item = (&Name, &SharedRow<ServiceRecord>)> {
        self.kept(ServiceKind::Service).active()
    }

    /// Instances that are ACTIVE or DRAINING.
    pub fn registered_instances(&self) -> u32 {
        self.registered_instances
    }

    /// The zones that have ACTIVE instances.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.zones.keys().map(String::as_str)
    }

    /// Whether there is neither a cluster nor anything that once was in one.
    pub(super) fn is_forgotten(&self) -> bool {
        let empty = self.tasks.all().is_empty() && self.registered_instances == 0;
        self.row.is_none() && empty && ServiceKind::ALL.into_iter().all(|kind| self.kept(kind).is_empty())
    }

    pub(super) fn set_row(&mut self, row: Option<SharedRow<ClusterRecord>>) {
        self.row = row;
    }

    pub(super) fn tasks_mut(&mut self) -> &mut Tasks {
        &mut self.tasks
    }

    pub(super) fn set_service(&mut self, kind: ServiceKind, name: &Name, row: Option<SharedRow<ServiceRecord>>) {
        let kept = self.kept.of_mut(kind);
        set_member(&mut kept.daemons, name, row.as_ref().is_some_and(|row| row.scheduling == Scheduling::Daemon));
        set_member(&mut kept.waiting, name, row.as_ref().is_some_and(|row| row.waits_for_room()));
        super::set(&mut kept.rows, name.clone(), row);
    }

    pub(super) fn set_deployment(
        &mut self,
        kind: ServiceKind,
        (service, id): (Name, String),
        row: Option<SharedRow<ServiceDeploymentRecord>>,
    ) {
        super::set(&mut self.kept.of_mut(kind).deployments, (service, id), row);
    }

    pub(super) fn set_revision(
        &mut self,
        kind: ServiceKind,
        (service, id): (Name, String),
        row: Option<SharedRow<ServiceRevisionRecord>>,
    ) {
        super::set(&mut self.kept.of_mut(kind).revisions, (service, id), row);
    }

    pub(super) fn count_instance(&mut self, was: Option<&Row<InstanceRecord>>, is: Option<&Row<InstanceRecord>>) {
        let registered = |row: Option<&Row<InstanceRecord>>| u32::from(row.is_some_and(|row| row.is_registered()));
        self.registered_instances = self.registered_instances + registered(is) - registered(was);
        if zone_of(was) != zone_of(is) {
            if let Some(zone) = zone_of(was) {
                super::host::uncount(&mut self.zones, zone);
            }
            if let Some(zone) = zone_of(is) {
                *self.zones.entry(zone.to_owned()).or_default() += 1;
            }
        }
    }
}

fn zone_of(row: Option<&Row<InstanceRecord>>) -> Option<&str> {
    row.filter(|row| row.status == InstanceStatus::Active)?.zone()
}

fn set_member(names: &mut BTreeSet<Name>, name: &Name, member: bool) {
    if !member {
        names.remove(name);
    } else if !names.contains(name) {
        names.insert(name.clone());
    }
}
