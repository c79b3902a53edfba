//! GPUs from registration to the end of the task that holds them: never given twice, given back with the task.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, sync::Arc};

use gantry_api::{
    agent::ObservedStatus,
    ecs::{self, Ecs},
};
use gantry_control::reconcile::{Reconciler, Services, WaitingTasks, Wake};
use support::*;

fn requirement(value: &str) -> Vec<ecs::ResourceRequirement> {
    let one = ecs::ResourceRequirement {
        r#type: Some(ecs::ResourceType::Gpu),
        value: Some(value.into()),
        ..Default::default()
    };
    vec![one]
}

/// Containers `c0`, `c1`, … that ask for so many GPUs each.
fn drawing(family: &str, gpus: &[u32]) -> ecs::RegisterTaskDefinitionRequest {
    let container = |(number, gpus): (usize, &u32)| ecs::ContainerDefinition {
        name: Some(format!("c{number}")),
        image: Some("busybox".into()),
        memory: Some(16),
        resource_requirements: (*gpus > 0).then(|| requirement(&gpus.to_string())),
        ..Default::default()
    };
    ecs::RegisterTaskDefinitionRequest {
        family: Some(family.into()),
        container_definitions: Some(gpus.iter().enumerate().map(container).collect()),
        ..Default::default()
    }
}

fn registration(ids: &[&str], attributes: &[(&str, &str)]) -> ecs::RegisterContainerInstanceRequest {
    let amount =
        |name: &str| ecs::Resource { name: Some(name.into()), integer_value: Some(4096), ..Default::default() };
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let device = |id: &String| ecs::PlatformDevice { id: Some(id.clone()), r#type: Some(ecs::PlatformDeviceType::Gpu) };
    let neuron = ecs::PlatformDevice {
        id: Some("neuron0".into()),
        r#type: Some(ecs::PlatformDeviceType::from("NEURON_DEVICE")),
    };
    ecs::RegisterContainerInstanceRequest {
        // The official agent says it both ways.
        platform_devices: Some(ids.iter().map(device).chain([neuron]).collect()),
        total_resources: Some(vec![
            amount("CPU"),
            amount("MEMORY"),
            ecs::Resource { name: Some("GPU".into()), string_set_value: Some(ids), ..Default::default() },
        ]),
        attributes: Some(
            [("com.amazonaws.ecs.capability.docker-remote-api.1.18", "")]
                .iter()
                .chain(attributes)
                .map(|(name, value)| attribute(name, Some(value)))
                .collect(),
        ),
        ..Default::default()
    }
}

async fn machine(world: &World, ids: &[&str], attributes: &[(&str, &str)]) -> Agent {
    let answer = world.ecs.register_container_instance(&world.caller, registration(ids, attributes)).await.unwrap();
    let arn = answer.container_instance.unwrap().container_instance_arn.unwrap();
    Agent::connect(world, &arn, "boot-1", Default::default()).await
}

fn named(resources: Option<Vec<ecs::Resource>>) -> Option<Vec<String>> {
    let gpu = resources.unwrap().into_iter().find(|resource| resource.name.as_deref() == Some("GPU"))?;
    assert_eq!(gpu.r#type.as_deref(), Some("STRINGSET"));
    gpu.string_set_value
}

/// Registered and remaining GPUs of an instance.
async fn gpus(world: &World, instance: &str) -> (Vec<String>, Vec<String>) {
    let instance = world.instance(instance).await;
    (named(instance.registered_resources).unwrap(), named(instance.remaining_resources).unwrap())
}

/// The GPUs of each container of a task.
fn gpu_ids(task: &ecs::Task) -> Vec<Vec<String>> {
    task.containers.iter().flatten().map(|container| container.gpu_ids.clone().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_task_holds_its_gpus_until_it_ends_and_across_a_restart() {
    let world = World::new().await;
    world.register(drawing("pair", &[1, 0, 1])).await;
    let mut agent = machine(&world, &["GPU-a", "GPU-b", "GPU-c"], &[]).await;
    assert_eq!(gpus(&world, &agent.arn).await.1, ["GPU-a", "GPU-b", "GPU-c"]);

    let answer = world.run(run("pair", 2)).await.unwrap();
    assert_eq!(reasons(&answer.failures), ["RESOURCE:GPU"]);
    let task = answer.tasks.unwrap().remove(0);
    assert_eq!(gpu_ids(&task), [vec!["GPU-a"], vec![], vec!["GPU-b"]]);
    let arn = task.task_arn.unwrap();
    agent.told(&arn).await;
    let told = &agent.desired[&arn].gpu_ids;
    assert_eq!((told["c0"].as_slice(), told.contains_key("c1")), (["GPU-a".to_owned()].as_slice(), false));
    let (registered, remaining) = gpus(&world, &agent.arn).await;
    assert_eq!((registered.len(), remaining), (3, vec!["GPU-c".to_owned()]));
    let devices = world.instance(&agent.arn).await.gpu_devices.unwrap();
    let modes: Vec<_> = devices.iter().map(|device| device.sharing_mode.clone().unwrap()).collect();
    assert_eq!(modes, [ecs::GpuSharingMode::Dedicated, ecs::GpuSharingMode::Dedicated, ecs::GpuSharingMode::Idle]);

    let (instance, has) = (agent.arn.clone(), agent.lose());
    eventually("the lost agent is noticed", async || world.instance(&instance).await.agent_connected == Some(false))
        .await;
    let world = world.restart().await;
    let mut agent = Agent::connect(&world, &instance, "boot-1", has).await;
    assert_eq!(gpu_ids(&world.task(&arn).await), [vec!["GPU-a"], vec![], vec!["GPU-b"]]);
    assert_eq!(reasons(&world.run(run("pair", 1)).await.unwrap().failures), ["RESOURCE:GPU"]);

    world.stop(&arn).await;
    agent.told_to_stop(&arn).await;
    assert_eq!(gpus(&world, &agent.arn).await.1, ["GPU-c"], "a task that is stopping still has its GPUs");
    agent.report_with(&arn, ObservedStatus::Stopped, |task| task.stopped = exited()).await;
    assert_eq!(gpus(&world, &agent.arn).await.1, ["GPU-a", "GPU-b", "GPU-c"]);
    assert_eq!(gpu_ids(&world.task(&arn).await)[0], ["GPU-a"], "a stopped task still says what it had");
    assert_eq!(reasons(&world.run(run("pair", 1)).await.unwrap().failures), Vec::<String>::new());
}

#[tokio::test]
async fn requests_at_once_never_get_the_same_gpu() {
    let world = Arc::new(World::new().await);
    world.register(drawing("draw", &[1])).await;
    let _agents = [
        machine(&world, &["GPU-0", "GPU-1", "GPU-2"], &[]).await,
        machine(&world, &["GPU-0", "GPU-1"], &[]).await,
        machine(&world, &[], &[]).await,
    ];
    let calls = (0..12).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { world.run(run("draw", 1)).await.unwrap() })
    });
    let (mut held, mut refused) = (BTreeSet::new(), 0);
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        refused += usize::from(!answer.failures.unwrap().is_empty());
        for task in answer.tasks.iter().flatten() {
            let gpu = gpu_ids(task).remove(0).remove(0);
            assert!(held.insert((task.container_instance_arn.clone(), gpu)), "given twice");
        }
    }
    assert_eq!((held.len(), refused), (5, 7));
}

