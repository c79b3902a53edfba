//! What a registered task definition asks for and Gantry cannot do yet. Registration keeps it; running a task or making
//! a service of it is refused by name, because a member that is stored and ignored would be a lie.

use std::fmt;

use gantry_api::ecs::{EFSAuthorizationConfigIAM, LaunchType, LogDriver, NetworkMode, TaskDefinition, Volume};
use gantry_domain::task_definition::local_mount;

use super::document::{Container, Document, list, text};
use super::gpus;

/// Options that every driver has.
const COMMON_OPTIONS: &[&str] = &["max-buffer-size", "mode"];
/// Options of drivers that send what is said of the container.
const ABOUT_OPTIONS: &[&str] = &["env", "env-regex", "labels", "labels-regex", "tag"];

/// The options of a driver that the agent follows; none when any may stand, as a router's are its own business. Options
/// that only tune a buffer which the agent sizes itself may stand, too.
fn options_of(driver: &LogDriver) -> Option<&'static [&'static str]> {
    Some(match driver {
        LogDriver::Awslogs => &[
            "awslogs-create-group",
            "awslogs-datetime-format",
            "awslogs-force-flush-interval-seconds",
            "awslogs-group",
            "awslogs-max-buffered-events",
            "awslogs-multiline-pattern",
            "awslogs-region",
            "awslogs-stream-prefix",
            "tag",
        ],
        LogDriver::JsonFile => &["max-file", "max-size"],
        LogDriver::Fluentd => &[
            "fluentd-address",
            "fluentd-async",
            "fluentd-async-connect",
            "fluentd-async-reconnect-interval",
            "fluentd-buffer-limit",
            "fluentd-max-retries",
            "fluentd-request-ack",
            "fluentd-retry-wait",
            "fluentd-sub-second-precision",
        ],
        LogDriver::Gelf => &[
            "gelf-address",
            "gelf-compression-level",
            "gelf-compression-type",
            "gelf-tcp-max-reconnect",
            "gelf-tcp-reconnect-delay",
        ],
        LogDriver::Splunk => &[
            "splunk-capath",
            "splunk-format",
            "splunk-gzip",
            "splunk-gzip-level",
            "splunk-index",
            "splunk-insecureskipverify",
            "splunk-source",
            "splunk-sourcetype",
            "splunk-token",
            "splunk-url",
            "splunk-verify-connection",
        ],
        LogDriver::Syslog => &[
            "syslog-address",
            "syslog-facility",
            "syslog-format",
            "syslog-tls-ca-cert",
            "syslog-tls-cert",
            "syslog-tls-key",
            "syslog-tls-skip-verify",
        ],
        LogDriver::Journald => &[],
        _ => return None,
    })
}

fn is_followed(driver: &LogDriver, option: &str) -> bool {
    let Some(own) = options_of(driver) else { return true };
    let about = !matches!(driver, LogDriver::Awslogs | LogDriver::JsonFile) && ABOUT_OPTIONS.contains(&option);
    about || own.contains(&option) || COMMON_OPTIONS.contains(&option)
}

/// The sizes of files are kept with the container, where no secret may be.
fn is_followed_secretly(driver: &LogDriver, option: &str) -> bool {
    !COMMON_OPTIONS.contains(&option) && *driver != LogDriver::JsonFile && is_followed(driver, option)
}

/// One member that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As the document spells it, with the value where only that value is the trouble: `logDriver 'syslog'`.
    pub member: String,
    /// The container it stands in; none when it stands in the document itself.
    pub container: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.container {
            Some(container) => write!(formatter, "{} of container '{container}'", self.member),
            None => formatter.write_str(&self.member),
        }
    }
}

/// Everything in a registered document that stands in the way of running it as `launch_type`.
pub fn refusals(document: &TaskDefinition, launch_type: &LaunchType) -> Vec<Refusal> {
    let document = Document { task: document };
    let mut found = task(document);
    if *launch_type == LaunchType::Unknown(String::new()) || matches!(launch_type, LaunchType::ManagedInstances) {
        found.push(Refusal { member: format!("launchType '{launch_type}'"), container: None });
    }
    for volume in list(&document.task.volumes) {
        found.extend(self::volume(volume).map(|member| Refusal { member, container: None }));
    }
    for container in document.containers() {
        let name = || Some(container.name().to_owned());
        found.extend(members(container).into_iter().map(|member| Refusal { member, container: name() }));
    }
    found
}

fn task(document: Document<'_>) -> Vec<Refusal> {
    let task = document.task;
    let faults_on_host = task.enable_fault_injection == Some(true) && *document.network_mode() == NetworkMode::Host;
    let given = [
        (!list(&task.inference_accelerators).is_empty(), "inferenceAccelerators"),
        (faults_on_host, "enableFaultInjection with networkMode host"),
        (task.trusted_execution_configuration.is_some(), "trustedExecutionConfiguration"),
        (document.is_windows(), "runtimePlatform.operatingSystemFamily other than LINUX"),
    ];
    given
        .into_iter()
        .filter(|(given, _)| *given)
        .map(|(_, member)| Refusal { member: member.to_owned(), container: None })
        .collect()
}

fn volume(volume: &Volume) -> Option<String> {
    let named = |kind: &str| Some(format!("{kind} of volume '{}'", text(&volume.name)));
    let efs = volume.efs_volume_configuration.as_ref().and_then(|efs| efs.authorization_config.as_ref());
    if efs.is_some_and(|authorization| authorization.iam == Some(EFSAuthorizationConfigIAM::Enabled)) {
        return named("efsVolumeConfiguration authorizationConfig iam");
    }
    if volume.s3files_volume_configuration.is_some() {
        return named("s3filesVolumeConfiguration");
    }
    if volume.fsx_windows_file_server_volume_configuration.is_some() {
        return named("fsxWindowsFileServerVolumeConfiguration");
    }
    let docker = volume.docker_volume_configuration.as_ref()?;
    let driver = docker.driver.as_deref().unwrap_or("local");
    if driver != "local" {
        return named(&format!("dockerVolumeConfiguration driver '{driver}'"));
    }
    let mount = docker.driver_opts.as_ref().map(local_mount);
    mount.and_then(Result::err).and_then(|error| named(&format!("dockerVolumeConfiguration {error}")))
}

fn members(container: Container<'_>) -> Vec<String> {
    let definition = container.definition;
    let logging = definition.log_configuration.as_ref();
    let mut found = Vec::new();
    if !list(&definition.credential_specs).is_empty() {
        found.push("credentialSpecs".to_owned());
    }
    if let Some(driver @ LogDriver::Unknown(_)) = container.log_driver() {
        found.push(format!("logDriver '{driver}'"));
    }
    if let (Some(driver), Some(logging)) = (container.log_driver(), logging) {
        let options = logging.options.iter().flat_map(|options| options.keys());
        let without_effect = options.filter(|option| !is_followed(driver, option));
        found.extend(without_effect.map(|option| format!("log option '{option}'")));
        let secrets = list(&logging.secret_options).iter().map(|secret| text(&secret.name));
        let without_effect = secrets.filter(|option| !is_followed_secretly(driver, option));
        found.extend(without_effect.map(|option| format!("secretOptions '{option}'")));
    }
    found.extend(list(&definition.resource_requirements).iter().filter_map(gpus::refused));
    let options = list(&definition.docker_security_options).iter();
    found.extend(
        options
            .filter(|option| !option.starts_with("no-new-privileges"))
            .map(|option| format!("dockerSecurityOptions '{option}'")),
    );
    found
}
