//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Amazon ECS and ECR for your own machines.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, about, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Control plane, registry and one agent in the foreground.
    Up(UpOptions),
    /// Control plane and registry only.
    Server(ServerOptions),
    /// The agent of a container instance.
    Agent(AgentOptions),
    /// Print shell exports that point the AWS CLI and SDKs at a running Gantry.
    Env(EnvOptions),
    /// Accounts beside the server's own.
    #[command(subcommand)]
    Account(AccountCommand),
    /// States of alarms, which deployments can watch.
    #[command(subcommand)]
    Alarm(AlarmCommand),
    /// Machines that may join.
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Deploy other images, or another task definition, to a service and see how it goes.
    Deploy(DeployOptions),
    /// Clusters, services and tasks at a glance.
    Status(ClientOptions),
    /// What services, instances and tasks of a cluster use.
    Top(TopOptions),
    /// Put an image into the registry without any other tool.
    Push(PushOptions),
    /// Print the logs of a task or of a log group.
    Logs(LogsOptions),
    /// Run a command in a container of a task (ECS Exec), on a terminal when there is one.
    Exec(ExecOptions),
    /// The advisories that images are scanned against.
    ScanDb(ScanDbOptions),
    /// Print what happened: pushes, deletions and what else is told as an event.
    Events(EventsOptions),
    /// The registry as a whole: check it, and what it does by itself, done now.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Images in the registry.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Remove the containers and networks that a Gantry left on this machine.
    Teardown(TeardownOptions),
    /// Print the version.
    Version(OutputOptions),
}

