use serde_json::{Value, json};

use crate::support::{INVALID, Server};

fn attribute(name: &str, value: &str, target: &str) -> Value {
    json!({"name": name, "value": value, "targetId": target})
}

async fn list(server: &Server, mut input: Value) -> Vec<(String, String)> {
    input["targetType"] = json!("container-instance");
    let pages = server.pages("ListAttributes", input, "attributes").await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pages.concat().iter().map(|one| (text(&one["name"]), text(&one["value"]))).collect()
}

#[tokio::test]
async fn attributes_are_put_listed_and_deleted() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    let (first, second) = (server.instance(1, "ACTIVE").await, server.instance(2, "ACTIVE").await);
    server.instance(3, "INACTIVE").await;
    let id = first.rsplit('/').next().unwrap();
    let by_id = json!({"name": "bare", "targetId": id, "targetType": "container-instance"});
    let input = json!({"attributes": [attribute("stack", "prod", &first), attribute("stack", "test", &second), by_id]});
    let answer = server.ok("PutAttributes", input).await;
    assert_eq!(
        answer["attributes"][0],
        json!({"name": "stack", "value": "prod", "targetId": first, "targetType": "container-instance"})
    );
    assert_eq!((answer["attributes"][2].get("value"), &answer["attributes"][2]["targetId"]), (None, &json!(first)));
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(list(&server, json!({"attributeName": "stack"})).await, pairs(&[("stack", "prod"), ("stack", "test")]));
    let filter = json!({"attributeName": "stack", "attributeValue": "test"});
    assert_eq!(list(&server, filter).await, pairs(&[("stack", "test")]));
    let all = [("bare", ""), ("ecs.capability.x", ""), ("ecs.os-type", "linux"), ("stack", "prod")];
    let other = [("ecs.capability.x", ""), ("ecs.os-type", "linux"), ("stack", "test")];
    let expected = pairs(&[&all[..], &other[..]].concat());
    for size in [1, 2, 100] {
        assert_eq!(list(&server, json!({"maxResults": size})).await, expected, "{size} at a time");
    }
    let input =
        json!({"attributes": [{"name": "stack", "targetId": first}, {"name": "never there", "targetId": first}]});
    assert_eq!(server.call("DeleteAttributes", input).await.unwrap_err().code, INVALID);
    server.ok("DeleteAttributes", json!({"attributes": [{"name": "stack", "targetId": first}]})).await;
    assert_eq!(list(&server, json!({"attributeName": "stack"})).await, pairs(&[("stack", "test")]));
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_nothing_is_changed() {
    let server = Server::new().await;
    server.ok("CreateCluster", json!({})).await;
    let target = server.instance(1, "ACTIVE").await;
    let gone = server.instance(2, "INACTIVE").await;
    for (attributes, code) in [
        (json!([]), INVALID),
        (json!(vec![attribute("a", "b", &target); 11]), INVALID),
        (json!([attribute("", "b", &target)]), INVALID),
        (json!([attribute("a b", "b", &target)]), INVALID),
        (json!([attribute("ecs.os-type", "b", &target)]), INVALID),
        (json!([attribute("a", " b", &target)]), INVALID),
        (json!([attribute("a", "", &target)]), INVALID),
        (json!([attribute("a", "b*", &target)]), INVALID),
        (json!([{"name": "a", "value": "b"}]), INVALID),
        (json!([attribute("a", "b", target.rsplit('/').next().unwrap())]), INVALID),
        (json!([attribute("a", "b", &gone)]), "TargetNotFoundException"),
        (json!([attribute("a", "b", &target), attribute("a", "b", &gone)]), "TargetNotFoundException"),
    ] {
        let fault = server.call("PutAttributes", json!({"attributes": attributes})).await.unwrap_err();
        assert_eq!(fault.code, code, "{attributes}: {fault}");
    }
    assert_eq!(list(&server, json!({"attributeName": "a"})).await, []);
    let many: Vec<Value> = (0..10).map(|number| attribute(&format!("a{number}"), "v", &target)).collect();
    server.ok("PutAttributes", json!({"attributes": many})).await;
    server
        .refused(
            "PutAttributes",
            json!({"attributes": [attribute("another", "v", &target)]}),
            "AttributeLimitExceededException",
            "The maximum number of custom attributes per resource is 10.",
        )
        .await;
    let fault = server.call("PutAttributes", json!({"cluster": "ghost", "attributes": []})).await.unwrap_err();
    assert_eq!(fault.code, "ClusterNotFoundException");
}
