//! Everything invalid about where tasks go, with its exception and message, through every operation that takes it.

use serde_json::{Value, json};

use crate::{
    create, server,
    support::{INVALID, Server},
};

/// Refused by CreateService, UpdateService and RunTask alike.
async fn refused_everywhere(server: &Server, placement: Value, message: &str) {
    for (operation, mut input) in [
        ("CreateService", json!({"serviceName": "new", "taskDefinition": "web", "desiredCount": 1})),
        ("UpdateService", json!({"service": "api"})),
        ("RunTask", json!({"taskDefinition": "web"})),
    ] {
        input.as_object_mut().unwrap().extend(placement.as_object().unwrap().clone());
        server.refused(operation, input, INVALID, message).await;
    }
}

#[tokio::test]
async fn every_invalid_strategy_and_constraint_is_refused_in_the_same_words_by_every_operation() {
    let server = server().await;
    create(&server, "api", 0).await;
    for (strategy, message) in [
        (json!({}), "Invalid placement strategy type."),
        (
            json!({"type": "pack", "field": "cpu"}),
            "1 validation error detected: Value 'pack' at 'placementStrategy.1.member.type' failed to satisfy constraint: \
             Member must satisfy enum value set: [random, spread, binpack]",
        ),
        (
            json!({"type": "SPREAD", "field": "host"}),
            "1 validation error detected: Value 'SPREAD' at 'placementStrategy.1.member.type' failed to satisfy constraint: \
             Member must satisfy enum value set: [random, spread, binpack]",
        ),
        (json!({"type": "random", "field": "cpu"}), "Invalid placement strategy field: cpu"),
        (json!({"type": "binpack"}), "Invalid placement strategy field: "),
        (json!({"type": "binpack", "field": "disk"}), "Invalid placement strategy field: disk"),
        (json!({"type": "binpack", "field": "attribute:rack"}), "Invalid placement strategy field: attribute:rack"),
        (json!({"type": "spread"}), "Invalid placement strategy field: "),
        (json!({"type": "spread", "field": "cpu"}), "Invalid placement strategy field: cpu"),
        (json!({"type": "spread", "field": "attribute:"}), "Invalid placement strategy field: attribute:"),
        (json!({"type": "spread", "field": "attribute:a b"}), "Invalid placement strategy field: attribute:a b"),
        (json!({"type": "spread", "field": "task:group"}), "Invalid placement strategy field: task:group"),
    ] {
        refused_everywhere(&server, json!({"placementStrategy": [strategy]}), message).await;
    }
    let random = json!({"type": "random"});
    let many = json!({"placementStrategy": vec![random; 6]});
    refused_everywhere(&server, many, "placementStrategy can have at most 5 items.").await;

    for (constraint, message) in [
        (json!({}), "Invalid placement constraint type."),
        (
            json!({"type": "oneOf"}),
            "1 validation error detected: Value 'oneOf' at 'placementConstraints.1.member.type' failed to satisfy constraint: \
             Member must satisfy enum value set: [distinctInstance, memberOf]",
        ),
        (
            json!({"type": "distinctInstance", "expression": "attribute:rack exists"}),
            "Expression is not valid for placement constraint type distinctInstance.",
        ),
        (json!({"type": "memberOf"}), "Expression is required for placement constraint type memberOf."),
        (
            json!({"type": "memberOf", "expression": ""}),
            "Expression is required for placement constraint type memberOf.",
        ),
        (
            json!({"type": "memberOf", "expression": "rack == r1"}),
            "Invalid expression: rack == r1 (unknown subject rack at character 1)",
        ),
        (
            json!({"type": "memberOf", "expression": "attribute:rack = r1"}),
            "Invalid expression: attribute:rack = r1 (expected an operator but found = at character 16)",
        ),
        (
            json!({"type": "memberOf", "expression": "runningTasksCount == few"}),
            "Invalid expression: runningTasksCount == few \
             (few is not a valid value for runningTasksCount at character 22)",
        ),
    ] {
        refused_everywhere(&server, json!({"placementConstraints": [constraint]}), message).await;
    }
    let distinct = json!({"type": "distinctInstance"});
    let many = json!({"placementConstraints": vec![distinct; 11]});
    refused_everywhere(&server, many, "placementConstraints can have at most 10 items.").await;
}

