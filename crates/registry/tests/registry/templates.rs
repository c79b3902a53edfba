//! Creation templates, and repositories that a push creates from them.

use gantry_api::PrincipalKind;
use gantry_registry::digest::Digest;
use serde_json::{Value, json};

use crate::ecr::{call, call_as, refusal, without_times};
use crate::harness::{ACCOUNT, REGION, World, caller, manifest};

const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}"#;

async fn template(world: &World, prefix: &str, more: Value) -> Value {
    let mut input = json!({"prefix": prefix, "appliedFor": ["CREATE_ON_PUSH"]});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    call(world, "CreateRepositoryCreationTemplate", input).await
}

#[tokio::test]
async fn a_template_is_created_changed_and_deleted() {
    let world = World::new().await;
    let expected = json!({
        "prefix": "prod/",
        "description": "what runs",
        "encryptionConfiguration": {"encryptionType": "AES256"},
        "resourceTags": [{"Key": "team", "Value": "web"}],
        "imageTagMutability": "IMMUTABLE",
        "repositoryPolicy": POLICY,
        "appliedFor": ["REPLICATION", "CREATE_ON_PUSH"],
        "createdAt": "TIME",
        "updatedAt": "TIME",
    });
    let created = template(
        &world,
        "prod/",
        json!({"description": "what runs", "resourceTags": [{"Key": "team", "Value": "web"}],
            "imageTagMutability": "IMMUTABLE", "repositoryPolicy": POLICY,
            "appliedFor": ["CREATE_ON_PUSH", "REPLICATION"]}),
    );
    let answer = |template: &Value| json!({"registryId": ACCOUNT, "repositoryCreationTemplate": template});
    assert_eq!(without_times(created.await), answer(&expected));
    // The final slash is implied, so this is the same prefix.
    let again = json!({"prefix": "prod", "appliedFor": ["REPLICATION"]});
    let refused = refusal(&world, "CreateRepositoryCreationTemplate", again).await;
    assert_eq!(refused.0, "TemplateAlreadyExistsException");

    let change = json!({"prefix": "prod", "repositoryPolicy": "", "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "v*"}]});
    let changed = call(&world, "UpdateRepositoryCreationTemplate", change).await;
    let mut expected = expected;
    expected.as_object_mut().unwrap().remove("repositoryPolicy");
    expected["imageTagMutability"] = json!("MUTABLE_WITH_EXCLUSION");
    expected["imageTagMutabilityExclusionFilters"] = json!([{"filterType": "WILDCARD", "filter": "v*"}]);
    assert_eq!(without_times(changed), answer(&expected));

    let described = call(&world, "DescribeRepositoryCreationTemplates", json!({"prefixes": ["prod", "other"]})).await;
    let list = json!({"registryId": ACCOUNT, "repositoryCreationTemplates": [expected]});
    assert_eq!(without_times(described), list);
    let deleted = call(&world, "DeleteRepositoryCreationTemplate", json!({"prefix": "prod"})).await;
    assert_eq!(without_times(deleted), answer(&expected));
    for operation in ["DeleteRepositoryCreationTemplate", "UpdateRepositoryCreationTemplate"] {
        let missing = refusal(&world, operation, json!({"prefix": "prod"})).await;
        assert_eq!(missing.0, "TemplateNotFoundException", "{operation}");
    }
}

#[tokio::test]
async fn bad_templates_are_refused() {
    let world = World::new().await;
    for input in [
        json!({"prefix": "prod"}),
        json!({"prefix": "prod", "appliedFor": []}),
        json!({"prefix": "prod", "appliedFor": ["SOMETIMES"]}),
        json!({"prefix": "Prod", "appliedFor": ["REPLICATION"]}),
        json!({"prefix": "prod", "appliedFor": ["REPLICATION"], "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}),
        json!({"prefix": "prod", "appliedFor": ["REPLICATION"], "repositoryPolicy": "not json"}),
        json!({"prefix": "prod", "appliedFor": ["REPLICATION"], "encryptionConfiguration": {"encryptionType": "KMS"}}),
    ] {
        let refused = refusal(&world, "CreateRepositoryCreationTemplate", input.clone()).await;
        assert_eq!(refused.0, "InvalidParameterException", "{input}");
    }
}

#[tokio::test]
async fn templates_are_described_in_pages() {
    let world = World::new().await;
    for prefix in ["b", "ROOT", "a/b", "a"] {
        template(&world, prefix, json!({})).await;
    }
    let (mut prefixes, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({"maxResults": 3});
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = call(&world, "DescribeRepositoryCreationTemplates", input).await;
        let templates = page["repositoryCreationTemplates"].as_array().unwrap().iter();
        prefixes.extend(templates.map(|template| template["prefix"].as_str().unwrap().to_owned()));
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(prefixes, ["ROOT", "a", "a/b", "b"]);
}

#[tokio::test]
async fn a_push_creates_the_repository_as_the_longest_prefix_says() {
    let world = World::new().await;
    template(&world, "ROOT", json!({"resourceTags": [{"Key": "by", "Value": "root"}]})).await;
    template(&world, "prod", json!({"imageTagMutability": "IMMUTABLE"})).await;
    template(&world, "prod/replicas", json!({"appliedFor": ["REPLICATION"]})).await;
    let digest = world.push_image("prod/web", "v1", "one").await;
    assert_eq!(world.get("/v2/prod/web/manifests/v1").await.header("docker-content-digest"), digest.as_str());
    let other = world.image("prod/web", "two").await;
    assert_eq!(world.put_manifest("prod/web", "v1", &other).await.refusal(), (400, "TAG_INVALID".to_owned()));
    // A template for something else does not count, the next longer prefix does.
    world.push_image("prod/replicas/web", "v1", "one").await;
    world.push_image("production", "v1", "one").await;
    let names = json!({"repositoryNames": ["prod/web", "prod/replicas/web", "production"]});
    let described = call(&world, "DescribeRepositories", names).await;
    let mutability = described["repositories"].as_array().unwrap().iter().map(|each| &each["imageTagMutability"]);
    assert_eq!(mutability.collect::<Vec<_>>(), ["IMMUTABLE", "IMMUTABLE", "MUTABLE"]);
    let arn = json!({"resourceArn": "arn:aws:ecr:us-east-1:000000000000:repository/production"});
    let tags = call(&world, "ListTagsForResource", arn).await;
    assert_eq!(tags, json!({"tags": [{"Key": "by", "Value": "root"}]}));
}

#[tokio::test]
async fn every_way_to_begin_a_push_creates_the_repository_and_reading_does_not() {
    let world = World::new().await;
    template(&world, "new", json!({})).await;
    let digest = Digest::of(b"x");
    for path in [format!("/v2/new/read/blobs/{digest}"), "/v2/new/read/manifests/v1".to_owned()] {
        assert_eq!(world.head(&path).await.status, 404);
        assert_eq!(world.get(&path).await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    }
    let monolithic = world.call("POST", &format!("/v2/new/a1/blobs/uploads/?digest={digest}"));
    assert_eq!(monolithic.body("x").send().await.status, 201);
    let mount = world.call("POST", &format!("/v2/new/a2/blobs/uploads/?mount={digest}&from=new/a1"));
    assert_eq!(mount.send().await.status, 201);
    call(&world, "InitiateLayerUpload", json!({"repositoryName": "new/a3"})).await;
    // A manifest that lacks its layers is refused, in a repository that is there by then.
    let text = manifest(&digest, 1, &digest, 1).to_string();
    let put = json!({"repositoryName": "new/a4", "imageManifest": text, "imageTag": "v1"});
    assert_eq!(refusal(&world, "PutImage", put).await.0, "LayersNotFoundException");
    let names = json!({"repositoryNames": ["new/a1", "new/a2", "new/a3", "new/a4"]});
    assert_eq!(call(&world, "DescribeRepositories", names).await["repositories"].as_array().unwrap().len(), 4);
    for operation in ["InitiateLayerUpload", "PutImage"] {
        let input = json!({"repositoryName": "elsewhere/a1", "imageManifest": text});
        assert_eq!(refusal(&world, operation, input).await.0, "RepositoryNotFoundException");
    }
}

#[tokio::test]
async fn who_may_not_create_a_repository_does_not_create_one_by_pushing() {
    let world = World::new().await;
    template(&world, "ROOT", json!({})).await;
    let token = world.token(ACCOUNT, REGION, PrincipalKind::Instance);
    let started = world.anonymous("POST", "/v2/new/blobs/uploads/").header("authorization", &token).send().await;
    assert_eq!(started.refusal(), (403, "DENIED".to_owned()));
    let agent = caller(PrincipalKind::Instance);
    let refused = call_as(&world, &agent, "InitiateLayerUpload", json!({"repositoryName": "new"})).await;
    assert_eq!(refused.unwrap_err().code, "AccessDeniedException");
    assert_eq!(world.get("/v2/new/tags/list").await.refusal().1, "NAME_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_pushes_at_once_all_succeed() {
    let world = World::new().await;
    template(&world, "ROOT", json!({})).await;
    let pushes = (0..16).map(|number| {
        let world = &world;
        async move { world.push_image("fresh", &format!("v{number}"), &number.to_string()).await }
    });
    futures_util::future::join_all(pushes).await;
    let tags = world.get("/v2/fresh/tags/list").await.json();
    assert_eq!(tags["tags"].as_array().unwrap().len(), 16);
}
