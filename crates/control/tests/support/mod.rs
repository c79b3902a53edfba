//! A control plane on a store in memory, and agents that speak through the door's sessions: they behave, but run
//! nothing.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::{collections::BTreeMap, sync::Arc};

use gantry_api::{
    Caller, Fault,
    agent::{
        AgentMessage, ControlMessage, DesiredStatus, DesiredTask, ObservedContainer, ObservedStatus, ObservedTask,
        PROTOCOL_VERSION, StopReason,
    },
    ecs::{self, Ecs},
};
use gantry_control::{Control, Door, EcsService, Settings, SharedClock, SystemClock, TokioClock};
use gantry_store::{Memory, MemoryOptions, Store};

pub struct World {
    pub store: Store,
    pub control: Control,
    pub ecs: EcsService,
    pub door: Door,
    pub caller: Caller,
}

impl World {
    pub async fn new() -> Self {
        let store = Store::new(Memory::new(&MemoryOptions::default()));
        let world = Self::on(store).await;
        world.ecs.create_cluster(&world.caller, ecs::CreateClusterRequest::default()).await.unwrap();
        world
    }

    /// The same with a clock that follows tokio's paused time.
    pub async fn with_virtual_time() -> Self {
        let world = Self::on_virtual_time(Store::new(Memory::new(&MemoryOptions::default()))).await;
        world.ecs.create_cluster(&world.caller, ecs::CreateClusterRequest::default()).await.unwrap();
        world
    }

    pub async fn on_virtual_time(store: Store) -> Self {
        let clock = TokioClock::starting_at(gantry_domain::Timestamp::from_seconds(1_700_000_000));
        Self::with_clock(store, Arc::new(clock)).await
    }

    /// A control plane on a store that may hold something already.
    pub async fn on(store: Store) -> Self {
        Self::with_clock(store, Arc::new(SystemClock)).await
    }

    async fn with_clock(store: Store, clock: SharedClock) -> Self {
        let control = Control::open(store.clone(), clock, Settings::default()).await.unwrap();
        let ecs = EcsService::new(control.clone());
        let door = Door::open(control.clone());
        Self { store, control, ecs, door, caller: caller() }
    }

    /// The control plane dies and another one starts on the same store.
    pub async fn restart(self) -> Self {
        let store = self.store.clone();
        drop(self);
        Self::on(store).await
    }

    pub async fn register(&self, definition: ecs::RegisterTaskDefinitionRequest) {
        self.ecs.register_task_definition(&self.caller, definition).await.unwrap();
    }

    /// A machine of the default cluster; its agent is connected.
    pub async fn machine(&self, cpu: i32, memory: i32, attributes: &[&str]) -> Agent {
        let arn = self.register_machine(cpu, memory, attributes, None).await.unwrap();
        Agent::connect(self, &arn, "boot-1", BTreeMap::new()).await
    }

    pub async fn register_machine(
        &self,
        cpu: i32,
        memory: i32,
        attributes: &[&str],
        arn: Option<String>,
    ) -> Result<String, Fault> {
        let request = ecs::RegisterContainerInstanceRequest {
            container_instance_arn: arn,
            total_resources: Some(vec![
                integer("CPU", cpu),
                integer("MEMORY", memory),
                ecs::Resource {
                    name: Some("PORTS".into()),
                    string_set_value: Some(vec!["22".into()]),
                    ..Default::default()
                },
            ]),
            attributes: Some(
                [
                    "ecs.capability.task-eni",
                    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
                    "ecs.capability.task-cpu-mem-limit",
                ]
                .iter()
                .chain(attributes)
                .map(|name| match name.split_once('=') {
                    Some((name, value)) => attribute(name, Some(value)),
                    None => attribute(name, None),
                })
                .collect(),
            ),
            ..Default::default()
        };
        let answer = self.ecs.register_container_instance(&self.caller, request).await?;
        Ok(answer.container_instance.unwrap().container_instance_arn.unwrap())
    }

    pub async fn run(&self, request: ecs::RunTaskRequest) -> Result<ecs::RunTaskResponse, Fault> {
        self.ecs.run_task(&self.caller, request).await
    }

    /// Runs `count` tasks of a definition and returns their ARNs.
    pub async fn run_some(&self, definition: &str, count: i32) -> Vec<String> {
        arns(&self.run(run(definition, count)).await.unwrap())
    }

    pub async fn task(&self, arn: &str) -> ecs::Task {
        self.find(arn).await.unwrap()
    }

