//! Tasks from request to end, through the real operations and the agents' door.
#![allow(clippy::unwrap_used)]

mod support;

use gantry_api::{agent::ObservedStatus, ecs, ecs::Ecs};
use gantry_control::reconcile::Reconcilers;
use support::*;

#[tokio::test]
async fn a_task_lives_from_run_to_stopped() {
    let world = World::new().await;
    world.register(definition("web", 100, 64)).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let answer = world.run(run("web", 1)).await.unwrap();
    let task = answer.tasks.unwrap().remove(0);
    let arn = task.task_arn.clone().unwrap();
    assert_eq!((task.last_status.as_deref(), task.version), (Some("PENDING"), Some(1)));
    assert_eq!(task.container_instance_arn.as_deref(), Some(agent.arn.as_str()));
    assert_eq!(task.group.as_deref(), Some("family:web"));
    assert_eq!((task.cpu.as_deref(), task.memory.as_deref()), (Some("100"), Some("64")));
    assert_eq!(task.overrides.unwrap().container_overrides.unwrap()[0].name.as_deref(), Some("app"));
    assert_eq!(world.remaining(&agent.arn, "CPU").await, 924);

    agent.run(std::slice::from_ref(&arn)).await;
    let task = world.task(&arn).await;
    assert_eq!((task.last_status.as_deref(), task.version), (Some("RUNNING"), Some(2)));
    assert!(task.started_at.is_some() && task.pull_started_at.is_some());
    assert_eq!(task.connectivity, Some(ecs::Connectivity::Connected));
    assert_eq!(task.containers.unwrap()[0].runtime_id.as_deref(), Some("abc"));
    assert_eq!(world.instance(&agent.arn).await.running_tasks_count, Some(1));

    let stopping = world.stop(&arn).await;
    assert_eq!(
        (stopping.last_status.as_deref(), stopping.desired_status.as_deref()),
        (Some("STOPPING"), Some("STOPPED"))
    );
    agent.told_to_stop(&arn).await;
    assert_eq!(world.remaining(&agent.arn, "CPU").await, 924);
    agent.report_with(&arn, ObservedStatus::Stopped, |task| task.stopped = exited()).await;
    let task = world.task(&arn).await;
    assert_eq!(task.last_status.as_deref(), Some("STOPPED"));
    assert_eq!(task.stopped_reason.as_deref(), Some("enough"), "the reason of the stop that was asked for stays");
    assert_eq!(task.stop_code, Some(ecs::TaskStopCode::UserInitiated));
    assert_eq!(task.containers.unwrap()[0].exit_code, Some(0));
    assert_eq!(world.remaining(&agent.arn, "CPU").await, 1024);
    agent.until(|desired| desired.is_empty()).await;

    // Stopping again changes nothing.
    assert_eq!(world.stop(&arn).await.version, task.version);
}

