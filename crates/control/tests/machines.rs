//! What a machine that joined may say, and what becomes of the tasks of one that is away.

#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_api::{
    Caller, PrincipalKind, Session,
    agent::{AgentMessage, ControlMessage, PROTOCOL_VERSION, PROTOCOL_VERSION_WHOLE_SETS},
    ecs::{self, Ecs},
    machine::Machine,
};
use gantry_control::reconcile::Reconcilers;
use gantry_store::Txn;
use support::{Agent, World, definition, network, run};

/// A session that a machine began.
fn machine(id: &str, change: impl FnOnce(&mut Machine)) -> Caller {
    let mut machine = Machine { id: id.to_owned(), cluster: None, external: false, fargate: false };
    change(&mut machine);
    let session = Session { machine: Some(machine), ..Session::default() };
    Caller {
        principal_arn: format!("arn:aws:sts::000000000000:assumed-role/ecsInstanceRole/{id}"),
        kind: PrincipalKind::Instance,
        session: Some(Arc::new(session)),
        ..support::caller()
    }
}

async fn register(world: &World, caller: &Caller, arn: Option<&str>) -> Result<ecs::ContainerInstance, String> {
    let request = ecs::RegisterContainerInstanceRequest {
        container_instance_arn: arn.map(str::to_owned),
        instance_identity_document: Some(r#"{"instanceId":"i-somebody-else"}"#.into()),
        attributes: Some(vec![
            support::attribute("gantry.fargate", None),
            support::attribute("ecs.capability.external", None),
        ]),
        ..Default::default()
    };
    let answer = world.ecs.register_container_instance(caller, request).await;
    answer.map(|answer| answer.container_instance.unwrap()).map_err(|fault| fault.code.to_string())
}

fn hello(arn: &str) -> AgentMessage {
    AgentMessage::Hello {
        protocol_version: PROTOCOL_VERSION,
        container_instance_arn: arn.to_owned(),
        agent_version: "x".repeat(1000),
        boot_id: "boot".into(),
        tasks: Vec::new(),
        underlay_address: None,
        volume_room_gib: None,
    }
}

#[tokio::test]
async fn a_machine_has_one_instance_and_cannot_say_what_it_is_not() {
    let world = World::new().await;
    let mine = machine("i-1", |_| {});
    let first = register(&world, &mine, None).await.unwrap();
    assert_eq!(first.ec2_instance_id.as_deref(), Some("i-1"));
    let names: Vec<String> = first.attributes.unwrap().into_iter().filter_map(|attribute| attribute.name).collect();
    assert!(!names.iter().any(|name| name == "gantry.fargate" || name == "ecs.capability.external"), "{names:?}");
    // It lost its memory, or our answer.
    let again = register(&world, &mine, None).await.unwrap();
    assert_eq!(first.container_instance_arn, again.container_instance_arn);

    let edge = machine("mi-2", |machine| machine.external = true);
    let names = register(&world, &edge, None).await.unwrap().attributes.unwrap();
    assert!(names.iter().any(|attribute| attribute.name.as_deref() == Some("ecs.capability.external")));
    let bound = machine("i-3", |machine| machine.cluster = Some("other".into()));
    assert_eq!(register(&world, &bound, None).await.unwrap_err(), "AccessDeniedException");
}

#[tokio::test]
async fn a_machine_speaks_for_its_own_instance_only() {
    let world = World::new().await;
    let (mine, other) = (machine("i-1", |_| {}), machine("i-2", |_| {}));
    let arn = register(&world, &mine, None).await.unwrap().container_instance_arn.unwrap();
    register(&world, &other, None).await.unwrap();

    let session = world.door.begin(&mine, hello(&arn)).await.unwrap();
    for stranger in [&other, &support::caller()] {
        let refused = world.door.begin(stranger, hello(&arn)).await.unwrap_err();
        assert!(refused.to_string().contains("another machine"), "{refused}");
    }
    assert!(world.door.is_connected(session.instance()), "the agent's own session goes on");
    let version = world.instance(&arn).await.version_info.unwrap().agent_version.unwrap();
    assert_eq!(version.len(), 255);

    assert_eq!(register(&world, &other, Some(&arn)).await.unwrap_err(), "AccessDeniedException");
    let request = ecs::DeregisterContainerInstanceRequest {
        container_instance: Some(arn.clone()),
        force: Some(true),
        ..Default::default()
    };
    let refused = world.ecs.deregister_container_instance(&other, request).await.unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
    let request = ecs::UpdateContainerInstancesStateRequest {
        container_instances: Some(vec![arn.clone()]),
        status: Some(ecs::ContainerInstanceStatus::Draining),
        ..Default::default()
    };
    let refused = world.ecs.update_container_instances_state(&other, request).await.unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
}

#[tokio::test]
async fn a_machine_reports_on_its_own_tasks_only() {
    let world = World::new().await;
    world.register(definition("web", 10, 10)).await;
    let agent = world.machine(1024, 1024, &[]).await;
    let task = world.run_some("web", 1).await.remove(0);
    let stranger = machine("i-2", |_| {});
    register(&world, &stranger, None).await.unwrap();
    let request = ecs::SubmitTaskStateChangeRequest {
        task: Some(task.clone()),
        status: Some("STOPPED".into()),
        ..Default::default()
    };
    let refused = world.ecs.submit_task_state_change(&stranger, request).await.unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
    assert_ne!(world.status(&task).await, "STOPPED");
    drop(agent);
}

#[tokio::test]
async fn deregistration_ends_the_identity_in_the_same_transaction() {
    let world = World::new().await;
    let key = "/machines/000000000000/us-east-1/identities/i-1";
    world.store.txn(Txn::new().put(key, "{}")).await.unwrap();
    let arn = register(&world, &machine("i-1", |_| {}), None).await.unwrap().container_instance_arn.unwrap();
    let request = ecs::DeregisterContainerInstanceRequest { container_instance: Some(arn), ..Default::default() };
    world.ecs.deregister_container_instance(&world.caller, request).await.unwrap();
    assert!(world.store.get(key).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_lost_instance_are_given_up_and_stay_so() {
    let world = World::with_virtual_time().await;
    let _reconcilers = Reconcilers::start(&world.control);
    world.register(definition("web", 10, 10)).await;
    let mut agent = world.machine(1024, 1024, &[]).await;
    let task = world.run_some("web", 1).await.remove(0);
    agent.run(std::slice::from_ref(&task)).await;
    let arn = agent.arn.clone();
    drop(agent.lose());
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_ne!(world.status(&task).await, "STOPPED");
    assert_eq!(world.instance(&arn).await.agent_connected, Some(false));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let stopped = world.task(&task).await;
    assert_eq!(stopped.last_status.as_deref(), Some("STOPPED"));
    assert_eq!(stopped.stop_code, Some(ecs::TaskStopCode::InfrastructureHealth));
    assert!(stopped.stopped_reason.unwrap().contains("its agent has not been connected for 6"));

    // The agent returns: nothing is wanted of it.
    let agent = Agent::connect(&world, &arn, "boot-1", BTreeMap::new()).await;
    assert!(agent.desired.is_empty());
    assert_eq!(world.status(&task).await, "STOPPED");
}

#[tokio::test]
async fn an_agent_with_many_tasks_is_told_of_them_in_parts() {
    let world = World::new().await;
    world.register(definition("web", 10, 10)).await;
    let mut agent = world.machine(1024, 1024, &[]).await;
    let mut tasks = world.run_some("web", 10).await;
    tasks.extend(world.run_some("web", 10).await);
    tasks.sort();
    agent.until(|desired| desired.len() == 20).await;
    agent.run(&tasks).await;
    let (arn, kept) = (agent.arn.clone(), agent.lose());

    let hello = |protocol_version| AgentMessage::Hello {
        protocol_version,
        container_instance_arn: arn.clone(),
        agent_version: "0.1.0".into(),
        boot_id: "boot-1".into(),
        tasks: kept.values().cloned().collect(),
        underlay_address: None,
        volume_room_gib: None,
    };
    let mut session = world.door.begin(&world.caller, hello(PROTOCOL_VERSION)).await.unwrap();
    let mut told = Vec::new();
    for (expected, last) in [(8, false), (8, false), (4, true)] {
        let ControlMessage::DesiredSet { tasks, more, .. } = session.next().await.unwrap() else { panic!("not a set") };
        assert_eq!((tasks.len(), more), (expected, !last));
        told.extend(tasks.into_iter().map(|task| task.task_arn));
    }
    told.sort();
    assert_eq!(told, tasks);

    // An agent that knows of no parts would stop what is not in the first one.
    let mut session = world.door.begin(&world.caller, hello(PROTOCOL_VERSION_WHOLE_SETS)).await.unwrap();
    let ControlMessage::DesiredSet { tasks, more: false, .. } = session.next().await.unwrap() else {
        panic!("not whole")
    };
    assert_eq!(tasks.len(), 20);
    let refused = world.door.begin(&world.caller, hello(PROTOCOL_VERSION + 1)).await.unwrap_err();
    assert_eq!(refused.to_string(), "protocol version 3 is not supported");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_back_in_time_keeps_its_tasks() {
    let world = World::with_virtual_time().await;
    let _reconcilers = Reconcilers::start(&world.control);
    world.register(definition("web", 10, 10)).await;
    let mut agent = world.machine(1024, 1024, &[]).await;
    let task = world.run_some("web", 1).await.remove(0);
    agent.run(std::slice::from_ref(&task)).await;
    let (arn, kept) = (agent.arn.clone(), agent.lose());
    tokio::time::sleep(Duration::from_secs(500)).await;
    let agent = Agent::connect(&world, &arn, "boot-1", kept).await;
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_ne!(world.status(&task).await, "STOPPED");
    drop(agent);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_interface_nobody_makes_fails_after_three_minutes() {
    let world = World::with_virtual_time().await;
    let _reconcilers = Reconcilers::start(&world.control);
    let mut request = definition("web", 10, 10);
    request.network_mode = Some(ecs::NetworkMode::Awsvpc);
    world.register(request).await;
    // Registered, connected for the placement, and gone before it hears of the task.
    let arn = world.register_machine(1024, 1024, &[], None).await.unwrap();
    let session = world.door.begin(&world.caller, hello(&arn)).await.unwrap();
    let mut wanted = run("web", 1);
    wanted.network_configuration = network("subnet-1");
    let task = support::arns(&world.run(wanted).await.unwrap()).remove(0);
    drop(session);
    tokio::time::sleep(Duration::from_secs(170)).await;
    assert_eq!(world.status(&task).await, "PROVISIONING");
    tokio::time::sleep(Duration::from_secs(40)).await;
    let stopped = world.task(&task).await;
    assert_eq!(stopped.stop_code, Some(ecs::TaskStopCode::TaskFailedToStart));
    assert_eq!(
        stopped.stopped_reason.as_deref(),
        Some("Timeout waiting for network interface provisioning to complete.")
    );
}
