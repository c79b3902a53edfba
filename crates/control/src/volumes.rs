//! Volumes that are configured when a task is launched (`configuredAtLaunch` in the task definition,
//! `managedEBSVolume` in the request): what may be asked, and what each task gets.

use std::collections::BTreeMap;

use gantry_api::{Fault, ecs};
use gantry_domain::ebs;

use crate::{
    fault,
    random::Random,
    records::{AttachmentStatus, LaunchType, ServiceRevisionRecord, VolumeRecord},
    tags,
};

/// Tags that ECS itself puts on its volumes.
const OWN_TAGS: [&str; 2] = ["AmazonECSCreated", "AmazonECSManaged"];

/// The volume of a task that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeTemplate {
    /// Of the task definition's volume.
    pub name: String,
    /// In which ECS makes it.
    pub role_arn: String,
    /// GiB.
    pub size_gib: u32,
    /// As given.
    pub filesystem: Option<String>,
    /// It goes with the task.
    pub delete_on_termination: bool,
    /// Key and value.
    pub tags: Vec<(String, String)>,
}

/// Tags that a volume may get besides its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inherited<'a> {
    pub(crate) task_definition: &'a BTreeMap<String, String>,
    pub(crate) service: Option<&'a BTreeMap<String, String>>,
    /// `aws:ecs:` ones.
    pub(crate) managed: &'a [(&'a str, &'a str)],
}

/// The configurations of RunTask and StartTask as those of a service, and whether the volume goes with the task.
pub(crate) fn of_task(
    asked: Option<Vec<ecs::TaskVolumeConfiguration>>,
) -> Result<(Vec<ecs::ServiceVolumeConfiguration>, bool), Fault> {
    let asked = asked.unwrap_or_default();
    let ebs = || asked.iter().filter_map(|one| one.managed_ebs_volume.as_ref());
    let mut propagated = ebs().flat_map(|ebs| ebs.tag_specifications.iter().flatten());
    if propagated.any(|tags| tags.propagate_tags == Some(ecs::PropagateTags::Service)) {
        return Err(fault::invalid("propagateTags SERVICE is not valid for tasks that no service starts."));
    }
    let policies = ebs().filter_map(|ebs| ebs.termination_policy.as_ref());
    let deletes = policies.fold(true, |_, policy| policy.delete_on_termination.unwrap_or(true));
    Ok((asked.into_iter().map(as_of_service).collect(), deletes))
}

fn as_of_service(asked: ecs::TaskVolumeConfiguration) -> ecs::ServiceVolumeConfiguration {
    let managed = |ebs: ecs::TaskManagedEBSVolumeConfiguration| ecs::ServiceManagedEBSVolumeConfiguration {
        encrypted: ebs.encrypted,
        filesystem_type: ebs.filesystem_type,
        iops: ebs.iops,
        kms_key_id: ebs.kms_key_id,
        role_arn: ebs.role_arn,
        size_in_gi_b: ebs.size_in_gi_b,
        snapshot_id: ebs.snapshot_id,
        tag_specifications: ebs.tag_specifications,
        throughput: ebs.throughput,
        volume_initialization_rate: ebs.volume_initialization_rate,
        volume_type: ebs.volume_type,
    };
    ecs::ServiceVolumeConfiguration { name: asked.name, managed_ebs_volume: asked.managed_ebs_volume.map(managed) }
}

/// Holds the configurations against the task definition's volume that is configured at launch.
pub(crate) fn check(
    document: &ecs::TaskDefinition,
    launch_type: LaunchType,
    asked: &[ecs::ServiceVolumeConfiguration],
) -> Result<(), Fault> {
    let mut volumes = document.volumes.iter().flatten();
    let wanted = volumes.find(|volume| volume.configured_at_launch == Some(true));
    let configuration = match (wanted, asked) {
        (None, []) => return Ok(()),
        (Some(_), []) => return Err(fault::volume_not_configured()),
        (_, [one]) => one,
        (_, _) => return Err(fault::invalid("volumeConfigurations can have at most 1 item.")),
    };
    if wanted.is_none_or(|volume| volume.name != configuration.name) {
        return Err(fault::volume_not_in_task_definition());
    }
    match &configuration.managed_ebs_volume {
        Some(managed) => check_managed(managed, launch_type),
        None => Err(fault::invalid("managedEBSVolume must be specified in volumeConfigurations.")),
    }
}

