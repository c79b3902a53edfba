//! Registration of this machine as a container instance, through the real API.
//!
//! The instance's ARN is kept in `DATA/agent/instance.json`; an agent that starts again registers as the same
//! instance. A lost data directory makes a new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gantry_api::ecs::{
    Attribute, PlatformDevice, PlatformDeviceType, RegisterContainerInstanceRequest, Resource, Tag, VersionInfo,
};
use gantry_domain::capabilities;
use gantry_runtime::volume;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{
    aws::{AwsClient, AwsError},
    config::Config,
    gpus,
    host::Dirs,
    record::{Durability, replace},
};

/// What the machine has.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) cpu_units: i32,
    pub(crate) memory_mib: u64,
    /// `x86_64` or `arm64`.
    pub(crate) architecture: &'static str,
}

impl Machine {
    pub(crate) fn read() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib: u64 = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default();
        Ok(Self {
            cpu_units: i32::try_from(cores.saturating_mul(1024)).unwrap_or(i32::MAX),
            memory_mib: kib / 1024,
            architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" },
        })
    }
}

/// The instance as it was registered before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    cluster: String,
    container_instance_arn: String,
}

/// Registers, or registers again, and remembers the ARN.
pub(crate) async fn register(
    client: &AwsClient,
    config: &Config,
    dirs: &Dirs,
    machine: &Machine,
    gpus: &[String],
) -> Result<String, AwsError> {
    let before = registered(dirs, &config.cluster);
    let request = |before| self::request(config, machine, gpus, before);
    let first = request(before.clone());
    let answer = match client.register_container_instance(&first).await {
        // The control plane does not know the instance any more, or not in this cluster: be a new one.
        Err(error) if before.is_some() && !error.is_transient() => {
            warn!(%error, "container instance is not known any more; registering a new one");
            client.register_container_instance(&request(None)).await?
        }
        // Like the real agent: the default cluster is made by whoever first wants to be in it.
        Err(error) if config.cluster == "default" && error.code() == Some("ClusterNotFoundException") => {
            client.create_cluster(&config.cluster).await?;
            client.register_container_instance(&first).await?
        }
        other => other?,
    };
    let arn = answer
        .container_instance
        .and_then(|instance| instance.container_instance_arn)
        .ok_or(AwsError::Malformed { operation: "RegisterContainerInstance" })?;
    if before.as_ref() != Some(&arn) {
        remember(&path(dirs), &Registered { cluster: config.cluster.clone(), container_instance_arn: arn.clone() });
    }
    info!(container_instance = arn, "registered");
    Ok(arn)
}

/// Forgets the ARN, so that the next registration makes a new instance.
pub(crate) fn forget(dirs: &Dirs) {
    drop(fs::remove_file(path(dirs)));
}

fn path(dirs: &Dirs) -> PathBuf {
    dirs.root.join("instance.json")
}

/// The ARN that an earlier agent of this machine registered.
pub(crate) fn registered(dirs: &Dirs, cluster: &str) -> Option<String> {
    let registered: Registered = serde_json::from_slice(&fs::read(path(dirs)).ok()?).ok()?;
    (registered.cluster == cluster).then_some(registered.container_instance_arn)
}

fn remember(path: &Path, registered: &Registered) {
    let written = serde_json::to_vec(registered)
        .map_err(io::Error::from)
        .and_then(|bytes| replace(path, &bytes, Durability::Power));
    if let Err(error) = written {
        warn!(%error, "registration was not saved; the next start makes a new container instance");
    }
}

fn request(
    config: &Config,
    machine: &Machine,
    gpus: &[String],
    before: Option<String>,
) -> RegisterContainerInstanceRequest {
    RegisterContainerInstanceRequest {
        cluster: Some(config.cluster.clone()),
        container_instance_arn: before,
        instance_identity_document: Some(identity_document(config)),
        instance_identity_document_signature: Some(String::new()),
        total_resources: Some(resources(config, machine, gpus)),
        platform_devices: (!gpus.is_empty()).then(|| gpus.iter().map(|id| device(id)).collect()),
        attributes: Some(attributes(config, machine)),
        tags: tags(config),
        version_info: Some(VersionInfo {
            agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            agent_hash: None,
            docker_version: Some(concat!("Gantry: ", env!("CARGO_PKG_VERSION")).to_owned()),
        }),
    }
}

