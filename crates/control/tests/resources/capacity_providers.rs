use gantry_control::reconcile::{CapacityProviders, Clusters, Reconciler, Wake};
use serde_json::{Value, json};

use crate::support::Server;

const GROUP: &str = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:6c1a3d8e:autoScalingGroupName/workers";

fn group(scaling: &str) -> Value {
    json!({"autoScalingGroupArn": GROUP, "managedScaling": {"status": scaling}})
}

async fn create(server: &Server, name: &str, scaling: &str) -> Value {
    let input =
        json!({"name": name, "autoScalingGroupProvider": group(scaling), "tags": [{"key": "team", "value": "a"}]});
    server.ok("CreateCapacityProvider", input).await["capacityProvider"].clone()
}

async fn describe(server: &Server, name: &str) -> Value {
    let input = json!({"capacityProviders": [name], "include": ["TAGS"]});
    server.ok("DescribeCapacityProviders", input).await["capacityProviders"][0].clone()
}

async fn cluster(server: &Server) -> Value {
    server.ok("DescribeClusters", json!({"include": ["ATTACHMENTS"]})).await["clusters"][0].clone()
}

/// What the reconcilers do of their own accord.
async fn settle(server: &Server) {
    let providers = CapacityProviders::new(server.control.clone());
    for key in providers.keys() {
        while providers.reconcile(&key).await.unwrap() == Wake::Again {}
    }
    let clusters = Clusters::new(server.control.clone());
    for key in clusters.keys() {
        while clusters.reconcile(&key).await.unwrap() == Wake::Again {}
    }
}

fn put(providers: Value, strategy: Value) -> Value {
    json!({"cluster": "default", "capacityProviders": providers, "defaultCapacityProviderStrategy": strategy})
}

#[tokio::test]
async fn a_provider_has_its_defaults_filled_in() {
    let server = Server::new().await;
    let input = json!({"name": "spare", "autoScalingGroupProvider": {"autoScalingGroupArn": "workers"}});
    let made = server.ok("CreateCapacityProvider", input).await["capacityProvider"].clone();
    let filled = json!({"autoScalingGroupArn": "workers", "managedTerminationProtection": "DISABLED",
        "managedDraining": "ENABLED", "managedScaling": {"status": "DISABLED", "targetCapacity": 100,
        "minimumScalingStepSize": 1, "maximumScalingStepSize": 10000, "instanceWarmupPeriod": 300}});
    assert_eq!(made["autoScalingGroupProvider"], filled);
    assert_eq!((&made["status"], &made["type"]), (&json!("ACTIVE"), &json!("EC2_AUTOSCALING")));
    assert_eq!(made["capacityProviderArn"], "arn:aws:ecs:us-east-1:000000000000:capacity-provider/spare");
    create(&server, "workers", "ENABLED").await;
    assert_eq!(describe(&server, "workers").await["tags"], json!([{"key": "team", "value": "a"}]));
    let all = server.ok("DescribeCapacityProviders", json!({})).await["capacityProviders"].clone();
    let names: Vec<&Value> = all.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["FARGATE", "FARGATE_SPOT", "spare", "workers"]);
    assert_eq!(all[3]["tags"], json!([]));
}