    pub async fn find(&self, arn: &str) -> Option<ecs::Task> {
        let request = ecs::DescribeTasksRequest { tasks: Some(vec![arn.to_owned()]), ..Default::default() };
        let answer = self.ecs.describe_tasks(&self.caller, request).await.unwrap();
        answer.tasks.unwrap().pop()
    }

    pub async fn status(&self, arn: &str) -> String {
        self.task(arn).await.last_status.unwrap()
    }

    pub async fn stop(&self, arn: &str) -> ecs::Task {
        let request =
            ecs::StopTaskRequest { task: Some(arn.to_owned()), reason: Some("enough".into()), ..Default::default() };
        self.ecs.stop_task(&self.caller, request).await.unwrap().task.unwrap()
    }

    pub async fn instance(&self, arn: &str) -> ecs::ContainerInstance {
        let request = ecs::DescribeContainerInstancesRequest {
            container_instances: Some(vec![arn.to_owned()]),
            ..Default::default()
        };
        self.ecs
            .describe_container_instances(&self.caller, request)
            .await
            .unwrap()
            .container_instances
            .unwrap()
            .remove(0)
    }

    pub async fn remaining(&self, instance: &str, name: &str) -> i32 {
        let instance = self.instance(instance).await;
        let resources = instance.remaining_resources.unwrap();
        resources.into_iter().find(|one| one.name.as_deref() == Some(name)).unwrap().integer_value.unwrap()
    }

    pub async fn list(&self, request: ecs::ListTasksRequest) -> Vec<String> {
        self.ecs.list_tasks(&self.caller, request).await.unwrap().task_arns.unwrap()
    }
}

pub fn caller() -> Caller {
    Caller::root("000000000000", "us-east-1")
}

pub fn arns(answer: &ecs::RunTaskResponse) -> Vec<String> {
    answer.tasks.iter().flatten().map(|task| task.task_arn.clone().unwrap()).collect()
}

pub fn reasons(failures: &Option<Vec<ecs::Failure>>) -> Vec<String> {
    failures.iter().flatten().map(|failure| failure.reason.clone().unwrap()).collect()
}

pub fn run(definition: &str, count: i32) -> ecs::RunTaskRequest {
    ecs::RunTaskRequest { task_definition: Some(definition.into()), count: Some(count), ..Default::default() }
}

pub fn network(subnet: &str) -> Option<ecs::NetworkConfiguration> {
    Some(ecs::NetworkConfiguration {
        awsvpc_configuration: Some(ecs::AwsVpcConfiguration {
            subnets: Some(vec![subnet.into()]),
            ..Default::default()
        }),
    })
}

fn integer(name: &str, value: i32) -> ecs::Resource {
    ecs::Resource { name: Some(name.into()), integer_value: Some(value), ..Default::default() }
}

pub fn attribute(name: &str, value: Option<&str>) -> ecs::Attribute {
    ecs::Attribute { name: Some(name.into()), value: value.map(Into::into), ..Default::default() }
}

/// A definition with one container `app` that takes this much.
pub fn definition(family: &str, cpu: i32, memory: i32) -> ecs::RegisterTaskDefinitionRequest {
    ecs::RegisterTaskDefinitionRequest {
        family: Some(family.into()),
        container_definitions: Some(vec![ecs::ContainerDefinition {
            name: Some("app".into()),
            image: Some("busybox".into()),
            cpu: Some(cpu),
            memory: Some(memory),
            ..Default::default()
        }]),
        ..Default::default()
    }
}

/// The same with a static host port.
pub fn definition_with_port(family: &str, port: i32) -> ecs::RegisterTaskDefinitionRequest {
    let mut definition = definition(family, 1, 16);
    definition.container_definitions.as_mut().unwrap()[0].port_mappings =
        Some(vec![ecs::PortMapping { container_port: Some(80), host_port: Some(port), ..Default::default() }]);
    definition
}

pub fn fargate(family: &str, cpu: &str, memory: &str) -> ecs::RegisterTaskDefinitionRequest {
    ecs::RegisterTaskDefinitionRequest {
        network_mode: Some(ecs::NetworkMode::Awsvpc),
        requires_compatibilities: Some(vec![ecs::Compatibility::Fargate]),
        cpu: Some(cpu.into()),
        memory: Some(memory.into()),
        ..definition(family, 0, 128)
    }
}

/// An agent that does as it is told, as far as the test lets it.
pub struct Agent {
    pub arn: String,
    pub session: gantry_control::door::Session,
    pub desired: BTreeMap<String, DesiredTask>,
    /// What it has: survives a lost connection, not a lost disk.
    pub has: BTreeMap<String, ObservedTask>,
    sequence: u64,
}

