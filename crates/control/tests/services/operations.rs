use serde_json::{Value, json};

use crate::{
    create, describe, server, settle,
    support::{CLIENT, INVALID, Server},
};

const HERE: &str = "arn:aws:ecs:us-east-1:000000000000:";

fn sorted_keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_service_is_answered_as_the_real_one_answers() {
    let server = server().await;
    let input = json!({"serviceName": "api", "taskDefinition": "web", "desiredCount": 2,
        "tags": [{"key": "a", "value": "1"}]});
    let mut service = server.ok("CreateService", input).await["service"].clone();
    let mut deployment = service["deployments"][0].clone();
    let id = deployment["id"].as_str().unwrap().to_owned();
    assert!(id.strip_prefix("ecs-svc/").is_some_and(|number| number.len() == 19), "{id}");
    assert_eq!(deployment["rolloutStateReason"], format!("ECS deployment {id} in progress."));
    for (value, moment) in [(&deployment, "createdAt"), (&deployment, "updatedAt"), (&service, "createdAt")] {
        assert!(value[moment].is_f64(), "{moment}");
    }
    for gone in ["id", "rolloutStateReason", "createdAt", "updatedAt"] {
        deployment.as_object_mut().unwrap().remove(gone);
    }
    assert_eq!(
        deployment,
        json!({"status": "PRIMARY", "taskDefinition": format!("{HERE}task-definition/web:1"), "desiredCount": 2,
            "pendingCount": 0, "runningCount": 0, "failedTasks": 0, "launchType": "EC2", "rolloutState": "IN_PROGRESS"})
    );
    let arn = |kind: &str| format!("{HERE}{kind}/default/api/");
    assert!(service["currentServiceDeployment"].as_str().unwrap().starts_with(&arn("service-deployment")));
    let revision = &service["currentServiceRevisions"][0];
    assert!(revision["arn"].as_str().unwrap().starts_with(&arn("service-revision")));
    assert_eq!(revision["requestedTaskCount"], 2);
    for gone in ["deployments", "createdAt", "currentServiceDeployment", "currentServiceRevisions"] {
        service.as_object_mut().unwrap().remove(gone);
    }
    assert_eq!(
        service,
        json!({
            "serviceArn": format!("{HERE}service/default/api"), "serviceName": "api",
            "clusterArn": format!("{HERE}cluster/default"), "status": "ACTIVE",
            "desiredCount": 2, "runningCount": 0, "pendingCount": 0, "launchType": "EC2",
            "taskDefinition": format!("{HERE}task-definition/web:1"),
            "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": false, "rollback": false},
                "maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING", "bakeTimeInMinutes": 0},
            "deploymentController": {"type": "ECS"}, "taskSets": [], "events": [], "loadBalancers": [],
            "serviceRegistries": [], "placementConstraints": [], "placementStrategy": [],
            "createdBy": "arn:aws:iam::000000000000:root", "schedulingStrategy": "REPLICA",
            "enableECSManagedTags": false, "enableExecuteCommand": false, "propagateTags": "NONE",
            "healthCheckGracePeriodSeconds": 0, "availabilityZoneRebalancing": "ENABLED",
            "resourceManagementType": "CUSTOMER", "tags": [{"key": "a", "value": "1"}],
        })
    );
    let untagged = server.ok("DescribeServices", json!({"services": ["api"]})).await;
    assert!(!sorted_keys(&untagged["services"][0]).contains(&"tags"));
    assert_eq!(describe(&server, &format!("{HERE}service/default/api")).await["tags"][0]["key"], "a");
    let clusters = server.ok("DescribeClusters", json!({})).await;
    assert_eq!(clusters["clusters"][0]["activeServicesCount"], 1);
}

