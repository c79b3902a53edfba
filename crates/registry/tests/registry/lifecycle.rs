//! Lifecycle policies against a registry: what goes, what stays and why, previews, archived images.

use std::sync::Arc;

use gantry_api::PrincipalKind;
use gantry_api::ecr::*;
use gantry_registry::digest::Digest;
use gantry_registry::lifecycle::run::Report;
use gantry_registry::lifecycle::{ImagesInUse, InUse, KeptBecause};
use gantry_registry::metadata::RepositoryKeys;
use serde_json::{Value, json};

use crate::harness::{World, caller, index, keys};

fn policy(rules: Vec<Value>) -> String {
    // The model asks for 100 characters.
    let text = json!({"rules": rules}).to_string();
    format!("{text:<100}")
}

fn keep_newest(count: u32) -> String {
    policy(vec![json!({"rulePriority": 1, "description": "keep the newest", "selection":
        {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count}, "action": {"type": "expire"}})])
}

fn untagged_after_a_day() -> String {
    policy(vec![json!({"rulePriority": 1, "selection": {"tagStatus": "untagged", "countType": "sinceImagePushed",
        "countUnit": "days", "countNumber": 1}, "action": {"type": "expire"}})])
}

async fn put(world: &World, text: String) -> String {
    let input = PutLifecyclePolicyRequest {
        repository_name: Some("app".to_owned()),
        lifecycle_policy_text: Some(text),
        ..Default::default()
    };
    let put = world.registry.put_lifecycle_policy(&caller(PrincipalKind::Root), input).await.unwrap();
    put.lifecycle_policy_text.unwrap()
}

async fn run(world: &World) -> Report {
    world.registry.lifecycle_run(&keys("app")).await.unwrap()
}

async fn digests(world: &World, status: ImageStatusFilter) -> Vec<String> {
    let input = DescribeImagesRequest {
        repository_name: Some("app".to_owned()),
        filter: Some(DescribeImagesFilter { image_status: Some(status), ..Default::default() }),
        ..Default::default()
    };
    let images = world.registry.describe_images(&caller(PrincipalKind::Root), input).await.unwrap().image_details;
    images.unwrap().into_iter().map(|image| image.image_digest.unwrap()).collect()
}

async fn is_there(world: &World, digest: &Digest) -> bool {
    digests(world, ImageStatusFilter::Any).await.contains(&digest.to_string())
}

async fn set_storage_class(world: &World, digest: &Digest, class: TargetStorageClass) -> Result<String, String> {
    let input = UpdateImageStorageClassRequest {
        repository_name: Some("app".to_owned()),
        image_id: Some(ImageIdentifier { image_digest: Some(digest.to_string()), image_tag: None }),
        target_storage_class: Some(class),
        ..Default::default()
    };
    match world.registry.update_image_storage_class(&caller(PrincipalKind::Root), input).await {
        Ok(done) => Ok(done.image_status.unwrap().as_str().to_owned()),
        Err(fault) => Err(fault.code.to_owned()),
    }
}

#[tokio::test]
async fn the_newest_images_stay() {
    let mut world = World::new().await;
    let mut pushed = Vec::new();
    for number in 0..7 {
        pushed.push(world.push_image("app", &format!("v{number}"), &number.to_string()).await);
        world.advance_hours(1);
    }
    world.log_in();
    put(&world, keep_newest(3)).await;
    assert_eq!(run(&world).await, Report { expired: 4, ..Default::default() });
    for (number, digest) in pushed.iter().enumerate() {
        assert_eq!(is_there(&world, digest).await, number >= 4, "v{number}");
    }
    assert_eq!(world.get("/v2/app/tags/list").await.json()["tags"], json!(["v4", "v5", "v6"]));
    assert_eq!(run(&world).await, Report::default());
}

