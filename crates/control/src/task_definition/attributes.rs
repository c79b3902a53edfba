//! The attributes an instance must have for a document to run there (`requiresAttributes`).

use std::collections::BTreeSet;

use gantry_api::ecs::{
    Attribute, CPUArchitecture, FirelensConfiguration, LinuxParameters, LogDriver, NetworkMode, Secret, Volume,
};
use gantry_domain::capabilities::{CPU_ARCHITECTURE, EBS_VOLUMES, OS_FAMILY, docker_api, log_driver};
use gantry_domain::limits::TASK_CPU_UNITS_BEFORE_INCREASED_LIMIT;
use gantry_domain::task_definition::RequiredAttribute;

use super::check::task_size;
use super::document::{Container, Document, is_ecr_image, list, text};

/// Sorted by name, each once.
pub(super) fn required(document: Document<'_>) -> Vec<RequiredAttribute> {
    let mut found = Found::default();
    found.task(document);
    for volume in list(&document.task.volumes) {
        found.volume(volume);
    }
    for container in document.containers() {
        found.container(container);
        found.logging(container);
    }
    found.0.into_iter().collect()
}

/// As the document shows them.
pub(super) fn wire(required: &[RequiredAttribute]) -> Vec<Attribute> {
    let attribute = |required: &RequiredAttribute| Attribute {
        name: Some(required.name.clone()),
        value: required.value.clone(),
        ..Attribute::default()
    };
    required.iter().map(attribute).collect()
}

#[derive(Default)]
struct Found(BTreeSet<RequiredAttribute>);

impl Found {
    fn name(&mut self, name: impl Into<String>) {
        self.0.insert(RequiredAttribute { name: name.into(), value: None });
    }

    fn value(&mut self, name: &str, value: &str) {
        self.0.insert(RequiredAttribute { name: name.to_owned(), value: Some(value.to_owned()) });
    }

    fn when(&mut self, condition: bool, name: &str) {
        if condition {
            self.name(name);
        }
    }

    fn docker(&mut self, condition: bool, minor: u32) {
        if condition {
            self.name(docker_api(minor));
        }
    }

    fn task(&mut self, document: Document<'_>) {
        let task = document.task;
        let awsvpc = *document.network_mode() == NetworkMode::Awsvpc;
        self.when(awsvpc, "ecs.capability.task-eni");
        self.docker(awsvpc, 18);
        let (cpu, memory) = task_size(document).unwrap_or_default();
        self.when(cpu.is_some() || memory.is_some(), "ecs.capability.task-cpu-mem-limit");
        let large = cpu.is_some_and(|cpu| cpu > TASK_CPU_UNITS_BEFORE_INCREASED_LIMIT);
        self.when(large, "ecs.capability.increased-task-cpu-limit");
        if !text(&task.task_role_arn).is_empty() {
            let host = *document.network_mode() == NetworkMode::Host;
            self.when(!host, "com.amazonaws.ecs.capability.task-iam-role");
            self.when(host, "com.amazonaws.ecs.capability.task-iam-role-network-host");
            self.docker(true, 17);
        }
        let shared = task.pid_mode.is_some() || task.ipc_mode.is_some();
        self.when(shared, "ecs.capability.pid-ipc-namespace-sharing");
        self.when(task.proxy_configuration.is_some(), "ecs.capability.aws-appmesh");
        self.when(task.enable_fault_injection == Some(true), "ecs.capability.fault-injection");
        let Some(platform) = &task.runtime_platform else { return };
        if let Some(architecture) = &platform.cpu_architecture {
            let arm = *architecture == CPUArchitecture::Arm64;
            self.value(CPU_ARCHITECTURE, if arm { "arm64" } else { "x86_64" });
        }
        if let Some(family) = &platform.operating_system_family {
            self.value(OS_FAMILY, family.as_str());
        }
    }

