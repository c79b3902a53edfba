//! Input of any kind is answered or refused with a 4xx, whatever it is: never a panic, never a 5xx.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Server;

/// A good request of each operation, to be spoiled.
fn requests() -> Vec<(&'static str, Value)> {
    let cluster = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
    let instance = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/01010101010101010101010101010101";
    vec![
        (
            "CreateCluster",
            json!({"clusterName": "c", "settings": [{"name": "containerInsights", "value": "enabled"}],
            "configuration": {"executeCommandConfiguration": {"logging": "NONE"}}, "capacityProviders": ["FARGATE"],
            "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1, "base": 1}],
            "tags": [{"key": "a", "value": "b"}], "serviceConnectDefaults": {"namespace": "n"}}),
        ),
        ("DescribeClusters", json!({"clusters": ["default", cluster], "include": ["TAGS", "STATISTICS"]})),
        ("ListClusters", json!({"maxResults": 5, "nextToken": "00"})),
        (
            "UpdateCluster",
            json!({"cluster": "default", "settings": [{"name": "containerInsights", "value": "enabled"}]}),
        ),
        ("UpdateClusterSettings", json!({"cluster": "default", "settings": []})),
        ("DeleteCluster", json!({"cluster": "ghost"})),
        (
            "PutClusterCapacityProviders",
            json!({"cluster": "default", "capacityProviders": ["FARGATE"],
            "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}),
        ),
        ("DescribeCapacityProviders", json!({"capacityProviders": ["FARGATE"], "maxResults": 1, "cluster": "default"})),
        (
            "RegisterTaskDefinition",
            json!({"family": "web", "networkMode": "bridge", "cpu": "256", "memory": "512",
            "volumes": [{"name": "v", "host": {"sourcePath": "/a"}}], "tags": [{"key": "a"}],
            "containerDefinitions": [{"name": "app", "image": "a", "memory": 6, "essential": true,
                "portMappings": [{"containerPort": 80, "hostPort": 0}], "command": ["a"],
                "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}],
                "healthCheck": {"command": ["CMD", "a"], "interval": 5},
                "dependsOn": [], "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 1}]}]}),
        ),
        ("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"})),
        ("DescribeTaskDefinition", json!({"taskDefinition": "web", "include": ["TAGS"]})),
        ("ListTaskDefinitions", json!({"familyPrefix": "web", "status": "ACTIVE", "sort": "DESC", "maxResults": 1})),
        ("ListTaskDefinitionFamilies", json!({"familyPrefix": "w", "status": "ALL", "maxResults": 1})),
        ("DeleteTaskDefinitions", json!({"taskDefinitions": ["web:1", "web:99"]})),
        ("TagResource", json!({"resourceArn": cluster, "tags": [{"key": "a", "value": "b"}]})),
        ("UntagResource", json!({"resourceArn": cluster, "tagKeys": ["a"]})),
        ("ListTagsForResource", json!({"resourceArn": cluster})),
        (
            "PutAttributes",
            json!({"cluster": "default", "attributes": [{"name": "a", "value": "b", "targetId": instance}]}),
        ),
        ("DeleteAttributes", json!({"attributes": [{"name": "a", "targetId": instance}]})),
        ("ListAttributes", json!({"targetType": "container-instance", "attributeName": "a", "attributeValue": "b"})),
        ("PutAccountSetting", json!({"name": "awsvpcTrunking", "value": "enabled"})),
        ("PutAccountSettingDefault", json!({"name": "awsvpcTrunking", "value": "enabled"})),
        ("DeleteAccountSetting", json!({"name": "awsvpcTrunking"})),
        ("ListAccountSettings", json!({"name": "awsvpcTrunking", "effectiveSettings": true, "maxResults": 1})),
        (
            "CreateService",
            json!({"cluster": "default", "serviceName": "api", "taskDefinition": "web", "desiredCount": 1,
            "clientToken": "t", "launchType": "EC2", "propagateTags": "SERVICE", "tags": [{"key": "a", "value": "b"}],
            "deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 150,
                "deploymentCircuitBreaker": {"enable": true, "rollback": true}},
            "placementConstraints": [{"type": "memberOf", "expression": "attribute:a == b"}],
            "placementStrategy": [{"type": "spread", "field": "instanceId"}]}),
        ),
        (
            "UpdateService",
            json!({"service": "api", "taskDefinition": "web", "desiredCount": 2, "forceNewDeployment": true,
            "deploymentConfiguration": {"minimumHealthyPercent": 50}, "placementStrategy": []}),
        ),
        ("DescribeServices", json!({"services": ["api", "arn"], "include": ["TAGS"]})),
        ("ListServices", json!({"maxResults": 1, "launchType": "EC2"})),
        ("ListServicesByNamespace", json!({"namespace": "n"})),
        ("ListServiceDeployments", json!({"service": "api", "status": ["SUCCESSFUL"], "maxResults": 1})),
        (
            "DescribeServiceDeployments",
            json!({"serviceDeploymentArns": [cluster.replace("cluster/default", "service-deployment/default/api/a")]}),
        ),
        (
            "DescribeServiceRevisions",
            json!({"serviceRevisionArns": [cluster.replace("cluster/default", "service-revision/default/api/1")]}),
        ),
        ("DeleteService", json!({"service": "api", "force": true})),
    ]
}

fn spoiled() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(String::new()),
        Just("\0".to_owned()),
        Just("../../etc".to_owned()),
        Just("arn:aws:ecs:us-east-1:000000000000:cluster/a/b".to_owned()),
        Just("arn:aws:ecs:us-east-1:000000000000:task-definition/web:99999999999999999999".to_owned()),
        Just("%s%n".to_owned()),
        Just("x".repeat(70_000)),
        "\\PC{0,20}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1..3).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,12}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn spoil(value: &mut Value, mut at: u64, with: Value) {
    let children = match value {
        Value::Object(map) => map.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    } as u64;
    let choice = usize::try_from(at % (children + 1)).unwrap();
    at /= children + 1;
    let child = match value {
        Value::Object(map) => map.values_mut().nth(choice),
        Value::Array(list) => list.get_mut(choice),
        _ => None,
    };
    match child {
        Some(child) => spoil(child, at, with),
        None => *value = with,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn populated() -> Server {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    server.register("web").await;
    server.instance(1, "ACTIVE").await;
    server
}

async fn check(server: &Server, operation: &str, body: &[u8]) -> Result<(), TestCaseError> {
    if let Err(fault) = server.call_bytes(operation, body).await {
        let shown = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
        prop_assert!((400..500).contains(&fault.status), "{operation} {shown}: {fault}");
        prop_assert!(!fault.message.is_empty(), "{operation} {shown}: {}", fault.code);
        prop_assert!(fault.message.len() < 80_000, "{operation}: a sentence of {} bytes", fault.message.len());
    }
    Ok(())
}

#[tokio::test]
async fn the_good_requests_are_good() {
    let server = populated().await;
    for (operation, input) in requests() {
        let expected = match operation {
            // Made to be refused: a token that is none, a cluster that is not there.
            "ListClusters" => Some("InvalidParameterException"),
            "DeleteCluster" => Some("ClusterNotFoundException"),
            _ => None,
        };
        let code = server.call(operation, input).await.err().map(|fault| fault.code);
        assert_eq!(code, expected, "{operation}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spoiled_requests_are_answered_or_refused(
        spoils in prop::collection::vec((any::<u64>(), spoiled()), 1..4)
    ) {
        runtime().block_on(async {
            let server = populated().await;
            for (operation, mut input) in requests() {
                for (at, with) in &spoils {
                    spoil(&mut input, *at, with.clone());
                }
                check(&server, operation, input.to_string().as_bytes()).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn bytes_that_are_no_json_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        runtime().block_on(async {
            let server = populated().await;
            for (operation, input) in requests() {
                check(&server, operation, &bytes).await?;
                let text = input.to_string();
                check(&server, operation, &text.as_bytes()[..cut.index(text.len())]).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[tokio::test]
async fn nesting_without_end_is_refused() {
    let server = populated().await;
    for body in ["[".repeat(200_000), r#"{"tags":"#.repeat(100_000), format!("{{\"clusters\":{}", "[".repeat(100_000))]
    {
        for (operation, _) in requests() {
            let fault = server.call_bytes(operation, body.as_bytes()).await.unwrap_err();
            assert_eq!(fault.status, 400, "{operation}");
        }
    }
}