#[tokio::test]
async fn a_task_that_exits_by_itself_says_so() {
    let world = World::new().await;
    world.register(definition("job", 1, 16)).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let arn = world.run_some("job", 1).await.remove(0);
    agent.run(std::slice::from_ref(&arn)).await;
    agent.report_with(&arn, ObservedStatus::Stopped, |task| task.stopped = exited()).await;
    let task = world.task(&arn).await;
    assert_eq!(task.desired_status.as_deref(), Some("STOPPED"));
    assert_eq!(task.stop_code, Some(ecs::TaskStopCode::EssentialContainerExited));
    assert_eq!(task.stopped_reason.as_deref(), Some("Essential container in task exited"));
    // A late, older report does not bring it back.
    let version = task.version;
    agent.report(&arn, ObservedStatus::Running).await;
    let task = world.task(&arn).await;
    assert_eq!((task.last_status.as_deref(), task.version), (Some("STOPPED"), version));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_reason_of_each_instance() {
    let world = World::new().await;
    world.register(definition("big", 600, 64)).await;
    world.register(definition("fat", 1, 900)).await;
    world.register(definition_with_port("port", 8080)).await;
    world.register(definition_with_port("ssh", 22)).await;
    let none = world.run(run("big", 1)).await.unwrap_err();
    assert_eq!(none.message, "No Container Instances were found in your cluster.");
    let agent = world.machine(1000, 800, &[]).await;
    let answer = world.run(run("big", 3)).await.unwrap();
    assert_eq!(arns(&answer).len(), 1);
    assert_eq!(reasons(&answer.failures), ["RESOURCE:CPU"]);
    assert_eq!(answer.failures.unwrap()[0].arn.as_deref(), Some(agent.arn.as_str()));
    assert_eq!(reasons(&world.run(run("fat", 1)).await.unwrap().failures), ["RESOURCE:MEMORY"]);
    assert_eq!(world.run_some("port", 1).await.len(), 1);
    assert_eq!(reasons(&world.run(run("port", 1)).await.unwrap().failures), ["RESOURCE:PORTS"]);
    assert_eq!(reasons(&world.run(run("ssh", 1)).await.unwrap().failures), ["RESOURCE:PORTS"]);
    let member_of = ecs::PlacementConstraint {
        r#type: Some(ecs::PlacementConstraintType::MemberOf),
        expression: Some("attribute:disk == ssd".into()),
    };
    let request = ecs::RunTaskRequest { placement_constraints: Some(vec![member_of]), ..run("web", 1) };
    world.register(definition("web", 1, 16)).await;
    let answer = world.run(request).await.unwrap();
    assert_eq!(reasons(&answer.failures), ["MemberOf placement constraint unsatisfied."]);
    drop(agent);
    eventually("the lost agent is noticed", async || {
        let answer = world.run(run("web", 1)).await.unwrap();
        reasons(&answer.failures) == ["AGENT"]
    })
    .await;
}

#[tokio::test]
async fn a_client_token_gives_the_same_tasks_and_refuses_another_request() {
    let world = World::new().await;
    world.register(definition("web", 1, 16)).await;
    let _agent = world.machine(1024, 1000, &[]).await;
    let request = ecs::RunTaskRequest { client_token: Some("t".into()), ..run("web", 2) };
    let first = arns(&world.run(request.clone()).await.unwrap());
    assert_eq!(arns(&world.run(request.clone()).await.unwrap()), first);
    let world = world.restart().await;
    assert_eq!(arns(&world.run(request.clone()).await.unwrap()), first);
    let other = ecs::RunTaskRequest { count: Some(1), ..request };
    let fault = world.run(other).await.unwrap_err();
    assert_eq!(fault.code, "ConflictException");
    let ids = fault.fields.iter().find(|(name, _)| *name == "resourceIds").unwrap().1.clone();
    assert_eq!(ids, serde_json::json!(first));
    assert_eq!(world.list(ecs::ListTasksRequest::default()).await.len(), 2);
}

#[tokio::test]
async fn one_token_sent_by_many_at_once_starts_its_tasks_once() {
    let world = std::sync::Arc::new(World::new().await);
    world.register(definition("web", 1, 16)).await;
    let _agent = world.machine(1024, 1000, &[]).await;
    let request = ecs::RunTaskRequest { client_token: Some("t".into()), ..run("web", 3) };
    let calls = (0..20).map(|_| {
        let (world, request) = (world.clone(), request.clone());
        tokio::spawn(async move { arns(&world.run(request).await.unwrap()) })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.unwrap());
    }
    assert!(answers.iter().all(|tasks| *tasks == answers[0]), "{answers:?}");
    assert_eq!(world.list(ecs::ListTasksRequest::default()).await.len(), 3);
}

#[tokio::test]
async fn a_storm_of_requests_never_over_commits_an_instance() {
    let world = std::sync::Arc::new(World::new().await);
    world.register(definition("web", 10, 10)).await;
    let agent = world.machine(300, 10_000, &[]).await;
    // A second control plane on the same store plans against the first.
    let other = std::sync::Arc::new(World::on(world.store.clone()).await);
    let calls = (0..100).map(|number| {
        let world = if number % 2 == 0 { world.clone() } else { other.clone() };
        tokio::spawn(async move { world.run(run("web", 1)).await.unwrap() })
    });
    let (mut placed, mut refused) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        placed += arns(&answer).len();
        refused += reasons(&answer.failures).iter().filter(|reason| *reason == "RESOURCE:CPU").count();
    }
    assert_eq!((placed, refused), (30, 70));
    assert_eq!(world.remaining(&agent.arn, "CPU").await, 0);
}