#[tokio::test]
async fn what_is_no_provider_is_refused() {
    let server = Server::new().await;
    create(&server, "workers", "ENABLED").await;
    let name = "The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters \
                (upper and lowercase), numbers, underscores, and hyphens. The name cannot be prefixed with \"aws\", \
                \"ecs\", or \"fargate\". Specify a valid name and try again.";
    for bad in ["FARGATE", "aws-x", "ECSx", "a b", ""] {
        let input = json!({"name": bad, "autoScalingGroupProvider": group("ENABLED")});
        server.refused("CreateCapacityProvider", input, "ClientException", name).await;
    }
    let table = [
        (
            json!({"name": "workers", "autoScalingGroupProvider": group("ENABLED")}),
            "ClientException",
            "The specified capacity provider already exists. To change the configuration of an existing capacity \
             provider, update the capacity provider.",
        ),
        (
            json!({"name": "x"}),
            "ClientException",
            "The capacity provider must have an autoScalingGroupProvider or a managedInstancesProvider.",
        ),
        (
            json!({"name": "x", "autoScalingGroupProvider": {"autoScalingGroupArn": GROUP.replace("us-east-1", "eu-west-1")}}),
            "ClientException",
            "The specified Auto Scaling group ARN is invalid. Specify a valid Auto Scaling group ARN and try again.",
        ),
        (
            json!({"name": "x", "autoScalingGroupProvider":
                {"autoScalingGroupArn": GROUP, "managedTerminationProtection": "ENABLED"}}),
            "ClientException",
            "The managed termination protection setting for the capacity provider is invalid. To enable managed \
             termination protection for a capacity provider, managed scaling must be enabled.",
        ),
        (
            json!({"name": "x", "autoScalingGroupProvider": {"autoScalingGroupArn": GROUP,
                "managedScaling": {"minimumScalingStepSize": 5, "maximumScalingStepSize": 4}}}),
            "InvalidParameterException",
            "The minimumScalingStepSize cannot be greater than the maximumScalingStepSize.",
        ),
        (
            json!({"name": "x", "cluster": "default", "autoScalingGroupProvider": group("ENABLED")}),
            "ClientException",
            "The cluster parameter can only be specified for a capacity provider with managedInstancesProvider.",
        ),
    ];
    for (input, code, message) in table {
        server.refused("CreateCapacityProvider", input, code, message).await;
    }
    let reserved = "The specified capacity provider is reserved and cannot be updated or deleted.";
    let missing = "The specified capacity provider was not found. Specify a valid name or ARN and try again.";
    let delete = |name: &str| json!({"capacityProvider": name});
    server.refused("DeleteCapacityProvider", delete("FARGATE"), "ClientException", reserved).await;
    server.refused("DeleteCapacityProvider", delete("nobody"), "InvalidParameterException", missing).await;
}

#[tokio::test]
async fn an_update_answers_with_what_was_and_happens_afterwards() {
    let server = Server::new().await;
    create(&server, "workers", "DISABLED").await;
    let update = json!({"name": "workers", "autoScalingGroupProvider": {"managedScaling": {"targetCapacity": 80},
        "managedTerminationProtection": "ENABLED"}});
    let answer = server.ok("UpdateCapacityProvider", update.clone()).await["capacityProvider"].clone();
    assert_eq!(answer["updateStatus"], "UPDATE_IN_PROGRESS");
    assert_eq!(answer["autoScalingGroupProvider"]["managedScaling"]["targetCapacity"], 100);
    let busy = "The specified capacity provider is in a busy state and cannot be updated.";
    server.refused("UpdateCapacityProvider", update, "ClientException", busy).await;
    settle(&server).await;
    let now = describe(&server, "workers").await;
    assert_eq!(now["updateStatus"], "UPDATE_COMPLETE");
    let scaling = &now["autoScalingGroupProvider"]["managedScaling"];
    assert_eq!((&scaling["status"], &scaling["targetCapacity"]), (&json!("ENABLED"), &json!(80)));
    assert_eq!(now["autoScalingGroupProvider"]["managedTerminationProtection"], "ENABLED");
}

#[tokio::test]
async fn a_deleted_provider_is_described_for_a_while_and_its_name_is_free() {
    let server = Server::new().await;
    create(&server, "workers", "DISABLED").await;
    let answer = server.ok("DeleteCapacityProvider", json!({"capacityProvider": "workers"})).await;
    assert_eq!(answer["capacityProvider"]["status"], "ACTIVE");
    assert_eq!(answer["capacityProvider"]["updateStatus"], "DELETE_IN_PROGRESS");
    settle(&server).await;
    let gone = describe(&server, "workers").await;
    assert_eq!((&gone["status"], &gone["updateStatus"]), (&json!("INACTIVE"), &json!("DELETE_COMPLETE")));
    let all = server.ok("DescribeCapacityProviders", json!({})).await["capacityProviders"].clone();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(create(&server, "workers", "ENABLED").await["status"], "ACTIVE");
}

