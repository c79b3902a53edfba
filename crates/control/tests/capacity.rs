//! Tasks of capacity provider strategies: where they go, and how they wait for an instance.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use gantry_api::ecs::{self, Ecs};
use gantry_control::{
    keys::ClusterKey,
    metrics::provider_needs,
    reconcile::{Clusters, Reconciler, Reconcilers, Services, WaitingTasks, Wake},
};
use gantry_domain::arn::Scope;
use support::*;

async fn provider(world: &World, name: &str, scaling: ecs::ManagedScalingStatus) {
    let group = ecs::AutoScalingGroupProvider {
        auto_scaling_group_arn: Some(name.into()),
        managed_scaling: Some(ecs::ManagedScaling { status: Some(scaling), ..Default::default() }),
        ..Default::default()
    };
    let request = ecs::CreateCapacityProviderRequest {
        name: Some(name.into()),
        auto_scaling_group_provider: Some(group),
        ..Default::default()
    };
    world.ecs.create_capacity_provider(&world.caller, request).await.unwrap();
}

/// Two providers of the default cluster: `fixed`, and `scaled`, which has managed scaling.
async fn world() -> World {
    with_providers(World::new().await).await
}

async fn with_providers(world: World) -> World {
    provider(&world, "fixed", ecs::ManagedScalingStatus::Disabled).await;
    provider(&world, "scaled", ecs::ManagedScalingStatus::Enabled).await;
    let request = ecs::PutClusterCapacityProvidersRequest {
        cluster: Some("default".into()),
        capacity_providers: Some(vec!["fixed".into(), "scaled".into()]),
        default_capacity_provider_strategy: Some(vec![]),
    };
    world.ecs.put_cluster_capacity_providers(&world.caller, request).await.unwrap();
    settle(&Clusters::new(world.control.clone())).await;
    world.register(definition("web", 100, 100)).await;
    world
}

async fn settle<R: Reconciler>(reconciler: &R)
where
    R::Error: std::fmt::Debug,
{
    for key in reconciler.keys() {
        while reconciler.reconcile(&key).await.unwrap() == Wake::Again {}
    }
}

fn strategy(items: &[(&str, i32, i32)]) -> Option<Vec<ecs::CapacityProviderStrategyItem>> {
    let item = |(name, base, weight): &(&str, i32, i32)| ecs::CapacityProviderStrategyItem {
        capacity_provider: Some((*name).into()),
        base: Some(*base),
        weight: Some(*weight),
    };
    Some(items.iter().map(item).collect())
}

fn run_by(items: &[(&str, i32, i32)], count: i32) -> ecs::RunTaskRequest {
    ecs::RunTaskRequest { capacity_provider_strategy: strategy(items), ..run("web", count) }
}

async fn machine(world: &World, provider: &str) -> Agent {
    world.machine(1000, 1000, &[&format!("gantry.capacity-provider={provider}")]).await
}

/// How many of the tasks each provider has, and on how many of them a host is known.
fn shares(tasks: &[ecs::Task]) -> BTreeMap<String, (usize, usize)> {
    let mut shares = BTreeMap::<String, (usize, usize)>::new();
    for task in tasks {
        let share = shares.entry(task.capacity_provider_name.clone().unwrap_or_default()).or_default();
        share.0 += 1;
        share.1 += usize::from(task.container_instance_arn.is_some());
    }
    shares
}

#[tokio::test]
async fn tasks_go_to_the_instances_of_their_provider_alone() {
    let world = world().await;
    let (fixed, scaled) = (machine(&world, "fixed").await, machine(&world, "scaled").await);
    assert_eq!(world.instance(&fixed.arn).await.capacity_provider_name.as_deref(), Some("fixed"));
    let answer = world.run(run_by(&[("fixed", 2, 1), ("scaled", 0, 3)], 10)).await.unwrap();
    assert_eq!(reasons(&answer.failures), Vec::<String>::new());
    let tasks = answer.tasks.unwrap();
    assert_eq!(shares(&tasks), BTreeMap::from([("fixed".into(), (4, 4)), ("scaled".into(), (6, 6))]));
    for task in &tasks {
        let own = if task.capacity_provider_name.as_deref() == Some("fixed") { &fixed } else { &scaled };
        assert_eq!(task.container_instance_arn.as_ref(), Some(&own.arn));
        assert_eq!(task.launch_type, Some(ecs::LaunchType::Ec2));
    }
}

#[tokio::test]
async fn without_managed_scaling_a_task_without_room_fails_at_once() {
    let world = world().await;
    let fault = world.run(run_by(&[("fixed", 0, 1)], 1)).await.unwrap_err();
    assert_eq!(fault.message, "No Container Instances were found in your cluster.");
    let _fixed = machine(&world, "fixed").await;
    world.register(definition("wide", 600, 100)).await;
    let request = ecs::RunTaskRequest { task_definition: Some("wide".into()), ..run_by(&[("fixed", 0, 1)], 2) };
    let answer = world.run(request).await.unwrap();
    assert_eq!((arns(&answer).len(), reasons(&answer.failures)), (1, vec!["RESOURCE:CPU".to_owned()]));
}

