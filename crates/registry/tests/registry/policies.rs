//! Policies of repositories and of the registry, and what they let whom do at both doors.

use gantry_api::{Caller, Origin, PrincipalKind};
use gantry_registry::digest::Digest;
use serde_json::{Value, json};

use crate::ecr::{call, call_as, refusal};
use crate::harness::{ACCOUNT, Answer, OCI_MANIFEST, REGION, World, caller, caller_of};

const OTHER: &str = "444455556666";
const ARN: &str = "arn:aws:ecr:us-east-1:000000000000:repository/app";
const PULL: [&str; 3] = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"];

fn user(account: &str) -> Caller {
    caller_of(account, REGION, PrincipalKind::User)
}

fn statement(effect: &str, principal: Value, actions: &[&str]) -> Value {
    json!({"Effect": effect, "Principal": principal, "Action": actions})
}

fn policy(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn identity(actions: &[&str], resource: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": actions, "Resource": resource}})
}

async fn set(world: &World, text: &str) {
    call(world, "SetRepositoryPolicy", json!({"repositoryName": "app", "policyText": text})).await;
}

/// Asks as `caller` at the door that docker uses, in the registry of our account.
async fn ask(world: &World, caller: &Caller, method: &str, path: &str) -> Answer {
    let token = world.token_of(caller);
    let host = format!("{ACCOUNT}.dkr.ecr.{REGION}.localhost:4566");
    world.anonymous(method, path).header("authorization", &token).header("host", &host).send().await
}

async fn pulls(world: &World, caller: &Caller) -> u16 {
    ask(world, caller, "GET", "/v2/app/manifests/v1").await.status.as_u16()
}

fn message(answer: &Answer) -> String {
    answer.json()["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_policy_is_kept_as_it_was_written_until_it_is_deleted() {
    let world = World::new().await;
    let name = json!({"repositoryName": "app"});
    let missing = "Repository policy does not exist for the repository with name 'app' in the registry with id \
                   '000000000000'";
    for operation in ["GetRepositoryPolicy", "DeleteRepositoryPolicy"] {
        let refused = refusal(&world, operation, name.clone()).await;
        assert_eq!(refused, ("RepositoryPolicyNotFoundException".to_owned(), missing.to_owned()));
    }
    let text = format!("  {} ", policy(&[statement("Allow", json!("*"), &PULL)]));
    let expected = json!({"registryId": ACCOUNT, "repositoryName": "app", "policyText": text});
    let input = json!({"repositoryName": "app", "policyText": text});
    assert_eq!(call(&world, "SetRepositoryPolicy", input.clone()).await, expected);
    assert_eq!(call(&world.restart(), "GetRepositoryPolicy", name.clone()).await, expected);
    assert_eq!(call(&world, "DeleteRepositoryPolicy", name.clone()).await, expected);
    assert_eq!(refusal(&world, "GetRepositoryPolicy", name.clone()).await.0, "RepositoryPolicyNotFoundException");
    // It goes with its repository.
    call(&world, "SetRepositoryPolicy", input.clone()).await;
    call(&world, "DeleteRepository", json!({"repositoryName": "app", "force": true})).await;
    assert_eq!(refusal(&world, "GetRepositoryPolicy", name.clone()).await.0, "RepositoryNotFoundException");
    assert_eq!(refusal(&world, "SetRepositoryPolicy", input).await.0, "RepositoryNotFoundException");
    world.repository("app").await;
    assert_eq!(refusal(&world, "GetRepositoryPolicy", name).await.0, "RepositoryPolicyNotFoundException");
}

#[tokio::test]
async fn the_policy_of_a_registry_likewise() {
    let world = World::new().await;
    for operation in ["GetRegistryPolicy", "DeleteRegistryPolicy"] {
        let (code, text) = refusal(&world, operation, json!({})).await;
        assert_eq!(code, "RegistryPolicyNotFoundException");
        assert_eq!(text, "Registry policy does not exist in the registry with id '000000000000'");
    }
    let mut allow = statement("Allow", json!({"AWS": OTHER}), &["ecr:ReplicateImage"]);
    let (code, text) =
        refusal(&world, "PutRegistryPolicy", json!({"policyText": policy(std::slice::from_ref(&allow))})).await;
    assert_eq!(code, "InvalidParameterException");
    assert!(text.ends_with("'Invalid registry policy provided'"), "{text}");
    allow["Resource"] = json!("arn:aws:ecr:us-east-1:000000000000:repository/*");
    let text = policy(&[allow]);
    let expected = json!({"registryId": ACCOUNT, "policyText": text});
    assert_eq!(call(&world, "PutRegistryPolicy", json!({"policyText": text})).await, expected);
    assert_eq!(call(&world.restart(), "GetRegistryPolicy", json!({})).await, expected);
    assert_eq!(call(&world, "DeleteRegistryPolicy", json!({})).await, expected);
    assert_eq!(refusal(&world, "GetRegistryPolicy", json!({})).await.0, "RegistryPolicyNotFoundException");
}

#[tokio::test]
async fn what_is_no_policy_is_refused() {
    let world = World::new().await;
    let mut with_resource = statement("Allow", json!("*"), &PULL);
    with_resource["Resource"] = json!(ARN);
    let mut unknown_operator = statement("Deny", json!("*"), &PULL);
    unknown_operator["Condition"] = json!({"StringEqualz": {"aws:PrincipalArn": "x"}});
    for text in [
        policy(&[with_resource]),
        policy(&[unknown_operator]),
        policy(&[statement("Allow", json!("*"), &["s3:GetObject"])]),
        policy(&[statement("Allow", json!({"AWS": "arn:aws:iam::000000000000:user/*"}), &PULL)]),
        policy(&[]),
        "{}".to_owned(),
        "no".to_owned(),
        String::new(),
    ] {
        let input = json!({"repositoryName": "app", "policyText": text, "force": true});
        let (code, message) = refusal(&world, "SetRepositoryPolicy", input).await;
        assert_eq!(code, "InvalidParameterException", "{text}");
        let expected = "Invalid parameter at 'PolicyText' failed to satisfy constraint: \
                        'Invalid repository policy provided'";
        assert_eq!(message, expected, "{text}");
    }
}

#[tokio::test]
async fn a_policy_that_locks_its_author_out_takes_force_and_the_root_gets_back_in() {
    let world = World::new().await;
    let text = policy(&[statement("Deny", json!("*"), &["ecr:*"])]);
    let mut input = json!({"repositoryName": "app", "policyText": text});
    let (code, message) = refusal(&world, "SetRepositoryPolicy", input.clone()).await;
    assert_eq!(code, "InvalidParameterException");
    assert!(message.contains("force"), "{message}");
    input["force"] = json!(true);
    call(&world, "SetRepositoryPolicy", input).await;
    assert_eq!(refusal(&world, "DescribeImages", json!({"repositoryName": "app"})).await.0, "AccessDeniedException");
    assert_eq!(pulls(&world, &caller(PrincipalKind::Root)).await, 403);
    call(&world, "GetRepositoryPolicy", json!({"repositoryName": "app"})).await;
    set(&world, &policy(&[statement("Allow", json!("*"), &PULL)])).await;
    assert_eq!(pulls(&world, &caller(PrincipalKind::Root)).await, 404);
    // A user who may set policies is asked whether it still could afterwards.
    let ann = user(ACCOUNT);
    world.principals.grant(&ann.principal_arn, &identity(&["ecr:SetRepositoryPolicy"], ARN));
    let only_others = policy(&[statement("Deny", json!({"AWS": OTHER}), &["ecr:*"])]);
    let input = |text: &str| json!({"repositoryName": "app", "policyText": text});
    call_as(&world, &ann, "SetRepositoryPolicy", input(&only_others)).await.unwrap();
    let herself = policy(&[statement("Deny", json!({"AWS": ann.principal_arn}), &["ecr:Set*"])]);
    let refused = call_as(&world, &ann, "SetRepositoryPolicy", input(&herself)).await.unwrap_err();
    assert_eq!(refused.code, "InvalidParameterException");
}

#[tokio::test]
async fn in_ones_own_account_either_side_is_enough_and_a_deny_wins() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    let ann = user(ACCOUNT);
    let answer = ask(&world, &ann, "GET", "/v2/app/manifests/v1").await;
    assert_eq!(answer.refusal(), (403, "DENIED".to_owned()));
    let sentence = format!(
        "User: {} is not authorized to perform: ecr:BatchGetImage on resource: {ARN} because no identity-based policy \
         allows the ecr:BatchGetImage action",
        ann.principal_arn
    );
    assert_eq!(message(&answer), sentence);
    // Her own policies, at once and with the token she had.
    let token = world.token_of(&ann);
    let with_token = || world.anonymous("GET", "/v2/app/manifests/v1").header("authorization", &token).send();
    assert_eq!(with_token().await.status, 403);
    world.principals.grant(&ann.principal_arn, &identity(&PULL, ARN));
    assert_eq!(with_token().await.status, 200);
    world.principals.grant(&ann.principal_arn, &identity(&["ecr:ListImages"], "*"));
    assert_eq!(with_token().await.status, 403);
    // The repository's.
    set(&world, &policy(&[statement("Allow", json!({"AWS": ann.principal_arn}), &PULL)])).await;
    assert_eq!(with_token().await.status, 200);
    assert_eq!(ask(&world, &ann, "GET", "/v2/app/tags/list").await.status, 200);
    // Naming the account leaves it to the account's own policies.
    set(&world, &policy(&[statement("Allow", json!({"AWS": ACCOUNT}), &PULL)])).await;
    assert_eq!(pulls(&world, &ann).await, 403);
    world.principals.grant(&ann.principal_arn, &identity(&PULL, "*"));
    assert_eq!(pulls(&world, &ann).await, 200);
    set(&world, &policy(&[statement("Deny", json!({"AWS": ann.principal_arn}), &["ecr:BatchGetImage"])])).await;
    let answer = ask(&world, &ann, "GET", "/v2/app/manifests/v1").await;
    assert!(message(&answer).ends_with("with an explicit deny in a resource-based policy"), "{}", message(&answer));
    let input = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}]});
    let fault = call_as(&world, &ann, "BatchGetImage", input).await.unwrap_err();
    assert_eq!((fault.code, fault.message), ("AccessDeniedException", message(&answer)));
}