#[tokio::test]
async fn an_override_says_how_many_gpus_a_container_gets() {
    let world = World::new().await;
    world.register(drawing("draw", &[1])).await;
    world.register(drawing("plain", &[0])).await;
    let _agent = machine(&world, &["GPU-a", "GPU-b", "GPU-c"], &[]).await;
    let with = |definition: &str, value: &str| ecs::RunTaskRequest {
        overrides: Some(ecs::TaskOverride {
            container_overrides: Some(vec![ecs::ContainerOverride {
                name: Some("c0".into()),
                resource_requirements: Some(requirement(value)),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..run(definition, 1)
    };
    let task = world.run(with("draw", "2")).await.unwrap().tasks.unwrap().remove(0);
    assert_eq!(gpu_ids(&task), [["GPU-a", "GPU-b"]]);
    let shown = task.overrides.unwrap().container_overrides.unwrap().remove(0).resource_requirements.unwrap();
    assert_eq!(shown[0].value.as_deref(), Some("2"));
    assert_eq!(reasons(&world.run(with("plain", "2")).await.unwrap().failures), ["RESOURCE:GPU"]);
    assert_eq!(gpu_ids(&world.run(with("plain", "1")).await.unwrap().tasks.unwrap()[0]), [["GPU-c"]]);
    for (value, message) in [
        ("0", "Invalid 'resourceRequirements' setting for container 'c0'"),
        ("-1", "Invalid 'resourceRequirements' setting for container 'c0'"),
        ("few", "Invalid 'resourceRequirements' setting for container 'c0'"),
        (
            "ALL",
            "Gantry does not support overrides.containerOverrides.resourceRequirements type 'GPU' value 'ALL' yet.",
        ),
    ] {
        assert_eq!(world.run(with("plain", value)).await.unwrap_err().message, message);
    }
    world.register(fargate("away", "256", "512")).await;
    let mut away = with("away", "1");
    away.overrides.as_mut().unwrap().container_overrides.as_mut().unwrap()[0].name = Some("app".into());
    away.launch_type = Some(ecs::LaunchType::Fargate);
    away.network_configuration = network("subnet-1");
    assert_eq!(
        world.run(away).await.unwrap_err().message,
        "Fargate compatible task definitions do not support resourceRequirements"
    );
}

#[tokio::test]
async fn start_task_takes_gpus_of_the_instance_that_it_names() {
    let world = World::new().await;
    world.register(drawing("draw", &[2])).await;
    let (full, bare) = (machine(&world, &["GPU-a", "GPU-b"], &[]).await, machine(&world, &["GPU-a"], &[]).await);
    let request = ecs::StartTaskRequest {
        task_definition: Some("draw".into()),
        container_instances: Some(vec![bare.arn.clone(), full.arn.clone()]),
        ..Default::default()
    };
    let answer = world.ecs.start_task(&world.caller, request).await.unwrap();
    assert_eq!(gpu_ids(&answer.tasks.unwrap()[0]), [["GPU-a", "GPU-b"]]);
    assert_eq!(reasons(&answer.failures), ["RESOURCE:GPU"]);
    assert_eq!(answer.failures.unwrap()[0].arn.as_ref(), Some(&bare.arn));
}

#[tokio::test]
async fn a_task_that_waits_for_an_instance_gets_gpus_with_it() {
    let world = World::new().await;
    let group = ecs::AutoScalingGroupProvider {
        auto_scaling_group_arn: Some("scaled".into()),
        managed_scaling: Some(ecs::ManagedScaling {
            status: Some(ecs::ManagedScalingStatus::Enabled),
            ..Default::default()
        }),
        ..Default::default()
    };
    let provider = ecs::CreateCapacityProviderRequest {
        name: Some("scaled".into()),
        auto_scaling_group_provider: Some(group),
        ..Default::default()
    };
    world.ecs.create_capacity_provider(&world.caller, provider).await.unwrap();
    let providers = ecs::PutClusterCapacityProvidersRequest {
        cluster: Some("default".into()),
        capacity_providers: Some(vec!["scaled".into()]),
        default_capacity_provider_strategy: Some(vec![]),
    };
    world.ecs.put_cluster_capacity_providers(&world.caller, providers).await.unwrap();
    settle(&gantry_control::reconcile::Clusters::new(world.control.clone())).await;
    world.register(drawing("draw", &[2])).await;
    let item = ecs::CapacityProviderStrategyItem { capacity_provider: Some("scaled".into()), ..Default::default() };
    let request = ecs::RunTaskRequest { capacity_provider_strategy: Some(vec![item]), ..run("draw", 2) };
    let tasks = arns(&world.run(request).await.unwrap());
    assert_eq!(gpu_ids(&world.task(&tasks[0]).await), [Vec::<String>::new()]);
    let _agent = machine(&world, &["GPU-a", "GPU-b", "GPU-c"], &[("gantry.capacity-provider", "scaled")]).await;
    settle(&WaitingTasks::new(world.control.clone())).await;
    let mut held: Vec<_> = Vec::new();
    for arn in &tasks {
        held.push(gpu_ids(&world.task(arn).await).remove(0));
    }
    held.sort();
    assert_eq!(held, [vec![], vec!["GPU-a", "GPU-b"]]);
}

#[tokio::test]
async fn a_service_says_that_gpus_are_what_is_missing() {
    let world = World::new().await;
    world.register(drawing("draw", &[1])).await;
    let agent = machine(&world, &["GPU-a"], &[]).await;
    let request = ecs::CreateServiceRequest {
        service_name: Some("draw".into()),
        task_definition: Some("draw".into()),
        desired_count: Some(2),
        ..Default::default()
    };
    world.ecs.create_service(&world.caller, request).await.unwrap();
    settle(&Services::new(world.control.clone())).await;
    let request = ecs::DescribeServicesRequest { services: Some(vec!["draw".into()]), ..Default::default() };
    let answer = world.ecs.describe_services(&world.caller, request).await.unwrap();
    let events = answer.services.unwrap().remove(0).events.unwrap();
    let id = agent.arn.rsplit('/').next().unwrap();
    let expected = format!(
        "service draw was unable to place a task because no container instance met all of its requirements. The closest \
         matching container-instance {id} encountered error \"RESOURCE:GPU\". For more information, see the \
         Troubleshooting section of the Amazon ECS Developer Guide."
    );
    assert!(events.iter().any(|event| event.message.as_ref() == Some(&expected)), "{events:?}");
}

async fn settle<R: Reconciler>(reconciler: &R)
where
    R::Error: std::fmt::Debug,
{
    for key in reconciler.keys() {
        while reconciler.reconcile(&key).await.unwrap() == Wake::Again {}
    }
}

#[tokio::test]
async fn a_registration_with_too_many_gpus_is_refused() {
    let world = World::new().await;
    let ids: Vec<String> = (0..129).map(|number| format!("GPU-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let register = async |ids: &[&str]| {
        world.ecs.register_container_instance(&world.caller, registration(ids, &[])).await.map(drop)
    };
    assert_eq!(register(&ids).await.unwrap_err().message, "At most 128 GPUs can be registered.");
    assert_eq!(register(&[""]).await.unwrap_err().message, "Invalid value for resource GPU.");
    assert!(register(&ids[..128]).await.is_ok());
}
