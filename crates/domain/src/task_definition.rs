//! What decisions read of a task definition. The registered document itself is kept in its wire form, untouched, by the
//! control plane; this is the extract that placement, task and service decisions work on.

mod local_volume;
mod proxy;
mod size;

pub use local_volume::{LocalMount, LocalVolumeError, local_mount};
pub use proxy::{Proxy, ProxyError, proxy};
pub use size::{SizeError, cpu_units, memory_mib};

/// The extract of one registered task definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskRequirements {
    /// `bridge` when the document says nothing.
    pub network_mode: NetworkMode,
    /// Task-level CPU in units (1024 = one vCPU).
    pub cpu_units: Option<u32>,
    /// Task-level memory in MiB.
    pub memory_mib: Option<u32>,
    /// In the document's order.
    pub containers: Vec<ContainerRequirements>,
    /// What an instance must have, sorted by name.
    pub attributes: Vec<RequiredAttribute>,
    /// The `memberOf` expressions.
    pub placement_expressions: Vec<String>,
    /// The launch types the document can run on.
    pub compatibilities: Vec<Compatibility>,
    /// Only what runs on the fleet reads it; None is the fleet's default.
    pub ephemeral_storage_gib: Option<u32>,
}

/// What decisions read of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerRequirements {
    /// Unique in the task.
    pub name: String,
    /// When it stops, the task stops.
    pub essential: bool,
    /// CPU in units; 0 when the document says nothing.
    pub cpu_units: u32,
    /// Hard limit in MiB.
    pub memory_mib: Option<u32>,
    /// Soft limit in MiB: what placement subtracts when present.
    pub memory_reservation_mib: Option<u32>,
    /// GPUs of its own.
    pub gpus: u32,
    /// Mappings in the document's order.
    pub ports: Vec<PortMapping>,
    /// Whether it reports a health of its own.
    pub has_health_check: bool,
    /// What it waits for before it starts.
    pub depends_on: Vec<Dependency>,
    /// Seconds a dependant waits for it.
    pub start_timeout_seconds: Option<u32>,
    /// Seconds between SIGTERM and SIGKILL; None is the host's default.
    pub stop_timeout_seconds: Option<u32>,
}

/// One port (ranges are not extracted: they only ever get dynamic host ports).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// Port inside the container.
    pub container_port: u16,
    /// Port asked for on the instance; None is a dynamic one.
    pub host_port: Option<u16>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What Service Connect calls it.
    pub name: Option<String>,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// How a task's containers reach the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// A namespace per container behind the instance's bridge; ports are published.
    #[default]
    Bridge,
    /// The instance's own namespace.
    Host,
    /// A namespace and an address per task.
    Awsvpc,
    /// No network but loopback.
    None,
}

/// A launch type a document is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are ECS's")]
pub enum Compatibility {
    External,
    Ec2,
    Fargate,
    ManagedInstances,
}

/// A container to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The other container's name.
    pub container: String,
    /// What it must have reached.
    pub condition: DependencyCondition,
}

/// When a dependency is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyCondition {
    /// It was started.
    Start,
    /// It ended, however it did.
    Complete,
    /// It ended with exit code 0.
    Success,
    /// Its health check says HEALTHY.
    Healthy,
}

/// An attribute an instance must have for the task to be placed there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequiredAttribute {
    /// For instance `ecs.capability.task-eni`.
    pub name: String,
    /// Must be equal when given.
    pub value: Option<String>,
}

/// What a task takes from an instance for as long as it is not STOPPED.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskResources {
    /// CPU units.
    pub cpu_units: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// TCP ports asked for by number; dynamic ones are not counted.
    pub tcp_ports: Vec<u16>,
    /// UDP ports asked for by number.
    pub udp_ports: Vec<u16>,
    /// GPUs; each is one task's alone.
    pub gpus: u32,
    /// GiB of the disk, for the volume that is configured at launch: no task definition says how large it is.
    pub volume_gib: u32,
}