#[tokio::test]
async fn another_account_needs_both_sides_and_learns_nothing_before() {
    let world = World::new().await;
    let image = world.push_image("app", "v1", "x").await;
    let (root, bob) = (caller_of(OTHER, REGION, PrincipalKind::Root), user(OTHER));
    // Nothing is said about what exists.
    let there = ask(&world, &root, "GET", "/v2/app/manifests/v1").await;
    let not_there = ask(&world, &root, "GET", "/v2/nothing/manifests/v1").await;
    assert_eq!((there.refusal(), not_there.refusal()), ((403, "DENIED".to_owned()), (403, "DENIED".to_owned())));
    assert!(message(&there).ends_with("because no resource-based policy allows the ecr:BatchGetImage action"));
    assert_eq!(message(&there).replace("/app ", "/nothing "), message(&not_there));
    for (operation, input) in [
        ("DescribeImages", json!({"registryId": ACCOUNT, "repositoryName": "app"})),
        ("DescribeImages", json!({"registryId": ACCOUNT, "repositoryName": "nothing"})),
        ("DescribeRepositories", json!({"registryId": ACCOUNT})),
        ("DescribeRepositories", json!({"registryId": ACCOUNT, "repositoryNames": ["app"]})),
        ("CreateRepository", json!({"registryId": ACCOUNT, "repositoryName": "mine"})),
        ("ListTagsForResource", json!({"resourceArn": ARN})),
    ] {
        let fault = call_as(&world, &root, operation, input).await.unwrap_err();
        assert_eq!(fault.code, "AccessDeniedException", "{operation}");
    }
    for principal in [json!({"AWS": OTHER}), json!({"AWS": format!("arn:aws:iam::{OTHER}:root")}), json!("*")] {
        set(&world, &policy(&[statement("Allow", principal, &PULL)])).await;
        assert_eq!(pulls(&world, &root).await, 200);
        assert_eq!(pulls(&world, &bob).await, 403);
    }
    world.principals.grant(&bob.principal_arn, &identity(&PULL, ARN));
    assert_eq!(pulls(&world, &bob).await, 200);
    let by_digest = json!({"registryId": ACCOUNT, "repositoryName": "app", "imageIds": [{"imageDigest": image}]});
    let got = call_as(&world, &bob, "BatchGetImage", by_digest.clone()).await.unwrap();
    assert_eq!(got["images"][0]["registryId"], ACCOUNT);
    // It may pull and nothing else.
    for (method, path) in [
        ("GET", "/v2/app/tags/list"),
        ("GET", "/v2/_catalog"),
        ("POST", "/v2/app/blobs/uploads/"),
        ("PUT", "/v2/app/manifests/v2"),
        ("DELETE", "/v2/app/manifests/v1"),
    ] {
        assert_eq!(ask(&world, &root, method, path).await.status, 403, "{method} {path}");
    }
    // Under its own registry's name there is no such repository.
    let token = world.token_of(&root);
    let own = world.anonymous("GET", "/v2/app/manifests/v1").header("authorization", &token).send().await;
    assert_eq!(own.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    let allow = statement("Allow", json!("*"), &PULL);
    set(&world, &policy(&[allow, statement("Deny", json!({"AWS": OTHER}), &["ecr:BatchGet*"])])).await;
    assert_eq!(pulls(&world, &root).await, 403);
    assert_eq!(pulls(&world, &caller(PrincipalKind::Root)).await, 200);
    assert_eq!(call_as(&world, &bob, "BatchGetImage", by_digest).await.unwrap_err().code, "AccessDeniedException");
}

#[tokio::test]
async fn another_account_pushes_when_it_may() {
    let world = World::new().await;
    let root = caller_of(OTHER, REGION, PrincipalKind::Root);
    set(&world, &policy(&[statement("Allow", json!({"AWS": OTHER}), &["ecr:PutImage"])])).await;
    let manifest = world.image("app", "x").await;
    let (token, host) = (world.token_of(&root), format!("{ACCOUNT}.localhost:4566"));
    let put = |path: &str| {
        let call = world.anonymous("PUT", path).header("authorization", &token).header("host", &host);
        call.header("content-type", OCI_MANIFEST).body(manifest.clone()).send()
    };
    assert_eq!(put("/v2/app/manifests/v1").await.status, 201);
    assert_eq!(pulls(&world, &caller(PrincipalKind::Root)).await, 200);
    assert_eq!(pulls(&world, &root).await, 403);
    assert_eq!(put("/v2/other/manifests/v1").await.status, 403);
}

#[tokio::test]
async fn the_policy_of_the_registry_takes_part_in_every_decision() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    world.repository("secret/app").await;
    let root = caller_of(OTHER, REGION, PrincipalKind::Root);
    let in_registry = |effect: &str, principal: Value, actions: &[&str], resource: &str| {
        let mut statement = statement(effect, principal, actions);
        statement["Resource"] = json!(format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{resource}"));
        statement
    };
    let allow = in_registry("Allow", json!({"AWS": OTHER}), &["ecr:BatchGetImage"], "app");
    call(&world, "PutRegistryPolicy", json!({"policyText": policy(std::slice::from_ref(&allow))})).await;
    assert_eq!(pulls(&world, &root).await, 200);
    assert_eq!(ask(&world, &root, "GET", "/v2/secret/app/manifests/v1").await.status, 403);
    let deny = in_registry("Deny", json!("*"), &["ecr:BatchGetImage"], "*");
    call(&world, "PutRegistryPolicy", json!({"policyText": policy(&[allow, deny])})).await;
    assert_eq!(pulls(&world, &root).await, 403);
    assert_eq!(pulls(&world, &caller(PrincipalKind::Root)).await, 403);
    call(&world, "DeleteRegistryPolicy", json!({})).await;
    assert_eq!(pulls(&world, &caller(PrincipalKind::Root)).await, 200);
    assert_eq!(pulls(&world, &root).await, 403);
}

#[tokio::test]
async fn conditions_see_the_request() {
    let world = World::new().await;
    let mut ann = user(ACCOUNT);
    ann.origin = Origin {
        source_ip: "10.1.2.3".parse().ok(),
        user_agent: Some("docker/1".to_owned()),
        secure: true,
        ..Origin::default()
    };
    let tags = json!([{"Key": "stage", "Value": "prod"}]);
    call(&world, "TagResource", json!({"resourceArn": ARN, "tags": tags})).await;
    let input = json!({"repositoryName": "app"});
    for (condition, allowed) in [
        (json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), true),
        (json!({"IpAddress": {"aws:SourceIp": "192.168.0.0/16"}}), false),
        (json!({"Bool": {"aws:SecureTransport": "true"}}), true),
        (json!({"StringLike": {"aws:UserAgent": "docker/*"}}), true),
        (json!({"StringEquals": {"aws:RequestedRegion": REGION}}), true),
        (json!({"StringEquals": {"aws:ResourceTag/stage": "prod"}}), true),
        (json!({"StringEquals": {"ecr:ResourceTag/stage": "prod"}}), true),
        (json!({"StringEquals": {"aws:ResourceTag/stage": "test"}}), false),
        (json!({"StringEquals": {"aws:ResourceAccount": ACCOUNT}}), true),
        (json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}}), true),
        (json!({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}), false),
    ] {
        let mut document = identity(&["ecr:ListImages"], "*");
        document["Statement"]["Condition"] = condition.clone();
        world.principals.grant(&ann.principal_arn, &document);
        assert_eq!(call_as(&world, &ann, "ListImages", input.clone()).await.is_ok(), allowed, "{condition}");
    }
}