fn resources(config: &Config, machine: &Machine, gpus: &[String]) -> Vec<Resource> {
    let memory_mib = machine.memory_mib.saturating_sub(config.reserved_memory_mib);
    let mut resources = vec![
        integer("CPU", machine.cpu_units),
        integer("MEMORY", i32::try_from(memory_mib).unwrap_or(i32::MAX)),
        ports("PORTS", &config.reserved_ports),
        ports("PORTS_UDP", &config.reserved_ports_udp),
    ];
    if !gpus.is_empty() {
        resources.push(set("GPU", gpus.to_vec()));
    }
    resources
}

fn device(id: &str) -> PlatformDevice {
    PlatformDevice { id: Some(id.to_owned()), r#type: Some(PlatformDeviceType::Gpu) }
}

/// The part of EC2's document that a control plane can use of any machine. It is not signed by anybody.
fn identity_document(config: &Config) -> String {
    if config.instance_id.is_empty() {
        return String::new();
    }
    serde_json::json!({
        "instanceId": config.instance_id,
        "region": config.region,
        "accountId": config.account,
        "availabilityZone": format!("{}a", config.region),
    })
    .to_string()
}

fn attributes(config: &Config, machine: &Machine) -> Vec<Attribute> {
    let named = [("ecs.os-type", "linux"), ("ecs.os-family", "LINUX"), ("ecs.cpu-architecture", machine.architecture)];
    let attribute = |name: &str, value: Option<&str>| Attribute {
        name: Some(name.to_owned()),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let own =
        config.attributes.iter().map(|(name, value)| attribute(name, (!value.is_empty()).then_some(value.as_str())));
    let named = named.iter().map(|(name, value)| attribute(name, Some(value)));
    let able = capabilities::OF_EVERY_HOST.iter().filter(|name| is_allowed(config, name));
    let driver = gpus::nvidia_driver_version().filter(|_| config.gpu_support);
    let driver = driver.map(|version| attribute(&capabilities::nvidia_driver(&version), None));
    able.map(|name| attribute(name, None)).chain(driver).chain(named).chain(own).collect()
}

/// Whether the configuration and the machine let tasks have what an attribute stands for.
fn is_allowed(config: &Config, attribute: &str) -> bool {
    if attribute == capabilities::PRIVILEGED {
        return !config.disable_privileged;
    }
    if attribute == capabilities::EBS_VOLUMES {
        return volume::is_possible();
    }
    let driver = attribute.strip_prefix(capabilities::LOG_DRIVER_PREFIX);
    match (driver, &config.logging_drivers) {
        (Some(driver), Some(allowed)) => allowed.iter().any(|allowed| allowed == driver),
        _ => true,
    }
}

fn tags(config: &Config) -> Option<Vec<Tag>> {
    let tag = |(key, value): (&String, &String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    Some(config.instance_tags.iter().map(tag).collect::<Vec<_>>()).filter(|tags| !tags.is_empty())
}

fn integer(name: &str, value: i32) -> Resource {
    Resource {
        name: Some(name.to_owned()),
        r#type: Some("INTEGER".to_owned()),
        integer_value: Some(value),
        ..Default::default()
    }
}

fn ports(name: &str, ports: &[u16]) -> Resource {
    set(name, ports.iter().map(u16::to_string).collect())
}

fn set(name: &str, values: Vec<String>) -> Resource {
    Resource {
        name: Some(name.to_owned()),
        r#type: Some("STRINGSET".to_owned()),
        string_set_value: Some(values),
        ..Default::default()
    }
}
