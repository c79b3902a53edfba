//! What a task and its containers are and how they are, as their own programs read it. Pure.

use std::{collections::BTreeMap, net::Ipv4Addr};

use gantry_domain::task::HealthStatus;
use serde::Serialize;

use super::route::Version;
use crate::{
    clock::rfc3339,
    container_spec::labels,
    engine::state::{Binding, ContainerState, Phase, TaskState},
    task::{ContainerDefinition, Eni, LaunchType, TaskNetwork, TaskSpec, VolumeSource},
};

/// The service gives no container fewer CPU units.
const CPU_UNITS_MIN: u64 = 2;

/// A container. The order of members is the service's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    docker_id: String,
    name: String,
    docker_name: String,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Port>,
    labels: BTreeMap<String, String>,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    limits: ContainerLimits,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<Volume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_options: Option<BTreeMap<String, String>>,
    #[serde(rename = "ContainerARN", skip_serializing_if = "Option::is_none")]
    container_arn: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshotter: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    container_port: u16,
    protocol: &'static str,
    host_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_ip: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ContainerLimits {
    #[serde(rename = "CPU")]
    cpu: u64,
    #[serde(rename = "Memory")]
    memory: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_since: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    output: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    destination: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    network_mode: &'static str,
    #[serde(rename = "IPv4Addresses", skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
    #[serde(flatten)]
    interface: Option<Interface>,
}

/// Of an awsvpc task, in version 4.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Interface {
    attachment_index: u32,
    #[serde(rename = "MACAddress")]
    mac: String,
    #[serde(rename = "IPv4SubnetCIDRBlock")]
    subnet: String,
    #[serde(rename = "PrivateDNSName")]
    private_dns_name: String,
    #[serde(rename = "SubnetGatewayIpv4Address")]
    gateway: String,
}

/// A task. The order of members is the service's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Task {
    cluster: String,
    #[serde(rename = "TaskARN")]
    task_arn: String,
    family: String,
    revision: String,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<TaskLimits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_instance_tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<TagError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Container>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault_injection_enabled: Option<bool>,
}

#[derive(Debug, Serialize)]
struct TaskLimits {
    /// Of vCPUs.
    #[serde(rename = "CPU", skip_serializing_if = "Option::is_none")]
    cpu: Option<f64>,
    /// MiB.
    #[serde(rename = "Memory", skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
}

/// Tags that could not be had.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagError {
    pub(super) error_field: &'static str,
    pub(super) error_code: String,
    pub(super) error_message: String,
    #[serde(rename = "ResourceARN")]
    pub(super) resource_arn: String,
}

/// The task, on a host in this zone.
pub(super) fn task(version: Version, task: &TaskSpec, state: &TaskState, zone: &str) -> Task {
    let v4 = version == Version::V4;
    let sized = task.cpu_units.is_some() || task.memory_mib.is_some();
    let pulled = |index: &usize| state.containers[*index].image_digest.is_some();
    Task {
        cluster: task.cluster.clone(),
        task_arn: task.arn.clone(),
        family: task.family.clone(),
        revision: task.revision.to_string(),
        desired_status: desired(state),
        known_status: match state.reported_phase() {
            Phase::Pending => "PENDING",
            Phase::Running => "RUNNING",
            Phase::Stopped => "STOPPED",
        },
        limits: sized
            .then(|| TaskLimits { cpu: task.cpu_units.map(|units| units as f64 / 1024.0), memory: task.memory_mib }),
        pull_started_at: state.pull_started_ms.map(rfc3339),
        pull_stopped_at: state.pull_stopped_ms.map(rfc3339),
        execution_stopped_at: state.execution_stopped_ms.map(rfc3339),
        availability_zone: (!zone.is_empty()).then(|| zone.to_owned()),
        task_tags: None,
        container_instance_tags: None,
        launch_type: v4.then_some(match task.launch_type {
            LaunchType::Ec2 => "EC2",
            LaunchType::Fargate => "FARGATE",
            LaunchType::External => "EXTERNAL",
        }),
        errors: Vec::new(),
        service_name: task.about.group.strip_prefix("service:").filter(|_| v4).map(str::to_owned),
        containers: (0..task.containers.len())
            .filter(pulled)
            .map(|index| container(version, task, state, index))
            .collect(),
        fault_injection_enabled: v4.then_some(task.about.fault_injection),
    }
}