#[tokio::test]
async fn tags_on_creation_need_their_own_permission() {
    let world = World::new().await;
    let ann = user(ACCOUNT);
    let create = |name: &str, team: &str| json!({"repositoryName": name, "tags": [{"Key": "team", "Value": team}]});
    let mut document = identity(&["ecr:CreateRepository"], "*");
    document["Statement"]["Condition"] = json!({"StringEquals": {"aws:RequestTag/team": "web"}});
    world.principals.grant(&ann.principal_arn, &document);
    let fault = call_as(&world, &ann, "CreateRepository", create("one", "web")).await.unwrap_err();
    assert!(fault.message.contains("ecr:TagResource"), "{}", fault.message);
    document["Statement"]["Action"] = json!(["ecr:CreateRepository", "ecr:TagResource", "ecr:UntagResource"]);
    world.principals.grant(&ann.principal_arn, &document);
    call_as(&world, &ann, "CreateRepository", create("one", "web")).await.unwrap();
    for input in [create("two", "api"), json!({"repositoryName": "two"})] {
        let fault = call_as(&world, &ann, "CreateRepository", input).await.unwrap_err();
        assert!(fault.message.contains("ecr:CreateRepository"), "{}", fault.message);
    }
    document["Statement"]["Condition"] = json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}});
    world.principals.grant(&ann.principal_arn, &document);
    let arn = "arn:aws:ecr:us-east-1:000000000000:repository/one";
    let untag = |key: &str| json!({"resourceArn": arn, "tagKeys": [key]});
    assert!(call_as(&world, &ann, "UntagResource", untag("owner")).await.is_err());
    call_as(&world, &ann, "UntagResource", untag("team")).await.unwrap();
}

