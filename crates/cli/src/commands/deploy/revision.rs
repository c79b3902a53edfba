//! The next revision of a task definition: the same with other images.

use anyhow::{Context, Result, bail};
use gantry_api::ecs::{self, *};
use serde_json::Value;

use crate::client::Client;

/// What a registered task definition has and a request to register one has not.
const NOT_ASKED: [&str; 8] = [
    "compatibilities",
    "deregisteredAt",
    "deleteRequestedAt",
    "registeredAt",
    "registeredBy",
    "requiresAttributes",
    "revision",
    "status",
];

/// Registers `current` again with the images that `changes` (`REF` or `CONTAINER=REF`) name. Returns its ARN.
pub(super) async fn with_images(client: &Client, current: &str, changes: &[String]) -> Result<String> {
    let input = DescribeTaskDefinitionRequest {
        task_definition: Some(current.to_owned()),
        include: Some(vec![TaskDefinitionField::Tags]),
    };
    let answer: DescribeTaskDefinitionResponse = client.call(&ecs::SERVICE, "DescribeTaskDefinition", &input).await?;
    let definition = answer.task_definition.context("the task definition is gone")?;
    let tags = answer.tags.filter(|tags| !tags.is_empty());
    let input = RegisterTaskDefinitionRequest { tags, ..changed(&definition, changes)? };
    let answer: RegisterTaskDefinitionResponse = client.call(&ecs::SERVICE, "RegisterTaskDefinition", &input).await?;
    answer.task_definition.and_then(|definition| definition.task_definition_arn).context("no revision was registered")
}

fn changed(definition: &TaskDefinition, changes: &[String]) -> Result<RegisterTaskDefinitionRequest> {
    let mut document = serde_json::to_value(definition)?;
    if let Value::Object(members) = &mut document {
        members.retain(|name, _| name != "taskDefinitionArn" && !NOT_ASKED.contains(&name.as_str()));
    }
    let mut request: RegisterTaskDefinitionRequest = serde_json::from_value(document)?;
    let containers = request.container_definitions.as_mut().context("the task definition has no containers")?;
    for change in changes {
        let (container, image) = target(containers, change)?;
        container.image = Some(image);
    }
    Ok(request)
}

/// The container that a change means, and its image. An image reference may hold a `=` only in front of which no
/// container's name stands.
fn target<'a>(
    containers: &'a mut [ContainerDefinition],
    change: &str,
) -> Result<(&'a mut ContainerDefinition, String)> {
    let names: Vec<String> = containers.iter().filter_map(|container| container.name.clone()).collect();
    let named = change.split_once('=').filter(|(name, _)| !name.contains(['/', ':', '@']));
    if let Some((name, image)) = named {
        let found = containers.iter_mut().find(|container| container.name.as_deref() == Some(name));
        let found = found.with_context(|| format!("there is no container {name}; there are {}", names.join(", ")))?;
        return Ok((found, image.to_owned()));
    }
    match containers {
        [one] => Ok((one, change.to_owned())),
        _ => bail!("say which container gets {change}: CONTAINER={change}, one of {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn definition(names: &[&str]) -> TaskDefinition {
        let container = |name: &&str| ContainerDefinition {
            name: Some((*name).to_owned()),
            image: Some("old".to_owned()),
            ..ContainerDefinition::default()
        };
        TaskDefinition {
            family: Some("web".to_owned()),
            revision: Some(3),
            status: Some(TaskDefinitionStatus::Active),
            task_definition_arn: Some("arn".to_owned()),
            cpu: Some("256".to_owned()),
            container_definitions: Some(names.iter().map(container).collect()),
            ..TaskDefinition::default()
        }
    }

    fn images(request: &RegisterTaskDefinitionRequest) -> Vec<&str> {
        let containers = request.container_definitions.as_deref().unwrap();
        containers.iter().map(|container| container.image.as_deref().unwrap()).collect()
    }

    #[test]
    fn only_the_images_change() {
        let request = changed(&definition(&["web"]), &["web:2".to_owned()]).unwrap();
        assert_eq!((images(&request), request.cpu.as_deref()), (vec!["web:2"], Some("256")));
        let request = changed(&definition(&["web", "log"]), &["log=l:2".to_owned(), "web=h/w@sha256:1".to_owned()]);
        assert_eq!(images(&request.unwrap()), ["h/w@sha256:1", "l:2"]);
    }

    #[test]
    fn a_change_names_its_container_where_there_are_several() {
        let error = changed(&definition(&["web", "log"]), &["web:2".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("one of web, log"), "{error}");
        let error = changed(&definition(&["web"]), &["we=web:2".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("there is no container we"), "{error}");
    }
}