/// Container `index` of the task.
pub(super) fn container(version: Version, task: &TaskSpec, state: &TaskState, index: usize) -> Container {
    let (definition, known) = (&task.containers[index], &state.containers[index]);
    let v4 = version == Version::V4;
    let created = known.spec.is_some() || known.first_started_ms.is_some();
    Container {
        docker_id: if created { known.id.clone() } else { String::new() },
        name: definition.name.clone(),
        docker_name: definition.name.clone(),
        image: definition.image.clone(),
        image_id: known.image_digest.clone().unwrap_or_default(),
        ports: known.bindings.iter().flat_map(|binding| ports(binding, v4)).collect(),
        labels: labels(task, definition),
        desired_status: desired(state),
        known_status: match known.phase {
            Phase::Pending if known.spec.is_some() => "CREATED",
            Phase::Pending if known.image_digest.is_some() => "PULLED",
            Phase::Pending => "NONE",
            Phase::Running => "RUNNING",
            Phase::Stopped => "STOPPED",
        },
        exit_code: known.exit_code,
        limits: ContainerLimits {
            cpu: definition.cpu_units.max(CPU_UNITS_MIN),
            memory: definition.memory_mib.unwrap_or_default(),
        },
        created_at: known.created_ms.map(rfc3339),
        started_at: known.started_ms.map(rfc3339),
        finished_at: known.finished_ms.map(rfc3339),
        r#type: "NORMAL",
        health: definition.health_check.as_ref().map(|_| health(known)),
        volumes: volumes(task, definition),
        log_driver: (v4 && !definition.log.driver.is_empty()).then(|| definition.log.driver.clone()),
        log_options: (v4 && !definition.log.options.is_empty()).then(|| log_options(task, definition)),
        container_arn: task.about.container_arns.get(&definition.name).filter(|_| v4).cloned(),
        networks: network(version, task, known).into_iter().collect(),
        snapshotter: (v4 && task.launch_type == LaunchType::Fargate).then_some("overlayfs"),
        restart_count: restart_count(task, state, index).filter(|_| v4),
    }
}

/// How often container `index` was restarted, if its definition lets it be.
pub(super) fn restart_count(task: &TaskSpec, state: &TaskState, index: usize) -> Option<u32> {
    task.containers[index].restart_policy.as_ref().map(|_| state.containers[index].restart_count)
}

fn desired(state: &TaskState) -> &'static str {
    if state.stop.is_some() { "STOPPED" } else { "RUNNING" }
}

fn ports(binding: &Binding, with_address: bool) -> impl Iterator<Item = Port> {
    let containers = binding.container_ports.0..=binding.container_ports.1;
    let hosts = binding.host_ports.0..=binding.host_ports.1;
    let protocol = if binding.udp { "udp" } else { "tcp" };
    containers.zip(hosts).map(move |(container_port, host_port)| Port {
        container_port,
        protocol,
        host_port,
        host_ip: with_address.then_some("0.0.0.0"),
    })
}

fn health(known: &ContainerState) -> Health {
    let decided = known.health.status != HealthStatus::Unknown;
    Health {
        status: decided.then(|| known.health.status.as_str()),
        status_since: decided.then(|| rfc3339(known.health.since_ms)),
        output: known.health.output.clone(),
    }
}

fn volumes(task: &TaskSpec, definition: &ContainerDefinition) -> Vec<Volume> {
    let volume = |mount: &crate::task::MountPoint| {
        let source = task.volumes.iter().find(|volume| volume.name == mount.volume).map(|volume| &volume.source);
        let path = match source {
            Some(VolumeSource::Host(path)) => Some(path.clone()),
            _ => None,
        };
        Volume {
            docker_name: path.is_none().then(|| mount.volume.clone()),
            source: path,
            destination: mount.container_path.clone(),
        }
    };
    definition.mounts.iter().map(volume).collect()
}

/// With the name of the stream that its output goes to.
fn log_options(task: &TaskSpec, definition: &ContainerDefinition) -> BTreeMap<String, String> {
    let mut options = definition.log.options.clone();
    if definition.log.driver == "awslogs"
        && let Some(prefix) = options.remove("awslogs-stream-prefix")
    {
        options.insert("awslogs-stream".to_owned(), format!("{prefix}/{}/{}", definition.name, task.id()));
    }
    options
}

fn network(version: Version, task: &TaskSpec, known: &ContainerState) -> Option<Network> {
    let addresses = known.address.iter().map(ToString::to_string).collect();
    let (network_mode, interface) = match &task.network {
        TaskNetwork::Bridge => ("bridge", None),
        TaskNetwork::Host => ("host", None),
        TaskNetwork::None => ("none", None),
        TaskNetwork::Awsvpc(eni) => ("awsvpc", (version == Version::V4).then(|| interface(eni))),
    };
    (known.phase != Phase::Pending || known.address.is_some()).then_some(Network { network_mode, addresses, interface })
}

