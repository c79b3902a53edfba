//! Account settings, pulls that leave no trace, and referrers by the ECR operation.

use gantry_api::PrincipalKind;
use gantry_api::ecr::*;
use serde_json::json;

use crate::harness::{World, caller, keys};

#[tokio::test]
async fn settings_have_defaults_and_take_only_what_there_is() {
    let world = World::new().await;
    let root = caller(PrincipalKind::Root);
    let get = async |name: &str| {
        let input = GetAccountSettingRequest { name: Some(name.to_owned()) };
        world.registry.get_account_setting(&root, input).await.map(|got| got.value.unwrap()).map_err(|fault| fault.code)
    };
    let put = async |name: &str, value: &str| {
        let input = PutAccountSettingRequest { name: Some(name.to_owned()), value: Some(value.to_owned()) };
        world.registry.put_account_setting(&root, input).await.map(|put| put.value.unwrap()).map_err(|fault| fault.code)
    };
    assert_eq!(get("BLOB_MOUNTING").await, Ok("ENABLED".to_owned()));
    assert_eq!(get("REGISTRY_POLICY_SCOPE").await, Ok("V2".to_owned()));
    assert_eq!(get("BASIC_SCAN_TYPE_VERSION").await, Ok("AWS_NATIVE".to_owned()));
    assert_eq!(get("NOTHING").await, Err("InvalidParameterException"));
    assert_eq!(put("BASIC_SCAN_TYPE_VERSION", "CLAIR").await, Err("InvalidParameterException"));

    let blob = world.push_blob("app", b"a blob").await;
    world.repository("other").await;
    let mount = format!("/v2/other/blobs/uploads/?mount={blob}&from=app");
    assert_eq!(put("BLOB_MOUNTING", "DISABLED").await, Ok("DISABLED".to_owned()));
    assert_eq!(get("BLOB_MOUNTING").await, Ok("DISABLED".to_owned()));
    assert_eq!(world.call("POST", &mount).send().await.status, 202, "the client uploads");
    put("BLOB_MOUNTING", "ENABLED").await.unwrap();
    assert_eq!(world.call("POST", &mount).send().await.status, 201);
}

#[tokio::test]
async fn pulls_of_an_excluded_principal_leave_no_trace() {
    let world = World::new().await;
    let root = caller(PrincipalKind::Root);
    world.push_image("app", "v1", "1").await;
    let pulled = async || {
        let input = DescribeImagesRequest { repository_name: Some("app".to_owned()), ..Default::default() };
        let images = world.registry.describe_images(&root, input).await.unwrap().image_details.unwrap();
        images[0].last_recorded_pull_time
    };
    let register = async |arn: &str| {
        let input = RegisterPullTimeUpdateExclusionRequest { principal_arn: Some(arn.to_owned()) };
        world.registry.register_pull_time_update_exclusion(&root, input).await.map(drop).map_err(|fault| fault.code)
    };
    assert_eq!(register(&root.principal_arn).await, Ok(()));
    assert_eq!(register(&root.principal_arn).await, Err("ExclusionAlreadyExistsException"));
    let listed = world.registry.list_pull_time_update_exclusions(&root, Default::default()).await.unwrap();
    assert_eq!(listed.pull_time_update_exclusions.unwrap(), std::slice::from_ref(&root.principal_arn));
    assert_eq!(world.get("/v2/app/manifests/v1").await.status, 200);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pulled().await, None);

    let deregister = async || {
        let input = DeregisterPullTimeUpdateExclusionRequest { principal_arn: Some(root.principal_arn.clone()) };
        world.registry.deregister_pull_time_update_exclusion(&root, input).await.map(drop).map_err(|fault| fault.code)
    };
    assert_eq!(deregister().await, Ok(()));
    assert_eq!(deregister().await, Err("ExclusionNotFoundException"));
    let mut watch = world.store.watch("/ecr/", world.store.revision() + 1);
    assert_eq!(world.get("/v2/app/manifests/v1").await.status, 200);
    while pulled().await.is_none() {
        watch.next().await.unwrap();
    }
}

#[tokio::test]
async fn referrers_are_listed_page_by_page_and_by_type() {
    let world = World::new().await;
    let root = caller(PrincipalKind::Root);
    let subject = world.push_image("app", "v1", "1").await;
    let empty = world.push_blob("app", b"{}").await;
    for number in 0..5 {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": if number == 0 { "application/vnd.example.sbom" } else { "application/vnd.example.signature" },
            "annotations": {"number": number.to_string()},
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "layers": [],
            "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": 1},
        });
        assert_eq!(world.put_manifest("app", &format!("s{number}"), &manifest.to_string()).await.status, 201);
    }
    let list = async |types: Option<Vec<String>>, next_token: Option<String>| {
        let input = ListImageReferrersRequest {
            repository_name: Some("app".to_owned()),
            subject_id: Some(SubjectIdentifier { image_digest: Some(subject.to_string()) }),
            filter: Some(ListImageReferrersFilter { artifact_types: types, artifact_status: None }),
            max_results: Some(2),
            next_token,
            ..Default::default()
        };
        world.registry.list_image_referrers(&root, input).await.unwrap()
    };
    let (mut seen, mut token) = (std::collections::BTreeSet::new(), None);
    loop {
        let page = list(None, token).await;
        seen.extend(page.referrers.unwrap().into_iter().map(|referrer| referrer.digest.unwrap()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    let sbom = list(Some(vec!["application/vnd.example.sbom".to_owned()]), None).await.referrers.unwrap();
    assert_eq!(sbom.len(), 1);
    assert_eq!(sbom[0].annotations.as_ref().unwrap()["number"], "0");
    world.registry.image_delete(&keys("app"), &subject, &Default::default()).await.unwrap();
}
