use gantry_control::keys::ServiceKind;
use serde_json::{Value, json};

use crate::{
    create, describe, server, settle,
    support::{INVALID, Server},
};

async fn list(server: &Server, more: Value) -> Vec<Value> {
    let mut input = json!({"service": "api"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.pages("ListServiceDeployments", input, "serviceDeployments").await.concat()
}

#[tokio::test]
async fn a_deployment_is_a_resource_of_its_own() {
    let server = server().await;
    let service = create(&server, "api", 0).await;
    let arn = service["currentServiceDeployment"].clone();
    let one = async || {
        let answer = server.ok("DescribeServiceDeployments", json!({"serviceDeploymentArns": [arn]})).await;
        answer["serviceDeployments"][0].clone()
    };
    let begun = one().await;
    assert_eq!(begun["status"], "IN_PROGRESS");
    assert_eq!(begun["sourceServiceRevisions"], json!([]));
    assert_eq!(begun["deploymentCircuitBreaker"]["status"], "DISABLED");
    let revision = begun["targetServiceRevision"]["arn"].clone();
    assert_eq!(revision, service["currentServiceRevisions"][0]["arn"]);
    settle(&server).await;
    let done = one().await;
    assert_eq!(done["status"], "SUCCESSFUL");
    assert!(done["finishedAt"].is_f64());
    let rollout = describe(&server, "api").await["deployments"][0].clone();
    let reason = format!("ECS deployment {} completed.", rollout["id"].as_str().unwrap());
    assert_eq!((&rollout["rolloutState"], &rollout["rolloutStateReason"]), (&json!("COMPLETED"), &json!(reason)));

    let answer = server.ok("DescribeServiceRevisions", json!({"serviceRevisionArns": [revision]})).await;
    let revision = &answer["serviceRevisions"][0];
    assert_eq!(revision["taskDefinition"], service["taskDefinition"]);
    assert_eq!(revision["launchType"], "EC2");
    assert_eq!(revision["containerImages"], json!([{"containerName": "app", "image": "a"}]));
}

#[tokio::test]
async fn a_newer_deployment_supersedes_one_that_is_not_done() {
    let server = server().await;
    create(&server, "api", 1).await;
    server.ok("UpdateService", json!({"service": "api", "forceNewDeployment": true})).await;
    let all = list(&server, json!({})).await;
    let of = |status: &str| all.iter().filter(|deployment| deployment["status"] == status).count();
    assert_eq!((all.len(), of("STOPPED"), of("IN_PROGRESS")), (2, 1, 1));
    assert_eq!(list(&server, json!({"status": ["STOPPED"]})).await.len(), 1);
    assert_eq!(list(&server, json!({"createdAt": {"after": 9e9}})).await.len(), 0);
    let pages =
        server.pages("ListServiceDeployments", json!({"service": "api", "maxResults": 1}), "serviceDeployments").await;
    assert_eq!(pages.concat(), all);
}

#[tokio::test]
async fn the_history_is_bounded() {
    let server = server().await;
    create(&server, "api", 0).await;
    for _ in 0..120 {
        server.ok("UpdateService", json!({"service": "api", "forceNewDeployment": true})).await;
        settle(&server).await;
    }
    let all = list(&server, json!({"maxResults": 100})).await;
    assert_eq!(all.len(), 100);
    let newest = describe(&server, "api").await["currentServiceDeployment"].clone();
    assert_eq!(all.iter().filter(|one| one["serviceDeploymentArn"] == newest).count(), 1);
    let view = server.control.read();
    let name = "default".parse().unwrap();
    let revisions = view.cluster(&crate::support::scope(), &name).unwrap().kept(ServiceKind::Service).revisions().len();
    assert!(revisions <= 100, "{revisions}");
}

#[tokio::test]
async fn unknown_and_malformed_arns() {
    let server = server().await;
    let here = "arn:aws:ecs:us-east-1:000000000000:";
    let deployment = format!("{here}service-deployment/default/api/abc");
    let answer = server.ok("DescribeServiceDeployments", json!({"serviceDeploymentArns": [deployment]})).await;
    assert_eq!(answer["failures"], json!([{"arn": deployment, "reason": "MISSING"}]));
    let revision = format!("{here}service-revision/default/api/12");
    let answer = server.ok("DescribeServiceRevisions", json!({"serviceRevisionArns": [revision]})).await;
    assert_eq!(answer["failures"], json!([{"arn": revision, "reason": "MISSING"}]));
    let invalid = "The ARN provided is invalid.";
    let input = json!({"serviceRevisionArns": [deployment]});
    server.refused("DescribeServiceRevisions", input, INVALID, invalid).await;
    let input = json!({"serviceDeploymentArns": ["nonsense"]});
    server.refused("DescribeServiceDeployments", input, INVALID, invalid).await;
}

#[tokio::test]
async fn what_cannot_be_placed_is_said_once() {
    let server = server().await;
    create(&server, "api", 1).await;
    settle(&server).await;
    settle(&server).await;
    let service = describe(&server, "api").await;
    let events = service["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0]["message"],
        "service api was unable to place a task because no container instance met all of its requirements. Reason: No \
         Container Instances were found in your cluster. For more information, see the Troubleshooting section of the \
         Amazon ECS Developer Guide."
    );
    assert_eq!(events[0]["id"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn a_deployment_that_is_not_done_can_be_stopped() {
    let server = server().await;
    let first = create(&server, "api", 0).await;
    let stop = |arn: &Value| json!({"serviceDeploymentArn": arn});
    let arn = &first["currentServiceDeployment"];
    let nowhere = "The service has no previous service revision to roll back to.";
    server.refused("StopServiceDeployment", stop(arn), "ConflictException", nowhere).await;
    settle(&server).await;
    let done = "The service deployment is not in a state that can be stopped.";
    server.refused("StopServiceDeployment", stop(arn), "ConflictException", done).await;

    server.register("web").await;
    let input = json!({"service": "api", "taskDefinition": "web:2", "desiredCount": 1});
    let second = server.ok("UpdateService", input).await["service"]["currentServiceDeployment"].clone();
    assert_eq!(server.ok("StopServiceDeployment", stop(&second)).await["serviceDeploymentArn"], second);
    server.ok("StopServiceDeployment", stop(&second)).await;
    let input = json!({"serviceDeploymentArns": [second]});
    let answer = server.ok("DescribeServiceDeployments", input.clone()).await;
    assert_eq!(answer["serviceDeployments"][0]["status"], "ROLLBACK_REQUESTED");
    settle(&server).await;
    let answer = server.ok("DescribeServiceDeployments", input).await;
    assert_eq!(answer["serviceDeployments"][0]["status"], "ROLLBACK_IN_PROGRESS");
    let service = describe(&server, "api").await;
    assert!(service["taskDefinition"].as_str().unwrap().ends_with("web:1"));
    assert_eq!(service["currentServiceDeployment"], second);
    server.ok("UpdateService", json!({"service": "api", "desiredCount": 0})).await;
    settle(&server).await;
    let answer = server.ok("DescribeServiceDeployments", json!({"serviceDeploymentArns": [second]})).await;
    let stopped = &answer["serviceDeployments"][0];
    assert_eq!(stopped["status"], "ROLLBACK_SUCCESSFUL");
    assert_eq!(stopped["rollback"]["serviceRevisionArn"], first["currentServiceRevisions"][0]["arn"]);
}