    fn volume(&mut self, volume: &Volume) {
        if let Some(docker) = &volume.docker_volume_configuration {
            let driver = docker.driver.as_deref().unwrap_or("local");
            self.name(format!("ecs.capability.docker-plugin.{driver}"));
            self.docker(true, 25);
        }
        if let Some(efs) = &volume.efs_volume_configuration {
            self.name("ecs.capability.efs");
            self.when(efs.authorization_config.is_some(), "ecs.capability.efsAuth");
        }
        self.when(volume.s3files_volume_configuration.is_some(), "ecs.capability.storage.s3-files");
        let fsx = volume.fsx_windows_file_server_volume_configuration.is_some();
        self.when(fsx, "ecs.capability.fsxWindowsFileServer");
        let ebs = volume.configured_at_launch == Some(true);
        self.when(ebs, EBS_VOLUMES);
    }

    fn container(&mut self, container: Container<'_>) {
        let definition = container.definition;
        let ecr = is_ecr_image(text(&definition.image));
        self.when(ecr, "com.amazonaws.ecs.capability.ecr-auth");
        self.when(ecr && container.document.has_execution_role(), "ecs.capability.execution-role-ecr-pull");
        self.when(definition.health_check.is_some(), "ecs.capability.container-health-check");
        self.docker(definition.health_check.is_some(), 24);
        let ordered = !list(&definition.depends_on).is_empty()
            || definition.start_timeout.is_some()
            || definition.stop_timeout.is_some();
        self.when(ordered, "ecs.capability.container-ordering");
        let private = definition.repository_credentials.is_some();
        self.when(private, "ecs.capability.private-registry-authentication.secretsmanager");
        self.when(!list(&definition.environment_files).is_empty(), "ecs.capability.env-files.s3");
        let privileged = definition.privileged == Some(true);
        self.when(privileged, "com.amazonaws.ecs.capability.privileged-container");
        let restarts = definition.restart_policy.as_ref().is_some_and(|policy| policy.enabled == Some(true));
        self.when(restarts, "ecs.capability.container-restart-policy");
        let ranges = list(&definition.port_mappings).iter().any(|mapping| mapping.container_port_range.is_some());
        self.when(ranges, "ecs.capability.network.container-port-range");
        self.docker(definition.memory_reservation.is_some(), 21);
        let labelled = definition.docker_labels.as_ref().is_some_and(|labels| !labels.is_empty());
        self.docker(labelled || !list(&definition.ulimits).is_empty(), 18);
        self.secrets(list(&definition.secrets), "environment-variables");
        self.security_options(list(&definition.docker_security_options));
        if let Some(linux) = &definition.linux_parameters {
            self.linux(linux);
        }
        if let Some(firelens) = &definition.firelens_configuration {
            self.firelens(firelens);
        }
    }

    fn secrets(&mut self, secrets: &[Secret], used_as: &str) {
        for secret in secrets {
            let manager = text(&secret.value_from).contains(":secretsmanager:");
            let store = if manager { "asm" } else { "ssm" };
            self.name(format!("ecs.capability.secrets.{store}.{used_as}"));
        }
    }

    fn security_options(&mut self, options: &[String]) {
        let starts = |prefix: &str| options.iter().any(|option| option.starts_with(prefix));
        self.when(starts("label:"), "com.amazonaws.ecs.capability.selinux");
        self.when(starts("apparmor:"), "com.amazonaws.ecs.capability.apparmor");
    }

    fn linux(&mut self, linux: &LinuxParameters) {
        self.docker(linux.init_process_enabled == Some(true), 25);
        self.docker(linux.shared_memory_size.is_some() || !list(&linux.tmpfs).is_empty(), 22);
    }

    fn firelens(&mut self, firelens: &FirelensConfiguration) {
        let router = firelens.r#type.as_ref().map(|kind| kind.as_str()).unwrap_or_default();
        self.name(format!("ecs.capability.firelens.{router}"));
        let option = firelens.options.as_ref().and_then(|options| options.get("config-file-type"));
        if let Some(kind) = option {
            self.name(format!("ecs.capability.firelens.options.config.{kind}"));
        }
    }

    fn logging(&mut self, container: Container<'_>) {
        let Some(driver) = container.log_driver() else { return };
        self.name(log_driver(driver.as_str()));
        self.docker(true, 18);
        if *driver == LogDriver::Awslogs {
            self.docker(true, 19);
            self.when(container.document.has_execution_role(), "ecs.capability.execution-role-awslogs");
        }
        let options = container.definition.log_configuration.as_ref().map(|logging| list(&logging.secret_options));
        self.secrets(options.unwrap_or_default(), "bootstrap.log-driver");
    }
}