fn interface(eni: &Eni) -> Interface {
    let mask = u32::MAX.checked_shl(32 - u32::from(eni.prefix_length.min(32))).unwrap_or(0);
    let network = Ipv4Addr::from(u32::from(eni.address) & mask);
    Interface {
        attachment_index: 0,
        mac: eni.mac.clone(),
        subnet: format!("{network}/{}", eni.prefix_length),
        private_dns_name: eni.private_dns_name.clone(),
        gateway: format!("{}/{}", eni.gateway, eni.prefix_length),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::{
        engine_tests::{container as definition, task as spec},
        task::{HealthCheck, LogConfiguration},
    };

    fn awsvpc() -> (TaskSpec, TaskState) {
        let mut app = definition("app");
        app.log = LogConfiguration {
            driver: "awslogs".into(),
            options: [("awslogs-group".into(), "/app".into()), ("awslogs-stream-prefix".into(), "p".into())].into(),
            secret_options: vec!["tag".into()],
        };
        app.health_check = Some(HealthCheck {
            args: vec!["true".into()],
            interval_seconds: 1,
            timeout_seconds: 1,
            retries: 1,
            start_period_seconds: 0,
        });
        let mut task = spec(vec![app, definition("later")]);
        task.network = TaskNetwork::Awsvpc(Eni {
            attachment_id: "eni-1".into(),
            subnet_id: "subnet-1".into(),
            address: Ipv4Addr::new(10, 0, 1, 7),
            prefix_length: 24,
            gateway: Ipv4Addr::new(10, 0, 1, 1),
            mac: "02:00:00:00:00:01".into(),
            private_dns_name: "ip-10-0-1-7.ec2.internal".into(),
            proxy: None,
        });
        task.cpu_units = Some(512);
        task.memory_mib = Some(1024);
        task.about.group = "service:web".into();
        task.about.container_arns.insert("app".into(), "arn:aws:ecs:us-east-1:000000000000:container/d/1/2".into());
        let mut state = TaskState::new(&task, "boot", 0);
        let app = &mut state.containers[0];
        app.phase = Phase::Running;
        app.image_digest = Some("sha256:1".into());
        app.address = Some(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 1, 7)));
        app.created_ms = Some(1_700_000_000_123);
        app.first_started_ms = Some(1_700_000_000_200);
        app.started_ms = Some(1_700_000_000_200);
        (task, state)
    }

    #[test]
    fn a_container_reads_what_it_is() {
        let (task, state) = awsvpc();
        let shown = serde_json::to_value(container(Version::V4, &task, &state, 0)).unwrap();
        assert_eq!(shown["DockerId"], state.containers[0].id.as_str());
        assert_eq!((&shown["Name"], &shown["KnownStatus"]), (&json!("app"), &json!("RUNNING")));
        assert_eq!(shown["Limits"], json!({"CPU": 2, "Memory": 0}));
        assert_eq!(shown["CreatedAt"], "2023-11-14T22:13:20.123Z");
        assert_eq!(shown["Health"], json!({}));
        assert_eq!(
            shown["LogOptions"],
            json!({"awslogs-group": "/app", "awslogs-stream": format!("p/app/{}", task.id())})
        );
        assert_eq!(
            shown["Networks"],
            json!([{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.7"], "AttachmentIndex": 0,
                "MACAddress": "02:00:00:00:00:01", "IPv4SubnetCIDRBlock": "10.0.1.0/24",
                "PrivateDNSName": "ip-10-0-1-7.ec2.internal", "SubnetGatewayIpv4Address": "10.0.1.1/24"}])
        );
        assert_eq!(shown["ContainerARN"], "arn:aws:ecs:us-east-1:000000000000:container/d/1/2");
        assert_eq!(shown["Labels"]["com.amazonaws.ecs.container-name"], "app");
        let older = serde_json::to_value(container(Version::V3, &task, &state, 0)).unwrap();
        assert_eq!(older["Networks"], json!([{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.7"]}]));
        assert!(older.get("LogDriver").is_none() && older.get("ContainerARN").is_none());
    }

    #[test]
    fn a_task_shows_the_containers_that_are_pulled() {
        let (spec, mut state) = awsvpc();
        let shown = serde_json::to_value(task(Version::V4, &spec, &state, "us-east-1a")).unwrap();
        assert_eq!(shown["Containers"].as_array().unwrap().len(), 1);
        assert_eq!(shown["Limits"], json!({"CPU": 0.5, "Memory": 1024}));
        assert_eq!((&shown["Revision"], &shown["ServiceName"]), (&json!("1"), &json!("web")));
        assert_eq!((&shown["AvailabilityZone"], &shown["LaunchType"]), (&json!("us-east-1a"), &json!("EC2")));
        assert_eq!(shown["FaultInjectionEnabled"], false);
        state.containers[1].image_digest = Some("sha256:2".into());
        let older = serde_json::to_value(task(Version::V3, &spec, &state, "")).unwrap();
        assert_eq!(older["Containers"][1]["KnownStatus"], "PULLED");
        assert_eq!(older["Containers"][1]["DockerId"], "");
        assert!(older.get("LaunchType").is_none() && older.get("AvailabilityZone").is_none());
    }
}