#[tokio::test]
async fn with_managed_scaling_a_task_waits_until_an_instance_comes() {
    let world = world().await;
    let _fixed = machine(&world, "fixed").await;
    let task = world.run(run_by(&[("scaled", 0, 1)], 1)).await.unwrap().tasks.unwrap().remove(0);
    assert_eq!(task.last_status.as_deref(), Some("PROVISIONING"));
    assert_eq!((&task.container_instance_arn, &task.availability_zone), (&None, &None));
    let arn = task.task_arn.unwrap();
    // The wait outlives the control plane.
    let world = world.restart().await;
    let waiting = WaitingTasks::new(world.control.clone());
    settle(&waiting).await;
    assert_eq!(world.status(&arn).await, "PROVISIONING");
    let mut scaled = machine(&world, "scaled").await;
    settle(&waiting).await;
    let task = world.task(&arn).await;
    assert_eq!(
        (task.last_status.as_deref(), &task.container_instance_arn),
        (Some("PENDING"), &Some(scaled.arn.clone()))
    );
    assert_eq!(world.remaining(&scaled.arn, "CPU").await, 900);
    scaled.run(std::slice::from_ref(&arn)).await;
    assert_eq!(world.status(&arn).await, "RUNNING");
    world.stop(&arn).await;
    scaled.told_to_stop(&arn).await;
    scaled.report(&arn, gantry_api::agent::ObservedStatus::Stopped).await;
    assert_eq!(world.status(&arn).await, "STOPPED");
    assert!(waiting.keys().is_empty());
}

#[tokio::test]
async fn the_reservation_of_a_provider_says_how_many_instances_are_missing() {
    let world = world().await;
    let need = || {
        let scope = Scope::new("000000000000", "us-east-1");
        let needs = provider_needs(&world.control.read(), &scope, &"default".parse().unwrap());
        // Only the provider with managed scaling is scaled.
        let [need] = &needs[..] else { panic!("{needs:?}") };
        assert_eq!(need.name, "scaled");
        (need.instances, need.needed, need.waiting, need.reservation)
    };
    assert_eq!(need(), (0, 0, 0, 100.0));
    let waiting = arns(&world.run(run_by(&[("scaled", 0, 1)], 1)).await.unwrap()).remove(0);
    assert_eq!(need(), (0, 1, 1, 200.0));
    world.stop(&waiting).await;
    let (_one, _two) = (machine(&world, "scaled").await, machine(&world, "scaled").await);
    assert_eq!(need(), (2, 0, 0, 0.0));
    // Ten of 100 units fit on each, and five more need a third.
    for count in [10, 10, 5] {
        world.run(run_by(&[("scaled", 0, 1)], count)).await.unwrap();
    }
    assert_eq!(need(), (2, 3, 5, 150.0));
}

#[tokio::test]
async fn an_awsvpc_task_gets_its_address_with_its_instance() {
    let world = world().await;
    world
        .register(ecs::RegisterTaskDefinitionRequest {
            network_mode: Some(ecs::NetworkMode::Awsvpc),
            ..definition("net", 10, 16)
        })
        .await;
    let request = ecs::RunTaskRequest {
        task_definition: Some("net".into()),
        network_configuration: network("subnet-1"),
        ..run_by(&[("scaled", 0, 1)], 1)
    };
    let arn = arns(&world.run(request).await.unwrap()).remove(0);
    let mut scaled = machine(&world, "scaled").await;
    settle(&WaitingTasks::new(world.control.clone())).await;
    assert_eq!(world.task(&arn).await.attachments.unwrap().len(), 1);
    scaled.told(&arn).await;
    assert!(scaled.desired[&arn].network_interface.is_some());
}