#[tokio::test]
async fn a_provider_of_a_cluster_has_its_policy_there_and_cannot_be_deleted() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    create(&server, "workers", "ENABLED").await;
    let strategy = json!([{"capacityProvider": "workers", "weight": 1}]);
    let attached = server.ok("PutClusterCapacityProviders", put(json!(["workers"]), strategy.clone())).await;
    assert_eq!(attached["cluster"]["attachmentsStatus"], "UPDATE_IN_PROGRESS");
    let busy = "The specified cluster is in a busy state. Cluster attachments must be in UPDATE_COMPLETE or \
                UPDATE_FAILED state before they can be updated.";
    let again = put(json!(["workers"]), strategy.clone());
    server.refused("PutClusterCapacityProviders", again, "UpdateInProgressException", busy).await;
    settle(&server).await;
    let now = cluster(&server).await;
    assert_eq!(now["attachmentsStatus"], "UPDATE_COMPLETE");
    let attachment = &now["attachments"][0];
    assert_eq!((&attachment["type"], &attachment["status"]), (&json!("as_policy"), &json!("CREATED")));
    assert_eq!(attachment["details"][0], json!({"name": "capacityProviderName", "value": "workers"}));
    assert!(attachment["details"][1]["value"].as_str().unwrap().starts_with("ECSManagedAutoScalingPolicy-"));

    server.ok("DeleteCapacityProvider", json!({"capacityProvider": "workers"})).await;
    settle(&server).await;
    let kept = describe(&server, "workers").await;
    assert_eq!((&kept["status"], &kept["updateStatus"]), (&json!("ACTIVE"), &json!("DELETE_FAILED")));
    assert!(kept["updateStatusReason"].as_str().unwrap().contains("cluster: default"));

    // One cluster only, as long as the group is scaled.
    server.ok("CreateCluster", json!({"clusterName": "other"})).await;
    let elsewhere =
        json!({"cluster": "other", "capacityProviders": ["workers"], "defaultCapacityProviderStrategy": []});
    let other = "The specified capacity provider 'workers' has managed scaling enabled and is already associated with \
                 another cluster.";
    server.refused("PutClusterCapacityProviders", elsewhere.clone(), "InvalidParameterException", other).await;
    let off = json!({"name": "workers", "autoScalingGroupProvider": {"managedScaling": {"status": "DISABLED"}}});
    server.ok("UpdateCapacityProvider", off).await;
    settle(&server).await;
    assert_eq!(cluster(&server).await["attachments"], json!([]));
    server.ok("PutClusterCapacityProviders", elsewhere).await;

    server.ok("PutClusterCapacityProviders", put(json!([]), json!([]))).await;
    assert_eq!(cluster(&server).await["capacityProviders"], json!([]));
}

#[tokio::test]
async fn strategies_that_mix_what_cannot_be_mixed_are_refused() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    create(&server, "workers", "DISABLED").await;
    let mixed = json!([{"capacityProvider": "workers", "weight": 1}, {"capacityProvider": "FARGATE", "weight": 1}]);
    let message = "The specified capacity provider strategy cannot contain both FARGATE or FARGATE_SPOT and capacity \
                   providers of Auto Scaling groups.";
    let input = put(json!(["workers", "FARGATE"]), mixed);
    server.refused("PutClusterCapacityProviders", input, "InvalidParameterException", message).await;
    let unknown = put(json!(["workers"]), json!([{"capacityProvider": "nobody"}]));
    let message = "The specified capacity provider 'nobody' was not found.";
    server.refused("PutClusterCapacityProviders", unknown, "InvalidParameterException", message).await;
}

#[tokio::test]
async fn tags_of_a_provider_change_and_fargate_has_none() {
    let server = Server::new().await;
    let arn = create(&server, "workers", "DISABLED").await["capacityProviderArn"].clone();
    server.ok("TagResource", json!({"resourceArn": arn, "tags": [{"key": "cost", "value": "1"}]})).await;
    server.ok("UntagResource", json!({"resourceArn": arn, "tagKeys": ["team"]})).await;
    let tags = server.ok("ListTagsForResource", json!({"resourceArn": arn})).await["tags"].clone();
    assert_eq!(tags, json!([{"key": "cost", "value": "1"}]));
}