fn check_managed(ebs: &ecs::ServiceManagedEBSVolumeConfiguration, launch_type: LaunchType) -> Result<(), Fault> {
    let given = [
        (ebs.encrypted == Some(true), "managedEBSVolume encrypted"),
        (ebs.kms_key_id.is_some(), "managedEBSVolume kmsKeyId"),
        (ebs.snapshot_id.is_some(), "managedEBSVolume snapshotId"),
        (ebs.volume_initialization_rate.is_some(), "managedEBSVolume volumeInitializationRate"),
        (ebs.filesystem_type == Some(ecs::TaskFilesystemType::Ntfs), "managedEBSVolume filesystemType 'ntfs'"),
    ];
    if let Some((_, member)) = given.iter().find(|(given, _)| *given) {
        return Err(fault::unsupported(member));
    }
    size(ebs, launch_type).map_err(|invalid| fault::invalid(invalid.to_string()))?;
    let specifications = ebs.tag_specifications.as_deref().unwrap_or_default();
    if specifications.len() > 1 {
        return Err(fault::invalid("tagSpecifications can have at most 1 item."));
    }
    specifications.iter().try_for_each(check_tags)
}

fn size(ebs: &ecs::ServiceManagedEBSVolumeConfiguration, launch_type: LaunchType) -> Result<u32, ebs::Invalid> {
    ebs::check(&ebs::Asked {
        volume_type: ebs.volume_type.as_deref(),
        size: ebs.size_in_gi_b,
        iops: ebs.iops,
        throughput: ebs.throughput,
        fargate: launch_type == LaunchType::Fargate,
    })
}

fn check_tags(specification: &ecs::EBSTagSpecification) -> Result<(), Fault> {
    if specification.resource_type != Some(ecs::EBSResourceType::Volume) {
        return Err(fault::invalid("The resourceType of tagSpecifications must be volume."));
    }
    if let Some(ecs::PropagateTags::Unknown(from)) = &specification.propagate_tags {
        return Err(fault::invalid(format!("Invalid propagateTags: {from}")));
    }
    let own = tags::parse(specification.tags.as_deref())?;
    match own.iter().find(|(key, _)| OWN_TAGS.contains(key)) {
        Some((key, _)) => Err(fault::invalid(format!("The tag key {key} is reserved by Amazon ECS."))),
        None => Ok(()),
    }
}

/// The volume of tasks with these configurations, which were checked.
pub(crate) fn template(
    configurations: &[ecs::ServiceVolumeConfiguration],
    launch_type: LaunchType,
    delete_on_termination: bool,
    inherited: Inherited<'_>,
) -> Option<VolumeTemplate> {
    let configuration = configurations.first()?;
    let ebs = configuration.managed_ebs_volume.as_ref()?;
    Some(VolumeTemplate {
        name: configuration.name.clone()?,
        role_arn: ebs.role_arn.clone()?,
        size_gib: size(ebs, launch_type).ok()?,
        filesystem: ebs.filesystem_type.as_ref().map(|kind| kind.as_str().to_owned()),
        delete_on_termination,
        tags: all_tags(ebs.tag_specifications.as_deref().unwrap_or_default(), inherited),
    })
}

/// GiB of the volume of each task of a service, whose configurations were checked.
pub(crate) fn size_gib(revision: &ServiceRevisionRecord) -> u32 {
    let managed = revision.volume_configurations.first().and_then(|one| one.managed_ebs_volume.as_ref());
    managed.and_then(|ebs| size(ebs, revision.launch_type).ok()).unwrap_or(0)
}

fn all_tags(specifications: &[ecs::EBSTagSpecification], inherited: Inherited<'_>) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    for specification in specifications {
        match &specification.propagate_tags {
            Some(ecs::PropagateTags::TaskDefinition) => all.extend(inherited.task_definition.clone()),
            Some(ecs::PropagateTags::Service) => all.extend(inherited.service.cloned().unwrap_or_default()),
            _ => {}
        }
        let own = specification.tags.iter().flatten();
        all.extend(own.filter_map(|tag| Some((tag.key.clone()?, tag.value.clone().unwrap_or_default()))));
    }
    let managed = inherited.managed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    all.extend(managed.chain(OWN_TAGS.map(|key| (key.to_owned(), "true".to_owned()))));
    all.into_iter().collect()
}

/// The role in which each configuration wants its volume made.
pub(crate) fn roles(configurations: &[ecs::ServiceVolumeConfiguration]) -> impl Iterator<Item = &str> {
    let managed = configurations.iter().filter_map(|one| one.managed_ebs_volume.as_ref());
    managed.filter_map(|ebs| ebs.role_arn.as_deref())
}

impl VolumeTemplate {
    /// The volume of one task; one that has no host yet waits with its task.
    pub(crate) fn record(&self, has_host: bool, random: &Random) -> VolumeRecord {
        VolumeRecord {
            attachment_id: random.uuid(),
            status: if has_host { AttachmentStatus::Created } else { AttachmentStatus::Precreated },
            status_reason: None,
            id: format!("vol-0{:016x}", random.bits()),
            name: self.name.clone(),
            role_arn: self.role_arn.clone(),
            size_gib: self.size_gib,
            filesystem: self.filesystem.clone(),
            delete_on_termination: self.delete_on_termination,
            tags: self.tags.clone(),
        }
    }
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
