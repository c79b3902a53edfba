//! Who gets in.

use gantry_api::PrincipalKind;

use crate::harness::{ACCOUNT, REGION, World};

#[tokio::test]
async fn every_route_asks_for_credentials() {
    let world = World::new().await;
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (method, path) in [
        ("GET", "/v2/".to_owned()),
        ("GET", "/v2".to_owned()),
        ("HEAD", "/v2/app/manifests/latest".to_owned()),
        ("PUT", "/v2/app/manifests/latest".to_owned()),
        ("POST", "/v2/app/blobs/uploads/".to_owned()),
        ("GET", format!("/v2/app/blobs/{digest}")),
        ("GET", "/v2/_catalog".to_owned()),
        ("GET", "/v2/App/../x".to_owned()),
    ] {
        for authorization in [None, Some("Basic QVdTOnNlY3JldA=="), Some("Bearer x"), Some("Basic")] {
            let mut call = world.anonymous(method, &path).header("host", "localhost:4566");
            if let Some(authorization) = authorization {
                call = call.header("authorization", authorization);
            }
            let answer = call.send().await;
            assert_eq!(answer.status, 401, "{method} {path} {authorization:?}");
            assert_eq!(
                answer.header("www-authenticate"),
                "Basic realm=\"https://localhost:4566/\",service=\"ecr.amazonaws.com\""
            );
            assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
            assert_eq!(answer.body, if method == "HEAD" { "" } else { "Not Authorized\n" });
        }
    }
    let answer = world.get("/v2/").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{}"[..]));
}

#[tokio::test]
async fn a_host_header_cannot_break_out_of_the_challenge() {
    let world = World::new().await;
    let answer = world.anonymous("GET", "/v2/").header("host", "a\", Bearer realm=\"b").send().await;
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"https://localhost/\",service=\"ecr.amazonaws.com\"");
}

#[tokio::test]
async fn a_token_expires_after_twelve_hours_and_survives_a_restart() {
    let world = World::new().await;
    world.advance_hours(11);
    let restarted = world.restart();
    let call = restarted.anonymous("GET", "/v2/").header("authorization", &world.authorization);
    assert_eq!(call.send().await.status, 200);
    // Known to this process by now, and still not good for longer.
    world.advance_hours(1);
    let answer = restarted.anonymous("GET", "/v2/").header("authorization", &world.authorization).send().await;
    assert_eq!(answer.refusal(), (403, "DENIED".to_owned()));
    let text = answer.json()["errors"][0]["message"].clone();
    assert_eq!(text, "Your authorization token has expired. Reauthenticate and try again.");
}

#[tokio::test]
async fn an_instance_pulls_and_does_nothing_else() {
    let world = World::new().await;
    let image = world.push_image("app", "v1", "x").await;
    let token = world.token(ACCOUNT, REGION, PrincipalKind::Instance);
    for (method, path, expected) in [
        ("GET", "/v2/".to_owned(), 200),
        ("HEAD", "/v2/app/manifests/v1".to_owned(), 200),
        ("GET", format!("/v2/app/manifests/{image}"), 200),
        ("GET", "/v2/app/tags/list".to_owned(), 403),
        ("GET", "/v2/_catalog".to_owned(), 403),
        ("POST", "/v2/app/blobs/uploads/".to_owned(), 403),
        ("PUT", "/v2/app/manifests/v2".to_owned(), 403),
        ("DELETE", "/v2/app/manifests/v1".to_owned(), 403),
    ] {
        let answer = world.anonymous(method, &path).header("authorization", &token).send().await;
        assert_eq!(answer.status.as_u16(), expected, "{method} {path}");
    }
    let answer = world.anonymous("PUT", "/v2/app/manifests/v2").header("authorization", &token).send().await;
    assert_eq!(
        answer.json()["errors"][0]["message"],
        "User: arn:aws:sts::000000000000:assumed-role/instance/i-1 is not authorized to perform: ecr:PutImage on \
         resource: arn:aws:ecr:us-east-1:000000000000:repository/app because no identity-based policy allows the \
         ecr:PutImage action"
    );
}

#[tokio::test]
async fn accounts_and_regions_do_not_see_each_other() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    for (account, region) in [("111111111111", REGION), (ACCOUNT, "eu-west-1")] {
        let token = world.token(account, region, PrincipalKind::Root);
        let answer = world.anonymous("GET", "/v2/app/manifests/v1").header("authorization", &token).send().await;
        assert_eq!(answer.refusal(), (404, "NAME_UNKNOWN".to_owned()), "{account} {region}");
    }
}

#[tokio::test]
async fn the_services_own_host_name_reaches_its_registry_and_no_other() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    for (host, expected) in [
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com", 200),
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com:443", 200),
        ("000000000000.dkr.ecr.eu-west-1.amazonaws.com", 401),
        ("000000000000.dkr.ecr.us-east-1.localhost:4566", 200),
        ("000000000000.localhost:4566", 200),
        ("111111111111.dkr.ecr.us-east-1.amazonaws.com", 403),
        ("111111111111.localhost:4566", 403),
        ("registry.internal:5000", 200),
    ] {
        let answer = world.call("GET", "/v2/app/manifests/v1").header("host", host).send().await;
        assert_eq!(answer.status.as_u16(), expected, "{host}");
    }
}

#[tokio::test]
async fn a_refused_request_with_a_large_body_costs_the_connection() {
    let world = World::new().await;
    let small = world.anonymous("POST", "/v2/app/blobs/uploads/").body(vec![0; 100]).send().await;
    assert_eq!((small.status.as_u16(), small.header("connection")), (401, ""));
    let large = world.anonymous("PATCH", "/v2/app/blobs/uploads/x").body(vec![0; 100_000]).send().await;
    assert_eq!((large.status.as_u16(), large.header("connection")), (401, "close"));
}