#[tokio::test]
async fn constraints_of_the_task_definition_count_against_the_limit() {
    let server = server().await;
    let member_of = json!({"type": "memberOf", "expression": "attribute:rack exists"});
    let definition = json!({"family": "racked", "placementConstraints": vec![&member_of; 6],
        "containerDefinitions": [{"name": "app", "image": "a", "memory": 6}]});
    server.ok("RegisterTaskDefinition", definition).await;
    let message = "placementConstraints can have at most 10 items.";
    for (operation, input) in [
        ("RunTask", json!({"taskDefinition": "racked"})),
        ("CreateService", json!({"serviceName": "new", "taskDefinition": "racked", "desiredCount": 1})),
    ] {
        let mut input = input;
        input["placementConstraints"] = json!(vec![&member_of; 5]);
        server.refused(operation, input, INVALID, message).await;
    }
}

#[tokio::test]
async fn a_filter_that_is_no_expression_is_refused_with_the_place_where_it_shows() {
    let server = server().await;
    for (filter, error) in [
        ("attribute:", "unknown subject attribute: at character 1"),
        ("agentConnected > true", "operator > is not valid for agentConnected at character 16"),
        ("(agentConnected == true", "expected a closing parenthesis but found the end at character 24"),
        ("attribute:a =~ '['", "[ is not a valid pattern at character 16"),
    ] {
        let message = format!("Invalid expression: {filter} ({error})");
        server.refused("ListContainerInstances", json!({ "filter": filter }), INVALID, &message).await;
    }
}

#[tokio::test]
async fn every_invalid_percent_and_combination_with_rebalancing_is_refused() {
    let server = server().await;
    create(&server, "api", 0).await;
    let rebalancing = "Availability Zone rebalancing is not supported for services";
    let by_host = json!([{"type": "spread", "field": "host"}]);
    for (more, message) in [
        (
            json!({"deploymentConfiguration": {"minimumHealthyPercent": -1}}),
            "minimumHealthyPercent and maximumPercent cannot be negative numbers.".to_owned(),
        ),
        (
            json!({"deploymentConfiguration": {"maximumPercent": -1, "minimumHealthyPercent": 0}}),
            "minimumHealthyPercent and maximumPercent cannot be negative numbers.".to_owned(),
        ),
        (
            json!({"deploymentConfiguration": {"maximumPercent": 0, "minimumHealthyPercent": 0}}),
            "maximumPercent must be greater than 0 and not less than minimumHealthyPercent.".to_owned(),
        ),
        (
            json!({"deploymentConfiguration": {"maximumPercent": 100, "minimumHealthyPercent": 101}}),
            "maximumPercent must be greater than 0 and not less than minimumHealthyPercent.".to_owned(),
        ),
        (
            json!({"availabilityZoneRebalancing": "ENABLED", "placementStrategy": by_host}),
            format!("{rebalancing} whose first placement strategy is not spread over attribute:ecs.availability-zone."),
        ),
        (
            json!({"availabilityZoneRebalancing": "ENABLED",
                "deploymentConfiguration": {"maximumPercent": 100, "minimumHealthyPercent": 0}}),
            format!("{rebalancing} whose maximumPercent is not greater than 100."),
        ),
    ] {
        for (operation, mut input) in [
            ("CreateService", json!({"serviceName": "new", "taskDefinition": "web", "desiredCount": 1})),
            ("UpdateService", json!({"service": "api"})),
        ] {
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            server.refused(operation, input, INVALID, &message).await;
        }
    }
    let by_zone =
        json!([{"type": "spread", "field": "attribute:ecs.availability-zone"}, {"type": "binpack", "field": "CPU"}]);
    for (name, strategy, expected) in [("by-host", by_host, "DISABLED"), ("by-zone", by_zone, "ENABLED")] {
        let input =
            json!({"serviceName": name, "taskDefinition": "web", "desiredCount": 0, "placementStrategy": strategy});
        let service = server.ok("CreateService", input).await["service"].clone();
        assert_eq!(service["availabilityZoneRebalancing"], expected);
    }
}
