//! A task as clients see it.

use gantry_api::{Timestamp, ecs};
use gantry_domain::{
    arn::{Name, Scope},
    task::{ContainerStatus, HealthStatus},
};

use crate::{
    records::{
        AttachmentStatus, ContainerRecord, InstanceRecord, LaunchType, NetworkRecord, SharedRow, TaskRecord,
        VolumeRecord,
    },
    tasks::overrides,
    view::{EcsView, TaskRow},
};

/// A task with what its answer needs besides: taken under the picture's lock, written out after it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) task: std::sync::Arc<TaskRow>,
    pub(crate) host: Option<SharedRow<InstanceRecord>>,
}

impl Seen {
    pub(crate) fn new(view: &EcsView, task: &std::sync::Arc<TaskRow>) -> Self {
        let host = task.host.as_ref().and_then(|host| view.host(host)).and_then(|host| host.row.clone());
        Self { task: task.clone(), host }
    }

    /// The task on the wire; `tags` as `include: [TAGS]` asks.
    pub(crate) fn wire(&self, scope: &Scope, cluster: &Name, tags: bool) -> ecs::Task {
        let (record, arn) = (&self.task.record, scope.task_arn(cluster.as_str(), self.task.id));
        let life = &record.life;
        let stop = life.stop.as_ref();
        let host = record.host.as_ref().filter(|_| record.launch_type != LaunchType::Fargate);
        let storage = record.ephemeral_storage_gib;
        ecs::Task {
            attachments: Some(attachments(scope, record)),
            attributes: Some(self.attributes()),
            availability_zone: record.availability_zone.clone(),
            capacity_provider_name: record.capacity_provider.clone(),
            cluster_arn: Some(scope.cluster_arn(cluster.as_str())),
            connectivity: self.connectivity(),
            connectivity_at: self.host.as_ref().filter(|_| record.delivered).map(|host| time(host.connectivity_at)),
            container_instance_arn: host.map(crate::keys::InstanceKey::arn),
            containers: Some(self.containers(scope, cluster, &arn)),
            cpu: Some(record.reserved.cpu.to_string()),
            created_at: Some(time(life.times.created_at)),
            desired_status: Some(life.desired_status.as_str().to_owned()),
            enable_execute_command: Some(record.enable_execute_command),
            ephemeral_storage: storage.map(|size| ecs::EphemeralStorage { size_in_gi_b: Some(size) }),
            fargate_ephemeral_storage: storage
                .map(|size| ecs::TaskEphemeralStorage { size_in_gi_b: Some(size), ..Default::default() }),
            execution_stopped_at: life.times.execution_stopped_at.map(time),
            group: Some(record.group.clone()),
            health_status: Some(health(record.health)),
            last_status: Some(life.last_status.as_str().to_owned()),
            launch_type: Some(record.launch_type.to_wire()),
            memory: Some(record.reserved.memory.to_string()),
            overrides: Some(overrides::wire(record)),
            platform_family: record.platform.as_ref().map(|platform| platform.family.clone()),
            platform_version: record.platform.as_ref().map(|platform| platform.version.clone()),
            pull_started_at: life.times.pull_started_at.map(time),
            pull_stopped_at: life.times.pull_stopped_at.map(time),
            started_at: life.times.started_at.map(time),
            started_by: record.started_by.clone(),
            stop_code: stop.map(|stop| ecs::TaskStopCode::from(stop.code.as_str())),
            stopped_at: life.times.stopped_at.map(time),
            stopped_reason: stop.map(|stop| gantry_domain::reason::trimmed(&stop.reason.to_string()).into_owned()),
            stopping_at: life.times.stopping_at.map(time),
            tags: Some(if tags { wire_tags(record) } else { Vec::new() }),
            task_definition_arn: Some(record.definition_arn(scope)),
            version: Some(life.version),
            inference_accelerators: None,
            trusted_execution_summary: None,
            task_arn: Some(arn),
        }
    }

    fn attributes(&self) -> Vec<ecs::Attribute> {
        let architecture = self.host.as_ref().and_then(|host| host.attribute("ecs.cpu-architecture").flatten());
        let attribute = architecture.map(|value| ecs::Attribute {
            name: Some("ecs.cpu-architecture".to_owned()),
            value: Some(value.to_owned()),
            ..Default::default()
        });
        attribute.into_iter().collect()
    }

    /// Follows the host's agent, once it has the task.
    fn connectivity(&self) -> Option<ecs::Connectivity> {
        let host = self.host.as_ref().filter(|_| self.task.delivered)?;
        Some(if host.agent_connected { ecs::Connectivity::Connected } else { ecs::Connectivity::Disconnected })
    }