#[tokio::test]
async fn a_policy_is_due_a_minute_after_it_was_set_and_then_every_hour() {
    let world = World::new().await;
    world.push_image("app", "v1", "1").await;
    put(&world, keep_newest(100)).await;
    let evaluated = async || world.registry.lifecycle(&keys("app")).await.unwrap().evaluated_at_ms;
    world.registry.lifecycle_run_due().await.unwrap();
    assert_eq!(evaluated().await, None);
    world.advance_hours(1);
    world.registry.lifecycle_run_due().await.unwrap();
    let first = evaluated().await.expect("it was due");
    world.registry.lifecycle_run_due().await.unwrap();
    assert_eq!(evaluated().await, Some(first));
    world.advance_hours(1);
    world.registry.lifecycle_run_due().await.unwrap();
    assert!(evaluated().await > Some(first));
}

#[tokio::test]
async fn what_a_list_needs_stays_as_long_as_the_list() {
    let world = World::new().await;
    let image = world.image("app", "1").await;
    let child = Digest::of(image.as_bytes());
    world.put_manifest("app", child.as_str(), &image).await;
    let list = index(&[(&child, image.len())]);
    world.put_manifest("app", "list", &list).await;
    let stray = world.image("app", "2").await;
    let stray_digest = Digest::of(stray.as_bytes());
    world.put_manifest("app", stray_digest.as_str(), &stray).await;
    world.advance_hours(49);
    put(&world, untagged_after_a_day()).await;
    let report = run(&world).await;
    assert_eq!((report.expired, report.kept_total), (1, 1));
    assert_eq!((&report.kept[0].digest, report.kept[0].because), (&child, KeptBecause::NeededByManifestList));
    assert!(is_there(&world, &child).await && !is_there(&world, &stray_digest).await);

    // A policy that takes the list takes what only the list needed.
    let any = json!({"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "sinceImagePushed",
        "countUnit": "days", "countNumber": 1}, "action": {"type": "expire"}});
    put(&world, policy(vec![any])).await;
    assert_eq!(run(&world).await, Report { expired: 2, ..Default::default() });
    assert!(digests(&world, ImageStatusFilter::Any).await.is_empty());
}

struct Running(Digest);

impl ImagesInUse for Running {
    fn in_use(&self, repository: &RepositoryKeys) -> InUse {
        let mut in_use = InUse::default();
        if *repository == keys("app") {
            in_use.digests.insert(self.0.clone());
            in_use.tags.insert("by-tag".parse().unwrap());
        }
        in_use
    }
}

#[tokio::test]
async fn what_a_running_task_uses_stays_and_is_told_of() {
    let mut world = World::new().await;
    let by_digest = world.push_image("app", "v1", "1").await;
    let by_tag = world.push_image("app", "by-tag", "2").await;
    let unused = world.push_image("app", "v3", "3").await;
    world.advance_hours(1);
    world.log_in();
    let newest = world.push_image("app", "v4", "4").await;
    let world = world.with_images_in_use(Arc::new(Running(by_digest.clone())));
    put(&world, keep_newest(1)).await;
    let report = run(&world).await;
    assert_eq!((report.expired, report.kept_total), (1, 2));
    assert!(report.kept.iter().all(|kept| kept.because == KeptBecause::UsedByRunningTask));
    for (digest, stays) in [(&by_digest, true), (&by_tag, true), (&unused, false), (&newest, true)] {
        assert_eq!(is_there(&world, digest).await, stays);
    }
}

#[tokio::test]
async fn referrers_go_with_their_subject_and_not_before() {
    let world = World::new().await;
    let subject = world.push_image("app", "v1", "1").await;
    let signature = |subject: &Digest, size: usize, name: &str| {
        let empty = Digest::of(b"{}");
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.example.signature", "annotations": {"name": name},
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "layers": [{"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}],
            "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": size},
        })
        .to_string()
    };
    world.push_blob("app", b"{}").await;
    let push = async |manifest: &str| {
        let digest = Digest::of(manifest.as_bytes());
        assert_eq!(world.put_manifest("app", digest.as_str(), manifest).await.status, 201);
        digest
    };
    let first = push(&signature(&subject, 1, "signature")).await;
    let second = push(&signature(&first, 1, "signature of the signature")).await;
    world.advance_hours(49);
    put(&world, untagged_after_a_day()).await;
    assert_eq!(run(&world).await, Report::default(), "signatures have no tags and are not strays");

    let worker = tokio::spawn(Arc::clone(&world.registry).deliver_changes());
    world.registry.image_delete(&keys("app"), &subject, &Default::default()).await.unwrap();
    let mut watch = world.store.watch("/ecr/", 1);
    while is_there(&world, &first).await || is_there(&world, &second).await {
        watch.next().await.unwrap();
    }
    worker.abort();
}

