//! Every quota, range and time-out, with its reason. The values are the real service's defaults unless the comment says
//! otherwise; reaching one gives the real service's error.

/// Letters in a cluster, service, family, container or volume name.
pub const NAME_LENGTH_MAX: usize = 255;

/// Clusters in a region of one account.
pub const CLUSTERS_MAX: usize = 10_000;
/// Services in a cluster.
pub const SERVICES_PER_CLUSTER_MAX: usize = 5_000;
/// Container instances in a cluster.
pub const INSTANCES_PER_CLUSTER_MAX: usize = 5_000;
/// Highest desired count of a service.
pub const TASKS_PER_SERVICE_MAX: u32 = 5_000;
/// Capacity providers attached to a cluster.
pub const CAPACITY_PROVIDERS_PER_CLUSTER_MAX: usize = 20;
/// Capacity providers in a region of one account. The real service publishes no such quota; this one keeps lists short.
pub const CAPACITY_PROVIDERS_MAX: usize = 1_000;
/// Highest `targetCapacity` of managed scaling, percent, and its default.
pub const TARGET_CAPACITY_MAX: i32 = 100;
/// Default of `minimumScalingStepSize`.
pub const SCALING_STEP_SIZE_MIN: i32 = 1;
/// Default of `maximumScalingStepSize`.
pub const SCALING_STEP_SIZE_MAX: i32 = 10_000;
/// Default of `instanceWarmupPeriod`, seconds.
pub const INSTANCE_WARMUP_SECONDS_DEFAULT: i32 = 300;
/// Tasks of a cluster that wait for an instance of a provider with managed scaling.
pub const PROVISIONING_TASKS_PER_CLUSTER_MAX: usize = 500;
/// How long a task waits for an instance. The real service says 10 to 30 minutes.
pub const PROVISIONING_WAIT_SECONDS: i64 = 30 * 60;
/// Items of a capacity provider strategy.
pub const STRATEGY_ITEMS_MAX: usize = 20;

/// Tasks one RunTask may start.
pub const RUN_TASK_COUNT_MAX: u32 = 10;
/// Instances one StartTask may name.
pub const START_TASK_INSTANCES_MAX: usize = 10;
/// Characters of JSON in the overrides of RunTask.
pub const OVERRIDES_LENGTH_MAX: usize = 8_192;
/// Characters of `startedBy`.
pub const STARTED_BY_LENGTH_MAX: usize = 128;
/// Characters of a task's `group`.
pub const GROUP_LENGTH_MAX: usize = 255;
/// Characters of RunTask's `clientToken`.
pub const RUN_TASK_CLIENT_TOKEN_LENGTH_MAX: usize = 64;
/// Characters of CreateService's `clientToken`.
pub const SERVICE_CLIENT_TOKEN_LENGTH_MAX: usize = 36;
/// How long a RunTask `clientToken` is remembered. The real lifetime is not published; a day covers a client's retries.
pub const CLIENT_TOKEN_LIFETIME_SECONDS: u64 = 24 * 60 * 60;
/// How long a stopped task stays describable.
pub const STOPPED_TASK_RETENTION_SECONDS: u64 = 60 * 60;
/// How long an INACTIVE cluster stays describable. The real time is "unspecified"; an hour is what stopped tasks have.
pub const INACTIVE_CLUSTER_RETENTION_SECONDS: u64 = 60 * 60;

/// Subnets of an awsvpc configuration.
pub const SUBNETS_MAX: usize = 16;
/// Security groups of an awsvpc configuration.
pub const SECURITY_GROUPS_MAX: usize = 5;
/// Host ports a container instance may have reserved, the system's own included; dynamic ports do not count.
pub const RESERVED_HOST_PORTS_MAX: usize = 100;
/// TCP ports no task may ask for on an instance: ssh, the Docker daemon and the ECS agent.
pub const RESERVED_TCP_PORTS: [u16; 5] = [22, 2375, 2376, 51678, 51679];

/// Tags on a resource; those that start with `aws:` are not counted.
pub const TAGS_PER_RESOURCE_MAX: usize = 50;
/// Characters of a tag key.
pub const TAG_KEY_LENGTH_MAX: usize = 128;
/// Characters of a tag value.
pub const TAG_VALUE_LENGTH_MAX: usize = 256;
/// Custom attributes on a resource.
pub const ATTRIBUTES_PER_RESOURCE_MAX: usize = 10;
/// Characters of an attribute's name.
pub const ATTRIBUTE_NAME_LENGTH_MAX: usize = 128;
/// Characters of an attribute's value.
pub const ATTRIBUTE_VALUE_LENGTH_MAX: usize = 128;
/// Attributes one PutAttributes or DeleteAttributes may name.
pub const ATTRIBUTES_PER_REQUEST_MAX: usize = 10;

