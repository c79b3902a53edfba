//! One row per rule: the part of a document that breaks it and the sentence it is refused with.

#![allow(clippy::unwrap_used)]

mod documents;
mod properties;
mod rows;

use gantry_api::ecs::{RegisterTaskDefinitionRequest, TaskDefinition};
use serde_json::{Value, json};

/// A document with one container, changed by `task`; the container is changed by `container`.
fn document(task: Value, container: Value) -> Value {
    let mut definition = json!({"name": "app", "image": "busybox", "memory": 128});
    merge(&mut definition, container);
    let mut document = json!({"family": "web", "containerDefinitions": [definition]});
    merge(&mut document, task);
    document
}

/// A document that runs on Fargate, changed in the same way.
fn fargate(task: Value, container: Value) -> Value {
    let mut document = document(
        json!({
            "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512",
        }),
        container,
    );
    merge(&mut document, task);
    document
}

/// `null` takes a member away.
fn merge(into: &mut Value, patch: Value) {
    let (Value::Object(into), Value::Object(patch)) = (into, patch) else { panic!("objects only") };
    for (name, value) in patch {
        match value {
            Value::Null => into.remove(&name),
            value => into.insert(name, value),
        };
    }
}

fn prepare(document: &Value) -> Result<TaskDefinition, String> {
    let request: RegisterTaskDefinitionRequest = serde_json::from_value(document.clone()).unwrap();
    super::prepare(request).map_err(|invalid| invalid.to_string())
}

/// Refused with `expected`, or registered when that is empty.
fn check(document: &Value, expected: &str) {
    let refused = prepare(document).err().unwrap_or_default();
    assert_eq!(refused, expected, "{document}");
}

fn names(list: &Option<Vec<gantry_api::ecs::Attribute>>) -> Vec<&str> {
    list.iter().flatten().filter_map(|attribute| attribute.name.as_deref()).collect()
}