#[tokio::test]
async fn a_waiting_task_stops_at_once() {
    let world = world().await;
    let arn = arns(&world.run(run_by(&[("scaled", 0, 1)], 1)).await.unwrap()).remove(0);
    let task = world.stop(&arn).await;
    assert_eq!(task.last_status.as_deref(), Some("STOPPED"));
    assert_eq!(task.containers.unwrap()[0].last_status.as_deref(), Some("STOPPED"));
    assert!(WaitingTasks::new(world.control.clone()).keys().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waited_for_too_long_ends_with_the_reason() {
    let world = with_providers(World::with_virtual_time().await).await;
    let waiting = WaitingTasks::new(world.control.clone());
    let arn = arns(&world.run(run_by(&[("scaled", 0, 1)], 1)).await.unwrap()).remove(0);
    tokio::time::advance(Duration::from_secs(29 * 60)).await;
    settle(&waiting).await;
    assert_eq!(world.status(&arn).await, "PROVISIONING");
    tokio::time::advance(Duration::from_secs(60)).await;
    settle(&waiting).await;
    let task = world.task(&arn).await;
    assert_eq!(task.stopped_reason.as_deref(), Some("TaskFailedToStart: EMPTY CAPACITY PROVIDER"));
    assert_eq!(task.stop_code, Some(ecs::TaskStopCode::TaskFailedToStart));
    world.register(definition("wide", 2000, 16)).await;
    let _scaled = machine(&world, "scaled").await;
    let request = ecs::RunTaskRequest { task_definition: Some("wide".into()), ..run_by(&[("scaled", 0, 1)], 1) };
    let arn = arns(&world.run(request).await.unwrap()).remove(0);
    tokio::time::advance(Duration::from_secs(30 * 60)).await;
    settle(&waiting).await;
    assert_eq!(world.task(&arn).await.stopped_reason.as_deref(), Some("TaskFailedToStart: RESOURCE:CPU"));
}

#[tokio::test]
async fn only_so_many_tasks_of_a_cluster_wait() {
    let world = world().await;
    for _ in 0..50 {
        assert_eq!(world.run(run_by(&[("scaled", 0, 1)], 10)).await.unwrap().tasks.unwrap().len(), 10);
    }
    let fault = world.run(run_by(&[("scaled", 0, 1)], 1)).await.unwrap_err();
    assert_eq!(
        (fault.code, fault.message.as_str()),
        ("ClientException", "Tasks provisioning capacity limit exceeded.")
    );
    let key = ClusterKey { scope: Scope::new("000000000000", "us-east-1"), cluster: "default".parse().unwrap() };
    let view = world.control.read();
    assert_eq!(view.cluster(&key.scope, &key.cluster).unwrap().tasks().waiting().len(), 500);
}

async fn service_tasks(world: &World) -> Vec<ecs::Task> {
    let request = ecs::ListTasksRequest { service_name: Some("web".into()), ..Default::default() };
    let arns = world.list(request).await;
    if arns.is_empty() {
        return Vec::new();
    }
    let request = ecs::DescribeTasksRequest { tasks: Some(arns), ..Default::default() };
    world.ecs.describe_tasks(&world.caller, request).await.unwrap().tasks.unwrap()
}

async fn scale(world: &World, desired: i32) {
    let request =
        ecs::UpdateServiceRequest { service: Some("web".into()), desired_count: Some(desired), ..Default::default() };
    world.ecs.update_service(&world.caller, request).await.unwrap();
}

#[tokio::test]
async fn a_service_keeps_the_shares_of_its_strategy_out_and_in() {
    let world = world().await;
    let services = Services::new(world.control.clone());
    let request = ecs::CreateServiceRequest {
        service_name: Some("web".into()),
        task_definition: Some("web".into()),
        desired_count: Some(4),
        capacity_provider_strategy: strategy(&[("fixed", 2, 1), ("scaled", 0, 3)]),
        ..Default::default()
    };
    let _fixed = machine(&world, "fixed").await;
    world.ecs.create_service(&world.caller, request).await.unwrap();
    settle(&services).await;
    // Those of the provider without an instance wait, and the others do not wait for them.
    let expect = |fixed, scaled| BTreeMap::from([("fixed".to_owned(), fixed), ("scaled".to_owned(), scaled)]);
    assert_eq!(shares(&service_tasks(&world).await), expect((3, 3), (1, 0)));
    let _scaled = machine(&world, "scaled").await;
    settle(&WaitingTasks::new(world.control.clone())).await;
    assert_eq!(shares(&service_tasks(&world).await), expect((3, 3), (1, 1)));
    scale(&world, 10).await;
    settle(&services).await;
    assert_eq!(shares(&service_tasks(&world).await), expect((4, 4), (6, 6)));
    scale(&world, 3).await;
    settle(&services).await;
    assert_eq!(shares(&service_tasks(&world).await), expect((2, 2), (1, 1)));
}

#[tokio::test]
async fn a_provider_in_use_stays_with_its_cluster() {
    let world = world().await;
    let _reconcilers = Reconcilers::start(&world.control);
    let _fixed = machine(&world, "fixed").await;
    world.run(run_by(&[("fixed", 0, 1)], 1)).await.unwrap();
    let request = ecs::PutClusterCapacityProvidersRequest {
        cluster: Some("default".into()),
        capacity_providers: Some(vec!["scaled".into()]),
        default_capacity_provider_strategy: Some(vec![]),
    };
    let fault = world.ecs.put_cluster_capacity_providers(&world.caller, request).await.unwrap_err();
    assert_eq!(fault.code, "ResourceInUseException");
    assert_eq!(fault.message, "The specified capacity provider is in use and cannot be removed.");
}
