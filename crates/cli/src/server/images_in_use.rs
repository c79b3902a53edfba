//! Tells the registry which images running tasks use, so that lifecycle policies leave them alone.

use gantry_control::Control;
use gantry_control::records::TaskRecord;
use gantry_registry::lifecycle::{ImagesInUse, InUse};
use gantry_registry::metadata::RepositoryKeys;

/// Asks the control plane's picture.
pub(crate) struct ImagesOfTasks(pub(crate) Control);

impl ImagesInUse for ImagesOfTasks {
    /// Goes through the tasks that are not stopped, of every account and region: whoever may pull may run. An image
    /// counts by the name of its repository whatever the registry's host is called.
    fn in_use(&self, keys: &RepositoryKeys) -> InUse {
        let view = self.0.view.read();
        let mut in_use = InUse::default();
        for (_, namespace) in view.namespaces() {
            let tasks = namespace.clusters().values().map(|cluster| cluster.tasks());
            for task in tasks.flat_map(|tasks| tasks.all().alive().filter_map(|id| tasks.get(id))) {
                let Some(definition) = &task.definition else { continue };
                for container in definition.document.container_definitions.iter().flatten() {
                    let (Some(name), Some(image)) = (&container.name, &container.image) else { continue };
                    if let Some(reference) = reference_to(image, keys.name().as_str()) {
                        add(&mut in_use, task, name, &reference);
                    }
                }
            }
        }
        in_use
    }
}

fn add(in_use: &mut InUse, task: &TaskRecord, container: &str, reference: &Reference<'_>) {
    let digest = task.containers.iter().find(|record| record.name == container);
    let digest = digest.and_then(|record| record.image_digest.as_deref());
    in_use.digests.extend([digest, reference.digest].into_iter().flatten().filter_map(|digest| digest.parse().ok()));
    in_use.tags.extend(reference.tag.and_then(|tag| tag.parse().ok()));
}

#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// What `HOST/REPOSITORY[:TAG][@DIGEST]` names in the repository; none when it is of another.
fn reference_to<'a>(image: &'a str, repository: &str) -> Option<Reference<'a>> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash belongs to a port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let (_host, path) = name.split_once('/')?;
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    (path == repository).then_some(Reference { tag, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_recognised_by_the_repository_they_name() {
        let found = |image| reference_to(image, "team/web").map(|found| (found.tag, found.digest));
        assert_eq!(found("localhost:4566/team/web"), Some((Some("latest"), None)));
        assert_eq!(found("localhost:4566/team/web:v1"), Some((Some("v1"), None)));
        assert_eq!(
            found("000000000000.dkr.ecr.us-east-1.amazonaws.com/team/web@sha256:ab"),
            Some((None, Some("sha256:ab")))
        );
        assert_eq!(found("h/team/web:v1@sha256:ab"), Some((Some("v1"), Some("sha256:ab"))));
        assert_eq!(found("h/team/web2:v1"), None);
        assert_eq!(found("team/web"), None);
    }
}