/// What every role of the server takes. Each is a flag, then a `GANTRY_*` variable, then a key of the configuration
/// file; see `config.rs`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerOptions {
    /// Where everything is kept [default: /var/lib/gantry]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address of the one port [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// Region told to clients [default: us-east-1]
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Account of the root access key [default: 000000000000]
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Host and port in image URIs [default: localhost and the port]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) registry_host: Option<String>,
    /// Do not prepare pushed images for quick starts (an uncompressed copy is made, then packed and kept)
    #[arg(long)]
    pub(crate) no_prepare_images: bool,
    /// Certificate chain (PEM) for TLS
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM) for TLS
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Allow an address other than loopback without TLS
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Configuration file [default: /etc/gantry/gantry.toml when it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to log: error, warn, info, debug or a tracing filter [default: info, for `gantry up` on a terminal warn]
    #[arg(long)]
    pub(crate) log_level: Option<String>,
    /// How to log [default: text on a terminal, else json]
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// Do not run an agent beside the control plane
    #[arg(long)]
    pub(crate) no_agent: bool,
    /// Container runtime: embedded, runc, crun or the path of an OCI runtime [default: embedded]
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// Fetch prepared images whole before containers start, instead of reading them on demand
    #[arg(long)]
    pub(crate) no_lazy_images: bool,
    /// Stop all tasks at the end instead of leaving them running
    #[arg(long)]
    pub(crate) stop_tasks: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AgentOptions {
    /// Where everything is kept [default: /var/lib/gantry]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The control plane [default: the Gantry that runs with this data directory]
    #[arg(long, value_name = "URL", alias = "endpoint")]
    pub(crate) server: Option<String>,
    /// Certificate authority (PEM) of the control plane, trusted beside the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Join with this token of `gantry instance token create`; others see it in the list of processes, so rather give
    /// it in a file or in GANTRY_JOIN_TOKEN
    #[arg(long, value_name = "TOKEN")]
    pub(crate) join_token: Option<String>,
    /// Join with the token in this file; needed until the machine has joined
    #[arg(long, value_name = "FILE", conflicts_with = "join_token")]
    pub(crate) join_token_file: Option<PathBuf>,
    /// Join as an external instance: id of an activation of `aws ssm create-activation`
    #[arg(long, value_name = "ID")]
    pub(crate) activation_id: Option<String>,
    /// Its code; rather give it in GANTRY_ACTIVATION_CODE
    #[arg(long, value_name = "CODE")]
    pub(crate) activation_code: Option<String>,
    /// IPv4 address at which other hosts reach this one (VXLAN) [default: the one it reaches the server from]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) advertise_address: Option<std::net::Ipv4Addr>,
    /// Cluster to register in [default: the one the token is for, else default]
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Capacity provider that this instance belongs to
    #[arg(long, value_name = "NAME")]
    pub(crate) capacity_provider: Option<String>,
    /// Container runtime: embedded, runc, crun or the path of an OCI runtime [default: embedded]
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// Availability Zone the machine stands for; services spread over zones [default: the first one of the region]
    #[arg(long, value_name = "ZONE", env = "GANTRY_AVAILABILITY_ZONE")]
    pub(crate) availability_zone: Option<String>,
    /// Offer the machine's GPUs to tasks, as its CDI specifications describe them; the same as ECS_ENABLE_GPU_SUPPORT
    #[arg(long)]
    pub(crate) enable_gpu: bool,
    /// Where CDI specifications are; may be given several times [default: /etc/cdi and /var/run/cdi]
    #[arg(long, value_name = "DIR")]
    pub(crate) cdi_spec_dir: Vec<PathBuf>,
    /// Fetch prepared images whole before containers start, instead of reading them on demand
    #[arg(long)]
    pub(crate) no_lazy_images: bool,
    /// Configuration file [default: /etc/gantry/gantry.toml when it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to log
    #[arg(long)]
    pub(crate) log_level: Option<String>,
    /// How to log [default: text on a terminal, else json]
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TeardownOptions {
    /// Data directory of the Gantry, which must not be running [default: /var/lib/gantry]
    #[arg(long, value_name = "DIR", env = "GANTRY_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EnvOptions {
    /// The root of this account, made with `gantry account create` [default: the server's own]
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum InstanceCommand {
    /// List the machines that joined.
    List(ClientOptions),
    /// Put a machine out: its agent is let in no more.
    Revoke(InstanceRevokeOptions),
    /// Tokens with which machines join.
    #[command(subcommand)]
    Token(InstanceTokenCommand),
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum InstanceTokenCommand {
    /// Make a token and print it, this once.
    Create(InstanceTokenCreateOptions),
    /// List the tokens that are still good.
    List(ClientOptions),
    /// Take a token back.
    Revoke(InstanceRevokeOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct InstanceTokenCreateOptions {
    /// The only cluster that its machines may register in [default: any]
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Seconds it is good for
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    pub(crate) ttl: u64,
    /// Machines it is good for
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub(crate) uses: u32,
    /// Its machines may also serve FARGATE, for every cluster of the account
    #[arg(long)]
    pub(crate) fargate: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct InstanceRevokeOptions {
    /// As listed
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account with a root access key; a running Gantry accepts it at once.
    Create(AccountCreateOptions),
    /// List the accounts.
    List(AccountListOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AccountCreateOptions {
    /// Twelve digits
    pub(crate) account: String,
    /// Data directory of the Gantry [default: /var/lib/gantry]
    #[arg(long, value_name = "DIR", env = "GANTRY_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AccountListOptions {
    /// Data directory of the Gantry [default: /var/lib/gantry]
    #[arg(long, value_name = "DIR", env = "GANTRY_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Debug, Clone, Args)]
#[group(id = "what", required = true, multiple = false, args = ["image", "task_definition"])]
pub(crate) struct DeployOptions {
    /// The service
    pub(crate) service: String,
    /// Cluster of the service
    #[arg(long, default_value = "default")]
    pub(crate) cluster: String,
    /// Image of a new revision of the service's task definition; CONTAINER= where it has several containers
    #[arg(long, value_name = "[CONTAINER=]REF", num_args = 1)]
    pub(crate) image: Vec<String>,
    /// Task definition that is there already
    #[arg(long, value_name = "FAMILY[:REVISION]|ARN")]
    pub(crate) task_definition: Option<String>,
    /// Strategy of this and later deployments [default: as the service has it]
    #[arg(long, value_enum)]
    pub(crate) strategy: Option<DeployStrategy>,
    /// Bake time of this and later deployments [default: as the service has it]
    #[arg(long, value_name = "MINUTES")]
    pub(crate) bake_minutes: Option<i32>,
    /// Begin the deployment and do not wait for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Do not wait longer than this; the deployment goes on
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeployStrategy {
    Rolling,
    BlueGreen,
    Linear,
    Canary,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AlarmCommand {
    /// Say how an alarm stands; it is made when it is not there.
    Set(AlarmSetOptions),
    /// Make an alarm that triggers scaling policies.
    Put(AlarmPutOptions),
    /// Remove an alarm that `put` made.
    Delete(AlarmDeleteOptions),
    /// List the alarms.
    List(ClientOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AlarmSetOptions {
    /// Its name
    pub(crate) name: String,
    /// OK, ALARM or INSUFFICIENT_DATA
    pub(crate) state: String,
    /// Why, for people
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AlarmPutOptions {
    /// Its name
    pub(crate) name: String,
    /// ARN of a step scaling policy that it triggers; may be given again
    #[arg(long, value_name = "ARN")]
    pub(crate) action: Vec<String>,
    /// CPUUtilization or MemoryUtilization of a service; without it, `gantry alarm set` says how the alarm stands
    #[arg(long, requires = "service", requires = "threshold")]
    pub(crate) metric: Option<String>,
    /// Cluster of the service [default: default]
    #[arg(long, requires = "metric")]
    pub(crate) cluster: Option<String>,
    /// The service
    #[arg(long, requires = "metric")]
    pub(crate) service: Option<String>,
    /// Percent
    #[arg(long, requires = "metric")]
    pub(crate) threshold: Option<f64>,
    /// GreaterThanThreshold, GreaterThanOrEqualToThreshold, LessThanThreshold or LessThanOrEqualToThreshold [default:
    /// GreaterThanThreshold]
    #[arg(long, requires = "metric")]
    pub(crate) comparison: Option<String>,
    /// Seconds of a period, a multiple of 60 [default: 60]
    #[arg(long, requires = "metric")]
    pub(crate) period: Option<u32>,
    /// How many periods have to breach [default: 1]
    #[arg(long, requires = "metric")]
    pub(crate) evaluation_periods: Option<u32>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AlarmDeleteOptions {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TopOptions {
    /// The cluster [default: default]
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Print once, also on a terminal
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// How a command finds the server.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientOptions {
    /// Data directory of the Gantry to talk to [default: /var/lib/gantry]
    #[arg(long, value_name = "DIR", env = "GANTRY_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// URL of the Gantry to talk to [default: as the data directory says; without --data-dir, AWS_ENDPOINT_URL before it]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Region [default: the server's; without --data-dir, AWS_REGION before it]
    #[arg(long)]
    pub(crate) region: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct OutputOptions {
    /// text or json
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PushOptions {
    /// A directory with a root filesystem, an OCI image layout, an oci-archive or a docker-archive
    pub(crate) source: PathBuf,
    /// Repository and tag to push to, for example `web:1`; the repository is created when it does not exist
    pub(crate) image: String,
    /// Command of an image made from a directory, as a JSON array or a shell line
    #[arg(long)]
    pub(crate) cmd: Option<String>,
    /// Entry point of an image made from a directory, as a JSON array or a shell line
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyOptions {
    /// Do not read the content of blobs, only look whether they are there and as long as they must be
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct GcOptions {
    /// Say what would be removed, and leave it
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ScanDbOptions {
    #[command(subcommand)]
    pub(crate) command: ScanDbCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ScanDbCommand {
    /// Replace the advisories by those in files; a running Gantry takes notice within seconds
    Import(ScanDbImportOptions),
    /// Show what is there
    Status(ScanDbStatusOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ScanDbImportOptions {
    /// Advisories in the OSV format: zip archives or JSON files, or directories of both
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) sources: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) status: ScanDbStatusOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ScanDbStatusOptions {
    /// Data directory of the Gantry [default: /var/lib/gantry]
    #[arg(long, value_name = "DIR", env = "GANTRY_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LogsOptions {
    /// Log group, or a task id or ARN
    pub(crate) target: String,
    /// Cluster of the task
    #[arg(long, default_value = "default")]
    pub(crate) cluster: String,
    /// Wait for more
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExecOptions {
    /// A task's id or ARN, the name of a service that runs a single task, or the beginning of an id
    pub(crate) task: String,
    /// The container [default: the task's only one]
    pub(crate) container: Option<String>,
    /// The command and its arguments [default: /bin/sh]
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Cluster of the task
    #[arg(long, default_value = "default")]
    pub(crate) cluster: String,
    /// No terminal for the command, even when there is one here: output and errors stay apart, and nothing is echoed
    #[arg(long, short = 'T')]
    pub(crate) no_terminal: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EventsOptions {
    #[command(subcommand)]
    pub(crate) command: Option<EventsCommand>,
    /// How many of the newest to print
    #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
    pub(crate) lines: usize,
    /// Wait for more
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only events of this source, for example aws.ecs; may be given several times
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Vec<String>,
    /// Only events of this kind, for example "ECS Task State Change"; may be given several times
    #[arg(long, value_name = "TYPE")]
    pub(crate) detail_type: Vec<String>,
    /// Only events that match this event pattern, as rules of EventBridge have it
    #[arg(long, value_name = "JSON")]
    pub(crate) pattern: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EventsCommand {
    /// Send events of the log to the targets of a rule of the default bus again
    Replay(ReplayOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayOptions {
    /// The rule whose pattern and targets are used
    #[arg(long)]
    pub(crate) rule: String,
    /// Events from this moment on, for example 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// Events before this moment
    #[arg(long, value_name = "TIME")]
    pub(crate) to: String,
    /// What the events carry as replay-name; without it one is made up
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Check that everything is there and as it must be. Ends with code 1 when something is not.
    Verify(VerifyOptions),
    /// Remove blobs that no image needs, as the server does every hour.
    Gc(GcOptions),
    /// Print the certificate with which the signatures of a signing profile are verified.
    SigningCertificate(SigningCertificateOptions),
    /// Lifecycle policies.
    #[command(subcommand)]
    Lifecycle(LifecycleCommand),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SigningCertificateOptions {
    /// ARN of the signing profile: `arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME`
    pub(crate) profile: String,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum LifecycleCommand {
    /// Run a repository's policy now.
    Run(LifecycleRunOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LifecycleRunOptions {
    /// Repository
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImageCommand {
    /// Where tags pointed and since when, deleted tags too.
    History(ImageHistoryOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ImageHistoryOptions {
    /// Repository, or repository and tag: `web` or `web:latest`
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}
