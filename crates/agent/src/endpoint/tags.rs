//! The tags of a task and of its container instance, asked for at each request: they may change.

use std::collections::BTreeMap;

use super::metadata::{TagError, Task};
use crate::{aws::AwsError, host::Host};

/// Adds them to what a task reads of itself; what could not be had is told with it.
pub(super) async fn add(host: &Host, task_arn: &str, to: &mut Task) {
    let instance = host.container_instance.lock().clone();
    to.task_tags = of(host, "TaskTags", task_arn, &mut to.errors).await;
    if let Some(arn) = instance {
        to.container_instance_tags = of(host, "ContainerInstanceTags", &arn, &mut to.errors).await;
    }
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