#[tokio::test]
async fn creating_again_answers_the_same_service_unless_something_differs() {
    let server = server().await;
    let first = create(&server, "api", 0).await;
    assert_eq!(create(&server, "api", 0).await, first);
    let other = json!({"serviceName": "api", "taskDefinition": "web", "desiredCount": 1});
    server.refused("CreateService", other, INVALID, "Creation of service was not idempotent.").await;

    let with_token =
        |name: &str| json!({"serviceName": name, "taskDefinition": "web", "desiredCount": 0, "clientToken": "once"});
    let made = server.ok("CreateService", with_token("b")).await;
    assert_eq!(server.ok("CreateService", with_token("b")).await, made);
    let long = json!({"serviceName": "c", "taskDefinition": "web", "desiredCount": 0, "clientToken": "x".repeat(37)});
    assert_eq!(server.call("CreateService", long).await.unwrap_err().code, INVALID);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_in_the_services_words() {
    let server = server().await;
    let input = |more: Value| {
        let mut input = json!({"serviceName": "api", "taskDefinition": "web", "desiredCount": 1});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let subnets = json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}});
    for (more, code, message) in [
        (json!({"desiredCount": -1}), INVALID, "desiredCount cannot be a negative number."),
        (json!({"desiredCount": 5001}), INVALID, "Desired count exceeds limit."),
        (json!({"taskDefinition": "ghost"}), CLIENT, "TaskDefinition not found."),
        (json!({"taskDefinition": "web:9"}), CLIENT, "TaskDefinition not found."),
        (json!({"launchType": "FARGATE"}), INVALID, "Task definition does not support launch_type FARGATE."),
        (
            json!({"platformVersion": "LATEST"}),
            INVALID,
            "The platform version must be null when specifying an EC2 launch type.",
        ),
        (
            json!({"networkConfiguration": subnets}),
            INVALID,
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        (
            json!({"launchType": "EC2", "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}),
            INVALID,
            "Specify either Launch Type or Capacity Provider Strategy, but not both.",
        ),
        (json!({"role": "r"}), INVALID, "IAM roles are only valid for services configured to use load balancers."),
        (
            json!({"schedulingStrategy": "DAEMON", "placementStrategy": [{"type": "random"}]}),
            INVALID,
            "Placement strategies are not supported with the DAEMON scheduling strategy.",
        ),
        (
            json!({"schedulingStrategy": "DAEMON", "deploymentConfiguration": {"maximumPercent": 150}}),
            INVALID,
            "The maximumPercent must be 100 for services that use the DAEMON scheduling strategy.",
        ),
        (
            json!({"schedulingStrategy": "DAEMON", "availabilityZoneRebalancing": "ENABLED"}),
            INVALID,
            "Availability Zone rebalancing is not supported for services that use the DAEMON scheduling strategy.",
        ),
        (
            json!({"loadBalancers": [{"targetGroupArn": "a", "containerName": "app", "containerPort": 80}]}),
            "UnsupportedFeatureException",
            "Gantry does not support loadBalancers yet.",
        ),
        (
            json!({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}),
            INVALID,
            "bakeTimeInMinutes is required for the BLUE_GREEN deployment strategy.",
        ),
        (
            json!({"deploymentController": {"type": "CODE_DEPLOY"}}),
            "UnsupportedFeatureException",
            "Gantry does not support deploymentController 'CODE_DEPLOY' yet.",
        ),
        (
            json!({"placementConstraints": [{"type": "memberOf", "expression": "attribute:"}]}),
            INVALID,
            "Invalid expression: attribute: (unknown subject attribute: at character 1)",
        ),
        (
            json!({"placementStrategy": [{"type": "binpack", "field": "disk"}]}),
            INVALID,
            "Invalid placement strategy field: disk",
        ),
        (json!({"cluster": "ghost"}), "ClusterNotFoundException", "Cluster not found."),
    ] {
        server.refused("CreateService", input(more), code, message).await;
    }
    let drawing = json!({"family": "drawing", "containerDefinitions": [{"name": "app", "image": "a", "memory": 6,
        "resourceRequirements": [{"type": "GPU", "value": "ALL"}]}]});
    server.ok("RegisterTaskDefinition", drawing).await;
    let fault = server.call("CreateService", input(json!({"taskDefinition": "drawing"}))).await.unwrap_err();
    assert_eq!(
        fault.message,
        "Gantry does not support resourceRequirements type 'GPU' value 'ALL' of container 'app' yet."
    );
    server.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"})).await;
    server
        .refused("CreateService", input(json!({"taskDefinition": "web:1"})), CLIENT, "TaskDefinition is inactive")
        .await;
}

#[tokio::test]
async fn unknown_and_deleted_services_are_told_apart() {
    let server = server().await;
    let update = |name: &str| json!({"service": name, "desiredCount": 1});
    server.refused("UpdateService", update("ghost"), "ServiceNotFoundException", "Service not found.").await;
    let delete = json!({"service": "ghost"});
    server.refused("DeleteService", delete, "ServiceNotFoundException", "Service not found.").await;
    let answer = server.ok("DescribeServices", json!({"services": ["ghost"]})).await;
    let failure = json!({"arn": format!("{HERE}service/default/ghost"), "reason": "MISSING"});
    assert_eq!((&answer["services"], &answer["failures"]), (&json!([]), &json!([failure])));
    server.refused("DescribeServices", json!({"services": []}), INVALID, "Services cannot be empty.").await;

    create(&server, "api", 1).await;
    let kept = "The service cannot be stopped while it is scaled above 0.";
    server.refused("DeleteService", json!({"service": "api"}), INVALID, kept).await;
    let deleted = server.ok("DeleteService", json!({"service": "api", "force": true})).await;
    assert_eq!((&deleted["service"]["status"], &deleted["service"]["desiredCount"]), (&json!("DRAINING"), &json!(0)));
    let again = json!({"serviceName": "api", "taskDefinition": "web", "desiredCount": 1});
    let draining = "Unable to Start a service that is still Draining.";
    server.refused("CreateService", again.clone(), INVALID, draining).await;
    server.refused("UpdateService", update("api"), "ServiceNotActiveException", "Service was not ACTIVE.").await;
    settle(&server).await;
    let inactive = describe(&server, "api").await;
    assert_eq!((&inactive["status"], &inactive["deployments"]), (&json!("INACTIVE"), &json!([])));
    assert_eq!(server.ok("ListServices", json!({})).await["serviceArns"], json!([]));
    server.ok("CreateService", again).await;
    assert_eq!(describe(&server, "api").await["status"], "ACTIVE");
}

#[tokio::test]
async fn services_are_listed_in_pages_of_ten_by_name() {
    let server = server().await;
    for number in 0..23 {
        create(&server, &format!("s{number:02}"), 0).await;
    }
    server.ok("DeleteService", json!({"service": "s05"})).await;
    for (size, pages) in [(Value::Null, vec![10, 10, 2]), (json!(100), vec![22]), (json!(1), vec![1; 22])] {
        let mut input = json!({});
        if !size.is_null() {
            input["maxResults"] = size;
        }
        let found = server.pages("ListServices", input, "serviceArns").await;
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), pages);
        let all: Vec<&str> = found.iter().flatten().filter_map(Value::as_str).collect();
        assert!(all.is_sorted() && all[0] == format!("{HERE}service/default/s00"), "{all:?}");
    }
    let of = |filter: Value| {
        let server = &server;
        async move { server.pages("ListServices", filter, "serviceArns").await.concat().len() }
    };
    assert_eq!(of(json!({"launchType": "EC2"})).await, 22);
    assert_eq!(of(json!({"launchType": "FARGATE"})).await, 0);
    assert_eq!(of(json!({"schedulingStrategy": "DAEMON"})).await, 0);
    let token = server.ok("ListServices", json!({})).await["nextToken"].clone();
    let other = json!({"nextToken": token, "launchType": "EC2"});
    server.refused("ListServices", other, INVALID, "Invalid token.").await;
    let too_many = json!({"maxResults": 101});
    server.refused("ListServices", too_many, INVALID, "maxResults must be between 1 and 100.").await;
    let namespace = server.ok("ListServicesByNamespace", json!({"namespace": "n"})).await;
    assert_eq!(namespace, json!({"serviceArns": []}));
}

