//! What becomes of an agent's measurements.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use gantry_domain::arn::{ContainerInstanceId, Scope};
use gantry_store::{Memory, Txn};
use serde_json::json;

use super::*;
use crate::{Control, Settings, SystemClock, keys};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_040);

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn instance(number: u8) -> InstanceKey {
    InstanceKey {
        scope: scope(),
        cluster: "default".parse().unwrap(),
        id: ContainerInstanceId::from_bytes([number; 16]),
    }
}

fn task_id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

fn service() -> ServiceKey {
    ServiceKey::service(scope(), "default".parse().unwrap(), "web".parse().unwrap())
}

fn usage(number: u8, cpu_milliunits: u64, memory_mib: u64) -> TaskUsage {
    let task_arn = scope().task_arn("default", task_id(number));
    TaskUsage { task_arn, cpu_milliunits, memory_kib: memory_mib * 1024 }
}

/// An instance with tasks 1 and 2 of the service `web`, which have 256 units and 64 MiB each, and one with task 3.
async fn control() -> Control {
    let control = Control::open(Memory::store(), Arc::new(SystemClock), Settings::default()).await.unwrap();
    let mut txn = Txn::new();
    for number in [1, 2] {
        let row = json!({"status": "ACTIVE", "agent_connected": true, "connectivity_at": 0, "registered_at": 0,
            "resources": {"cpu": 1024, "memory": 1024}, "version": 1});
        txn = txn.put(instance(number).path(), row.to_string());
    }
    for number in [1, 2, 3] {
        let host = instance(if number == 3 { 2 } else { 1 });
        let row = json!({"task_definition": "web:1", "life": {"last": "RUNNING", "desired": "RUNNING", "version": 1,
            "created": 0}, "group": "service:web", "service": "web", "launch_type": "EC2",
            "reserved": {"cpu": 256, "memory": 64}, "cpu_units": 256, "memory_mib": 64, "containers": [],
            "health": "UNKNOWN",
            "host": format!("000000000000/us-east-1/default/{}", host.id)});
        txn = txn.put(keys::task(&scope(), "default", task_id(number)), row.to_string());
    }
    control.commit(txn).await.unwrap();
    control
}

#[tokio::test]
async fn an_agent_speaks_for_the_tasks_on_its_instance_alone() {
    let control = control().await;
    let metrics = Metrics::default();
    let said = [usage(1, 128_000, 16), usage(2, 256_000, 32), usage(3, 999_000, 60), usage(9, 1, 1)];
    metrics.measured(&control.read(), &instance(1), &said, NOW);
    let point = metrics.service_now(&service(), NOW).unwrap();
    assert_eq!((point.samples, point.cpu.unwrap().average, point.memory.unwrap().average), (2, 75.0, 37.5));
    assert_eq!(metrics.task_now(task_id(1), NOW).unwrap().cpu_units, 128.0);
    assert_eq!(metrics.task_now(task_id(3), NOW), None);
    metrics.measured(&control.read(), &instance(2), &[usage(3, 0, 0)], NOW.plus_seconds(5));
    assert_eq!(metrics.service_now(&service(), NOW.plus_seconds(5)).unwrap().samples, 3);
}

#[tokio::test]
async fn minutes_become_points_and_what_is_old_is_forgotten() {
    let control = control().await;
    let metrics = Metrics::default();
    metrics.measured(&control.read(), &instance(1), &[usage(1, 256_000, 64)], NOW);
    assert_eq!(metrics.of_service(&service(), NOW.plus_seconds(59)), vec![]);
    let points = metrics.of_service(&service(), NOW.plus_seconds(60));
    assert_eq!(points.iter().map(|point| point.cpu.unwrap().average).collect::<Vec<_>>(), [100.0]);
    assert_eq!(metrics.task_now(task_id(1), NOW.plus_seconds(60)), None);
    assert!(metrics.service_now(&service(), NOW.plus_seconds(600)).is_none());
    metrics.measured(&control.read(), &instance(1), &[], NOW.plus_seconds(3 * 3600));
    assert_eq!(metrics.of_service(&service(), NOW.plus_seconds(3 * 3600)), vec![]);
}

#[tokio::test]
async fn reservations_are_of_what_is_registered() {
    let control = control().await;
    let view = control.read();
    let (cpu, memory) = reservations(&view, &scope(), &"default".parse().unwrap());
    assert_eq!((cpu, memory), (Some(37.5), Some(9.375)));
}