impl TaskRequirements {
    /// What a task takes from its instance: task-level CPU and memory where given, else the sum of its containers'.
    pub fn resources(&self) -> TaskResources {
        let sum =
            |of: fn(&ContainerRequirements) -> u32| self.containers.iter().map(of).fold(0_u32, u32::saturating_add);
        TaskResources {
            cpu_units: self.cpu_units.unwrap_or_else(|| sum(|container| container.cpu_units)),
            memory_mib: self.memory_mib.unwrap_or_else(|| sum(ContainerRequirements::reserved_memory_mib)),
            tcp_ports: self.host_ports(Protocol::Tcp),
            udp_ports: self.host_ports(Protocol::Udp),
            gpus: sum(|container| container.gpus),
            volume_gib: 0,
        }
    }

    /// The container of this name.
    pub fn container(&self, name: &str) -> Option<&ContainerRequirements> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// Whether the document may run as this launch type.
    pub fn runs_on(&self, compatibility: Compatibility) -> bool {
        self.compatibilities.contains(&compatibility)
    }

    /// Ports of the instance, sorted. Under awsvpc the task has its own address, so it takes none.
    fn host_ports(&self, protocol: Protocol) -> Vec<u16> {
        if self.network_mode == NetworkMode::Awsvpc {
            return Vec::new();
        }
        let ports = self.containers.iter().flat_map(|container| &container.ports);
        let mut numbers: Vec<u16> =
            ports.filter(|port| port.protocol == protocol).filter_map(|port| port.host_port).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

impl ContainerRequirements {
    /// Memory that placement subtracts for the container, in MiB: the soft limit where there is one.
    pub fn reserved_memory_mib(&self) -> u32 {
        self.memory_reservation_mib.filter(|&soft| soft > 0).or(self.memory_mib).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(cpu: u32, hard: Option<u32>, soft: Option<u32>) -> ContainerRequirements {
        ContainerRequirements {
            cpu_units: cpu,
            memory_mib: hard,
            memory_reservation_mib: soft,
            ..ContainerRequirements::default()
        }
    }

    fn port(host_port: Option<u16>, protocol: Protocol) -> PortMapping {
        PortMapping { container_port: 80, host_port, protocol, name: None }
    }

    #[test]
    fn a_task_takes_what_its_containers_take_unless_it_has_a_size_itself() {
        let containers =
            vec![container(10, Some(128), Some(64)), container(20, Some(32), None), container(0, Some(8), Some(0))];
        let mut task = TaskRequirements { containers, ..TaskRequirements::default() };
        assert_eq!((task.resources().cpu_units, task.resources().memory_mib), (30, 104));
        task.cpu_units = Some(256);
        task.memory_mib = Some(512);
        assert_eq!((task.resources().cpu_units, task.resources().memory_mib), (256, 512));
    }

    #[test]
    fn gpus_are_the_sum_of_the_containers() {
        let gpus = |count| ContainerRequirements { gpus: count, ..ContainerRequirements::default() };
        let task = TaskRequirements { containers: vec![gpus(2), gpus(0), gpus(1)], ..TaskRequirements::default() };
        assert_eq!(task.resources().gpus, 3);
    }

    #[test]
    fn only_host_ports_asked_for_by_number_are_taken() {
        let mut one = container(0, Some(4), None);
        one.ports = vec![
            port(Some(8080), Protocol::Tcp),
            port(None, Protocol::Tcp),
            port(Some(53), Protocol::Udp),
            port(Some(80), Protocol::Tcp),
        ];
        let mut task = TaskRequirements { containers: vec![one], ..TaskRequirements::default() };
        assert_eq!((task.resources().tcp_ports, task.resources().udp_ports), (vec![80, 8080], vec![53]));
        task.network_mode = NetworkMode::Awsvpc;
        assert_eq!((task.resources().tcp_ports, task.resources().udp_ports), (vec![], vec![]));
    }
}
