//! Which launch types a document can run on, whatever it asks for.

use gantry_api::ecs::{Compatibility, LogDriver, NetworkMode, ResourceType};

use super::check;
use super::document::{Document, list};
use super::invalid::Invalid;

/// Every launch type the document is valid for, in the order the service lists them.
pub(super) fn compatibilities(document: Document<'_>) -> Vec<Compatibility> {
    let all = [
        (Compatibility::External, runs_on_external(document)),
        (Compatibility::Ec2, runs_on_ec2(document)),
        (Compatibility::Fargate, check::fargate(document).is_ok()),
        (Compatibility::ManagedInstances, runs_on_managed_instances(document)),
    ];
    all.into_iter().filter(|(_, runs)| *runs).map(|(compatibility, _)| compatibility).collect()
}

/// Holds what the document requires against what it can.
///
/// # Errors
/// [`Invalid::Compatibility`] for the first launch type that is required and impossible.
pub(super) fn check_required(document: Document<'_>, can: &[Compatibility]) -> Result<(), Invalid> {
    let required = list(&document.task.requires_compatibilities);
    match required.iter().find(|compatibility| !can.contains(compatibility)) {
        None => Ok(()),
        Some(Compatibility::External) => Err(Invalid::Compatibility { launch_type: "EXTERNAL" }),
        Some(Compatibility::Fargate) => Err(Invalid::Compatibility { launch_type: "FARGATE" }),
        Some(Compatibility::ManagedInstances) => Err(Invalid::Compatibility { launch_type: "MANAGED_INSTANCES" }),
        Some(Compatibility::Ec2) => Err(Invalid::Compatibility { launch_type: "EC2" }),
        Some(Compatibility::Unknown(_)) => Err(Invalid::TaskSetting { member: "requiresCompatibilities" }),
    }
}

fn needs(document: Document<'_>, kind: &ResourceType) -> bool {
    let requirements = document.containers().flat_map(|one| list(&one.definition.resource_requirements));
    requirements.into_iter().any(|requirement| requirement.r#type.as_ref() == Some(kind))
}

fn runs_on_ec2(document: Document<'_>) -> bool {
    document.task.trusted_execution_configuration.is_none() && !needs(document, &ResourceType::NeuronDevice)
}

fn runs_on_external(document: Document<'_>) -> bool {
    let volumes = list(&document.task.volumes).iter().all(|volume| {
        volume.efs_volume_configuration.is_none()
            && volume.s3files_volume_configuration.is_none()
            && volume.fsx_windows_file_server_volume_configuration.is_none()
            && volume.configured_at_launch != Some(true)
    });
    let mut requirements = document.containers().flat_map(|one| list(&one.definition.resource_requirements));
    let shares_gpu = requirements.any(|requirement| requirement.sharing_strategy.is_some());
    let awsvpc = *document.network_mode() == NetworkMode::Awsvpc;
    runs_on_ec2(document) && !awsvpc && volumes && !shares_gpu && document.task.proxy_configuration.is_none()
}

fn runs_on_managed_instances(document: Document<'_>) -> bool {
    let volumes = list(&document.task.volumes).iter().all(|volume| {
        volume.docker_volume_configuration.is_none() && volume.fsx_windows_file_server_volume_configuration.is_none()
    });
    let known = |driver: &LogDriver| {
        matches!(driver, LogDriver::Awslogs | LogDriver::Splunk | LogDriver::Awsfirelens | LogDriver::JsonFile)
    };
    let logging = document.containers().all(|container| container.log_driver().is_none_or(known));
    *document.network_mode() != NetworkMode::Bridge && !document.is_windows() && volumes && logging
}