/// Page size of most List operations, default and maximum.
pub const PAGE_SIZE_MAX: usize = 100;
/// Default page size of ListServices.
pub const SERVICES_PAGE_SIZE_DEFAULT: usize = 10;
/// Page size of ListAccountSettings and DescribeCapacityProviders, default and maximum.
pub const SMALL_PAGE_SIZE_MAX: usize = 10;
/// Resources one Describe call may name.
pub const DESCRIBE_MAX: usize = 100;
/// Tasks one UpdateTaskProtection may name.
pub const UPDATE_PROTECTION_MAX: usize = 10;
/// How long a task can be protected without being protected again, in minutes (API reference of
/// UpdateTaskProtection).
pub const PROTECTION_MINUTES: std::ops::RangeInclusive<i32> = 1..=2880;
/// When the caller does not say.
pub const PROTECTION_MINUTES_DEFAULT: i32 = 120;
/// Services one DescribeServices may name.
pub const DESCRIBE_SERVICES_MAX: usize = 10;

/// Revisions of a family, deleted ones included: numbers are never used twice.
pub const REVISIONS_PER_FAMILY_MAX: u32 = 1_000_000;
/// Bytes of a task definition's JSON.
pub const TASK_DEFINITION_BYTES_MAX: usize = 64 * 1024;
/// Containers of a task definition.
pub const CONTAINERS_PER_TASK_MAX: usize = 10;
/// Task definitions one DeleteTaskDefinitions may name.
pub const DELETE_TASK_DEFINITIONS_MAX: usize = 10;
/// Placement constraints of a task, those of the definition and of the request together.
pub const PLACEMENT_CONSTRAINTS_MAX: usize = 10;
/// Placement strategies of a service or a RunTask.
pub const PLACEMENT_STRATEGIES_MAX: usize = 5;
/// Characters of a placement constraint's expression.
pub const PLACEMENT_EXPRESSION_LENGTH_MAX: usize = 2_000;

/// Least task-level CPU on EC2, in CPU units (1024 = one vCPU).
pub const TASK_CPU_UNITS_MIN: u32 = 128;
/// Most task-level CPU on EC2, in CPU units: 192 vCPU.
pub const TASK_CPU_UNITS_MAX: u32 = 196_608;
/// Task CPU from which an instance must know the raised limit: more than 10 vCPU.
pub const TASK_CPU_UNITS_BEFORE_INCREASED_LIMIT: u32 = 10 * 1024;
/// Least memory of a container, in MiB: container runtimes refuse less.
pub const CONTAINER_MEMORY_MIB_MIN: u32 = 6;

/// Seconds between health checks.
pub const HEALTH_CHECK_INTERVAL_SECONDS: std::ops::RangeInclusive<i32> = 5..=300;
/// Default of the above.
pub const HEALTH_CHECK_INTERVAL_SECONDS_DEFAULT: i32 = 30;
/// Seconds one health check may take.
pub const HEALTH_CHECK_TIMEOUT_SECONDS: std::ops::RangeInclusive<i32> = 2..=60;
/// Default of the above.
pub const HEALTH_CHECK_TIMEOUT_SECONDS_DEFAULT: i32 = 5;
/// Failures in a row after which a container is UNHEALTHY.
pub const HEALTH_CHECK_RETRIES: std::ops::RangeInclusive<i32> = 1..=10;
/// Default of the above.
pub const HEALTH_CHECK_RETRIES_DEFAULT: i32 = 3;
/// Seconds after start in which failures do not count; off by default.
pub const HEALTH_CHECK_START_PERIOD_SECONDS: std::ops::RangeInclusive<i32> = 0..=300;

/// `startTimeout` and `stopTimeout` on Fargate, seconds.
pub const FARGATE_TIMEOUT_SECONDS: std::ops::RangeInclusive<i32> = 2..=120;
/// `stopTimeout` when nothing is given, seconds.
pub const STOP_TIMEOUT_SECONDS_DEFAULT: u32 = 30;
/// `restartPolicy.restartAttemptPeriod`, seconds.
pub const RESTART_ATTEMPT_PERIOD_SECONDS: std::ops::RangeInclusive<i32> = 60..=1800;
/// Default of the above.
pub const RESTART_ATTEMPT_PERIOD_SECONDS_DEFAULT: u32 = 300;
/// Exit codes a restart policy may ignore.
pub const IGNORED_EXIT_CODES_MAX: usize = 50;

/// Environment files of a container.
pub const ENVIRONMENT_FILES_MAX: usize = 10;
/// Port ranges of a container.
pub const CONTAINER_PORT_RANGES_MAX: usize = 100;
/// Characters of a port mapping's name.
pub const PORT_NAME_LENGTH_MAX: usize = 64;
/// Characters of an image reference in its tag form.
pub const IMAGE_LENGTH_MAX: usize = 255;
/// Credential specifications of a container.
pub const CREDENTIAL_SPECS_MAX: usize = 1;

