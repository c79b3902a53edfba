//! `DeregisterContainerInstance`. By force, its tasks end with it: nobody watches over them any more.
//! The identity of the machine that joined by a token ends as well.

use gantry_api::{
    Caller, Fault,
    ecs::{DeregisterContainerInstanceRequest, DeregisterContainerInstanceResponse},
};
use gantry_domain::{
    reason::StoppedReason,
    task::{Stop, StopCode},
};
use gantry_store::Txn;

use crate::{
    Control,
    control::{Plan, active_cluster, cluster_name, scope},
    fault,
    instances::{
        find::{instance_key, known},
        owner,
        wire::{self, Include},
    },
    records::{InstanceStatus, encode},
    tasks::observe,
};

/// Tasks ended in one transaction; the last one also deregisters the instance.
const TASKS_PER_TXN: usize = 200;

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeregisterContainerInstanceRequest,
) -> Result<DeregisterContainerInstanceResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let key = instance_key(&scope, &cluster, input.container_instance.as_deref())?;
    let force = input.force == Some(true);
    let now = control.now();
    let stop = Stop { code: StopCode::UserInitiated, reason: StoppedReason::DeregistrationForced };
    loop {
        let done = control.transact(|view| {
            active_cluster(view, &key.scope, &key.cluster)?;
            let host = known(view, &key).ok_or_else(fault::instance_not_found)?;
            let row = host.row.as_ref().ok_or_else(fault::instance_not_found)?;
            owner::check_instance(caller, "ecs:DeregisterContainerInstance", &key, row)?;
            if !row.is_registered() {
                return Ok(Plan::Done(true));
            }
            if host.alive() > 0 && !force {
                return Err(fault::running_tasks());
            }
            let mut txn = Txn::new().require(key.path(), row.revision);
            let alive = host.tasks().values().filter(|(_, task)| !task.is_stopped());
            for (owner, task) in alive.take(TASKS_PER_TXN) {
                let Some(after) = observe::lost(&task.record, stop.clone(), now) else { continue };
                let path = owner.task(task.id).path();
                txn = txn.require(path.clone(), task.revision).put(path, encode(&after));
            }
            let last = host.alive() <= TASKS_PER_TXN;
            if last {
                let mut record = row.record.clone();
                record.status = InstanceStatus::Inactive;
                record.deregistered_at = Some(now);
                record.version += 1;
                // A task placed meanwhile would be on an instance that is not there: it makes the plan start over.
                let placements = host.placements_revision;
                txn = txn.require(key.placements_path(), placements).put(key.path(), encode(&record));
                // The machine must not come back by itself. One that an activation let in belongs to Systems Manager,
                // which revokes it with DeregisterManagedInstance.
                if let Some(machine) = row.machine.as_deref().filter(|_| !row.external) {
                    txn = txn.delete((control.settings.machine_key)(&scope.account, &scope.region, machine));
                }
            }
            Ok(Plan::Commit(txn, last))
        });
        if done.await? {
            break;
        }
    }
    let view = control.read();
    let host = known(&view, &key).ok_or_else(fault::instance_not_found)?;
    let row = host.row.as_ref().ok_or_else(fault::instance_not_found)?;
    let container_instance = Some(wire::instance(&key, host, row, Include::default()));
    Ok(DeregisterContainerInstanceResponse { container_instance })
}
