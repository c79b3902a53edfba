use std::collections::BTreeSet;

use gantry_control::reconcile::{Reconciler, TaskDefinitions};
use serde_json::{Value, json};

use crate::support::{CLIENT, INVALID, Server};

fn arn(key: &str) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:task-definition/{key}")
}

fn tails(pages: &[Vec<Value>]) -> Vec<String> {
    let tail = |arn: &Value| arn.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    pages.iter().flatten().map(tail).collect()
}

/// One sweep over everything that is to be deleted.
async fn sweep(server: &Server) {
    let reconciler = TaskDefinitions::new(server.control.clone());
    for key in reconciler.keys() {
        reconciler.reconcile(&key).await.unwrap();
    }
}

#[tokio::test]
async fn revisions_count_up_and_tags_come_back_when_asked_for() {
    let server = Server::new().await;
    let input = json!({"family": "web", "tags": [{"key": "a", "value": "1"}],
        "containerDefinitions": [{"name": "app", "image": "a", "memory": 6}]});
    let answer = server.ok("RegisterTaskDefinition", input).await;
    assert_eq!(answer["tags"], json!([{"key": "a", "value": "1"}]));
    let definition = &answer["taskDefinition"];
    assert_eq!(definition["taskDefinitionArn"], arn("web:1"));
    assert_eq!((&definition["revision"], &definition["status"]), (&json!(1), &json!("ACTIVE")));
    assert_eq!(definition["registeredBy"], "arn:aws:iam::000000000000:root");
    assert!(definition["registeredAt"].is_f64());
    assert_eq!(server.register("web").await["revision"], 2);
    for reference in ["web:1".to_owned(), arn("web:1")] {
        let input = json!({"taskDefinition": reference, "include": ["TAGS"]});
        let described = server.ok("DescribeTaskDefinition", input).await;
        assert_eq!((&described["taskDefinition"], &described["tags"]), (definition, &answer["tags"]));
    }
    let latest = server.ok("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
    assert_eq!((&latest["taskDefinition"]["revision"], &latest["tags"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn a_bad_document_or_reference_is_refused_in_the_services_words() {
    let server = Server::new().await;
    let input = json!({"family": "web", "containerDefinitions": []});
    server.refused("RegisterTaskDefinition", input, CLIENT, "Container list cannot be empty.").await;
    let unknown = "Unable to describe task definition.";
    for reference in ["web", "web:1", "a b", &arn("web:1"), "arn:aws:ecs"] {
        server.refused("DescribeTaskDefinition", json!({"taskDefinition": reference}), CLIENT, unknown).await;
    }
    server.register("web").await;
    for (reference, code, message) in [
        ("web", CLIENT, "Revision is missing."),
        ("web:", CLIENT, "Revision is missing."),
        ("web:x", INVALID, "Invalid revision number. Number: x"),
        ("web:2", CLIENT, unknown),
        ("arn:aws:ecs:eu-west-1:000000000000:task-definition/web:1", INVALID, "Invalid Region in ARN"),
    ] {
        server.refused("DeregisterTaskDefinition", json!({"taskDefinition": reference}), code, message).await;
    }
}

#[tokio::test]
async fn a_hundred_registrations_at_once_get_a_hundred_numbers() {
    let server = std::sync::Arc::new(Server::new().await);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let server = server.clone();
        running.spawn(async move { server.register("web").await["revision"].as_u64().unwrap() });
    }
    let numbers: BTreeSet<u64> = running.join_all().await.into_iter().collect();
    assert_eq!(numbers, (1..=100).collect());
}

#[tokio::test]
async fn deregistering_hides_a_revision_from_new_work_and_keeps_it_describable() {
    let server = Server::new().await;
    server.register("web").await;
    server.register("web").await;
    let gone =
        server.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web:2"})).await["taskDefinition"].clone();
    assert_eq!(gone["status"], "INACTIVE");
    assert!(gone["deregisteredAt"].is_f64());
    let again = server.ok("DeregisterTaskDefinition", json!({"taskDefinition": arn("web:2")})).await;
    assert_eq!(again["taskDefinition"], gone, "asked again it stays as it is");
    let latest = server.ok("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
    assert_eq!(latest["taskDefinition"]["revision"], 1);
    let inactive = server.ok("DescribeTaskDefinition", json!({"taskDefinition": "web:2"})).await;
    assert_eq!(inactive["taskDefinition"], gone);
    server.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"})).await;
    server
        .refused(
            "DescribeTaskDefinition",
            json!({"taskDefinition": "web"}),
            CLIENT,
            "Unable to describe task definition.",
        )
        .await;
    assert_eq!(server.register("web").await["revision"], 3);
}

#[tokio::test]
async fn lists_are_ordered_filtered_and_paged() {
    let server = Server::new().await;
    for family in ["web", "api", "web-db"] {
        for _ in 0..11 {
            server.register(family).await;
        }
    }
    server.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web:3"})).await;
    let all = server.pages("ListTaskDefinitions", json!({"maxResults": 7}), "taskDefinitionArns").await;
    let mut expected: Vec<String> =
        ["api", "web", "web-db"].iter().flat_map(|family| (1..=11).map(move |n| format!("{family}:{n}"))).collect();
    expected.retain(|key| key != "web:3");
    assert_eq!(tails(&all), expected);
    let input = json!({"maxResults": 7, "sort": "DESC"});
    let reversed = server.pages("ListTaskDefinitions", input, "taskDefinitionArns").await;
    expected.reverse();
    assert_eq!(tails(&reversed), expected);
    let list = |input: Value| server.pages("ListTaskDefinitions", input, "taskDefinitionArns");
    assert_eq!(tails(&list(json!({"status": "INACTIVE"})).await), ["web:3"]);
    assert_eq!(tails(&list(json!({"familyPrefix": "web", "maxResults": 3})).await).len(), 10, "a whole family");
    assert_eq!(tails(&list(json!({"familyPrefix": "we"})).await).len(), 0, "not a prefix");
    let first = server.ok("ListTaskDefinitions", json!({"maxResults": 1})).await;
    server
        .refused(
            "ListTaskDefinitions",
            json!({"maxResults": 1, "sort": "DESC", "nextToken": first["nextToken"]}),
            INVALID,
            "Invalid token.",
        )
        .await;
}

#[tokio::test]
async fn a_list_of_daemon_task_definitions_goes_on_when_the_last_one_of_a_page_is_gone() {
    let server = Server::new().await;
    for _ in 0..5 {
        let container = json!({"name": "app", "image": "a", "memory": 6});
        let input = json!({"family": "agent", "containerDefinitions": [container]});
        server.ok("RegisterDaemonTaskDefinition", input).await;
    }
    let tail = |one: &Value| one["arn"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    for (sort, gone, expected) in
        [("ASC", "agent:2", ["agent:3", "agent:4"]), ("DESC", "agent:4", ["agent:3", "agent:1"])]
    {
        let input = json!({"maxResults": 2, "sort": sort});
        let first = server.ok("ListDaemonTaskDefinitions", input.clone()).await;
        server.ok("DeleteDaemonTaskDefinition", json!({"daemonTaskDefinition": gone})).await;
        let mut next = input;
        next["nextToken"] = first["nextToken"].clone();
        let next = server.ok("ListDaemonTaskDefinitions", next).await;
        let listed: Vec<String> = next["daemonTaskDefinitions"].as_array().unwrap().iter().map(tail).collect();
        assert_eq!(listed, expected, "{sort}");
    }
}

#[tokio::test]
async fn families_are_listed_by_prefix_and_status() {
    let server = Server::new().await;
    for family in ["web", "api", "web-db", "worker"] {
        server.register(family).await;
    }
    server.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web-db:1"})).await;
    for (input, expected) in [
        (json!({}), vec!["api", "web", "web-db", "worker"]),
        (json!({"status": "ALL"}), vec!["api", "web", "web-db", "worker"]),
        (json!({"status": "ACTIVE"}), vec!["api", "web", "worker"]),
        (json!({"status": "INACTIVE"}), vec!["web-db"]),
        (json!({"familyPrefix": "we"}), vec!["web", "web-db"]),
        (json!({"familyPrefix": "web", "status": "ACTIVE"}), vec!["web"]),
        (json!({"familyPrefix": "x"}), vec![]),
        (json!({"familyPrefix": "a b"}), vec![]),
        (json!({"maxResults": 1}), vec!["api", "web", "web-db", "worker"]),
    ] {
        let pages = server.pages("ListTaskDefinitionFamilies", input.clone(), "families").await;
        assert_eq!(pages.concat(), expected, "{input}");
    }
}

#[tokio::test]
async fn a_revision_is_deleted_once_nothing_uses_it_and_its_number_never_comes_back() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    for _ in 0..3 {
        server.register("web").await;
    }
    for key in ["web:2", "web:3"] {
        server.ok("DeregisterTaskDefinition", json!({"taskDefinition": key})).await;
    }
    server.task(1, "web:3", "RUNNING").await;
    let input = json!({"taskDefinitions": ["web:1", "web:2", &arn("web:3"), "web:9", "web", "a b", "web:2"]});
    let answer = server.ok("DeleteTaskDefinitions", input).await;
    let deleted: Vec<_> = answer["taskDefinitions"].as_array().unwrap().iter().map(|one| &one["revision"]).collect();
    assert_eq!(deleted, [2, 3]);
    assert!(answer["taskDefinitions"][0]["deleteRequestedAt"].is_f64());
    let reasons: Vec<(&str, &str)> = answer["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (failure["arn"].as_str().unwrap(), failure["reason"].as_str().unwrap()))
        .collect();
    let invalid = "The specified task definition identifier is invalid. Specify a valid name or ARN and try again.";
    assert_eq!(
        reasons,
        [
            (
                arn("web:1").as_str(),
                "The specified task definition is still in ACTIVE status. Please deregister the target and try again."
            ),
            (
                arn("web:9").as_str(),
                "The specified task definition does not exist. Specify a valid account, family, revision and try again."
            ),
            ("web", invalid),
            ("a b", invalid),
        ]
    );
    sweep(&server).await;
    let list = |status: &str| server.pages("ListTaskDefinitions", json!({"status": status}), "taskDefinitionArns");
    assert_eq!(tails(&list("DELETE_IN_PROGRESS").await), ["web:3"], "a task still runs it");
    server.task(1, "web:3", "STOPPED").await;
    sweep(&server).await;
    assert_eq!(tails(&list("DELETE_IN_PROGRESS").await), Vec::<String>::new());
    server
        .refused(
            "DescribeTaskDefinition",
            json!({"taskDefinition": "web:3"}),
            CLIENT,
            "Unable to describe task definition.",
        )
        .await;
    assert_eq!(server.register("web").await["revision"], 4);
    // Even when the whole family goes.
    for key in ["web:1", "web:4"] {
        server.ok("DeregisterTaskDefinition", json!({"taskDefinition": key})).await;
        server.ok("DeleteTaskDefinitions", json!({"taskDefinitions": [key]})).await;
    }
    sweep(&server).await;
    assert_eq!(server.ok("ListTaskDefinitionFamilies", json!({})).await["families"], json!([]));
    assert_eq!(server.register("web").await["revision"], 5);
}

#[tokio::test]
async fn deleting_nothing_or_too_much_is_refused() {
    let server = Server::new().await;
    let none = "size of TaskDefinition references list must be greater than 0";
    server.refused("DeleteTaskDefinitions", json!({"taskDefinitions": []}), INVALID, none).await;
    let many = "Size of TaskDefinition references list cannot exceed 10";
    server.refused("DeleteTaskDefinitions", json!({"taskDefinitions": vec!["a:1"; 11]}), INVALID, many).await;
}
