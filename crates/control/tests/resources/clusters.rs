use serde_json::{Value, json};

use crate::support::{INVALID, Server};

#[tokio::test]
async fn a_cluster_is_created_with_what_was_asked_and_answered_as_the_service_answers() {
    let server = Server::new().await;
    let input = json!({
        "clusterName": "prod",
        "tags": [{"key": "b", "value": "2"}, {"key": "a", "value": "1"}],
        "settings": [{"name": "containerInsights", "value": "enabled"}],
        "configuration": {"executeCommandConfiguration": {"logging": "DEFAULT"}},
        "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}],
    });
    let cluster = server.ok("CreateCluster", input).await["cluster"].clone();
    assert_eq!(
        cluster,
        json!({
            "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/prod", "clusterName": "prod", "status": "ACTIVE",
            "registeredContainerInstancesCount": 0, "runningTasksCount": 0, "pendingTasksCount": 0,
            "activeServicesCount": 0, "statistics": [],
            "tags": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}],
            "settings": [{"name": "containerInsights", "value": "enabled"}],
            "configuration": {"executeCommandConfiguration": {"logging": "DEFAULT"}},
            "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}],
        })
    );
}

#[tokio::test]
async fn creating_again_answers_the_same_cluster_unless_the_arguments_differ() {
    let server = Server::new().await;
    let first = server.ok("CreateCluster", json!({})).await;
    assert_eq!(first["cluster"]["clusterName"], "default");
    assert_eq!(server.ok("CreateCluster", json!({"clusterName": "default"})).await, first);
    server
        .refused(
            "CreateCluster",
            json!({"capacityProviders": ["FARGATE"]}),
            INVALID,
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        )
        .await;
    assert_eq!(server.ok("ListClusters", json!({})).await["clusterArns"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    let server = Server::new().await;
    let inactive = |name: &str| {
        format!(
            "The specified capacity provider '{name}' is not in an ACTIVE state. Specify a valid capacity provider and \
             try again."
        )
    };
    let name = |name: &str| format!("Cluster must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}");
    for (input, message) in [
        (json!({"clusterName": "a b"}), name("a b")),
        (json!({"clusterName": "a/b"}), name("a/b")),
        (json!({"capacityProviders": ["spare"]}), inactive("spare")),
        (json!({"capacityProviders": ["a b"]}), inactive("a b")),
        (
            json!({"capacityProviders": ["FARGATE"],
                "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}),
            "The specified capacity provider strategy cannot contain a capacity provider that is not associated with \
             the cluster. Associate the capacity provider with the cluster and try again."
                .to_owned(),
        ),
        (
            json!({"configuration": {"executeCommandConfiguration": {"logging": "OVERRIDE"}}}),
            "logConfiguration must be specified when executeCommandConfiguration.logging is OVERRIDE.".to_owned(),
        ),
        (
            json!({"settings": [{"name": "containerInsights", "value": "on"}]}),
            "Invalid value 'on' for cluster setting 'containerInsights'.".to_owned(),
        ),
        (
            json!({"serviceConnectDefaults": {"namespace": "a<b"}}),
            "Invalid namespace in serviceConnectDefaults.".into(),
        ),
        (json!({"tags": [{"key": "aws:x"}]}), "aws: prefixed tag key names are not allowed for external use.".into()),
    ] {
        server.refused("CreateCluster", input, INVALID, &message).await;
    }
    assert_eq!(server.ok("ListClusters", json!({})).await["clusterArns"], json!([]));
}

#[tokio::test]
async fn describe_shows_what_is_included_and_says_what_is_missing() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({"tags": [{"key": "a", "value": "1"}]})).await;
    let plain = server.ok("DescribeClusters", json!({})).await["clusters"][0].clone();
    assert_eq!((&plain["tags"], &plain["settings"], &plain["statistics"]), (&json!([]), &json!([]), &json!([])));
    assert_eq!(plain["capacityProviders"], json!([]));
    assert_eq!((plain.get("attachments"), plain.get("configuration")), (None, None));
    server.task(1, "web:1", "RUNNING").await;
    server.task(2, "web:1", "PENDING").await;
    server.task(3, "web:1", "STOPPED").await;
    server.service("api", "ACTIVE").await;
    server.instance(1, "ACTIVE").await;
    server.instance(2, "DRAINING").await;
    server.instance(3, "INACTIVE").await;
    let include = json!(["ATTACHMENTS", "CONFIGURATIONS", "SETTINGS", "STATISTICS", "TAGS"]);
    let input = json!({"clusters": ["default", "arn:aws:ecs:us-east-1:000000000000:cluster/default", "ghost"],
        "include": include});
    let answer = server.ok("DescribeClusters", input).await;
    assert_eq!(
        answer["failures"],
        json!([{"arn": "arn:aws:ecs:us-east-1:000000000000:cluster/ghost", "reason": "MISSING"}])
    );
    assert_eq!(answer["clusters"].as_array().unwrap().len(), 1, "each cluster once");
    let cluster = &answer["clusters"][0];
    let counts = ["runningTasksCount", "pendingTasksCount", "activeServicesCount", "registeredContainerInstancesCount"];
    assert_eq!(counts.map(|count| cluster[count].as_i64().unwrap()), [1, 1, 1, 2]);
    assert_eq!(cluster["settings"], json!([{"name": "containerInsights", "value": "disabled"}]));
    assert_eq!(cluster["tags"], json!([{"key": "a", "value": "1"}]));
    assert_eq!(cluster["attachments"], json!([]));
    let statistic = |name: &str| {
        let all = cluster["statistics"].as_array().unwrap();
        all.iter().find(|pair| pair["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(statistic("runningFargateTasksCount"), "1");
    assert_eq!(statistic("pendingFargateTasksCount"), "1");
    assert_eq!(statistic("runningEC2TasksCount"), "0");
    assert_eq!(statistic("activeEC2ServiceCount"), "1");
    assert_eq!(statistic("drainingFargateServiceCount"), "0");
    let names: Vec<String> = (0..101).map(|number| format!("c{number}")).collect();
    server
        .refused(
            "DescribeClusters",
            json!({"clusters": names}),
            INVALID,
            "Clusters cannot have more than 100 elements.",
        )
        .await;
}

#[tokio::test]
async fn clusters_are_listed_by_name_in_pages_and_in_their_own_region_only() {
    let server = Server::new().await;
    for name in ["c", "a", "e", "b", "d"] {
        server.ok("CreateCluster", json!({"clusterName": name})).await;
    }
    server.in_region("eu-west-1").ok("CreateCluster", json!({"clusterName": "elsewhere"})).await;
    let pages = server.pages("ListClusters", json!({"maxResults": 2}), "clusterArns").await;
    let names: Vec<&str> =
        pages.iter().flatten().map(|arn| arn.as_str().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    server.refused("ListClusters", json!({"nextToken": "made up"}), INVALID, "Invalid token.").await;
    server.refused("ListClusters", json!({"maxResults": 101}), INVALID, "maxResults must be between 1 and 100.").await;
    server
        .refused(
            "DescribeClusters",
            json!({"clusters": ["arn:aws:ecs:eu-west-1:000000000000:cluster/elsewhere"]}),
            INVALID,
            "Invalid Region in ARN",
        )
        .await;
}

#[tokio::test]
async fn an_update_changes_what_is_given_and_nothing_else() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({"serviceConnectDefaults": {"namespace": "ns"}})).await;
    let settings = json!([{"name": "containerInsights", "value": "enhanced"}]);
    let updated = server.ok("UpdateCluster", json!({"cluster": "default", "settings": settings})).await;
    assert_eq!(updated["cluster"]["settings"], settings);
    assert_eq!(updated["cluster"]["serviceConnectDefaults"], json!({"namespace": "ns"}));
    let cleared =
        server.ok("UpdateCluster", json!({"cluster": "default", "serviceConnectDefaults": {"namespace": ""}})).await;
    assert_eq!(cleared["cluster"].get("serviceConnectDefaults"), None);
    assert_eq!(cleared["cluster"]["settings"], settings);
    let off = json!([{"name": "containerInsights", "value": "disabled"}]);
    let updated = server.ok("UpdateClusterSettings", json!({"cluster": "default", "settings": off})).await;
    assert_eq!(updated["cluster"]["settings"], off);
    server
        .refused("UpdateCluster", json!({"cluster": "ghost"}), "ClusterNotFoundException", "Cluster not found.")
        .await;
}

#[tokio::test]
async fn only_an_empty_cluster_is_deleted_and_it_can_come_back() {
    let server = Server::new().await;
    let delete = || json!({"cluster": "default"});
    server.refused("DeleteCluster", delete(), "ClusterNotFoundException", "Cluster not found.").await;
    server.ok("CreateCluster", json!({"capacityProviders": ["FARGATE"], "tags": [{"key": "old"}]})).await;
    server.task(1, "web:1", "RUNNING").await;
    server.service("api", "ACTIVE").await;
    server.instance(1, "DRAINING").await;
    for (code, message, remedy) in [
        (
            "ClusterContainsContainerInstancesException",
            "The Cluster cannot be deleted while Container Instances are active or draining.",
            "instance",
        ),
        ("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.", "service"),
        ("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.", "task"),
    ] {
        server.refused("DeleteCluster", delete(), code, message).await;
        match remedy {
            "instance" => server.instance(1, "INACTIVE").await,
            "service" => server.service("api", "INACTIVE").await,
            _ => server.task(1, "web:1", "STOPPED").await,
        };
    }
    let deleted = server.ok("DeleteCluster", delete()).await["cluster"].clone();
    assert_eq!((&deleted["status"], &deleted["capacityProviders"]), (&json!("INACTIVE"), &json!([])));
    assert_eq!(server.ok("ListClusters", json!({})).await["clusterArns"], json!([]));
    assert_eq!(server.ok("DescribeClusters", json!({})).await["clusters"][0]["status"], "INACTIVE");
    server.refused("DeleteCluster", delete(), "ClusterNotFoundException", "The referenced cluster was inactive.").await;
    let again = server.ok("CreateCluster", json!({})).await["cluster"].clone();
    assert_eq!((&again["status"], &again["tags"]), (&json!("ACTIVE"), &json!([])));
}

#[tokio::test]
async fn capacity_providers_are_replaced_unless_they_are_in_use() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    let put = |providers: Value, strategy: Value| json!({"cluster": "default", "capacityProviders": providers, "defaultCapacityProviderStrategy": strategy});
    let strategy = json!([{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 2}]);
    let input = put(json!(["FARGATE", "FARGATE_SPOT"]), strategy.clone());
    let cluster = server.ok("PutClusterCapacityProviders", input).await["cluster"].clone();
    assert_eq!(cluster["defaultCapacityProviderStrategy"], strategy);
    server.task(1, "web:1", "RUNNING").await;
    server
        .refused(
            "PutClusterCapacityProviders",
            put(json!(["FARGATE"]), json!([])),
            "ResourceInUseException",
            "The specified capacity provider is in use and cannot be removed.",
        )
        .await;
    server.task(1, "web:1", "STOPPED").await;
    let cluster = server.ok("PutClusterCapacityProviders", put(json!([]), json!([]))).await["cluster"].clone();
    assert_eq!((&cluster["capacityProviders"], &cluster["defaultCapacityProviderStrategy"]), (&json!([]), &json!([])));
    let twice = json!([{"capacityProvider": "FARGATE"}, {"capacityProvider": "FARGATE"}]);
    let fault = server.call("PutClusterCapacityProviders", put(json!(["FARGATE"]), twice)).await.unwrap_err();
    assert_eq!(fault.code, INVALID);
}

#[tokio::test]
async fn fargate_providers_are_known_everywhere() {
    let server = Server::new().await;
    let answer = server.ok("DescribeCapacityProviders", json!({})).await;
    let names: Vec<&Value> = answer["capacityProviders"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["FARGATE", "FARGATE_SPOT"]);
    let answer = server.ok("DescribeCapacityProviders", json!({"capacityProviders": ["FARGATE", "spare"]})).await;
    assert_eq!(answer["capacityProviders"][0]["status"], "ACTIVE");
    assert_eq!(answer["failures"][0]["arn"], "arn:aws:ecs:us-east-1:000000000000:capacity-provider/spare");
}
