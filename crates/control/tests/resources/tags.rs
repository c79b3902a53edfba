use serde_json::{Value, json};

use crate::support::{INVALID, Server};

async fn list(server: &Server, arn: &str) -> Value {
    server.ok("ListTagsForResource", json!({"resourceArn": arn})).await["tags"].clone()
}

#[tokio::test]
async fn every_resource_takes_tags_changes_them_and_gives_them_back() {
    let server = Server::new().await;
    let cluster = server.ok("CreateCluster", json!({})).await["cluster"]["clusterArn"].clone();
    let definition = server.register("web").await["taskDefinitionArn"].clone();
    let arns = [
        cluster.as_str().unwrap().to_owned(),
        definition.as_str().unwrap().to_owned(),
        server.service("api", "ACTIVE").await,
        server.task(1, "web:1", "RUNNING").await,
        server.instance(1, "ACTIVE").await,
    ];
    for arn in &arns {
        assert_eq!(list(&server, arn).await, json!([]), "{arn}");
        let tags = json!([{"key": "b", "value": "2"}, {"key": "a", "value": "1"}]);
        server.ok("TagResource", json!({"resourceArn": arn, "tags": tags})).await;
        server.ok("TagResource", json!({"resourceArn": arn, "tags": [{"key": "a", "value": "9"}, {"key": "c"}]})).await;
        server.ok("UntagResource", json!({"resourceArn": arn, "tagKeys": ["b", "never there"]})).await;
        assert_eq!(list(&server, arn).await, json!([{"key": "a", "value": "9"}, {"key": "c", "value": ""}]), "{arn}");
    }
}

#[tokio::test]
async fn what_cannot_be_tagged_is_refused() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    let stopped = server.task(1, "web:1", "STOPPED").await;
    let inactive = server.instance(1, "INACTIVE").await;
    let deleted = server.service("api", "INACTIVE").await;
    let here = "arn:aws:ecs:us-east-1:000000000000:";
    let id = "0".repeat(32);
    let missing =
        |what: &str| format!("The specified {what} could not be found. Specify a valid {what} and try again.");
    for (arn, code, message) in [
        ("nonsense".to_owned(), INVALID, "The ARN provided is invalid.".to_owned()),
        (format!("{here}capacity-provider/FARGATE"), INVALID, "The ARN provided is invalid.".into()),
        (format!("{here}service/api"), INVALID, "Long arn format must be used for tagging operations".into()),
        ("arn:aws:ecs:eu-west-1:000000000000:cluster/default".into(), INVALID, "Invalid Region in ARN".into()),
        (format!("{here}cluster/ghost"), "ClusterNotFoundException", "Cluster not found.".into()),
        (format!("{here}service/ghost/api"), "ClusterNotFoundException", "Cluster not found.".into()),
        (format!("{here}service/default/ghost"), "ResourceNotFoundException", missing("service")),
        (format!("{here}task/default/{id}"), "ResourceNotFoundException", missing("task")),
        (format!("{here}container-instance/default/{id}"), "ResourceNotFoundException", missing("container instance")),
        (format!("{here}task-definition/web:1"), "ResourceNotFoundException", missing("task definition")),
        (stopped, INVALID, "The specified task is stopped. Specify a running task and try again.".into()),
        (
            inactive,
            INVALID,
            "The specified container instance is inactive. Specify an active container instance and try again.".into(),
        ),
        (deleted, INVALID, "The specified service is inactive. Specify an active service and try again.".into()),
    ] {
        server.refused("ListTagsForResource", json!({"resourceArn": arn}), code, &message).await;
        let input = json!({"resourceArn": arn, "tags": [{"key": "a", "value": "b"}]});
        server.refused("TagResource", input, code, &message).await;
        server.refused("UntagResource", json!({"resourceArn": arn, "tagKeys": ["a"]}), code, &message).await;
    }
}

#[tokio::test]
async fn a_resource_has_fifty_tags_at_most() {
    let server = Server::new().await;
    let tags = |from: usize, to: usize| {
        Value::from((from..to).map(|number| json!({"key": format!("k{number}"), "value": "v"})).collect::<Vec<_>>())
    };
    let arn = server.ok("CreateCluster", json!({"tags": tags(0, 50)})).await["cluster"]["clusterArn"].clone();
    let message = "The maximum number of tags per resource is 50.";
    let input = json!({"resourceArn": arn, "tags": tags(50, 51)});
    server.refused("TagResource", input, "LimitExceededException", message).await;
    assert_eq!(list(&server, arn.as_str().unwrap()).await.as_array().unwrap().len(), 50);
    let twice = json!([{"key": "a"}, {"key": "a"}]);
    let message = "Duplicate tag keys provided. Tag keys must be unique.";
    server.refused("TagResource", json!({"resourceArn": arn, "tags": twice}), INVALID, message).await;
}
