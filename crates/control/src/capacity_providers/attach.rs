//! Providers of clusters: who may be attached where, and what goes with it.

use gantry_api::{Fault, ecs::CapacityProviderStrategyItem};
use gantry_domain::arn::{Name, Scope};
use gantry_store::Txn;

use super::{Kind, kind};
use crate::{
    Random, fault,
    keys::{self, ServiceKind},
    records::{ClusterRecord, ProviderAttachment, ServiceStatus, encode},
    view::{ClusterView, EcsView},
};

/// The clusters that have the provider.
pub(crate) fn attached_to<'a>(
    view: &'a EcsView,
    scope: &Scope,
    provider: &'a str,
) -> impl Iterator<Item = (&'a Name, &'a ClusterView)> {
    let clusters = view.namespace(scope).into_iter().flat_map(|space| space.clusters());
    clusters.filter(move |(_, cluster)| {
        cluster.active().is_some_and(|row| row.capacity_providers.iter().any(|name| name == provider))
    })
}

/// Makes the attachments of a cluster fit its providers. Returns `txn` with what must be compared: a provider that was
/// deleted meanwhile is not attached, and one that scales its group to one cluster only.
pub(crate) fn attach(
    view: &EcsView,
    (scope, cluster): (&Scope, &Name),
    record: &mut ClusterRecord,
    before: &[String],
    random: &Random,
    mut txn: Txn,
) -> Result<Txn, Fault> {
    let mut managed = Vec::new();
    for provider in &record.capacity_providers {
        let Some(kind) = kind(view, scope, provider) else { return Err(fault::capacity_provider_inactive(provider)) };
        let Kind::Group(row) = kind else { continue };
        let path = keys::capacity_provider(scope, provider);
        txn = txn.require(path.clone(), row.revision);
        if row.is_managed() {
            managed.push(provider.clone());
        }
        if !before.contains(provider) {
            if row.is_managed() && attached_to(view, scope, provider).any(|(name, _)| name != cluster) {
                return Err(fault::capacity_provider_of_other_cluster(provider));
            }
            // Written although nothing in it changes: two clusters cannot both attach it, and none while it changes.
            txn = txn.put(path, encode(&row.record));
        }
    }
    set_attachments(record, &managed, random);
    Ok(txn)
}

/// The same record with other attachments, if other providers scale their groups now.
pub(crate) fn set_attachments(record: &mut ClusterRecord, managed: &[String], random: &Random) {
    let before = record.attachments.clone();
    record.attachments.retain(|attachment| managed.contains(&attachment.provider));
    for provider in managed {
        if !record.attachments.iter().any(|attachment| attachment.provider == *provider) {
            record.attachments.push(ProviderAttachment {
                id: random.uuid(),
                provider: provider.clone(),
                policy: format!("ECSManagedAutoScalingPolicy-{}", random.uuid()),
            });
        }
    }
    if record.attachments != before {
        record.attachments_updating = Some(true);
    }
}

/// A cluster whose record changed with one of its providers; none when nothing in it does.
pub(crate) fn with_provider(
    view: &EcsView,
    scope: &Scope,
    record: &ClusterRecord,
    (provider, managed): (&str, bool),
    random: &Random,
) -> Option<ClusterRecord> {
    let scales = |name: &&String| match name.as_str() == provider {
        true => managed,
        false => kind(view, scope, name).is_some_and(|kind| kind.is_managed()),
    };
    let all: Vec<String> = record.capacity_providers.iter().filter(scales).cloned().collect();
    let mut changed = record.clone();
    set_attachments(&mut changed, &all, random);
    (changed != *record).then_some(changed)
}

/// Whether a task that is not STOPPED or a service that is not gone goes by this provider.
pub(crate) fn in_use(cluster: &ClusterView, provider: &str) -> bool {
    let tasks = cluster.tasks();
    let mut alive = tasks.all().alive().filter_map(|id| tasks.get(id));
    if alive.any(|task| task.capacity_provider.as_deref() == Some(provider)) {
        return true;
    }
    let named = |item: &CapacityProviderStrategyItem| item.capacity_provider.as_deref() == Some(provider);
    ServiceKind::ALL.into_iter().map(|kind| cluster.kept(kind)).any(|kept| {
        kept.revisions().iter().any(|((service, number), revision)| {
            let current = kept.rows().get(service).is_some_and(|record| {
                let number = number.parse().ok();
                record.status != ServiceStatus::Inactive
                    && record.deployments.iter().any(|deployment| Some(deployment.revision) == number)
            });
            let daemon = revision.daemon.as_ref();
            current
                && (revision.capacity_provider_strategy.iter().any(named)
                    || daemon.is_some_and(|daemon| daemon.capacity_providers.iter().any(|name| name == provider)))
        })
    })
}