    fn containers(&self, scope: &Scope, cluster: &Name, task_arn: &str) -> Vec<ecs::Container> {
        let record = &self.task.record;
        let one = |container: &ContainerRecord| {
            let size = overrides::container_size(&self.task, &container.name);
            ecs::Container {
                container_arn: Some(scope.container_arn(cluster.as_str(), self.task.id, &container.id)),
                task_arn: Some(task_arn.to_owned()),
                name: Some(container.name.clone()),
                image: size.image.map(str::to_owned),
                image_digest: container.image_digest.clone(),
                runtime_id: container.runtime_id.clone(),
                last_status: Some(container.last_status.as_str().to_owned()),
                exit_code: container.exit_code,
                reason: container.reason.clone(),
                network_bindings: Some(container.network_bindings.clone()),
                network_interfaces: Some(record.network.iter().map(|network| interface(network)).collect()),
                health_status: Some(health(container.health)),
                gpu_ids: (!container.gpus.is_empty()).then(|| container.gpus.clone()),
                managed_agents: record.enable_execute_command.then(|| vec![managed_agent(record, container)]),
                cpu: Some(size.cpu.unwrap_or(0).to_string()),
                memory: size.memory.map(|mib| mib.to_string()),
                memory_reservation: size.memory_reservation.map(|mib| mib.to_string()),
                ..Default::default()
            }
        };
        record.containers.iter().map(one).collect()
    }
}

/// The container's part in ECS Exec. Nothing runs in the container for it: it can be used when the container runs.
fn managed_agent(record: &TaskRecord, container: &ContainerRecord) -> ecs::ManagedAgent {
    let status = container.last_status;
    let (started_at, reason) = match status {
        ContainerStatus::Running => (record.life.times.started_at.map(time), None),
        ContainerStatus::Stopped => (None, Some("Received Container Stopped event".to_owned())),
        _ => (None, None),
    };
    ecs::ManagedAgent {
        name: Some(ecs::ManagedAgentName::ExecuteCommandAgent),
        last_status: Some(status.as_str().to_owned()),
        last_started_at: started_at,
        reason,
    }
}

fn interface(network: &NetworkRecord) -> ecs::NetworkInterface {
    ecs::NetworkInterface {
        attachment_id: Some(network.attachment_id.clone()),
        private_ipv4_address: Some(network.interface.address.to_string()),
        ..Default::default()
    }
}

fn attachments(scope: &Scope, record: &TaskRecord) -> Vec<ecs::Attachment> {
    let network = record.network.iter().map(|network| network_attachment(scope, network));
    network.chain(record.volume.iter().map(|volume| volume_attachment(volume))).collect()
}

fn network_attachment(scope: &Scope, network: &NetworkRecord) -> ecs::Attachment {
    let interface = &network.interface;
    // Before the host has it, the real service tells the subnet and nothing else.
    let shown = if network.status == AttachmentStatus::Precreated { 1 } else { 5 };
    let details = [
        ("subnetId", interface.subnet.clone()),
        ("networkInterfaceId", interface.id.clone()),
        ("macAddress", interface.mac.clone()),
        ("privateDnsName", private_dns_name(scope, interface.address)),
        ("privateIPv4Address", interface.address.to_string()),
    ];
    ecs::Attachment {
        id: Some(network.attachment_id.clone()),
        r#type: Some("ElasticNetworkInterface".to_owned()),
        status: Some(network.status.as_str().to_owned()),
        details: Some(details.into_iter().take(shown).map(detail).collect()),
    }
}

fn volume_attachment(volume: &VolumeRecord) -> ecs::Attachment {
    let details = [
        ("roleArn", volume.role_arn.clone()),
        ("volumeName", volume.name.clone()),
        ("deleteOnTermination", volume.delete_on_termination.to_string()),
    ];
    // There is no volume before the host has made it.
    let exists =
        matches!(volume.status, AttachmentStatus::Attached | AttachmentStatus::Detached | AttachmentStatus::Deleted);
    let id = exists.then(|| ("volumeId", volume.id.clone()));
    let reason = volume.status_reason.clone().map(|why| ("statusReason", why));
    ecs::Attachment {
        id: Some(volume.attachment_id.clone()),
        r#type: Some("AmazonElasticBlockStorage".to_owned()),
        status: Some(volume.status.as_str().to_owned()),
        details: Some(details.into_iter().chain(id).chain(reason).map(detail).collect()),
    }
}

fn detail((name, value): (&str, String)) -> ecs::KeyValuePair {
    ecs::KeyValuePair { name: Some(name.to_owned()), value: Some(value) }
}

/// `ip-10-64-0-4.ec2.internal`, or with the region in its name everywhere but in us-east-1.
fn private_dns_name(scope: &Scope, address: std::net::Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    match scope.region.as_str() {
        "us-east-1" => format!("ip-{a}-{b}-{c}-{d}.ec2.internal"),
        region => format!("ip-{a}-{b}-{c}-{d}.{region}.compute.internal"),
    }
}

fn wire_tags(record: &TaskRecord) -> Vec<ecs::Tag> {
    let tag = |(key, value): &(String, String)| ecs::Tag { key: Some(key.clone()), value: Some(value.clone()) };
    record.tags.iter().map(tag).collect()
}

fn health(health: HealthStatus) -> ecs::HealthStatus {
    ecs::HealthStatus::from(health.as_str())
}

/// A moment on the wire.
pub(crate) fn time(at: gantry_domain::Timestamp) -> Timestamp {
    Timestamp::from_millis(u64::try_from(at.as_millis()).unwrap_or(0))
}