#[tokio::test]
async fn the_control_plane_may_die_at_every_step() {
    let world = World::new().await;
    world.register(definition("web", 1, 16)).await;
    let agent = world.machine(1024, 1000, &[]).await;
    let arn = agent.arn.clone();
    let task = world.run_some("web", 1).await.remove(0);
    let mut has = agent.lose();

    let world = world.restart().await;
    assert_eq!(world.status(&task).await, "PENDING");
    let mut agent = Agent::connect(&world, &arn, "boot-1", has).await;
    assert!(agent.desired.contains_key(&task));
    agent.report(&task, ObservedStatus::Pending).await;
    has = agent.lose();

    let world = world.restart().await;
    let mut agent = Agent::connect(&world, &arn, "boot-1", has).await;
    assert_eq!(agent.desired.len(), 1);
    agent.report(&task, ObservedStatus::Running).await;
    has = agent.lose();

    let world = world.restart().await;
    assert_eq!(world.status(&task).await, "RUNNING");
    // Stopped while the agent is away.
    world.stop(&task).await;
    let world = world.restart().await;
    assert_eq!(world.status(&task).await, "STOPPING");
    let mut agent = Agent::connect(&world, &arn, "boot-1", has).await;
    agent.told_to_stop(&task).await;
    // The end happens while the control plane is away: the hello tells it.
    let mut has = agent.lose();
    has.insert(task.clone(), observed(&task, ObservedStatus::Stopped));
    let world = world.restart().await;
    let agent = Agent::connect(&world, &arn, "boot-1", has).await;
    assert!(agent.desired.is_empty());
    assert_eq!(world.status(&task).await, "STOPPED");
    assert_eq!(world.remaining(&arn, "CPU").await, 1024);
}

#[tokio::test]
async fn what_a_rebooted_host_has_lost_is_stopped_with_a_reason() {
    let world = World::new().await;
    world.register(definition("web", 1, 16)).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let tasks = world.run_some("web", 2).await;
    agent.run(&tasks[..1]).await;
    let arn = agent.arn.clone();
    drop(agent);
    // The agent comes back without a memory: the task it had is lost, the one it never had it is told to run.
    let agent = Agent::connect(&world, &arn, "boot-2", Default::default()).await;
    let lost = world.task(&tasks[0]).await;
    assert_eq!(lost.last_status.as_deref(), Some("STOPPED"));
    assert!(lost.stopped_reason.unwrap().starts_with("Host EC2 (instance "));
    assert!(lost.containers.unwrap()[0].reason.as_deref().unwrap().starts_with("ContainerVanishedError"));
    assert_eq!(agent.desired.keys().collect::<Vec<_>>(), [&tasks[1]]);
}

#[tokio::test]
async fn a_task_stopped_before_its_agent_had_it_never_runs() {
    let world = World::new().await;
    world.register(definition("web", 1, 16)).await;
    let agent = world.machine(1024, 1000, &[]).await;
    let arn = agent.arn.clone();
    let task = world.run_some("web", 1).await.remove(0);
    let has = agent.lose();
    world.stop(&task).await;
    let agent = Agent::connect(&world, &arn, "boot-1", has).await;
    assert!(agent.desired.is_empty());
    assert_eq!(world.status(&task).await, "STOPPED");
}