#[tokio::test]
async fn archived_images_are_kept_out_of_sight_until_they_are_brought_back() {
    let world = World::new().await;
    let image = world.image("app", "1").await;
    let digest = Digest::of(image.as_bytes());
    world.put_manifest("app", "v1", &image).await;
    assert_eq!(set_storage_class(&world, &digest, TargetStorageClass::Archive).await, Ok("ARCHIVED".to_owned()));
    let again = set_storage_class(&world, &digest, TargetStorageClass::Archive).await;
    assert_eq!(again, Err("ImageStorageClassUpdateNotSupportedException".to_owned()));
    assert_eq!(world.get("/v2/app/manifests/v1").await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert!(digests(&world, ImageStatusFilter::Active).await.is_empty());
    assert_eq!(digests(&world, ImageStatusFilter::Archived).await, [digest.to_string()]);
    let input = BatchGetImageRequest {
        repository_name: Some("app".to_owned()),
        image_ids: Some(vec![ImageIdentifier { image_tag: Some("v1".to_owned()), image_digest: None }]),
        ..Default::default()
    };
    let got = world.registry.batch_get_image(&caller(PrincipalKind::Root), input).await.unwrap();
    assert_eq!(got.failures.unwrap()[0].failure_code, Some(ImageFailureCode::ImageInaccessible));
    let layers: Value = serde_json::from_str(&image).unwrap();
    let input = BatchCheckLayerAvailabilityRequest {
        repository_name: Some("app".to_owned()),
        layer_digests: Some(vec![layers["layers"][0]["digest"].as_str().unwrap().to_owned()]),
        ..Default::default()
    };
    let checked = world.registry.batch_check_layer_availability(&caller(PrincipalKind::Root), input).await.unwrap();
    assert_eq!(checked.layers.unwrap()[0].layer_availability, Some(LayerAvailability::Archived));

    assert_eq!(set_storage_class(&world, &digest, TargetStorageClass::Standard).await, Ok("ACTIVE".to_owned()));
    assert_eq!(world.get("/v2/app/manifests/v1").await.status, 200);
    set_storage_class(&world, &digest, TargetStorageClass::Archive).await.unwrap();
    assert_eq!(world.put_manifest("app", "v1", &image).await.status, 201, "pushing brings it back");
    assert_eq!(world.get("/v2/app/manifests/v1").await.status, 200);
}

#[tokio::test]
async fn a_list_takes_its_children_to_the_archive_and_back() {
    let world = World::new().await;
    let image = world.image("app", "1").await;
    let child = Digest::of(image.as_bytes());
    world.put_manifest("app", child.as_str(), &image).await;
    let list = index(&[(&child, image.len())]);
    world.put_manifest("app", "list", &list).await;
    let list = Digest::of(list.as_bytes());
    let alone = set_storage_class(&world, &child, TargetStorageClass::Archive).await;
    assert_eq!(alone, Err("ImageStorageClassUpdateNotSupportedException".to_owned()));
    set_storage_class(&world, &list, TargetStorageClass::Archive).await.unwrap();
    assert_eq!(digests(&world, ImageStatusFilter::Archived).await.len(), 2);
    set_storage_class(&world, &list, TargetStorageClass::Standard).await.unwrap();
    assert_eq!(digests(&world, ImageStatusFilter::Active).await.len(), 2);
}

#[tokio::test]
async fn a_preview_tells_what_a_run_would_do_and_does_nothing() {
    let mut world = World::new().await;
    let mut pushed = Vec::new();
    for number in 0..5 {
        pushed.push(world.push_image("app", &format!("v{number}"), &number.to_string()).await);
        world.advance_hours(1);
    }
    world.log_in();
    let root = caller(PrincipalKind::Root);
    let get = async |ids: Option<Vec<ImageIdentifier>>, max_results, next_token| {
        let input = GetLifecyclePolicyPreviewRequest {
            repository_name: Some("app".to_owned()),
            image_ids: ids,
            max_results,
            next_token,
            ..Default::default()
        };
        world.registry.get_lifecycle_policy_preview(&root, input).await
    };
    assert_eq!(get(None, None, None).await.unwrap_err().code, "LifecyclePolicyPreviewNotFoundException");
    let start = async |text: Option<String>| {
        let input = StartLifecyclePolicyPreviewRequest {
            repository_name: Some("app".to_owned()),
            lifecycle_policy_text: text,
            ..Default::default()
        };
        world.registry.start_lifecycle_policy_preview(&root, input).await
    };
    assert_eq!(start(None).await.unwrap_err().code, "LifecyclePolicyNotFoundException");
    let started = start(Some(keep_newest(2))).await.unwrap();
    assert_eq!(started.status, Some(LifecyclePolicyPreviewStatus::InProgress));
    let twice = start(Some(keep_newest(2))).await.unwrap_err().code;
    assert_eq!(twice, "LifecyclePolicyPreviewInProgressException");
    assert_eq!(get(None, None, None).await.unwrap().status, Some(LifecyclePolicyPreviewStatus::InProgress));

    let registry = Arc::clone(&world.registry);
    let worker = tokio::spawn(async move { registry.lifecycle_work().await });
    let mut watch = world.store.watch("/ecr/previews/", 1);
    let complete = loop {
        let got = get(None, Some(2), None).await.unwrap();
        if got.status == Some(LifecyclePolicyPreviewStatus::Complete) {
            break got;
        }
        watch.next().await.unwrap();
    };
    worker.abort();
    assert_eq!(complete.summary.unwrap().expiring_image_total_count, Some(3));
    let mut results = complete.preview_results.unwrap();
    let more = get(None, Some(2), complete.next_token).await.unwrap();
    assert_eq!(more.next_token, None);
    results.extend(more.preview_results.unwrap());
    let mut told: Vec<String> = results.iter().map(|result| result.image_digest.clone().unwrap()).collect();
    told.sort();
    let mut expected: Vec<String> = pushed[..3].iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(results[0].applied_rule_priority, Some(1));
    let newest = ImageIdentifier { image_digest: None, image_tag: Some("v4".to_owned()) };
    assert_eq!(get(Some(vec![newest]), None, None).await.unwrap().preview_results.unwrap(), []);
    assert_eq!(digests(&world, ImageStatusFilter::Any).await.len(), 5, "nothing was done");
    world.advance_hours(25);
    assert_eq!(get(None, None, None).await.unwrap().status, Some(LifecyclePolicyPreviewStatus::Expired));
}

#[tokio::test]
async fn policies_are_checked_kept_in_order_and_removed_with_the_repository() {
    let world = World::new().await;
    let root = caller(PrincipalKind::Root);
    let name = || Some("app".to_owned());
    let get = async || {
        let input = GetLifecyclePolicyRequest { repository_name: name(), ..Default::default() };
        world.registry.get_lifecycle_policy(&root, input).await
    };
    let missing = get().await.unwrap_err();
    assert_eq!(missing.code, "LifecyclePolicyNotFoundException");
    let expected =
        "Lifecycle policy does not exist for the repository with name 'app' in the registry with id '000000000000'";
    assert_eq!(missing.message, expected);
    let input = PutLifecyclePolicyRequest {
        repository_name: name(),
        lifecycle_policy_text: Some("{}".to_owned()),
        ..Default::default()
    };
    let refused = world.registry.put_lifecycle_policy(&root, input).await.unwrap_err();
    let expected = "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: object has missing required properties ([\"rules\"])'";
    assert_eq!((refused.code, refused.message.as_str()), ("InvalidParameterException", expected));
    let text = put(&world, keep_newest(7)).await;
    assert_eq!(get().await.unwrap().lifecycle_policy_text, Some(text));
    world.registry.repository_delete(&keys("app"), true, &Default::default()).await.unwrap();
    world.repository("app").await;
    assert_eq!(get().await.unwrap_err().code, "LifecyclePolicyNotFoundException");
}