#[tokio::test]
async fn a_blob_may_be_asked_for_by_whoever_may_download_it() {
    let world = World::new().await;
    let blob = world.push_blob("app", b"blob").await;
    let ann = user(ACCOUNT);
    let path = format!("/v2/app/blobs/{blob}");
    assert_eq!(ask(&world, &ann, "HEAD", &path).await.status, 403);
    for action in ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"] {
        world.principals.grant(&ann.principal_arn, &identity(&[action], ARN));
        assert_eq!(ask(&world, &ann, "HEAD", &path).await.status, 200, "{action}");
    }
}

#[tokio::test]
async fn the_last_part_of_an_upload_is_a_part() {
    let world = World::new().await;
    let ann = user(ACCOUNT);
    world.principals.grant(&ann.principal_arn, &identity(&["ecr:InitiateLayerUpload", "ecr:CompleteLayerUpload"], ARN));
    let started = ask(&world, &ann, "POST", "/v2/app/blobs/uploads/").await;
    assert_eq!(started.status, 202);
    let token = world.token_of(&ann);
    let finish = format!("{}?digest={}", started.header("location"), Digest::of(b"x"));
    let answer = world.anonymous("PUT", &finish).header("authorization", &token).body(*b"x").send().await;
    assert!(message(&answer).contains("ecr:UploadLayerPart"), "{answer:?}");
}