async fn update(server: &Server, more: Value) -> Value {
    let mut input = json!({"service": "api"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.ok("UpdateService", input).await["service"].clone()
}

#[tokio::test]
async fn only_what_makes_tasks_different_begins_a_deployment() {
    let server = server().await;
    create(&server, "api", 1).await;
    let deployments = |service: &Value| service["deployments"].as_array().unwrap().len();
    for more in [
        json!({"desiredCount": 3}),
        json!({"deploymentConfiguration": {"minimumHealthyPercent": 50}}),
        json!({"healthCheckGracePeriodSeconds": 7}),
        json!({"placementStrategy": [{"type": "spread", "field": "instanceId"}]}),
        json!({"placementConstraints": [{"type": "distinctInstance"}]}),
        json!({"propagateTags": "SERVICE", "enableECSManagedTags": true}),
        json!({"taskDefinition": "web:1"}),
        json!({}),
    ] {
        let service = update(&server, more.clone()).await;
        assert_eq!(deployments(&service), 1, "{more}");
    }
    let service = describe(&server, "api").await;
    assert_eq!(service["desiredCount"], 3);
    assert_eq!(service["deploymentConfiguration"]["minimumHealthyPercent"], 50);
    assert_eq!(service["deploymentConfiguration"]["maximumPercent"], 200);
    assert_eq!(service["healthCheckGracePeriodSeconds"], 7);
    assert_eq!(service["propagateTags"], "SERVICE");
    assert_eq!(update(&server, json!({"placementStrategy": []})).await["placementStrategy"], json!([]));

    server.register("web").await;
    let service = update(&server, json!({"taskDefinition": "web"})).await;
    assert_eq!(service["taskDefinition"], format!("{HERE}task-definition/web:2"));
    assert_eq!(service["deployments"][0]["status"], "PRIMARY");
    assert_eq!(service["deployments"][1]["status"], "ACTIVE");
    assert_eq!(service["deployments"][1]["desiredCount"], 0);
    let service = update(&server, json!({"forceNewDeployment": true})).await;
    assert_eq!(deployments(&service), 3);
    // Deployments without tasks go with the next run.
    settle(&server).await;
    assert_eq!(deployments(&describe(&server, "api").await), 1);
}
