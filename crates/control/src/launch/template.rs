//! What all tasks of a launch have in common, and the record of one of them.

use std::collections::BTreeMap;

use gantry_api::ecs;
use gantry_domain::{
    Timestamp,
    arn::TaskDefinitionKey,
    task::{ContainerStatus, HealthStatus, TaskLife, TaskPath},
    task_definition::{NetworkMode, TaskRequirements, TaskResources},
};

use super::VolumeTemplate;
use crate::{
    keys::{InstanceKey, ServiceKind},
    random::Random,
    records::{ContainerRecord, LaunchType, NetworkRecord, PlatformRecord, TaskRecord, WaitingRecord},
};

/// A task before it has a place.
#[derive(Debug, Clone)]
pub struct TaskTemplate {
    /// What decisions read of the task definition, overrides applied.
    pub requirements: TaskRequirements,
    /// `family:NAME`, `service:NAME`, or what the caller said.
    pub group: String,
    /// `ecs-svc/N` for tasks of services, else what the caller said.
    pub started_by: Option<String>,
    /// The service or the managed daemon it is for, by its name.
    pub keeper: Option<(ServiceKind, String)>,
    /// How it is launched.
    pub launch_type: LaunchType,
    /// The provider of each task in turn (the last one goes on); empty without a strategy.
    pub capacity_providers: Vec<String>,
    /// What a task that waits for an instance of its provider remembers of the request.
    pub waiting: WaitingRecord,
    /// Fargate's platform.
    pub platform: Option<PlatformRecord>,
    /// As given.
    pub overrides: Option<ecs::TaskOverride>,
    /// For network mode awsvpc.
    pub network: Option<NetworkRequest>,
    /// The volume of each.
    pub volume: Option<VolumeTemplate>,
    /// Key and value, `aws:ecs:` ones included.
    pub tags: Vec<(String, String)>,
    /// By container: the digests that the images' tags stand for, where all tasks of a revision run the same.
    pub image_digests: BTreeMap<String, String>,
    /// As asked.
    pub enable_execute_command: bool,
}

/// What an awsvpc task asks of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Not empty.
    pub subnets: Vec<String>,
    /// As asked.
    pub security_groups: Vec<String>,
    /// As asked.
    pub assign_public_ip: bool,
}

/// The zone of a task on `host`: that of the instance, or the region's first when it names none.
pub(super) fn zone_of(host: &InstanceKey, zone: Option<&str>) -> String {
    zone.map_or_else(|| format!("{}a", host.scope.region), str::to_owned)
}

impl TaskTemplate {
    /// Whose task definition it names.
    pub(crate) fn kind(&self) -> ServiceKind {
        self.keeper.as_ref().map(|(kind, _)| *kind).unwrap_or_default()
    }

    /// What each task takes from its instance.
    pub(super) fn resources(&self) -> TaskResources {
        let volume_gib = self.volume.as_ref().map_or(0, |volume| volume.size_gib);
        TaskResources { volume_gib, ..self.requirements.resources() }
    }

    fn kept_by(&self, kind: ServiceKind) -> Option<String> {
        self.keeper.as_ref().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone())
    }

    /// Whether each task gets an address of its own.
    pub(super) fn needs_address(&self) -> bool {
        self.requirements.network_mode == NetworkMode::Awsvpc
    }

    /// The record of the `index`th task, on `host`; without one it waits.
    pub(super) fn record(
        &self,
        index: usize,
        definition: &TaskDefinitionKey,
        host: Option<(&InstanceKey, Option<&str>)>,
        network: Option<NetworkRecord>,
        (random, now): (&Random, Timestamp),
    ) -> TaskRecord {
        let fleet = self.launch_type == LaunchType::Fargate;
        let attachments = fleet || network.is_some() || self.volume.is_some() || host.is_none();
        let path = TaskPath { attachments, registrations: false };
        TaskRecord {
            task_definition: definition.clone(),
            life: TaskLife::new(path, now),
            group: self.group.clone(),
            started_by: self.started_by.clone(),
            service: self.kept_by(ServiceKind::Service),
            daemon: self.kept_by(ServiceKind::Daemon),
            launch_type: self.launch_type,
            capacity_provider: self.capacity_providers.get(index).or(self.capacity_providers.last()).cloned(),
            platform: self.platform.clone(),
            host: host.map(|(host, _)| host.clone()),
            availability_zone: host.map(|(host, zone)| zone_of(host, zone)),
            waiting: host.is_none().then(|| Box::new(self.waiting.clone())),
            reserved: self.resources().into(),
            cpu_units: self.requirements.cpu_units,
            memory_mib: self.requirements.memory_mib,
            ephemeral_storage_gib: fleet.then(|| self.ephemeral_storage_gib()),
            overrides: self.overrides.clone().map(Box::new),
            network: network.map(Box::new),
            volume: self.volume.as_ref().map(|volume| Box::new(volume.record(host.is_some(), random))),
            containers: self.requirements.containers.iter().map(|one| self.pending(&one.name, random)).collect(),
            health: HealthStatus::Unknown,
            tags: self.tags.clone(),
            enable_execute_command: self.enable_execute_command,
            delivered: false,
            protected_until: None,
            counted_by_service: false,
        }
    }

    fn pending(&self, name: &str, random: &Random) -> ContainerRecord {
        let digest = self.image_digests.get(name).cloned();
        ContainerRecord {
            name: name.to_owned(),
            id: random.uuid(),
            last_status: ContainerStatus::Pending,
            health: HealthStatus::Unknown,
            exit_code: None,
            reason: None,
            runtime_id: None,
            pinned: digest.is_some(),
            image_digest: digest,
            gpus: Vec::new(),
            network_bindings: Vec::new(),
        }
    }

    fn ephemeral_storage_gib(&self) -> i32 {
        let asked = self.requirements.ephemeral_storage_gib.and_then(|gib| i32::try_from(gib).ok());
        asked.unwrap_or(gantry_domain::limits::EPHEMERAL_STORAGE_GIB_DEFAULT)
    }
}
