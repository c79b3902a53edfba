//! What a registered task definition asks for and Gantry cannot do yet. Registration keeps it; running a task or making
//! a service of it is refused by name, because a member that is stored and ignored would be a lie.

use std::fmt;

use gantry_api::ecs::{LaunchType, LogDriver, Scope, TaskDefinition, Volume};

use super::document::{Container, Document, list, text};

/// Options of the log drivers we have that change what is logged or where, and that the agent does not follow.
/// `awslogs-force-flush-interval-seconds` and `awslogs-max-buffered-events` only tune a buffer that the agent sizes
/// itself, so they may stand.
const LOG_OPTIONS_MISSING: &[&str] =
    &["awslogs-endpoint", "awslogs-format", "compress", "env", "env-regex", "labels", "labels-regex", "tag"];

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
    let given = [
        (task.proxy_configuration.is_some(), "proxyConfiguration"),
        (!list(&task.inference_accelerators).is_empty(), "inferenceAccelerators"),
        (task.enable_fault_injection == Some(true), "enableFaultInjection"),
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
    if volume.efs_volume_configuration.is_some() {
        return named("efsVolumeConfiguration");
    }
    if volume.s3files_volume_configuration.is_some() {
        return named("s3filesVolumeConfiguration");
    }
    if volume.fsx_windows_file_server_volume_configuration.is_some() {
        return named("fsxWindowsFileServerVolumeConfiguration");
    }
    if volume.configured_at_launch == Some(true) {
        return named("configuredAtLaunch");
    }
    let docker = volume.docker_volume_configuration.as_ref()?;
    let driver = docker.driver.as_deref().unwrap_or("local");
    if driver != "local" {
        return named(&format!("dockerVolumeConfiguration driver '{driver}'"));
    }
    // Labels of a shared volume choose nothing; options of the local driver mount other things than a directory.
    let options = docker.driver_opts.as_ref().is_some_and(|options| !options.is_empty());
    let shared = docker.scope == Some(Scope::Shared);
    match options {
        true if shared => named("dockerVolumeConfiguration driverOpts (scope shared)"),
        true => named("dockerVolumeConfiguration driverOpts"),
        false => None,
    }
}

fn members(container: Container<'_>) -> Vec<String> {
    let definition = container.definition;
    let logging = definition.log_configuration.as_ref();
    let given = [
        (definition.repository_credentials.is_some(), "repositoryCredentials"),
        (!list(&definition.secrets).is_empty(), "secrets"),
        (!list(&definition.environment_files).is_empty(), "environmentFiles"),
        (!list(&definition.resource_requirements).is_empty(), "resourceRequirements"),
        (!list(&definition.credential_specs).is_empty(), "credentialSpecs"),
        (definition.firelens_configuration.is_some(), "firelensConfiguration"),
        (definition.interactive == Some(true), "interactive"),
        (logging.is_some_and(|logging| !list(&logging.secret_options).is_empty()), "secretOptions"),
    ];
    let mut found: Vec<String> =
        given.into_iter().filter(|(given, _)| *given).map(|(_, member)| member.to_owned()).collect();
    if let Some(driver) =
        container.log_driver().filter(|driver| !matches!(driver, LogDriver::Awslogs | LogDriver::JsonFile))
    {
        found.push(format!("logDriver '{driver}'"));
    }
    if let Some(options) = logging.and_then(|logging| logging.options.as_ref()) {
        let without_effect = options.keys().filter(|option| LOG_OPTIONS_MISSING.contains(&option.as_str()));
        found.extend(without_effect.map(|option| format!("log option '{option}'")));
    }
    let options = list(&definition.docker_security_options).iter();
    found.extend(
        options
            .filter(|option| !option.starts_with("no-new-privileges"))
            .map(|option| format!("dockerSecurityOptions '{option}'")),
    );
    found
}
