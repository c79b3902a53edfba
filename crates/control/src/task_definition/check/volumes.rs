//! Volumes, and the mounts that refer to them.

use std::collections::BTreeSet;

use gantry_api::ecs::{
    DockerVolumeConfiguration, EFSAuthorizationConfigIAM, EFSTransitEncryption, EFSVolumeConfiguration,
    FSxWindowsFileServerVolumeConfiguration, S3FilesVolumeConfiguration, Scope, Volume,
};
use gantry_domain::limits::NAME_LENGTH_MAX;

use super::container::has_no_nul;
use super::task::is_name;
use crate::task_definition::document::{Container, Document, list, text};
use crate::task_definition::invalid::Invalid;

pub(super) fn check(document: Document<'_>) -> Result<(), Invalid> {
    let volumes = list(&document.task.volumes);
    let mut names = BTreeSet::new();
    for volume in volumes {
        check_volume(document, volume)?;
        if !names.insert(text(&volume.name)) {
            return Err(Invalid::DuplicateVolume { name: text(&volume.name).to_owned() });
        }
    }
    match volumes.iter().filter(|volume| volume.configured_at_launch == Some(true)).count() {
        0 | 1 => Ok(()),
        _ => Err(Invalid::ConfiguredAtLaunch),
    }
}

fn check_volume(document: Document<'_>, volume: &Volume) -> Result<(), Invalid> {
    let name = text(&volume.name);
    match name {
        "" => return Err(Invalid::VolumeNameBlank),
        _ if name.len() > NAME_LENGTH_MAX || !is_name(name) => return Err(Invalid::VolumeNameCharacters),
        _ => {}
    }
    let source = volume.host.as_ref().and_then(|host| host.source_path.as_deref());
    if source.is_some_and(|path| path.trim().is_empty()) {
        return Err(Invalid::SourcePathBlank);
    }
    setting(volume, "sourcePath", source.is_none_or(has_no_nul))?;
    let kinds = [
        // `host: {}` is what the service itself answers beside other kinds, so it does not count.
        source.is_some(),
        volume.docker_volume_configuration.is_some(),
        volume.efs_volume_configuration.is_some(),
        volume.s3files_volume_configuration.is_some(),
        volume.fsx_windows_file_server_volume_configuration.is_some(),
        volume.configured_at_launch == Some(true),
    ];
    if kinds.into_iter().filter(|given| *given).count() > 1 {
        return Err(Invalid::VolumeKinds { name: name.to_owned() });
    }
    check_kind(document, volume)
}

fn check_kind(document: Document<'_>, volume: &Volume) -> Result<(), Invalid> {
    if let Some(docker) = &volume.docker_volume_configuration {
        check_docker(volume, docker)?;
    }
    if let Some(efs) = &volume.efs_volume_configuration {
        check_efs(document, volume, efs)?;
    }
    if let Some(files) = &volume.s3files_volume_configuration {
        check_s3_files(document, volume, files)?;
    }
    match &volume.fsx_windows_file_server_volume_configuration {
        Some(fsx) => check_fsx(volume, fsx),
        None => Ok(()),
    }
}

fn setting(volume: &Volume, member: &'static str, holds: bool) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid::VolumeSetting { member, name: text(&volume.name).to_owned() }) }
}

fn check_docker(volume: &Volume, docker: &DockerVolumeConfiguration) -> Result<(), Invalid> {
    let shared = docker.scope == Some(Scope::Shared);
    setting(volume, "autoprovision", shared || docker.autoprovision.is_none())?;
    setting(volume, "driver", docker.driver.as_deref().is_none_or(|driver| !driver.trim().is_empty()))
}

fn check_efs(document: Document<'_>, volume: &Volume, efs: &EFSVolumeConfiguration) -> Result<(), Invalid> {
    setting(volume, "fileSystemId", is_file_system(text(&efs.file_system_id)))?;
    let encrypted = efs.transit_encryption == Some(EFSTransitEncryption::Enabled);
    let port = efs.transit_encryption_port;
    setting(volume, "transitEncryptionPort", port.is_none_or(|port| encrypted && (1..=65_535).contains(&port)))?;
    let Some(authorization) = &efs.authorization_config else { return Ok(()) };
    let access_point = text(&authorization.access_point_id);
    if !access_point.is_empty() {
        setting(volume, "rootDirectory", matches!(text(&efs.root_directory), "" | "/"))?;
        setting(volume, "transitEncryption", encrypted)?;
    }
    if authorization.iam == Some(EFSAuthorizationConfigIAM::Enabled) {
        setting(volume, "transitEncryption", encrypted)?;
        setting(volume, "iam", !text(&document.task.task_role_arn).is_empty())?;
    }
    Ok(())
}

fn is_file_system(id: &str) -> bool {
    let id = id.rsplit('/').next().unwrap_or_default();
    id.strip_prefix("fs-").is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Access is always by IAM, so there must be a task role.
fn check_s3_files(document: Document<'_>, volume: &Volume, files: &S3FilesVolumeConfiguration) -> Result<(), Invalid> {
    setting(volume, "fileSystemArn", text(&files.file_system_arn).starts_with("arn:"))?;
    setting(
        volume,
        "transitEncryptionPort",
        files.transit_encryption_port.is_none_or(|port| (1..=65_535).contains(&port)),
    )?;
    let access_point = files.access_point_arn.as_deref();
    setting(volume, "accessPointArn", access_point.is_none_or(|arn| arn.starts_with("arn:")))?;
    let root = text(&files.root_directory);
    setting(volume, "rootDirectory", access_point.is_none() || matches!(root, "" | "/"))?;
    setting(volume, "taskRoleArn", !text(&document.task.task_role_arn).is_empty())
}

fn check_fsx(volume: &Volume, fsx: &FSxWindowsFileServerVolumeConfiguration) -> Result<(), Invalid> {
    setting(volume, "fileSystemId", is_file_system(text(&fsx.file_system_id)))?;
    setting(volume, "rootDirectory", !text(&fsx.root_directory).is_empty())?;
    let authorization = fsx.authorization_config.as_ref();
    let parameter = authorization.is_some_and(|config| text(&config.credentials_parameter).starts_with("arn:"));
    let domain = authorization.is_some_and(|config| !text(&config.domain).is_empty());
    setting(volume, "authorizationConfig", parameter && domain)
}

/// `mountPoints` and `volumesFrom` of a container.
pub(super) fn check_mounts(container: Container<'_>) -> Result<(), Invalid> {
    let volumes = list(&container.document.task.volumes);
    for mount in list(&container.definition.mount_points) {
        let source = text(&mount.source_volume);
        if !volumes.iter().any(|volume| text(&volume.name) == source) {
            // The real service prints an absent name the way Java prints null.
            let name = mount.source_volume.as_deref().unwrap_or("null").to_owned();
            return Err(Invalid::UnknownVolume { name });
        }
        let path = text(&mount.container_path);
        let absolute = container.document.is_windows() || path.starts_with('/');
        container.ensure(absolute && !path.is_empty() && has_no_nul(path), "containerPath")?;
    }
    for from in list(&container.definition.volumes_from) {
        let source = text(&from.source_container);
        if source == container.name() || container.document.container(source).is_none() {
            let (name, container) = (source.to_owned(), container.name().to_owned());
            return Err(Invalid::UnknownSourceContainer { name, container });
        }
    }
    Ok(())
}
