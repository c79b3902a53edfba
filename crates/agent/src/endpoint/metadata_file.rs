//! The container metadata file: what a container is, in a file that it finds by `ECS_CONTAINER_METADATA_FILE`, on machines
//! whose operator says so. It is there, but not whole, before the container starts, and READY soon after.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use gantry_runtime::container::{Mount, MountSource};
use serde_json::{Value, json};

use super::{metadata, route::Version};
use crate::{
    engine::state::TaskState,
    host::Host,
    overlay,
    record::blocking,
    task::{LaunchType, TaskSpec},
};

/// As the container agent calls it.
const FILE: &str = "ecs-container-metadata.json";

/// Where container `id` finds its file.
pub(crate) fn path(id: &str) -> String {
    format!("{}/{FILE}", target(id))
}

fn target(id: &str) -> String {
    format!("/opt/ecs/metadata/{id}")
}

/// Goes with the container's generated files.
fn directory(host: &Host, id: &str) -> PathBuf {
    host.dirs.etc(id).join("metadata")
}

/// Makes the file of a container that is about to be made, if it is to have one: read-only, as it is written as root.
pub(crate) async fn begin(host: &Host, task: &TaskSpec, index: usize, id: &str) -> io::Result<Option<Mount>> {
    if !host.config.container_metadata || task.launch_type == LaunchType::Fargate {
        return Ok(None);
    }
    let directory = directory(host, id);
    let made = directory.clone();
    blocking(move || {
        fs::create_dir_all(&made)?;
        allow(&made, 0o755)
    })
    .await?;
    write(directory.clone(), document(&Instance::of(host), task, index, None)).await?;
    Ok(Some(Mount { source: MountSource::Bind(directory), target: target(id), readonly: true }))
}

/// Whether container `index` was made with such a file.
pub(crate) fn is_there(state: &TaskState, index: usize) -> bool {
    let known = &state.containers[index];
    let target = target(&known.id);
    known.spec.as_ref().is_some_and(|spec| spec.mounts.iter().any(|mount| mount.target == target))
}

/// The container runs: now everything is known.
pub(crate) async fn complete(host: &Host, task: &TaskSpec, state: &TaskState, index: usize) -> io::Result<()> {
    let directory = directory(host, &state.containers[index].id);
    write(directory, document(&Instance::of(host), task, index, Some(state))).await
}

/// What is said of the host.
struct Instance {
    arn: Option<String>,
    zone: String,
    address: Option<String>,
}

impl Instance {
    fn of(host: &Host) -> Self {
        let address = overlay::local_address(host.config.advertise_address, None);
        Self {
            arn: host.container_instance.lock().clone(),
            zone: host.zone(),
            address: address.map(|address| address.to_string()),
        }
    }
}

/// What the file says of container `index`; `running` is the task once the container runs.
fn document(instance: &Instance, task: &TaskSpec, index: usize, running: Option<&TaskState>) -> Value {
    let name = &task.containers[index].name;
    let mut document = json!({
        "Cluster": task.cluster_name(),
        "TaskARN": task.arn,
        "TaskDefinitionFamily": task.family,
        "TaskDefinitionRevision": task.revision.to_string(),
        "ContainerName": name,
        "AvailabilityZone": instance.zone,
    });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            document[name] = value;
        }
    };
    add("ContainerInstanceARN", instance.arn.as_deref().map(Value::from));
    add("HostPrivateIPv4Address", instance.address.as_deref().map(Value::from));
    let Some(state) = running else { return document };
    let shown = json!(metadata::container(Version::V4, task, state, index));
    for (ours, theirs) in [
        ("DockerId", "ContainerID"),
        ("DockerName", "DockerContainerName"),
        ("ImageID", "ImageID"),
        ("Image", "ImageName"),
    ] {
        add(theirs, shown.get(ours).cloned());
    }
    let port = |port: &Value| {
        json!({
            "ContainerPort": port["ContainerPort"],
            "HostPort": port["HostPort"],
            "BindIp": port["HostIp"],
            "Protocol": port["Protocol"],
        })
    };
    let ports = shown.get("Ports").and_then(Value::as_array);
    add("PortMappings", ports.map(|ports| ports.iter().map(port).collect()));
    let plain = json!(metadata::container(Version::V3, task, state, index));
    add("Networks", plain.get("Networks").cloned());
    add("MetadataFileStatus", Some("READY".into()));
    document
}

/// Replaces the file, which every user of the container may read. A directory that went with its container stays away.
async fn write(directory: PathBuf, document: Value) -> io::Result<()> {
    blocking(move || {
        let aside = directory.join(format!(".{}", uuid::Uuid::new_v4().simple()));
        let written = fs::write(&aside, document.to_string())
            .and_then(|()| allow(&aside, 0o644))
            .and_then(|()| fs::rename(&aside, directory.join(FILE)));
        written.inspect_err(|_| {
            // It may not be there at all, or not go on the disk that refuses: it goes with the directory.
            let _ = fs::remove_file(&aside);
        })
    })
    .await
}

fn allow(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