#[tokio::test]
async fn a_token_says_who_one_is_in_any_registry() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    let bob = user(OTHER);
    let denied = call_as(&world, &bob, "GetAuthorizationToken", json!({})).await.unwrap_err();
    assert!(denied.message.contains("ecr:GetAuthorizationToken on resource: * because"), "{}", denied.message);
    let mut actions = PULL.to_vec();
    actions.push("ecr:GetAuthorizationToken");
    world.principals.grant(&bob.principal_arn, &identity(&actions, "*"));
    set(&world, &policy(&[statement("Allow", json!({"AWS": OTHER}), &PULL)])).await;
    let answer = call_as(&world, &bob, "GetAuthorizationToken", json!({"registryIds": [ACCOUNT]})).await.unwrap();
    let basic = format!("Basic {}", answer["authorizationData"][0]["authorizationToken"].as_str().unwrap());
    let host = format!("{ACCOUNT}.localhost:4566");
    let pull = world.anonymous("GET", "/v2/app/manifests/v1").header("authorization", &basic).header("host", &host);
    assert_eq!(pull.send().await.status, 200);
}

#[tokio::test]
async fn a_template_gives_its_policy_to_the_repositories_it_makes() {
    let world = World::new().await;
    let text = policy(&[statement("Allow", json!({"AWS": OTHER}), &PULL)]);
    let template = |text: &str| json!({"prefix": "ROOT", "appliedFor": ["CREATE_ON_PUSH"], "repositoryPolicy": text});
    let (code, _) = refusal(&world, "CreateRepositoryCreationTemplate", template("{}")).await;
    assert_eq!(code, "InvalidParameterException");
    call(&world, "CreateRepositoryCreationTemplate", template(&text)).await;
    world.push_image("new", "v1", "x").await;
    let kept = call(&world, "GetRepositoryPolicy", json!({"repositoryName": "new"})).await;
    assert_eq!(kept["policyText"], text);
    let root = caller_of(OTHER, REGION, PrincipalKind::Root);
    assert_eq!(ask(&world, &root, "GET", "/v2/new/manifests/v1").await.status, 200);
}

