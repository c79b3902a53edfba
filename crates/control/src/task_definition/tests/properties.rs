//! Any valid document registers and comes back; no document, valid or not, makes anything panic.

use gantry_api::ecs::{LaunchType, RegisterTaskDefinitionRequest};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::document;
use crate::task_definition::{refusals, requirements};

/// A valid container, by name.
fn container(name: String) -> impl Strategy<Value = Value> {
    let environment = prop::collection::btree_map("[A-Z_]{1,8}", ".{0,8}", 0..3);
    let ports = prop::collection::btree_set(1_u16.., 0..4);
    let health = prop::option::of((5..=300, 2..=60, 1..=10));
    let words = prop::collection::vec("[ -~]{0,10}", 0..4);
    (0..=1024, 6..=512, any::<bool>(), environment, ports, health, words, 0..=3600).prop_map(
        move |(cpu, memory, read_only, environment, ports, health, command, stop_timeout)| {
            let environment: Vec<Value> = environment
                .into_iter()
                .map(|(name, value)| json!({"name": name, "value": value.replace('\0', "")}))
                .collect();
            let ports: Vec<Value> = ports.into_iter().map(|port| json!({"containerPort": port})).collect();
            let mut container = json!({
                "name": name, "image": "busybox:1", "cpu": cpu, "memory": memory, "environment": environment,
                "portMappings": ports, "readonlyRootFilesystem": read_only, "command": command,
                "stopTimeout": stop_timeout,
            });
            if let Some((interval, timeout, retries)) = health {
                container["healthCheck"] = json!({"command": ["CMD-SHELL", "true"], "interval": interval,
                    "timeout": timeout, "retries": retries});
            }
            container
        },
    )
}

fn valid() -> impl Strategy<Value = Value> {
    let containers = (1_usize..=10)
        .prop_flat_map(|count| (0..count).map(|number| container(format!("c{number}")).boxed()).collect::<Vec<_>>());
    let mode = prop::sample::select(vec!["bridge", "host", "awsvpc"]);
    ("[a-zA-Z0-9_-]{1,255}", containers, mode).prop_map(
        |(family, containers, mode)| json!({"family": family, "networkMode": mode, "containerDefinitions": containers}),
    )
}

/// Any JSON, with names and values that documents have among them.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec![
        "",
        "app",
        "awsvpc",
        "host",
        "none",
        "FARGATE",
        "EC2",
        "256",
        "512",
        "1 vCPU",
        "0.5GB",
        "awslogs",
        "HEALTHY",
        "memberOf",
        "GPU",
        "ALL",
        "1-5",
        "9-2",
        "CMD",
        "/a",
        "net.a",
        "arn:aws:s3:::b/k.env",
        "\0",
        "é",
        "a b",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-2..70_000).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = prop::sample::select(member_names());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

fn member_names() -> Vec<&'static str> {
    vec![
        "name",
        "image",
        "cpu",
        "memory",
        "memoryReservation",
        "links",
        "portMappings",
        "containerPort",
        "hostPort",
        "containerPortRange",
        "protocol",
        "essential",
        "restartPolicy",
        "enabled",
        "command",
        "environment",
        "value",
        "mountPoints",
        "sourceVolume",
        "containerPath",
        "volumesFrom",
        "sourceContainer",
        "linuxParameters",
        "capabilities",
        "add",
        "drop",
        "devices",
        "hostPath",
        "tmpfs",
        "size",
        "mountOptions",
        "secrets",
        "valueFrom",
        "dependsOn",
        "containerName",
        "condition",
        "hostname",
        "user",
        "extraHosts",
        "ipAddress",
        "ulimits",
        "softLimit",
        "hardLimit",
        "logConfiguration",
        "logDriver",
        "options",
        "healthCheck",
        "interval",
        "systemControls",
        "namespace",
        "resourceRequirements",
        "type",
        "firelensConfiguration",
        "volumes",
        "host",
        "sourcePath",
        "efsVolumeConfiguration",
        "fileSystemId",
        "proxyConfiguration",
        "placementConstraints",
        "expression",
        "requiresCompatibilities",
        "networkMode",
        "pidMode",
        "ipcMode",
        "ephemeralStorage",
        "sizeInGiB",
        "runtimePlatform",
        "operatingSystemFamily",
        "trustedExecutionConfiguration",
        "isolationMode",
    ]
}

/// Replaces one value of a document, at a place `at` leads to.
fn mutate(document: &mut Value, mut at: u64, with: Value) {
    let children = match document {
        Value::Object(map) => map.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    } as u64;
    let choice = at % (children + 1);
    at /= children + 1;
    let child = match document {
        Value::Object(map) => map.values_mut().nth(choice as usize),
        Value::Array(list) => list.get_mut(choice as usize),
        _ => None,
    };
    match child {
        Some(child) => mutate(child, at, with),
        None => *document = with,
    }
}

fn prepare(document: Value) -> Option<gantry_api::ecs::TaskDefinition> {
    let request = serde_json::from_value::<RegisterTaskDefinitionRequest>(document).ok()?;
    super::super::prepare(request).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_document_registers_and_comes_back(document in valid()) {
        let prepared = super::prepare(&document).map_err(TestCaseError::fail)?;
        let echo = serde_json::to_value(&prepared).unwrap();
        prop_assert_eq!(&echo["family"], &document["family"]);
        for (given, echo) in document["containerDefinitions"].as_array().unwrap().iter()
            .zip(echo["containerDefinitions"].as_array().unwrap())
        {
            for (member, value) in given.as_object().unwrap() {
                if member != "portMappings" {
                    prop_assert_eq!(&echo[member], value);
                }
            }
            prop_assert_eq!(
                given["portMappings"].as_array().map(Vec::len),
                echo["portMappings"].as_array().map(Vec::len)
            );
        }
    }

    #[test]
    fn what_came_back_can_be_registered_again_and_comes_back_the_same(document in valid()) {
        let once = super::prepare(&document).map_err(TestCaseError::fail)?;
        let again = super::prepare(&serde_json::to_value(&once).unwrap()).map_err(TestCaseError::fail)?;
        prop_assert_eq!(once, again);
    }

    #[test]
    fn a_changed_document_is_refused_or_read_but_never_a_panic(
        document in valid(), changes in prop::collection::vec((any::<u64>(), any_json()), 1..4)
    ) {
        let mut document = document;
        for (at, with) in changes {
            mutate(&mut document, at, with);
        }
        if let Some(prepared) = prepare(document) {
            requirements(&prepared).resources();
            refusals(&prepared, &LaunchType::Ec2);
        }
    }

    #[test]
    fn any_json_is_refused_or_read_but_never_a_panic(json in any_json(), container in any_json()) {
        prepare(json.clone());
        if let (Value::Object(_), Value::Object(_)) = (&json, &container) {
            prepare(document(json, container));
        }
    }
}
