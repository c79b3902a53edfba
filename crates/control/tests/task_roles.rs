//! Roles of tasks: which launches are refused, and which credentials an agent is given, when.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use gantry_api::{
    Caller, TaskSession,
    agent::{ControlMessage, ObservedStatus, ObservedVolume, RoleCredentials, RoleGrant, RoleKind},
    ecs,
};
use gantry_control::{Door, EcsService, NoRole, TaskRoles, keys::TaskKey};
use gantry_domain::arn::{Arn, Resource};
use support::{World, definition, run};

const ROLE: &str = "arn:aws:iam::000000000000:role/app";
const SECONDS: u64 = 1000;

/// One role that may be taken on, by its ARN or name.
struct OneRole {
    given: AtomicU64,
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl TaskRoles for OneRole {
    fn caller(&self, role: &str, task_arn: &str) -> Option<Caller> {
        let id = task_arn.rsplit('/').next()?;
        let known = role == ROLE || role == "app";
        known.then(|| Caller {
            principal_arn: format!("arn:aws:sts::000000000000:assumed-role/app/{id}"),
            ..support::caller()
        })
    }

    fn is_infrastructure(&self, role_arn: &str, _: &str) -> bool {
        role_arn == ROLE
    }

    fn credentials(&self, role: &str, task: TaskSession) -> Option<RoleCredentials> {
        self.caller(role, &task.task_arn)?;
        Some(RoleCredentials {
            role_arn: ROLE.into(),
            access_key_id: format!("ASIA{}", self.given.fetch_add(1, Ordering::Relaxed)),
            secret_access_key: "secret".into(),
            session_token: "token".into(),
            expires_at_ms: (self.now)() + SECONDS * 1000,
        })
    }
}

async fn world() -> World {
    let mut world = World::with_virtual_time().await;
    let clock = world.control.clock.clone();
    let now = Arc::new(move || u64::try_from(clock.now().as_millis()).unwrap());
    world.control = world.control.clone().with_roles(Arc::new(OneRole { given: AtomicU64::new(0), now }));
    world.ecs = EcsService::new(world.control.clone());
    world.door = Door::open(world.control.clone());
    world
}

fn with_roles(family: &str, task: Option<&str>, execution: Option<&str>) -> ecs::RegisterTaskDefinitionRequest {
    ecs::RegisterTaskDefinitionRequest {
        task_role_arn: task.map(str::to_owned),
        execution_role_arn: execution.map(str::to_owned),
        ..definition(family, 64, 64)
    }
}

const IAM: &[&str] =
    &["com.amazonaws.ecs.capability.task-iam-role", "com.amazonaws.ecs.capability.docker-remote-api.1.17"];

fn key(arn: &str) -> TaskKey {
    let arn: Arn = arn.parse().unwrap();
    let Resource::Task { cluster, task } = arn.resource else { panic!("a task's ARN") };
    TaskKey { scope: arn.scope, cluster: cluster.unwrap(), id: task }
}

async fn grants(agent: &mut support::Agent) -> Vec<RoleGrant> {
    match agent.session.next().await.unwrap() {
        ControlMessage::Roles { grants } => grants,
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_roles_cannot_be_taken_on_is_not_started() {
    let world = world().await;
    let _agent = world.machine(1024, 1024, IAM).await;
    world.register(with_roles("good", Some("app"), Some(ROLE))).await;
    world.register(with_roles("bad", None, Some("none"))).await;
    assert_eq!(world.run_some("good", 1).await.len(), 1);
    let refused = world.run(run("bad", 1)).await.unwrap_err();
    assert_eq!(refused.code, "ClientException");
    assert!(refused.message.starts_with(
        "ECS was unable to assume the role 'arn:aws:iam::000000000000:role/none' that was provided for this task."
    ));
    let overrides =
        |role: &str| Some(ecs::TaskOverride { execution_role_arn: Some(role.to_owned()), ..Default::default() });
    let request = ecs::RunTaskRequest { overrides: overrides("app"), ..run("bad", 1) };
    assert!(world.run(request).await.is_ok(), "an override replaces the role");
    let request = ecs::RunTaskRequest { overrides: overrides("none"), ..run("good", 1) };
    assert!(world.run(request).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_given_credentials_and_new_ones_before_they_end() {
    let world = world().await;
    let mut agent = world.machine(1024, 1024, IAM).await;
    world.register(with_roles("web", Some("app"), Some(ROLE))).await;
    let arn = world.run_some("web", 1).await.remove(0);
    agent.told(&arn).await;
    let first = grants(&mut agent).await;
    let of = |grants: &[RoleGrant], kind| {
        let grant = grants.iter().find(|grant| grant.role == kind && grant.task_arn == arn);
        grant.and_then(|grant| grant.credentials.clone()).map(|given| given.access_key_id)
    };
    assert!(of(&first, RoleKind::Task).is_some() && of(&first, RoleKind::Execution).is_some());
    let before = world.control.now();
    let second = grants(&mut agent).await;
    let waited = world.control.now().millis_since(before) / 1000;
    assert!((490..=510).contains(&waited), "renewed at half of their time, not after {waited} s");
    assert_ne!(of(&second, RoleKind::Task), of(&first, RoleKind::Task));

    let held = |role| TaskSession { task_arn: arn.clone(), role };
    assert!(world.control.holds_role(&held(RoleKind::Task)));
    let caller = world.control.execution_role(&key(&arn)).unwrap();
    assert!(caller.principal_arn.ends_with(&key(&arn).id.to_string()));

    // Another connection of the agent gets others.
    let has = agent.lose();
    let instance = world.ecs_instance().await;
    let mut agent = support::Agent::connect(&world, &instance, "boot-1", has).await;
    let third = grants(&mut agent).await;
    assert_ne!(of(&third, RoleKind::Task), of(&second, RoleKind::Task));

    agent.report(&arn, ObservedStatus::Running).await;
    agent.report(&arn, ObservedStatus::Stopped).await;
    assert!(!world.control.holds_role(&held(RoleKind::Task)), "they end with the task");
    assert!(world.control.holds_role(&held(RoleKind::Execution)), "its last output may be on its way");
    let unknown = TaskSession { task_arn: arn.replace("default", "other"), role: RoleKind::Execution };
    assert!(!world.control.holds_role(&unknown));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_role_has_no_execution_role() {
    let world = world().await;
    let _agent = world.machine(1024, 1024, IAM).await;
    world.register(definition("plain", 64, 64)).await;
    let arn = world.run_some("plain", 1).await.remove(0);
    assert_eq!(world.control.execution_role(&key(&arn)).unwrap_err(), NoRole::None);
    let gone = key(&arn.replace("default", "other"));
    assert_eq!(world.control.execution_role(&gone).unwrap_err(), NoRole::NoTask);
}

impl World {
    async fn ecs_instance(&self) -> String {
        use ecs::Ecs as _;
        let answer = self.ecs.list_container_instances(&self.caller, Default::default()).await.unwrap();
        answer.container_instance_arns.unwrap().remove(0)
    }
}

fn volume(role: &str, delete_on_termination: bool) -> Option<Vec<ecs::TaskVolumeConfiguration>> {
    let managed = serde_json::json!([{"name": "data", "managedEBSVolume": {
        "roleArn": role, "sizeInGiB": 1, "terminationPolicy": {"deleteOnTermination": delete_on_termination},
    }}]);
    Some(serde_json::from_value(managed).unwrap())
}

const VOLUMES: &[&str] = &["ecs.capability.storage.ebs-task-volume-attach"];

fn with_volume(family: &str) -> ecs::RegisterTaskDefinitionRequest {
    let at_launch = ecs::Volume { name: Some("data".into()), configured_at_launch: Some(true), ..Default::default() };
    ecs::RegisterTaskDefinitionRequest { volumes: Some(vec![at_launch]), ..definition(family, 64, 64) }
}

/// Status of the task and of its volume's attachment, and what is told of that.
async fn attachment(world: &World, arn: &str) -> (String, String, Vec<(String, String)>) {
    let task = world.task(arn).await;
    let mut attachments = task.attachments.unwrap();
    let attachment = attachments.pop().unwrap();
    assert!(attachments.is_empty() && attachment.r#type.as_deref() == Some("AmazonElasticBlockStorage"));
    let details = attachment.details.unwrap().into_iter();
    let details = details.map(|detail| (detail.name.unwrap(), detail.value.unwrap())).collect();
    (task.last_status.unwrap(), attachment.status.unwrap(), details)
}

#[tokio::test(start_paused = true)]
async fn a_task_is_provisioned_until_its_volume_is_attached() {
    let world = world().await;
    let mut agent = world.machine(1024, 1024, VOLUMES).await;
    world.register(with_volume("disk")).await;
    let request =
        |role, deletes| ecs::RunTaskRequest { volume_configurations: volume(role, deletes), ..run("disk", 1) };
    let refused = world.run(request("arn:aws:iam::000000000000:role/none", true)).await.unwrap_err();
    assert_eq!(refused.code, "InvalidParameterException");
    assert!(refused.message.starts_with("ECS was unable to assume the configured ECS Infrastructure Role"));

    for (deletes, end) in [(true, "DELETED"), (false, "DETACHED")] {
        let arn = support::arns(&world.run(request(ROLE, deletes)).await.unwrap()).remove(0);
        agent.told(&arn).await;
        let told = agent.desired[&arn].managed_volume.clone().unwrap();
        assert_eq!((told.name.as_str(), told.size_gib, told.delete_on_termination), ("data", 1, deletes));
        let (task, status, details) = attachment(&world, &arn).await;
        assert_eq!((task.as_str(), status.as_str()), ("PROVISIONING", "CREATED"));
        let names: Vec<&str> = details.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["roleArn", "volumeName", "deleteOnTermination"]);
        agent.report(&arn, ObservedStatus::Pending).await;
        assert_eq!(attachment(&world, &arn).await.0, "PROVISIONING");
        let attached = Some(ObservedVolume::Attached);
        agent.report_with(&arn, ObservedStatus::Pending, |task| task.volume = attached).await;
        let (task, status, details) = attachment(&world, &arn).await;
        assert_eq!((task.as_str(), status.as_str()), ("PENDING", "ATTACHED"));
        assert_eq!(details.last(), Some(&("volumeId".to_owned(), told.id)));
        agent.report(&arn, ObservedStatus::Running).await;
        agent.report(&arn, ObservedStatus::Stopped).await;
        let (task, status, _) = attachment(&world, &arn).await;
        assert_eq!((task.as_str(), status.as_str()), ("STOPPED", end));
    }

    let arn = support::arns(&world.run(request(ROLE, true)).await.unwrap()).remove(0);
    agent.told(&arn).await;
    let failed = Some(ObservedVolume::Failed("no room".into()));
    agent.report_with(&arn, ObservedStatus::Stopped, |task| task.volume = failed).await;
    let (_, status, details) = attachment(&world, &arn).await;
    assert_eq!(status, "FAILED");
    assert_eq!(details.last(), Some(&("statusReason".to_owned(), "no room".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn volumes_go_where_the_disk_has_room_for_those_that_were_asked_for() {
    let world = world().await;
    let (mut small, mut large) = (world.machine(1024, 1024, VOLUMES).await, world.machine(1024, 1024, VOLUMES).await);
    small.says_room(0).await;
    large.says_room(2).await;
    world.register(with_volume("disk")).await;
    world.register(definition("plain", 64, 64)).await;
    let request = |count| ecs::RunTaskRequest { volume_configurations: volume(ROLE, true), ..run("disk", count) };
    let first = world.run(request(1)).await.unwrap();
    let second = world.run(request(3)).await.unwrap();
    let arns: Vec<_> = support::arns(&first).into_iter().chain(support::arns(&second)).collect();
    assert_eq!(arns.len(), 2, "those that are not made yet count");
    for arn in &arns {
        assert_eq!(world.task(arn).await.container_instance_arn.as_deref(), Some(&*large.arn));
    }
    assert_eq!(support::reasons(&second.failures), ["RESOURCE:DISK", "RESOURCE:DISK"]);
    assert_eq!(world.run_some("plain", 9).await.len(), 9, "a full disk keeps out volumes only");

    small.says_room(1).await;
    assert_eq!(support::arns(&world.run(request(1)).await.unwrap()).len(), 1, "there is room on the other one");
    assert_eq!(support::reasons(&world.run(request(1)).await.unwrap().failures), ["RESOURCE:DISK", "RESOURCE:DISK"]);
    large.run(&arns).await;
    large.report(&arns[0], ObservedStatus::Stopped).await;
    assert_eq!(support::arns(&world.run(request(1)).await.unwrap()).len(), 1, "a task's room goes with it");
}
