//! The tags of a task and of its container instance. They may change, so what is known of them counts for a few seconds:
//! each reading is two signed calls of the control plane, and a task may ask forty times a second.

use std::{collections::BTreeMap, time::Duration};

use super::{
    metadata::{TagError, Task},
    recent::Recent,
};
use crate::{aws::AwsError, host::Host};

/// How old an answer may be.
const AGE_MAX: Duration = Duration::from_secs(2);

/// What was read last.
#[derive(Default)]
pub(super) struct KnownTags(Recent<Tags>);

#[derive(Clone)]
struct Tags {
    of_task: Option<BTreeMap<String, String>>,
    of_container_instance: Option<BTreeMap<String, String>>,
    errors: Vec<TagError>,
}

impl KnownTags {
    /// Adds them to what a task reads of itself; what could not be had is told with it.
    pub(super) async fn add(&self, host: &Host, task_arn: &str, to: &mut Task) {
        let Tags { of_task, of_container_instance, errors } = self.0.get(AGE_MAX, read(host, task_arn)).await;
        (to.task_tags, to.container_instance_tags) = (of_task, of_container_instance);
        to.errors.extend(errors);
    }
}

async fn read(host: &Host, task_arn: &str) -> Tags {
    let instance = host.container_instance.lock().clone();
    let mut errors = Vec::new();
    let of_task = of(host, "TaskTags", task_arn, &mut errors).await;
    let of_container_instance = match instance {
        Some(arn) => of(host, "ContainerInstanceTags", &arn, &mut errors).await,
        None => None,
    };
    Tags { of_task, of_container_instance, errors }
}

async fn of(
    host: &Host,
    error_field: &'static str,
    arn: &str,
    errors: &mut Vec<TagError>,
) -> Option<BTreeMap<String, String>> {
    let client = host.client.as_ref()?;
    match client.list_tags(arn).await {
        Ok(tags) => {
            let tags = tags.into_iter().filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
            Some(tags.collect::<BTreeMap<_, _>>()).filter(|tags| !tags.is_empty())
        }
        Err(error) => {
            let (error_code, error_message) = match error {
                AwsError::Refused { code, message } => (code, message),
                other => ("ServerException".to_owned(), other.to_string()),
            };
            errors.push(TagError { error_field, error_code, error_message, resource_arn: arn.to_owned() });
            None
        }
    }
}