#[tokio::test]
async fn a_newer_connection_ends_the_older_one() {
    let world = World::new().await;
    let mut old = world.machine(1024, 1000, &[]).await;
    let arn = old.arn.clone();
    let new = Agent::connect(&world, &arn, "boot-1", Default::default()).await;
    assert_eq!(old.session.next().await.unwrap_err(), gantry_control::door::Ended::Replaced);
    drop(old);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.instance(&arn).await.agent_connected, Some(true));
    drop(new);
    eventually("the lost agent is noticed", async || world.instance(&arn).await.agent_connected == Some(false)).await;
}

#[tokio::test]
async fn awsvpc_tasks_have_addresses_of_their_own_and_give_them_back() {
    let world = World::new().await;
    let definition =
        ecs::RegisterTaskDefinitionRequest { network_mode: Some(ecs::NetworkMode::Awsvpc), ..definition("web", 1, 16) };
    world.register(definition).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let without = world.run(run("web", 1)).await.unwrap_err();
    assert_eq!(without.message, "Network Configuration must be provided when networkMode 'awsvpc' is specified.");
    let request = ecs::RunTaskRequest { network_configuration: network("subnet-1"), ..run("web", 3) };
    let answer = world.run(request).await.unwrap();
    let detail = |task: &ecs::Task, name: &str| {
        let details = task.attachments.as_ref().unwrap()[0].details.clone().unwrap();
        details.into_iter().find(|detail| detail.name.as_deref() == Some(name)).unwrap().value.unwrap()
    };
    let tasks = answer.tasks.unwrap();
    assert_eq!(tasks[0].last_status.as_deref(), Some("PROVISIONING"));
    let attachment = &tasks[0].attachments.as_ref().unwrap()[0];
    assert_eq!((attachment.status.as_deref(), attachment.details.as_ref().unwrap().len()), (Some("PRECREATED"), 1));
    let mut addresses = std::collections::BTreeSet::new();
    for task in &tasks {
        let arn = task.task_arn.clone().unwrap();
        agent.told(&arn).await;
        let interface = agent.desired[&arn].network_interface.clone().unwrap();
        assert_eq!(interface.prefix_length, 20);
        addresses.insert(interface.address.to_string());
    }
    assert_eq!(addresses.len(), 3);
    let arn = tasks[0].task_arn.clone().unwrap();
    agent.report(&arn, ObservedStatus::Pending).await;
    assert_eq!(world.status(&arn).await, "PENDING");
    agent.report(&arn, ObservedStatus::Running).await;
    let task = world.task(&arn).await;
    assert_eq!(task.attachments.as_ref().unwrap()[0].status.as_deref(), Some("ATTACHED"));
    assert!(addresses.contains(&detail(&task, "privateIPv4Address")));
    agent.report_with(&arn, ObservedStatus::Stopped, |task| task.stopped = exited()).await;
    let task = world.task(&arn).await;
    assert_eq!((task.last_status.as_deref(), task.version), (Some("STOPPED"), Some(5)));
    assert_eq!(task.attachments.unwrap()[0].status.as_deref(), Some("DELETED"));
}