/// Ephemeral storage of a Fargate task, GiB, when asked for.
pub const EPHEMERAL_STORAGE_GIB: std::ops::RangeInclusive<i32> = 21..=200;
/// Ephemeral storage of a Fargate task when nothing is asked for, GiB.
pub const EPHEMERAL_STORAGE_GIB_DEFAULT: i32 = 20;
/// `nofile` of a Fargate container unless its ulimits say otherwise, soft and hard.
pub const FARGATE_NOFILE_DEFAULT: u32 = 65_535;
/// Highest `nofile` a Fargate container may ask for.
pub const FARGATE_NOFILE_MAX: i32 = 1_048_576;
/// `swappiness` of a container.
pub const SWAPPINESS: std::ops::RangeInclusive<i32> = 0..=100;

/// Length of a Cloud Map namespace in `serviceConnectDefaults`.
pub const NAMESPACE_LENGTH_MAX: usize = 1_024;

/// A task without a health check counts as healthy in a deployment after running this long, unless the operator says
/// otherwise.
pub const HEALTHY_AFTER_SECONDS: u64 = 40;

/// An instance whose agent has been away for so long counts as lost, unless the operator says otherwise: long enough for
/// a machine to boot again or a switch to be replaced, short enough that services do not miss its tasks for an hour.
pub const INSTANCE_LOST_AFTER_SECONDS: u64 = 600;

/// Attributes of one registration: the agents send about fifty.
pub const REGISTERED_ATTRIBUTES_MAX: usize = 500;
/// GPUs of one instance: the largest machines have sixteen, and each may be cut into seven.
pub const REGISTERED_GPUS_MAX: usize = 128;

/// Host ports that an agent may report of one container.
pub const NETWORK_BINDINGS_MAX: usize = 1000;

/// Characters of an id that an agent reports: of a container, an image, a boot.
pub const REPORTED_ID_CHARS_MAX: usize = 255;
/// Alarms that one service's deployments watch. Ours; the real bound is not documented.
pub const DEPLOYMENT_ALARMS_MAX: usize = 100;
/// Minutes of a bake time: a day.
pub const DEPLOYMENT_MINUTES_MAX: i32 = 1_440;
/// Lifecycle hooks of a service. Ours; the real bound is not documented.
pub const LIFECYCLE_HOOKS_MAX: usize = 20;
/// Minutes that a lifecycle hook may take: two weeks.
pub const HOOK_TIMEOUT_MINUTES_MAX: i32 = 20_160;
/// Bytes of a lifecycle hook's details. Ours: they are kept in the service's row and sent with every call.
pub const HOOK_DETAILS_BYTES_MAX: usize = 4_096;
/// Letters of a lifecycle hook's target. Ours.
pub const HOOK_TARGET_LENGTH_MAX: usize = 2_048;

/// Sessions of ECS Exec in one container at a time. The real agent's own limit is two; people with several windows open
/// are not refused here, and a client that leaks sessions is.
pub const EXEC_SESSIONS_PER_CONTAINER_MAX: usize = 20;
/// Sessions of ECS Exec that an account and region have open, and ended ones that can still be described.
pub const EXEC_SESSIONS_MAX: usize = 1_000;
/// How long a session may go without a byte in either direction. Not configurable, as with the real service.
pub const EXEC_IDLE_SECONDS_MAX: u32 = 20 * 60;
/// How long a session's token may be used to open it.
pub const EXEC_TOKEN_SECONDS: i64 = 60;
/// How long an ended session can be described.
pub const EXEC_SESSION_RETENTION_SECONDS: i64 = 30 * 24 * 60 * 60;
/// Characters of ExecuteCommand's `command`.
pub const EXEC_COMMAND_LENGTH_MAX: usize = 32_768;
/// Bytes of a session's transcript; what a session prints beyond them is not kept.
pub const EXEC_TRANSCRIPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long an agent may take to hand a transcript over: few are on their way at a time, and the others wait.
pub const EXEC_TRANSCRIPT_TURN_SECONDS_MAX: u64 = 5 * 60;
/// How long a place for transcripts that does not answer is left alone.
pub const EXEC_TRANSCRIPT_PAUSE_SECONDS: u64 = 15;
/// How long the transcript of an ended session is waited for.
pub const EXEC_TRANSCRIPT_SECONDS_MAX: i64 = 60 * 60;
/// How long the agent of a session may take to have it, and an agent whose task is gone to end it.
pub const EXEC_AGENT_SECONDS_MAX: i64 = 120;
