//! Tells the event sink of pushes and deletions, in the shapes of the real service: `ECR Image Action`, and
//! `ECR Referrer Action` for a manifest that is about another.

use async_trait::async_trait;
use gantry_api::event::Event;
use serde_json::{Value, json};

use super::{ChangeHandler, ChangeKind, ChangedImage, ImageChange};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::name::Tag;
use crate::registry::Registry;

pub(super) struct ImageActions;

#[async_trait]
impl ChangeHandler for ImageActions {
    fn name(&self) -> &'static str {
        "events"
    }

    async fn handle(&self, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
        registry.events.tell(events(change)).await.map_err(RegistryError::Events)
    }
}

/// One event per tag; one without a tag for an image that has none.
fn events(change: &ImageChange) -> Vec<Event> {
    let (image, tags, action) = match &change.kind {
        ChangeKind::Pushed { image, tags, .. } => (image, tags, "PUSH"),
        ChangeKind::Deleted { image, tags, .. } => (image, tags, "DELETE"),
        ChangeKind::StorageClass { image, tags, archived } => {
            (image, tags, if *archived { "ARCHIVE" } else { "ACTIVATE" })
        }
        ChangeKind::RepositoryDeleted => return Vec::new(),
    };
    let tags: Vec<Option<&Tag>> = if tags.is_empty() { vec![None] } else { tags.iter().map(Some).collect() };
    let kinds: &[&str] =
        if image.subject.is_some() { &["ECR Image Action", "ECR Referrer Action"] } else { &["ECR Image Action"] };
    let mut events = Vec::with_capacity(kinds.len() * tags.len());
    for kind in kinds {
        for tag in &tags {
            let number = events.len();
            events.push(event(change, number, kind, detail(change, image, *tag, action)));
        }
    }
    events
}

fn detail(change: &ImageChange, image: &ChangedImage, tag: Option<&Tag>, action: &str) -> Value {
    let mut detail = json!({
        "result": "SUCCESS",
        "repository-name": change.repository.name().as_str(),
        "image-digest": image.digest,
        "action-type": action,
        "manifest-media-type": image.media_type,
    });
    if let Some(tag) = tag {
        detail["image-tag"] = tag.as_str().into();
    }
    if let Some(artifact_type) = &image.artifact_type {
        detail["artifact-media-type"] = artifact_type.as_str().into();
    }
    detail
}

/// The event's id follows from the change's, so that a change told twice is one event told twice.
fn event(change: &ImageChange, number: usize, kind: &str, detail: Value) -> Event {
    let scope = change.repository.scope();
    Event {
        id: id_of(&format!("{}/{number}", change.id)),
        source: "aws.ecr".to_owned(),
        detail_type: kind.to_owned(),
        account: scope.account.clone(),
        region: scope.region.clone(),
        time_ms: change.at_ms,
        resources: Vec::new(),
        detail,
    }
}

/// A UUID made from a text.
fn id_of(text: &str) -> String {
    let digest = Digest::of(text.as_bytes());
    let mut bytes = [0; 16];
    // A SHA-256 digest has 32 bytes of hex digits.
    let _ = hex::decode_to_slice(&digest.hex()[..32], &mut bytes);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use gantry_domain::arn::Scope;

    use super::*;
    use crate::changes::Origin;
    use crate::metadata::RepositoryKeys;

    fn change(tags: &[&str], subject: Option<Digest>, gone: Option<bool>) -> ImageChange {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let image = ChangedImage {
            digest: Digest::of(b"m"),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            artifact_type: None,
            subject,
            is_index: false,
        };
        ImageChange {
            id: "0001".to_owned(),
            repository: RepositoryKeys::new(&Scope::new("000000000000", "us-east-1"), &"app".parse().unwrap()),
            revision: 1,
            at_ms: 5,
            actor: "arn:aws:iam::000000000000:root".to_owned(),
            origin: Origin::Client,
            kind: match gone {
                None => ChangeKind::Pushed { image, tags, new: true },
                Some(gone) => ChangeKind::Deleted { image, tags, gone },
            },
        }
    }

    fn told(change: &ImageChange) -> Vec<(String, String, Value)> {
        let told = |event: Event| {
            (
                event.detail_type,
                event.detail["action-type"].as_str().unwrap().to_owned(),
                event.detail["image-tag"].clone(),
            )
        };
        events(change).into_iter().map(told).collect()
    }

    #[test]
    fn every_tag_has_an_event_of_its_own() {
        let image = "ECR Image Action".to_owned();
        let (push, delete) = ("PUSH".to_owned(), "DELETE".to_owned());
        assert_eq!(told(&change(&[], None, None)), [(image.clone(), push.clone(), Value::Null)]);
        let two = [(image.clone(), delete.clone(), json!("a")), (image.clone(), delete.clone(), json!("b"))];
        assert_eq!(told(&change(&["a", "b"], None, Some(true))), two);
        let referrer = "ECR Referrer Action".to_owned();
        let both = [(image, push.clone(), Value::Null), (referrer, push, Value::Null)];
        assert_eq!(told(&change(&[], Some(Digest::of(b"s")), None)), both);
    }

    #[test]
    fn a_change_told_twice_gives_the_same_events_and_events_differ() {
        let ids = |change: &ImageChange| events(change).into_iter().map(|event| event.id).collect::<Vec<_>>();
        let change = change(&["a", "b"], None, None);
        assert_eq!(ids(&change), ids(&change));
        assert_ne!(ids(&change)[0], ids(&change)[1]);
    }
}