impl Agent {
    pub async fn connect(world: &World, arn: &str, boot: &str, has: BTreeMap<String, ObservedTask>) -> Self {
        let hello = AgentMessage::Hello {
            protocol_version: PROTOCOL_VERSION,
            container_instance_arn: arn.to_owned(),
            agent_version: "0.1.0".into(),
            boot_id: boot.into(),
            tasks: has.values().cloned().collect(),
            underlay_address: None,
            volume_room_gib: None,
        };
        let mut session = world.door.begin(&world.caller, hello).await.unwrap();
        let mut desired = BTreeMap::new();
        loop {
            let ControlMessage::DesiredSet { tasks, more, .. } = session.next().await.unwrap() else {
                panic!("the full set comes first")
            };
            desired.extend(tasks.into_iter().map(|task| (task.task_arn.clone(), task)));
            if !more {
                break;
            }
        }
        Self { arn: arn.to_owned(), session, desired, has, sequence: 0 }
    }

    /// Takes in changes until the desired set satisfies the test.
    pub async fn until(&mut self, mut seen: impl FnMut(&BTreeMap<String, DesiredTask>) -> bool) {
        while !seen(&self.desired) {
            match self.session.next().await.unwrap() {
                ControlMessage::Delta { changed, removed, .. } => {
                    self.desired.extend(changed.into_iter().map(|task| (task.task_arn.clone(), task)));
                    for arn in removed {
                        self.desired.remove(&arn);
                        self.has.remove(&arn);
                    }
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Waits until it is told to run a task.
    pub async fn told(&mut self, arn: &str) {
        self.until(|desired| desired.contains_key(arn)).await;
    }

    pub async fn told_to_stop(&mut self, arn: &str) {
        self.until(|desired| desired.get(arn).is_some_and(|task| task.desired_status == DesiredStatus::Stopped)).await;
    }

    /// Reports a task in a status, durably.
    pub async fn report(&mut self, arn: &str, status: ObservedStatus) {
        self.report_with(arn, status, |_| {}).await;
    }

    pub async fn report_with(&mut self, arn: &str, status: ObservedStatus, change: impl FnOnce(&mut ObservedTask)) {
        let mut task = observed(arn, status);
        change(&mut task);
        self.has.insert(arn.to_owned(), task.clone());
        self.sequence += 1;
        let sequence = self.sequence;
        let answer = self.session.receive(AgentMessage::Observed { sequence, tasks: vec![task] }).await.unwrap();
        assert_eq!(answer, Some(ControlMessage::Acknowledged { sequence }));
    }

    /// Says what volumes may have of its disk.
    pub async fn says_room(&mut self, volume_room_gib: u32) {
        let heartbeat = AgentMessage::Heartbeat { volume_room_gib: Some(volume_room_gib) };
        assert_eq!(self.session.receive(heartbeat).await.unwrap(), None);
    }

    /// Runs everything it is told to run.
    pub async fn run(&mut self, arns: &[String]) {
        for arn in arns {
            self.told(arn).await;
            self.report(arn, ObservedStatus::Running).await;
        }
    }

    /// Loses its connection; returns what it had.
    pub fn lose(self) -> BTreeMap<String, ObservedTask> {
        self.has
    }
}

pub fn observed(arn: &str, status: ObservedStatus) -> ObservedTask {
    let container_status = match status {
        ObservedStatus::Pending => "PENDING",
        ObservedStatus::Running => "RUNNING",
        ObservedStatus::Stopped => "STOPPED",
    };
    ObservedTask {
        task_arn: arn.to_owned(),
        last_status: status,
        stopped: None,
        pull_started_at_ms: Some(1),
        pull_stopped_at_ms: Some(2),
        started_at_ms: None,
        stopping_at_ms: None,
        execution_stopped_at_ms: None,
        stopped_at_ms: None,
        health: "UNKNOWN".into(),
        containers: vec![ObservedContainer {
            name: "app".into(),
            last_status: container_status.into(),
            runtime_id: Some("abc".into()),
            image_digest: Some("sha256:0".into()),
            exit_code: (status == ObservedStatus::Stopped).then_some(0),
            health: "UNKNOWN".into(),
            ..Default::default()
        }],
        volume: None,
    }
}

pub fn exited() -> Option<StopReason> {
    Some(StopReason { code: "EssentialContainerExited".into(), reason: "Essential container in task exited".into() })
}

/// Lets background work go on until a condition holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..10_000 {
        if condition().await {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}
