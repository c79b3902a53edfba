//! Version consistency: all tasks of a service revision run the images that its tags stood for when it began.
//!
//! The digests are in the revision. What our own registry has is looked up before the first task starts; what another one
//! has is what the first task's agent says that it pulled. A container may ask for no consistency
//! (`versionConsistency: disabled`), and an image that is named by its digest needs none.

use std::collections::BTreeMap;

use gantry_api::{Fault, ecs};
use gantry_store::Txn;

use super::{find, wire};
use crate::{
    Control,
    control::Plan,
    keys::ServiceKey,
    records::{ServiceRevisionRecord, SharedRow, encode},
    view::{EcsView, Phase},
};

/// A container whose image has no digest yet.
#[derive(Debug, PartialEq, Eq)]
struct Open {
    container: String,
    image: String,
}

/// Finds digests that the revision of the primary deployment lacks. Returns whether it has found any.
pub(crate) async fn resolve(control: &Control, key: &ServiceKey) -> Result<bool, Fault> {
    let Some((number, open, mut found)) = look(&control.read(), key) else { return Ok(false) };
    for one in &open {
        if !found.contains_key(&one.container)
            && let Some(digest) = control.images.digest(&key.scope, &one.image).await
        {
            found.insert(one.container.clone(), digest);
        }
    }
    if found.is_empty() {
        return Ok(false);
    }
    control.transact(|view| Ok(write_down(view, key, number, &found))).await
}

/// What the revision of the primary deployment lacks, and what of it running tasks say.
fn look(view: &EcsView, key: &ServiceKey) -> Option<(u64, Vec<Open>, BTreeMap<String, String>)> {
    let primary = find::row(view, key)?.primary()?;
    let revision = wire::revision(view, key, primary.revision)?;
    let definition = find::definition(view, key, revision)?;
    let open = open(definition.document.container_definitions.as_deref().unwrap_or_default(), revision);
    if open.is_empty() {
        return None;
    }
    let tasks = view.cluster(&key.scope, &key.cluster)?.tasks();
    let started_by = primary.id.to_string();
    let group = tasks.started_by(&started_by);
    let mut rows: Vec<_> =
        group.into_iter().flat_map(|group| tasks.walk(group, &[Phase::Wanted, Phase::Stopping], None)).collect();
    rows.sort_by_key(|task| task.life.times.created_at);
    let mut found = BTreeMap::new();
    for one in &open {
        let containers = rows.iter().flat_map(|task| &task.containers);
        let pulled = containers.filter(|container| container.name == one.container);
        let digest = pulled.filter_map(|container| container.image_digest.as_ref()).find(|digest| is_digest(digest));
        if let Some(digest) = digest {
            found.insert(one.container.clone(), digest.clone());
        }
    }
    Some((primary.revision, open, found))
}

fn open(containers: &[ecs::ContainerDefinition], revision: &ServiceRevisionRecord) -> Vec<Open> {
    let one = |container: &ecs::ContainerDefinition| {
        let (name, image) = (container.name.clone()?, container.image.clone()?);
        let consistent = container.version_consistency != Some(ecs::VersionConsistency::Disabled);
        let known = revision.image_digests.contains_key(&name) || image.contains('@');
        (consistent && !known).then_some(Open { container: name, image })
    };
    containers.iter().filter_map(one).collect()
}

fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether anything was found that nobody else had written already.
fn write_down(view: &EcsView, key: &ServiceKey, number: u64, found: &BTreeMap<String, String>) -> Plan<bool> {
    let Some(row) = row(view, key, number) else { return Plan::Done(false) };
    let mut record = row.record.clone();
    for (container, digest) in found {
        record.image_digests.entry(container.clone()).or_insert_with(|| digest.clone());
    }
    if record == row.record {
        return Plan::Done(false);
    }
    let path = key.revision_path(&wire::revision_id(number));
    Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(&record)), true)
}

fn row<'a>(view: &'a EcsView, key: &ServiceKey, number: u64) -> Option<&'a SharedRow<ServiceRevisionRecord>> {
    let kept = view.cluster(&key.scope, &key.cluster)?.kept(key.kind);
    kept.revisions().get(&(key.service.clone(), wire::revision_id(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::LaunchType;

    fn container(name: &str, image: &str) -> ecs::ContainerDefinition {
        ecs::ContainerDefinition {
            name: Some(name.to_owned()),
            image: Some(image.to_owned()),
            ..ecs::ContainerDefinition::default()
        }
    }

    #[test]
    fn only_tags_that_are_to_be_consistent_are_open() {
        let free = ecs::ContainerDefinition {
            version_consistency: Some(ecs::VersionConsistency::Disabled),
            ..container("free", "web:1")
        };
        let containers =
            [container("web", "web:1"), free, container("fixed", "web@sha256:0"), container("known", "web:1")];
        let revision = ServiceRevisionRecord {
            created_at: gantry_domain::Timestamp::from_millis(0),
            task_definition: gantry_domain::arn::TaskDefinitionKey {
                family: "f".parse().expect("a name"),
                revision: gantry_domain::arn::Revision::FIRST,
            },
            launch_type: LaunchType::Ec2,
            capacity_provider_strategy: Vec::new(),
            platform_version: None,
            network_configuration: None,
            volume_configurations: Vec::new(),
            daemon: None,
            image_digests: [("known".to_owned(), "sha256:1".to_owned())].into(),
        };
        let open = open(&containers, &revision);
        assert_eq!(open, [Open { container: "web".to_owned(), image: "web:1".to_owned() }]);
    }

    #[test]
    fn a_digest_has_its_form() {
        assert!(is_digest(&format!("sha256:{}", "0f".repeat(32))));
        for text in ["", "sha256:", "sha256:0", "0f0f", &format!("sha256:{}", "0g".repeat(32))] {
            assert!(!is_digest(text), "{text}");
        }
    }
}
