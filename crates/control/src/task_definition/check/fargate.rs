//! What a document must be, and must do without, to run on Fargate. Asked of documents that require FARGATE, and of all
//! others to find out whether they are compatible with it.

use gantry_api::ecs::{LogDriver, NetworkMode, PidMode, UlimitName};
use gantry_domain::fargate::{is_size, is_windows_size};
use gantry_domain::limits::{FARGATE_NOFILE_MAX, FARGATE_TIMEOUT_SECONDS};

use super::logging::check_required;
use super::task_size;
use crate::task_definition::document::{Container, Document, is_ecr_image, list, text};
use crate::task_definition::invalid::Invalid;

pub(in crate::task_definition) fn check(document: Document<'_>) -> Result<(), Invalid> {
    if *document.network_mode() != NetworkMode::Awsvpc {
        return Err(Invalid::FargateNetworkMode);
    }
    check_size(document)?;
    check_task(document)?;
    document.containers().try_for_each(|container| {
        check_container(container)?;
        check_kernel(container)?;
        check_logging(container)
    })
}

fn check_size(document: Document<'_>) -> Result<(), Invalid> {
    let (cpu, memory) = task_size(document)?;
    let cpu = cpu.ok_or(Invalid::FargateSizeMissing { member: "cpu" })?;
    let memory = memory.ok_or(Invalid::FargateSizeMissing { member: "memory" })?;
    let known = if document.is_windows() { is_windows_size(cpu, memory) } else { is_size(cpu, memory) };
    if known { Ok(()) } else { Err(Invalid::FargateSize) }
}

fn refuse(given: bool, member: &'static str) -> Result<(), Invalid> {
    if given { Err(Invalid::FargateMember { member }) } else { Ok(()) }
}

fn check_task(document: Document<'_>) -> Result<(), Invalid> {
    let task = document.task;
    match &task.pid_mode {
        None | Some(PidMode::Task) => {}
        Some(mode) => return Err(Invalid::FargatePidMode { mode: mode.to_string() }),
    }
    if task.ipc_mode.is_some() {
        return Err(Invalid::FargateIpcMode);
    }
    refuse(!list(&task.placement_constraints).is_empty(), "placementConstraints")?;
    refuse(!list(&task.inference_accelerators).is_empty(), "inferenceAccelerators")?;
    refuse(task.trusted_execution_configuration.is_some(), "trustedExecutionConfiguration")?;
    for volume in list(&task.volumes) {
        let source = volume.host.as_ref().and_then(|host| host.source_path.as_ref());
        refuse(source.is_some(), "sourcePath")?;
        refuse(volume.docker_volume_configuration.is_some(), "dockerVolumeConfiguration")?;
        refuse(
            volume.fsx_windows_file_server_volume_configuration.is_some(),
            "fsxWindowsFileServerVolumeConfiguration",
        )?;
    }
    Ok(())
}

fn check_container(container: Container<'_>) -> Result<(), Invalid> {
    let definition = container.definition;
    refuse(definition.disable_networking == Some(true), "disableNetworking")?;
    refuse(!list(&definition.dns_servers).is_empty(), "dnsServers")?;
    refuse(!list(&definition.dns_search_domains).is_empty(), "dnsSearchDomains")?;
    refuse(!list(&definition.docker_security_options).is_empty(), "dockerSecurityOptions")?;
    refuse(!list(&definition.extra_hosts).is_empty(), "extraHosts")?;
    refuse(!list(&definition.links).is_empty(), "links")?;
    refuse(definition.privileged == Some(true), "privileged")?;
    refuse(!list(&definition.resource_requirements).is_empty(), "resourceRequirements")?;
    for (seconds, member) in [(definition.start_timeout, "startTimeout"), (definition.stop_timeout, "stopTimeout")] {
        container.ensure(seconds.is_none_or(|seconds| FARGATE_TIMEOUT_SECONDS.contains(&seconds)), member)?;
    }
    let role = container.document.has_execution_role();
    if is_ecr_image(text(&definition.image)) && !role {
        return Err(Invalid::FargateExecutionRole { purpose: "ECR images" });
    }
    Ok(())
}

fn check_kernel(container: Container<'_>) -> Result<(), Invalid> {
    for ulimit in list(&container.definition.ulimits) {
        let nofile = ulimit.name == Some(UlimitName::Nofile);
        refuse(!nofile, "ulimits other than nofile")?;
        container.ensure(ulimit.hard_limit.is_some_and(|hard| (0..=FARGATE_NOFILE_MAX).contains(&hard)), "ulimits")?;
        refuse(container.document.is_windows(), "ulimits")?;
    }
    let Some(linux) = &container.definition.linux_parameters else { return Ok(()) };
    refuse(!list(&linux.devices).is_empty(), "devices")?;
    refuse(linux.shared_memory_size.is_some(), "sharedMemorySize")?;
    refuse(linux.max_swap.is_some(), "maxSwap")?;
    refuse(linux.swappiness.is_some(), "swappiness")?;
    let added = linux.capabilities.as_ref().map(|capabilities| list(&capabilities.add)).unwrap_or_default();
    match added.iter().find(|name| *name != "SYS_PTRACE") {
        Some(capability) => Err(Invalid::FargateCapability { capability: capability.clone() }),
        None => Ok(()),
    }
}

fn check_logging(container: Container<'_>) -> Result<(), Invalid> {
    let firelens = container.definition.firelens_configuration.as_ref();
    let config_type = firelens.and_then(|firelens| firelens.options.as_ref()?.get("config-file-type"));
    refuse(config_type.is_some_and(|kind| kind != "file"), "the config-file-type s3")?;
    let logging = container.definition.log_configuration.as_ref();
    if let Some(logging) = logging.filter(|_| container.log_driver() == Some(&LogDriver::Awslogs)) {
        check_required(logging, &LogDriver::Awslogs, &["awslogs-stream-prefix"])?;
    }
    match container.log_driver() {
        Some(LogDriver::Awslogs) if !container.document.has_execution_role() => {
            Err(Invalid::FargateExecutionRole { purpose: "log driver awslogs" })
        }
        None | Some(LogDriver::Awslogs | LogDriver::Splunk | LogDriver::Awsfirelens) => Ok(()),
        Some(driver) => Err(Invalid::FargateLogDriver { driver: driver.to_string() }),
    }
}
