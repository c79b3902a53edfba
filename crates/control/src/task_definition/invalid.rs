//! Why a task definition is refused, in the words of the real service. All of these are `ClientException` on the wire.
//!
//! Sentences marked "seen" were recorded from the real service; the others are ours in the same style.

use gantry_domain::limits::{
    IMAGE_LENGTH_MAX, NAME_LENGTH_MAX, PLACEMENT_CONSTRAINTS_MAX, PLACEMENT_EXPRESSION_LENGTH_MAX,
    TASK_DEFINITION_BYTES_MAX,
};
use gantry_domain::task_definition::ProxyError;

/// A rule that a document breaks. `container` is always the container's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant says it")]
pub enum Invalid {
    // The document as a whole.
    #[error("Family can not be blank.")] // seen
    FamilyBlank,
    #[error("Family contains invalid characters.")] // seen
    FamilyCharacters,
    #[error("Family should be {NAME_LENGTH_MAX} characters or less.")]
    FamilyLength,
    #[error("Container list cannot be empty.")] // seen
    NoContainers,
    #[error("Too many containers.")] // seen
    TooManyContainers,
    #[error("Task definition doesn't have any essential container.")] // seen
    NoEssentialContainer,
    #[error("Actual length: '{bytes}'. Max allowed length is '{TASK_DEFINITION_BYTES_MAX}' bytes.")] // seen
    TooLarge { bytes: usize },
    #[error("Role is not valid")] // seen
    Role,
    #[error("Invalid '{member}' setting for task.")] // seen for cpu
    TaskSetting { member: &'static str },
    #[error("Too many placement constraints: at most {PLACEMENT_CONSTRAINTS_MAX} are allowed.")]
    TooManyPlacementConstraints,
    #[error(
        "Placement constraint expression should not be null or empty, and have at most \
         {PLACEMENT_EXPRESSION_LENGTH_MAX} characters."
    )]
    PlacementExpression,
    #[error("Invalid placement constraint expression '{expression}': {problem}")]
    PlacementSyntax { expression: String, problem: String },
    #[error("Task definition does not support launch_type {launch_type}.")] // seen at RunTask
    Compatibility { launch_type: &'static str },
    #[error("enableFaultInjection is not supported when networkMode={mode}.")]
    FaultInjectionMode { mode: String },
    #[error("An attestationPolicy in base64 is required for the isolation mode CONFIDENTIAL_SANDBOX.")]
    AttestationPolicy,

    // Names, sizes and single settings of a container.
    #[error("Container.name should not be null or empty.")] // seen
    ContainerNameBlank,
    #[error("Container.name contains invalid characters.")] // seen
    ContainerNameCharacters,
    #[error("Container.name should be {NAME_LENGTH_MAX} characters or less")]
    ContainerNameLength,
    #[error("Container.name must be unique within a task definition: '{container}' is used more than once.")]
    ContainerNameDuplicate { container: String },
    #[error("Container.image should not be null or empty.")] // seen
    ImageBlank,
    #[error("Container.image contains invalid characters.")] // seen
    ImageCharacters,
    #[error("Container.image should be {IMAGE_LENGTH_MAX} characters or less")] // seen
    ImageLength,
    #[error("Invalid '{member}' setting for container '{container}'.")] // seen for containerPort
    ContainerSetting { member: &'static str, container: String },
    #[error(
        "Invalid setting for container '{container}'. At least one of 'memory' or 'memoryReservation' must be \
         specified."
    )] // seen
    NoMemory { container: String },
    #[error(
        "Invalid setting for container '{container}'. 'memory' must be greater than or equal to 'memoryReservation'."
    )]
    MemoryBelowReservation { container: String },
    #[error("The sum of all container '{member}' values cannot be greater than the value of the task '{of}'.")] // seen
    Sum { member: &'static str, of: &'static str },
    #[error("The 'memory' setting for container '{container}' is greater than for the task.")] // seen
    MemoryAboveTask { container: String },
    #[error("{member} is not supported on container when networkMode={mode}.")] // seen for hostname and awsvpc
    NotInNetworkMode { member: &'static str, mode: String },
    #[error("Duplicate ulimits found: {name}. Each ulimit name must be unique.")]
    DuplicateUlimit { name: String },

    // Ports.
    #[error("When networkMode={mode}, the host ports and container ports in port mappings must match.")]
    // seen: awsvpc
    HostPort { mode: String },
    #[error("Port mappings are not supported when networkMode=none.")]
    PortMappingsWithoutNetwork,
    #[error("Container port {port} of container '{container}' cannot be exposed for more than one protocol.")]
    TwoProtocols { port: i32, container: String },
    #[error("Container port ranges of container '{container}' must not overlap with its other ports.")]
    PortOverlap { container: String },
    #[error("Container port ranges are not supported when networkMode={mode}.")]
    PortRangeMode { mode: String },
    #[error("Port mapping names must be unique within a task definition: '{name}' is used more than once.")]
    DuplicatePortName { name: String },

    // Environment and secrets.
    #[error("Duplicate secret names found: {name}. Each secret name must be unique.")] // seen
    DuplicateSecret { name: String },
    #[error(
        "The secret name must be unique and not shared with any new or existing environment variables set on the \
         container, such as '{name}'."
    )] // seen
    SecretIsEnvironment { name: String },
    #[error("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")]
    // seen
    SecretsWithoutRole,
    #[error("Invalid arn syntax.")] // seen
    Arn,

    // Volumes.
    #[error("Unknown volume '{name}'.")] // seen
    UnknownVolume { name: String },
    #[error("Volume.name should not be null or empty.")]
    VolumeNameBlank,
    #[error("Volume.name contains invalid characters.")]
    VolumeNameCharacters,
    #[error("Volume.name must be unique within a task definition: '{name}' is used more than once.")]
    DuplicateVolume { name: String },
    #[error("host.sourcePath should not be blank.")] // seen
    SourcePathBlank,
    #[error("Volume '{name}' must have no more than one kind of configuration.")]
    VolumeKinds { name: String },
    #[error("Only one volume of a task definition can be configured at launch.")]
    ConfiguredAtLaunch,
    #[error("Invalid '{member}' setting for volume '{name}'.")]
    VolumeSetting { member: &'static str, name: String },

    // References between containers.
    #[error("Cannot depend on container + '{container}' because it does not exist")] // seen, with the plus sign
    UnknownDependency { container: String },
    #[error("A dependency container with SUCCESS or COMPLETE condition cannot be an essential container")] // seen
    EssentialDependency,
    #[error("Cannot depend on container '{container}' with condition HEALTHY because it has no health check")]
    DependencyWithoutHealthCheck { container: String },
    #[error("Container dependencies should not have a cycle")]
    DependencyCycle,
    #[error("Container links should not have a cycle")] // seen
    LinkCycle,
    #[error("Links are not supported when networkMode={mode}.")]
    LinkMode { mode: String },
    #[error("Invalid link '{link}' of container '{container}'.")]
    Link { link: String, container: String },
    #[error("Unknown container '{name}' in volumesFrom of container '{container}'.")]
    UnknownSourceContainer { name: String, container: String },

    // Logging.
    #[error("Log driver {driver} requires options: {options}")] // seen
    LogOptionsMissing { driver: String, options: String },
    #[error("Log driver {driver} disallows options: {options}")] // seen
    LogOptionsUnknown { driver: String, options: String },
    #[error("Log driver {driver} option '{option}' has an invalid value.")]
    LogOptionValue { driver: String, option: String },
    #[error(
        "The secret option name must be unique and not shared with any log option set on the container, such as \
         '{name}'."
    )]
    SecretIsLogOption { name: String },
    #[error("Log driver awslogs does not allow both awslogs-datetime-format and awslogs-multiline-pattern.")]
    TwoMultilineOptions,
    #[error(
        "When a firelensConfiguration object is specified, at least one container has to be configured with the \
         awsfirelens log driver."
    )] // seen
    FirelensUnused,
    #[error(
        "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be \
         configured in one of the containers."
    )] // seen
    FirelensMissing,
    #[error("At most one container can have a firelensConfiguration object.")]
    TwoFirelens,

    // Kernel settings.
    #[error("System control '{name}' is not supported.")]
    SystemControl { name: String },
    #[error("System control '{name}' is not supported when {mode}.")]
    SystemControlMode { name: String, mode: &'static str },

    // Accelerators and proxies.
    #[error("All containers with a GPU requirement must use the same form of it.")]
    MixedGpu,
    #[error("NeuronDevice can be required by one container only.")]
    TwoNeuron,
    #[error("proxyConfiguration requires network mode awsvpc.")]
    ProxyMode,
    #[error("proxyConfiguration names container '{container}', which does not exist.")]
    ProxyContainer { container: String },
    #[error("proxyConfiguration {0}")]
    ProxyProperties(ProxyError),

    // Fargate.
    #[error("Fargate requires that '{member}' be defined at the task level.")] // seen
    FargateSizeMissing { member: &'static str },
    #[error("No Fargate configuration exists for given values.")] // seen
    FargateSize,
    #[error("Fargate only supports network mode ‘awsvpc’.")] // seen, with these quotes
    FargateNetworkMode,
    #[error(
        "Tasks using the Fargate launch type do not support pidMode '{mode}'. The supported value for pidMode is \
         'task'."
    )] // seen
    FargatePidMode { mode: String },
    #[error("Tasks using the Fargate launch type do not support ipcMode.")] // seen
    FargateIpcMode,
    #[error("Fargate compatible task definitions do not support {member}")] // seen for sourcePath
    FargateMember { member: &'static str },
    #[error("Fargate compatible task definitions do not support log driver {driver}")]
    FargateLogDriver { driver: String },
    #[error("Fargate compatible task definitions do not support adding the capability {capability}")]
    FargateCapability { capability: String },
    #[error("Fargate requires task definition to have execution role ARN to support {purpose}.")] // seen
    FargateExecutionRole { purpose: &'static str },
}
