#![allow(clippy::unwrap_used)]
//! Whatever happened before, an index says the same as one built anew from what is in the store now.

use std::collections::BTreeMap;

use gantry_domain::{
    Timestamp,
    arn::{ContainerInstanceId, Revision},
    task::{ContainerStatus, DesiredStatus, HealthStatus, LastStatus, TaskLife, TaskPath},
};
use gantry_store::KeyValue;
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

use super::*;
use crate::records::{
    AttachmentStatus, ContainerRecord, InterfaceRecord, LaunchType, NetworkRecord, Reservation, encode,
};

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn host(number: u8) -> InstanceKey {
    InstanceKey { scope: scope(), cluster: name("c"), id: ContainerInstanceId::from_bytes([number; 16]) }
}

#[derive(Debug, Clone)]
struct Step {
    task: u8,
    gone: bool,
    status: usize,
    wanted: bool,
    host: u8,
    service: bool,
    port: u16,
    fargate: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let bools = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (0_u8..6, 0_usize..8, 0_u8..3, 1_u16..4, bools).prop_map(
        |(task, status, host, port, (gone, wanted, service, fargate))| Step {
            task,
            gone,
            status,
            wanted,
            host,
            service,
            port,
            fargate,
        },
    )
}

fn record(step: &Step) -> TaskRecord {
    let mut life = TaskLife::new(TaskPath::default(), Timestamp::from_millis(0));
    life.last_status = LastStatus::ALL[step.status];
    life.desired_status = if step.wanted { DesiredStatus::Running } else { DesiredStatus::Stopped };
    let interface = InterfaceRecord {
        id: "eni-1".into(),
        subnet: "subnet-1".into(),
        mac: "02:00".into(),
        address: Ipv4Addr::new(10, 64, 0, step.task + 4),
    };
    let network = NetworkRecord {
        attachment_id: format!("attachment-{}", step.task),
        status: AttachmentStatus::Precreated,
        interface,
        security_groups: vec![],
        assign_public_ip: false,
    };
    TaskRecord {
        waiting: None,
        task_definition: TaskDefinitionKey { family: name("f"), revision: Revision::FIRST },
        life,
        group: if step.service { "service:s".into() } else { "family:f".into() },
        started_by: step.service.then(|| "ecs-svc/1".to_owned()),
        service: step.service.then(|| "s".to_owned()),
        daemon: None,
        launch_type: if step.fargate { LaunchType::Fargate } else { LaunchType::Ec2 },
        capacity_provider: None,
        platform: None,
        host: Some(host(step.host)),
        availability_zone: None,
        reserved: Reservation { cpu: 10, memory: 20, tcp: vec![step.port], udp: vec![], gpus: 1 },
        cpu_units: None,
        memory_mib: None,
        ephemeral_storage_gib: None,
        overrides: None,
        network: step.fargate.then(|| Box::new(network)),
        volume: None,
        containers: vec![ContainerRecord {
            name: "app".into(),
            id: "0".into(),
            last_status: ContainerStatus::Pending,
            health: HealthStatus::Unknown,
            exit_code: None,
            reason: None,
            runtime_id: None,
            image_digest: None,
            pinned: false,
            gpus: vec![format!("GPU-{}", step.port)],
            network_bindings: vec![],
        }],
        health: HealthStatus::Unknown,
        tags: vec![],
        enable_execute_command: false,
        delivered: false,
        protected_until: None,
        counted_by_service: false,
    }
}

fn put(key: &str, value: &TaskRecord, revision: u64) -> Event {
    Event::Put(KeyValue {
        key: key.into(),
        value: encode(value),
        create_revision: 1,
        mod_revision: revision,
        version: 1,
        lease: None,
    })
}

/// Everything the indexes say, as text; the change feed is no part of it.
fn said(view: &EcsView) -> String {
    let spaces: Vec<_> = view
        .namespaces
        .values()
        .map(|space| {
            let clusters: Vec<_> =
                space.clusters.iter().filter(|(_, cluster)| !cluster.tasks().all().is_empty()).collect();
            let subnets: Vec<_> = space.subnets.iter().filter(|(_, subnet)| !subnet.taken.is_empty()).collect();
            format!("{clusters:?} {subnets:?} {:?}", space.attachments)
        })
        .collect();
    format!("{spaces:?} {:?}", view.hosts)
}

proptest! {
    #[test]
    fn an_index_kept_current_equals_one_built_anew(steps in prop::collection::vec(step(), 1..60)) {
        let (mut view, mut store) = (EcsView::default(), BTreeMap::new());
        for (number, step) in steps.iter().enumerate() {
            let key = crate::keys::task(&scope(), "c", TaskId::from_bytes([step.task; 16]));
            let revision = u64::try_from(number).unwrap() + 1;
            if step.gone {
                view.apply(&Event::Delete { key: key.as_str().into(), revision });
                store.remove(&key);
            } else {
                let event = put(&key, &record(step), revision);
                view.apply(&event);
                store.insert(key, event);
            }
        }
        let mut anew = EcsView::default();
        store.values().for_each(|event| anew.apply(event));
        if !store.is_empty() {
            prop_assert_eq!(said(&view), said(&anew));
        }
        prop_assert_eq!(view.hosts.is_empty(), store.is_empty());
    }
}

/// The plan is 4 KiB a task with 100,000 of them; what the records hold is most of it.
#[test]
fn a_task_in_the_picture_is_small() {
    let step = Step { task: 0, gone: false, status: 3, wanted: true, host: 0, service: true, port: 80, fargate: true };
    let record = record(&step);
    assert!(std::mem::size_of::<TaskRow>() < 1024, "{}", std::mem::size_of::<TaskRow>());
    assert!(encode(&record).len() < 1200, "{}", encode(&record).len());
}