#[tokio::test]
async fn fargate_tasks_of_any_cluster_share_the_host_and_show_no_instance() {
    let world = World::new().await;
    let cluster = ecs::CreateClusterRequest { cluster_name: Some("prod".into()), ..Default::default() };
    world.ecs.create_cluster(&world.caller, cluster).await.unwrap();
    world.register(fargate("api", "256", "512")).await;
    world.register(definition("web", 1024, 16)).await;
    let request = ecs::RunTaskRequest {
        cluster: Some("prod".into()),
        launch_type: Some(ecs::LaunchType::Fargate),
        network_configuration: network("subnet-1"),
        ..run("api", 1)
    };
    let answer = world.run(request.clone()).await.unwrap();
    assert!(reasons(&answer.failures)[0].starts_with("Capacity is unavailable at this time."));
    let mut agent = world.machine(1024, 2000, &["gantry.fargate"]).await;
    let answer = world.run(request.clone()).await.unwrap();
    let task = answer.tasks.unwrap().remove(0);
    let arn = task.task_arn.unwrap();
    assert_eq!((task.container_instance_arn, task.launch_type), (None, Some(ecs::LaunchType::Fargate)));
    assert_eq!((task.platform_version.as_deref(), task.platform_family.as_deref()), (Some("1.4.0"), Some("Linux")));
    // The same machine as an EC2 instance has that much less.
    assert_eq!(world.remaining(&agent.arn, "CPU").await, 768);
    assert_eq!(reasons(&world.run(run("web", 1)).await.unwrap().failures), ["RESOURCE:CPU"]);
    agent.run(std::slice::from_ref(&arn)).await;
    assert_eq!(world.instance(&agent.arn).await.running_tasks_count, Some(0));
    let request = ecs::DescribeTasksRequest {
        cluster: Some("prod".into()),
        tasks: Some(vec![arn.clone()]),
        ..Default::default()
    };
    let answer = world.ecs.describe_tasks(&world.caller, request).await.unwrap();
    assert_eq!(answer.tasks.unwrap()[0].last_status.as_deref(), Some("RUNNING"));
}

