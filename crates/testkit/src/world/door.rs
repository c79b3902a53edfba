//! How agents and operators reach the control plane of a simulated world.

use std::collections::BTreeMap;

use gantry_control::{
    Control, Plan,
    keys::{InstanceKey, TaskKey},
    records::{InstanceRecord, InstanceStatus, RegisteredResources, encode},
};
use gantry_domain::{
    Timestamp,
    arn::ContainerInstanceId,
    task::{HealthStatus, Stop, TaskEvent},
};
use gantry_store::Txn;

use super::agent::{Report, What};

/// Applies what an agent said, the way its connection does.
pub(super) async fn report(control: &Control, report: &Report, now: Timestamp) {
    let scope = report.instance.scope.clone();
    let key = TaskKey { scope, cluster: report.instance.cluster.clone(), id: report.task };
    let done = control.transact(|view| {
        let Some(row) = view.task(&key) else { return Ok(Plan::Done(())) };
        let mut record = row.record.clone();
        match &report.what {
            What::Running(health) => {
                let _ = record.life.apply(TaskEvent::Provisioned, None, now);
                let _ = record.life.apply(record.life.path.started(), None, now);
                record.health = *health;
            }
            What::Stopped(stop) => {
                let stop = stop.clone();
                let _ = record.life.apply(record.life.path.containers_stopped(), Some(stop), now);
                let _ = record.life.apply(TaskEvent::Deprovisioned, None, now);
                record.health = HealthStatus::Unknown;
            }
        }
        if record == row.record {
            return Ok(Plan::Done(()));
        }
        let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
        Ok(Plan::Commit(txn, ()))
    });
    done.await.expect("the store in memory works");
}

/// Asks a task to stop.
pub(super) async fn stop(control: &Control, key: &TaskKey, stop: &Stop, now: Timestamp) {
    let done = control.transact(|view| {
        let Some(row) = view.task(key) else { return Ok(Plan::Done(())) };
        let mut record = row.record.clone();
        record.life.request_stop(stop.clone(), record.host.is_some(), now);
        let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
        Ok(Plan::Commit(txn, ()))
    });
    done.await.expect("the store in memory works");
}

/// Registers an instance.
pub(super) async fn register(control: &Control, key: &InstanceKey, cpu: u32, memory: u32, zone: &str, now: Timestamp) {
    let mut attributes: BTreeMap<String, Option<String>> =
        gantry_domain::capabilities::OF_EVERY_HOST.iter().map(|name| ((*name).to_owned(), None)).collect();
    attributes.insert("ecs.availability-zone".to_owned(), Some(zone.to_owned()));
    let record = InstanceRecord {
        status: InstanceStatus::Active,
        agent_connected: true,
        connectivity_at: now,
        registered_at: now,
        deregistered_at: None,
        resources: RegisteredResources { cpu, memory, ..RegisteredResources::default() },
        attributes,
        custom_attributes: BTreeMap::new(),
        version_info: None,
        ec2_instance_id: None,
        external: false,
        fargate: true,
        boot_id: None,
        version: 1,
        tags: BTreeMap::new(),
    };
    let txn = Txn::new().require_absent(key.path()).put(key.path(), encode(&record));
    control.commit(txn).await.expect("a new instance");
}

/// Changes an instance.
pub(super) async fn change(control: &Control, key: &InstanceKey, change: impl Fn(&mut InstanceRecord)) {
    let done = control.transact(|view| {
        let Some(row) = view.host(key).and_then(|host| host.row.clone()) else { return Ok(Plan::Done(())) };
        let mut record = row.record.clone();
        change(&mut record);
        record.version += 1;
        let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
        Ok(Plan::Commit(txn, ()))
    });
    done.await.expect("the store in memory works");
}

/// The id of the `number`th instance.
pub(super) fn instance_id(number: u8) -> ContainerInstanceId {
    let mut bytes = [0; 16];
    bytes[15] = number;
    ContainerInstanceId::from_bytes(bytes)
}
