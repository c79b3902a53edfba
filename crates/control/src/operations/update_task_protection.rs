//! `UpdateTaskProtection`: protects a service's tasks from its scale-in and deployments for a while, or no longer.

use std::collections::BTreeMap;

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateTaskProtectionRequest, UpdateTaskProtectionResponse},
};
use gantry_domain::{
    Timestamp,
    arn::TaskId,
    limits::{PROTECTION_MINUTES, PROTECTION_MINUTES_DEFAULT, UPDATE_PROTECTION_MAX},
};
use gantry_store::Txn;

use crate::{
    Control,
    control::{Plan, active_cluster, cluster_name, scope},
    failures, fault,
    keys::{ServiceKey, TaskKey},
    records::encode,
    services::find,
    tasks::protection::{can_be_protected, task_ids, to_wire},
    view::{ClusterView, EcsView, Phase},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateTaskProtectionRequest,
) -> Result<UpdateTaskProtectionResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let mut ids = task_ids(&scope, &cluster, input.tasks.as_deref(), UPDATE_PROTECTION_MAX)?;
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| seen.insert(*id));
    let minutes = input.expires_in_minutes.unwrap_or(PROTECTION_MINUTES_DEFAULT);
    if !PROTECTION_MINUTES.contains(&minutes) {
        let (least, most) = (PROTECTION_MINUTES.start(), PROTECTION_MINUTES.end());
        return Err(fault::invalid(format!("expiresInMinutes must be between {least} and {most}.")));
    }
    let now = control.now();
    let until = input.protection_enabled.unwrap_or_default().then(|| now.plus_seconds(i64::from(minutes) * 60));
    control
        .transact(|view| {
            let (entry, _) = active_cluster(view, &scope, &cluster)?;
            let (mut txn, mut changed, mut failed) = (Txn::new(), Vec::new(), Vec::new());
            let mut rooms: BTreeMap<ServiceKey, usize> = BTreeMap::new();
            for id in &ids {
                let key = TaskKey { scope: scope.clone(), cluster: cluster.clone(), id: *id };
                let arn = scope.task_arn(cluster.as_str(), *id);
                let Some(row) = entry.tasks().get(*id) else {
                    failed.push(failures::missing(arn));
                    continue;
                };
                let service = row.service.as_deref().filter(|_| can_be_protected(row));
                let service = service.map(|name| find::service_key(&scope, &cluster, Some(name))).transpose()?;
                let Some(service) = service else {
                    failed.push(failures::task_not_valid(arn));
                    continue;
                };
                if until.is_some() {
                    if !rooms.contains_key(&service) {
                        let Some(service_row) = find::row(view, &service) else {
                            failed.push(failures::task_not_valid(arn));
                            continue;
                        };
                        // What is decided here is void when the service is given another size meanwhile.
                        txn = txn.require(service.path(), service_row.revision);
                        rooms.insert(service.clone(), room(view, entry, &service, &ids, now));
                    }
                    let room = rooms.entry(service).or_default();
                    if *room == 0 {
                        failed.push(failures::deployment_blocked(arn));
                        continue;
                    }
                    *room -= 1;
                }
                let mut record = row.record.clone();
                record.protected_until = until;
                changed.push(to_wire(arn, &record, now));
                txn = txn.require(key.path(), row.revision).put(key.path(), encode(&record));
            }
            let nothing = changed.is_empty();
            let answer = UpdateTaskProtectionResponse { protected_tasks: Some(changed), failures: Some(failed) };
            Ok(if nothing { Plan::Done(answer) } else { Plan::Commit(txn, answer) })
        })
        .await
}

/// How many tasks of a service may still be protected, beside those that are and are not among `asked`: a service with
/// more protected tasks than it is to have could never become what it should be.
fn room(view: &EcsView, cluster: &ClusterView, service: &ServiceKey, asked: &[TaskId], now: Timestamp) -> usize {
    let desired = find::row(view, service).map_or(0, |row| row.desired_count);
    let tasks = cluster.tasks();
    let group = tasks.of_service(service.service.as_str());
    let wanted = group.into_iter().flat_map(|group| tasks.walk(group, &[Phase::Wanted], None));
    let others = wanted.filter(|task| task.protection_at(now).is_some() && !asked.contains(&task.id)).count();
    usize::try_from(desired).unwrap_or(usize::MAX).saturating_sub(others)
}