#[tokio::test]
async fn overrides_are_checked_kept_and_counted() {
    let world = World::new().await;
    world.register(definition("web", 100, 64)).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let overrides = |name: &str| ecs::TaskOverride {
        container_overrides: Some(vec![ecs::ContainerOverride {
            name: Some(name.into()),
            cpu: Some(300),
            command: Some(vec!["true".into()]),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let request = |name| ecs::RunTaskRequest { overrides: Some(overrides(name)), ..run("web", 1) };
    let fault = world.run(request("sidecar")).await.unwrap_err();
    assert_eq!(fault.message, "Override for container named sidecar is not a container in the TaskDefinition.");
    let arn = arns(&world.run(request("app")).await.unwrap()).remove(0);
    assert_eq!(world.remaining(&agent.arn, "CPU").await, 724);
    let task = world.task(&arn).await;
    assert_eq!(task.containers.unwrap()[0].cpu.as_deref(), Some("300"));
    assert_eq!(task.overrides.unwrap().container_overrides, overrides("app").container_overrides);
    agent.told(&arn).await;
    assert_eq!(agent.desired[&arn].overrides.container_overrides, overrides("app").container_overrides);
}

#[tokio::test]
async fn lists_filter_and_page() {
    let world = World::new().await;
    world.register(definition("a", 1, 16)).await;
    world.register(definition("b", 1, 16)).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let mut all = world.run_some("a", 5).await;
    all.extend(world.run_some("b", 4).await);
    let started = ecs::RunTaskRequest { started_by: Some("me".into()), ..run("b", 2) };
    all.extend(arns(&world.run(started).await.unwrap()));
    agent.run(&all[..1]).await;
    world.stop(&all[0]).await;
    let list = |request: ecs::ListTasksRequest| world.list(request);
    let base = ecs::ListTasksRequest::default;
    assert_eq!(list(base()).await.len(), 10);
    let stopped = ecs::ListTasksRequest { desired_status: Some(ecs::DesiredStatus::Stopped), ..base() };
    assert_eq!(list(stopped).await, all[..1]);
    assert_eq!(list(ecs::ListTasksRequest { family: Some("a".into()), ..base() }).await.len(), 4);
    assert_eq!(list(ecs::ListTasksRequest { started_by: Some("me".into()), ..base() }).await.len(), 2);
    let on = ecs::ListTasksRequest { container_instance: Some(agent.arn.clone()), family: Some("b".into()), ..base() };
    assert_eq!(list(on).await.len(), 6);
    let fargate = ecs::ListTasksRequest { launch_type: Some(ecs::LaunchType::Fargate), ..base() };
    assert!(list(fargate).await.is_empty());
    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let request = ecs::ListTasksRequest { max_results: Some(3), next_token: token, ..base() };
        let answer = world.ecs.list_tasks(&world.caller, request).await.unwrap();
        seen.extend(answer.task_arns.unwrap());
        token = answer.next_token;
        if token.is_none() {
            break;
        }
    }
    seen.sort();
    let mut expected = all[1..].to_vec();
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn start_task_goes_where_it_is_told() {
    let world = World::new().await;
    world.register(definition("web", 600, 16)).await;
    let (one, two) = (world.machine(1000, 1000, &[]).await, world.machine(1000, 1000, &[]).await);
    let nobody = "0".repeat(32);
    let request = ecs::StartTaskRequest {
        task_definition: Some("web".into()),
        container_instances: Some(vec![one.arn.clone(), one.arn.clone(), two.arn.clone(), nobody]),
        ..Default::default()
    };
    let answer = world.ecs.start_task(&world.caller, request).await.unwrap();
    let hosts: Vec<_> = answer.tasks.unwrap().into_iter().map(|task| task.container_instance_arn.unwrap()).collect();
    assert_eq!(hosts, [one.arn.clone(), two.arn.clone()]);
    assert_eq!(reasons(&answer.failures), ["RESOURCE:CPU", "MISSING"]);
}

#[tokio::test]
async fn draining_and_deregistering() {
    let world = World::new().await;
    world.register(definition("web", 1, 16)).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let task = world.run_some("web", 1).await.remove(0);
    agent.run(std::slice::from_ref(&task)).await;
    let drain = ecs::UpdateContainerInstancesStateRequest {
        container_instances: Some(vec![agent.arn.clone()]),
        status: Some(ecs::ContainerInstanceStatus::Draining),
        ..Default::default()
    };
    let answer = world.ecs.update_container_instances_state(&world.caller, drain).await.unwrap();
    assert_eq!(answer.container_instances.unwrap()[0].status.as_deref(), Some("DRAINING"));
    assert!(world.run(run("web", 1)).await.is_err());
    assert_eq!(world.status(&task).await, "RUNNING");
    let deregister = |force| ecs::DeregisterContainerInstanceRequest {
        container_instance: Some(agent.arn.clone()),
        force: Some(force),
        ..Default::default()
    };
    let (gentle, forced) = (deregister(false), deregister(true));
    let fault = world.ecs.deregister_container_instance(&world.caller, gentle).await.unwrap_err();
    assert_eq!(fault.message, "Found running tasks on the instance.");
    let answer = world.ecs.deregister_container_instance(&world.caller, forced).await.unwrap();
    assert_eq!(answer.container_instance.unwrap().status.as_deref(), Some("INACTIVE"));
    let task = world.task(&task).await;
    assert_eq!(task.stopped_reason.as_deref(), Some("Container instance deregistration forced by user"));
    assert_eq!(agent.session.next().await.unwrap_err(), gantry_control::door::Ended::Unregistered);
}

#[tokio::test(start_paused = true)]
async fn stopped_tasks_and_instances_are_forgotten_after_an_hour() {
    let world = World::with_virtual_time().await;
    world.register(definition("web", 1, 16)).await;
    let mut agent = world.machine(1024, 1000, &[]).await;
    let tasks =
        arns(&world.run(ecs::RunTaskRequest { client_token: Some("t".into()), ..run("web", 2) }).await.unwrap());
    agent.run(&tasks).await;
    agent.report_with(&tasks[0], ObservedStatus::Stopped, |task| task.stopped = exited()).await;
    let _reconcilers = Reconcilers::start(&world.control);
    tokio::time::sleep(std::time::Duration::from_secs(3500)).await;
    assert_eq!(world.status(&tasks[0]).await, "STOPPED");
    tokio::time::sleep(std::time::Duration::from_secs(200)).await;
    assert!(world.find(&tasks[0]).await.is_none());
    assert_eq!(world.status(&tasks[1]).await, "RUNNING");

    let deregister = ecs::DeregisterContainerInstanceRequest {
        container_instance: Some(agent.arn.clone()),
        force: Some(true),
        ..Default::default()
    };
    world.ecs.deregister_container_instance(&world.caller, deregister).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3 * 3600)).await;
    assert!(world.find(&tasks[1]).await.is_none());
    assert_eq!(world.control.read().hosts().count(), 0);
    let tokens = || world.control.read().namespaces().map(|(_, space)| space.client_tokens().len()).sum::<usize>();
    assert_eq!(tokens(), 1);
    tokio::time::sleep(std::time::Duration::from_secs(24 * 3600)).await;
    assert_eq!(tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_come_back_after_our_restart_reads_disconnected() {
    let world = World::with_virtual_time().await;
    let agent = world.machine(1024, 1000, &[]).await;
    let arn = agent.arn.clone();
    // As after a crash: nobody noted the end of the connection.
    std::mem::forget(agent);
    let world = World::on_virtual_time(world.store.clone()).await;
    assert_eq!(world.instance(&arn).await.agent_connected, Some(true));
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    assert_eq!(world.instance(&arn).await.agent_connected, Some(false));
}

#[tokio::test]
async fn state_changes_may_be_submitted_one_by_one() {
    let world = World::new().await;
    world
        .register(ecs::RegisterTaskDefinitionRequest {
            network_mode: Some(ecs::NetworkMode::Awsvpc),
            ..definition("web", 1, 16)
        })
        .await;
    let _agent = world.machine(1024, 1000, &[]).await;
    let request = ecs::RunTaskRequest { network_configuration: network("subnet-1"), ..run("web", 1) };
    let task = world.run(request).await.unwrap().tasks.unwrap().remove(0);
    let arn = task.task_arn.unwrap();
    let attachment = task.attachments.unwrap().remove(0).id.unwrap();
    let attached = ecs::SubmitAttachmentStateChangesRequest {
        attachments: Some(vec![ecs::AttachmentStateChange {
            attachment_arn: Some(format!("arn:aws:ecs:us-east-1:000000000000:attachment/{attachment}")),
            status: Some("ATTACHED".into()),
        }]),
        ..Default::default()
    };
    world.ecs.submit_attachment_state_changes(&world.caller, attached).await.unwrap();
    assert_eq!(world.status(&arn).await, "PENDING");
    let container = ecs::SubmitContainerStateChangeRequest {
        task: Some(arn.clone()),
        container_name: Some("app".into()),
        status: Some("RUNNING".into()),
        ..Default::default()
    };
    world.ecs.submit_container_state_change(&world.caller, container).await.unwrap();
    assert_eq!(world.status(&arn).await, "PENDING");
    assert_eq!(world.task(&arn).await.containers.unwrap()[0].last_status.as_deref(), Some("RUNNING"));
    let change = |status: &str, reason: &str| ecs::SubmitTaskStateChangeRequest {
        task: Some(arn.clone()),
        status: Some(status.into()),
        reason: Some(reason.into()),
        ..Default::default()
    };
    world.ecs.submit_task_state_change(&world.caller, change("RUNNING", "")).await.unwrap();
    assert_eq!(world.status(&arn).await, "RUNNING");
    world.ecs.submit_task_state_change(&world.caller, change("STOPPED", "it broke")).await.unwrap();
    let task = world.task(&arn).await;
    assert_eq!((task.last_status.as_deref(), task.stopped_reason.as_deref()), (Some("STOPPED"), Some("it broke")));
    let unknown = ecs::SubmitTaskStateChangeRequest { task: Some("0".repeat(32)), ..change("STOPPED", "") };
    let fault = world.ecs.submit_task_state_change(&world.caller, unknown).await.unwrap_err();
    assert_eq!(fault.code, "InvalidParameterException");
}