#[tokio::test]
async fn with_the_old_scope_a_registry_policy_decides_on_three_actions() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    let root = caller_of(OTHER, REGION, PrincipalKind::Root);
    let text = |actions: &[&str]| {
        let mut statement = statement("Allow", json!({"AWS": OTHER}), actions);
        statement["Resource"] = json!("*");
        policy(&[statement])
    };
    call(&world, "PutRegistryPolicy", json!({"policyText": text(&["ecr:*"])})).await;
    assert_eq!(pulls(&world, &root).await, 200);
    call(&world, "PutAccountSetting", json!({"name": "REGISTRY_POLICY_SCOPE", "value": "V1"})).await;
    assert_eq!(pulls(&world, &root).await, 403);
    let create = json!({"registryId": ACCOUNT, "repositoryName": "new"});
    call_as(&world, &root, "CreateRepository", create).await.unwrap();
    for actions in [["ecr:*"], ["ecr:BatchGetImage"]] {
        let (code, _) = refusal(&world, "PutRegistryPolicy", json!({"policyText": text(&actions)})).await;
        assert_eq!(code, "InvalidParameterException");
    }
    let allowed = ["ecr:ReplicateImage", "ecr:CreateRepository", "ecr:BatchImportUpstreamImage"];
    call(&world, "PutRegistryPolicy", json!({"policyText": text(&allowed)})).await;
}

#[tokio::test]
async fn a_layer_is_mounted_from_where_one_may_download_it_and_uploaded_otherwise() {
    let world = World::new().await;
    world.repository("secret").await;
    let blob = world.push_blob("secret", b"secret").await;
    let ann = user(ACCOUNT);
    let push = ["ecr:InitiateLayerUpload", "ecr:BatchCheckLayerAvailability"];
    world.principals.grant(&ann.principal_arn, &identity(&push, ARN));
    let there = format!("/v2/app/blobs/{blob}");
    for from in ["&from=secret", ""] {
        let start = format!("/v2/app/blobs/uploads/?mount={blob}{from}");
        assert_eq!(ask(&world, &ann, "POST", &start).await.status, 202, "{from}");
        assert_eq!(ask(&world, &ann, "HEAD", &there).await.status, 404, "{from}");
    }
    let both = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": push, "Resource": ARN},
        {"Effect": "Allow", "Action": "ecr:GetDownloadUrlForLayer", "Resource": ARN.replace("/app", "/secret")},
    ]});
    world.principals.grant(&ann.principal_arn, &both);
    let start = format!("/v2/app/blobs/uploads/?mount={blob}&from=secret");
    assert_eq!(ask(&world, &ann, "POST", &start).await.status, 201);
    assert_eq!(ask(&world, &ann, "HEAD", &there).await.status, 200);
}
