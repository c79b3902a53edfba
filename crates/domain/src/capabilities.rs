//! Names of the attributes by which a container instance says what it can do. The control plane derives from a task
//! definition which of them an instance must have; the agent registers those it has. Both take the names from here, so
//! that the two cannot drift apart.

/// What Gantry's own agent can do on every Linux host. A task definition that the control plane agrees to run requires
/// nothing else: a test in the control plane holds the two together.
pub const OF_EVERY_HOST: &[&str] = &[
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.20",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.22",
    "com.amazonaws.ecs.capability.docker-remote-api.1.23",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.docker-remote-api.1.25",
    "com.amazonaws.ecs.capability.docker-remote-api.1.26",
    "com.amazonaws.ecs.capability.docker-remote-api.1.27",
    "com.amazonaws.ecs.capability.docker-remote-api.1.28",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "com.amazonaws.ecs.capability.docker-remote-api.1.30",
    "com.amazonaws.ecs.capability.docker-remote-api.1.31",
    "com.amazonaws.ecs.capability.docker-remote-api.1.32",
    "com.amazonaws.ecs.capability.ecr-auth",
    "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.fluentd",
    "com.amazonaws.ecs.capability.logging-driver.gelf",
    "com.amazonaws.ecs.capability.logging-driver.journald",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.none",
    "com.amazonaws.ecs.capability.logging-driver.splunk",
    "com.amazonaws.ecs.capability.logging-driver.syslog",
    PRIVILEGED,
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
    "ecs.capability.aws-appmesh",
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.container-restart-policy",
    "ecs.capability.docker-plugin.local",
    "ecs.capability.ecr-endpoint",
    "ecs.capability.efs",
    "ecs.capability.efsAuth",
    "ecs.capability.env-files.s3",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.execution-role-ecr-pull",
    "ecs.capability.fault-injection",
    "ecs.capability.firelens.fluentbit",
    "ecs.capability.firelens.fluentd",
    "ecs.capability.firelens.options.config.file",
    "ecs.capability.firelens.options.config.s3",
    "ecs.capability.increased-task-cpu-limit",
    "ecs.capability.network.container-port-range",
    "ecs.capability.pid-ipc-namespace-sharing",
    "ecs.capability.private-registry-authentication.secretsmanager",
    "ecs.capability.secrets.asm.bootstrap.log-driver",
    "ecs.capability.secrets.asm.environment-variables",
    "ecs.capability.secrets.ssm.bootstrap.log-driver",
    "ecs.capability.secrets.ssm.environment-variables",
    EBS_VOLUMES,
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.task-eni",
];

/// Privileged containers.
pub const PRIVILEGED: &str = "com.amazonaws.ecs.capability.privileged-container";
/// Volumes that are configured when a task is launched.
pub const EBS_VOLUMES: &str = "ecs.capability.storage.ebs-task-volume-attach";
/// What the name of a log driver follows.
pub const LOG_DRIVER_PREFIX: &str = "com.amazonaws.ecs.capability.logging-driver.";
/// `x86_64` or `arm64`.
pub const CPU_ARCHITECTURE: &str = "ecs.cpu-architecture";
/// `LINUX` or one of the Windows Server names.
pub const OS_FAMILY: &str = "ecs.os-family";

/// Version `1.minor` of the Docker API that the instance's agent understands.
pub fn docker_api(minor: u32) -> String {
    format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}")
}

/// The version of NVIDIA's driver on the instance.
pub fn nvidia_driver(version: &str) -> String {
    format!("ecs.capability.nvidia-driver-version.{version}")
}

/// A log driver the instance can start containers with.
pub fn log_driver(name: &str) -> String {
    format!("{LOG_DRIVER_PREFIX}{name}")
}
