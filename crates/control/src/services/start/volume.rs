//! The volumes of a service's tasks.

use crate::{
    keys::ServiceKey,
    launch::VolumeTemplate,
    records::{ServiceRecord, ServiceRevisionRecord, TaskDefinitionRecord},
    volumes::{self, Inherited},
};

/// The volume of each of its tasks, which goes with it.
pub(super) fn of_each(
    key: &ServiceKey,
    record: &ServiceRecord,
    revision: &ServiceRevisionRecord,
    definition: &TaskDefinitionRecord,
) -> Option<VolumeTemplate> {
    let managed = [("aws:ecs:clusterName", key.cluster.as_str()), ("aws:ecs:serviceName", key.service.as_str())];
    let inherited = Inherited {
        task_definition: &definition.tags,
        service: Some(&record.tags),
        managed: if record.enable_ecs_managed_tags { &managed } else { &[] },
    };
    volumes::template(&revision.volume_configurations, revision.launch_type, true, inherited)
}
