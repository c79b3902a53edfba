//! Signatures that the registry makes: what a verifier demands of them, who gets one, and that there is exactly one
//! whatever happens in between.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gantry_api::PrincipalKind;
use gantry_registry::digest::Digest;
use gantry_store::{Engine, KeyRange, Memory, MemoryOptions};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::dying::{Dying, process};
use crate::ecr::{call, refusal};
use crate::harness::{World, caller};

const RELEASE: &str = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release";
const AUDIT: &str = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/audit";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";
/// 1.3.6.1.5.5.7.3.3
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

async fn configure(world: &World, rules: &[(&str, Option<&str>)]) -> Value {
    let rule = |(profile, filter): &(&str, Option<&str>)| {
        let mut rule = json!({"signingProfileArn": profile});
        if let Some(filter) = filter {
            rule["repositoryFilters"] = json!([{"filter": filter, "filterType": "WILDCARD_MATCH"}]);
        }
        rule
    };
    let configuration = json!({"rules": rules.iter().map(rule).collect::<Vec<_>>()});
    call(world, "PutSigningConfiguration", json!({"signingConfiguration": configuration})).await["signingConfiguration"]
        .clone()
}

/// The statuses of an image, by profile.
async fn statuses(world: &World, image: &Digest) -> Vec<(String, String)> {
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": image}});
    let told = call(world, "DescribeImageSigningStatus", input).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let statuses = told["signingStatuses"].as_array().unwrap().iter();
    statuses.map(|status| (text(&status["signingProfileArn"]), text(&status["status"]))).collect()
}

async fn signatures(world: &World, image: &Digest) -> Vec<Value> {
    let found = world.get(&format!("/v2/app/referrers/{image}?artifactType={SIGNATURE}")).await.json();
    found["manifests"].as_array().unwrap().clone()
}

/// Lets the worker work until nothing waits to be signed, or until `end`.
async fn sign_or(world: &World, end: &Notify) {
    let worker = tokio::spawn(Arc::clone(&world.registry).sign_images());
    let signed = async {
        let mut watch = world.store.watch("/ecr/", world.store.revision() + 1);
        while !world.store.range("/ecr/sign/", 1).await.unwrap().kvs.is_empty() {
            watch.next_or_progress().await.unwrap();
        }
    };
    tokio::select! {
        () = signed => {}
        () = end.notified() => {}
    }
    worker.abort();
    let _ = worker.await;
}

async fn sign(world: &World) {
    sign_or(world, &Notify::new()).await;
}

/// What a verifier of the Notary Project checks: the certificates up to the one it trusts, the signature by the first
/// of them, and that what is signed is the image. Panics with what is wrong.
async fn verify(world: &World, image: &Digest, manifest: &Value, trusted: &str) {
    let envelope = world.get(&format!("/v2/app/blobs/{}", manifest["layers"][0]["digest"].as_str().unwrap())).await;
    let envelope: Value = serde_json::from_slice(&envelope.body).unwrap();
    let chain: Vec<CertificateDer<'_>> = envelope["header"]["x5c"]
        .as_array()
        .unwrap()
        .iter()
        .map(|certificate| STANDARD.decode(certificate.as_str().unwrap()).unwrap().into())
        .collect();
    let trusted = CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
    assert_eq!(chain.last(), Some(&trusted));
    let (leaf, anchor) = (EndEntityCert::try_from(&chain[0]).unwrap(), anchor_from_trusted_cert(&trusted).unwrap());
    let now = world.now_ms.load(std::sync::atomic::Ordering::SeqCst) / 1000;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
    let usage = KeyUsage::required(CODE_SIGNING);
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &[anchor], &[], now, usage, None, None).unwrap();

    let text = |name: &str| envelope[name].as_str().unwrap();
    let decoded = |name: &str| URL_SAFE_NO_PAD.decode(text(name)).unwrap();
    let public = leaf.subject_public_key_info();
    // An uncompressed point on P-256 ends the key's description.
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public[public.len() - 65..]);
    let message = format!("{}.{}", text("protected"), text("payload"));
    public.verify(message.as_bytes(), &decoded("signature")).unwrap();

    let protected: Value = serde_json::from_slice(&decoded("protected")).unwrap();
    assert_eq!(protected["alg"], "ES256");
    assert_eq!(protected["crit"], json!(["io.cncf.notary.signingScheme"]));
    assert_eq!(protected["cty"], "application/vnd.cncf.notary.payload.v1+json");
    let payload: Value = serde_json::from_slice(&decoded("payload")).unwrap();
    assert_eq!(payload["targetArtifact"], manifest["subject"]);
    assert_eq!(manifest["subject"]["digest"], json!(image));
    let thumbprints: Vec<String> = chain.iter().map(|certificate| hex::encode(Sha256::digest(certificate))).collect();
    let told = manifest["annotations"]["io.cncf.notary.x509chain.thumbprint#S256"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Vec<String>>(told).unwrap(), thumbprints);
}

#[tokio::test]
async fn an_image_that_a_rule_names_gets_a_signature_that_verifies() {
    let world = World::new().await;
    assert_eq!(refusal(&world, "GetSigningConfiguration", json!({})).await.0, "SigningConfigurationNotFoundException");
    let before = world.push_image("app", "before", "1").await;
    let configuration = configure(&world, &[(RELEASE, Some("ap*")), (AUDIT, None), (AUDIT, Some("app"))]).await;
    let got = call(&world, "GetSigningConfiguration", json!({})).await;
    assert_eq!(got["signingConfiguration"], configuration);

    let image = world.push_image("app", "v1", "2").await;
    let in_progress: Vec<(String, String)> =
        [AUDIT, RELEASE].map(|profile| (profile.to_owned(), "IN_PROGRESS".to_owned())).into();
    assert_eq!(statuses(&world, &image).await, in_progress);
    sign(&world).await;
    let complete: Vec<(String, String)> =
        [AUDIT, RELEASE].map(|profile| (profile.to_owned(), "COMPLETE".to_owned())).into();
    assert_eq!(statuses(&world, &image).await, complete);
    let found = signatures(&world, &image).await;
    assert_eq!(found.len(), 2);
    let mut by = Vec::new();
    for descriptor in &found {
        let manifest = world.get(&format!("/v2/app/manifests/{}", descriptor["digest"].as_str().unwrap())).await.json();
        for profile in [RELEASE, AUDIT] {
            let trusted = world.registry.signing_certificate(&profile.parse().unwrap()).await.unwrap();
            let root = Sha256::digest(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap());
            if manifest["annotations"].to_string().contains(&hex::encode(root)) {
                verify(&world, &image, &manifest, &trusted).await;
                by.push(profile);
            }
        }
    }
    by.sort_unstable();
    assert_eq!(by, [AUDIT, RELEASE]);

    // What was there before is not signed, signatures are not, and nothing is signed twice.
    assert!(statuses(&world, &before).await.is_empty());
    let signature: Digest = found[0]["digest"].as_str().unwrap().parse().unwrap();
    assert!(statuses(&world, &signature).await.is_empty());
    assert_eq!(world.push_image("app", "again", "2").await, image);
    sign(&world).await;
    assert_eq!(signatures(&world, &image).await.len(), 2);

    // Pushed again, though nothing else changes, it is; and so is one whose signature was removed.
    assert_eq!(world.push_image("app", "before", "1").await, before);
    world.delete(&format!("/v2/app/manifests/{signature}")).await;
    world.push_image("app", "v1", "2").await;
    sign(&world).await;
    assert_eq!((statuses(&world, &before).await, statuses(&world, &image).await), (complete.clone(), complete));
    assert_eq!(signatures(&world, &image).await.len(), 2);

    call(&world, "DeleteSigningConfiguration", json!({})).await;
    assert!(statuses(&world, &world.push_image("app", "v3", "3").await).await.is_empty());
    assert_eq!(crate::storm::problems(&world.registry).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_pusher_must_be_allowed_to_sign() {
    let mut world = World::new().await;
    configure(&world, &[(RELEASE, None)]).await;
    let alice = caller(PrincipalKind::User);
    let push = json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"});
    world.principals.grant(&alice.principal_arn, &json!({"Version": "2012-10-17", "Statement": [push]}));
    world.authorization = world.token_of(&alice);
    let image = world.push_image("app", "v1", "1").await;
    sign(&world).await;
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": image}});
    let told = call(&world, "DescribeImageSigningStatus", input).await["signingStatuses"][0].clone();
    assert_eq!((&told["status"], &told["failureCode"]), (&json!("FAILED"), &json!("AccessDenied")));
    assert_eq!(
        told["failureReason"],
        format!(
            "User: {} is not authorized to perform: signer:SignPayload on resource: {RELEASE} because no \
             identity-based policy allows the signer:SignPayload action",
            alice.principal_arn
        )
    );
    assert!(signatures(&world, &image).await.is_empty());

    let sign_with = json!({"Effect": "Allow", "Action": "signer:SignPayload", "Resource": RELEASE});
    let more = json!({"Version": "2012-10-17", "Statement": [push, sign_with]});
    world.principals.grant(&alice.principal_arn, &more);
    world.push_image("app", "v1", "1").await;
    sign(&world).await;
    assert_eq!(statuses(&world, &image).await, [(RELEASE.to_owned(), "COMPLETE".to_owned())]);
}

#[tokio::test]
async fn a_profile_of_another_account_signs_nothing_and_a_damaged_key_says_so() {
    let world = World::new().await;
    let foreign = RELEASE.replace("000000000000", "111111111111");
    configure(&world, &[(&foreign, None), (RELEASE, None)]).await;
    let folder = world.directory.path().join("signing-keys");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("aws.us-east-1.000000000000.release.pem"), "half a key").unwrap();
    let image = world.push_image("app", "v1", "1").await;
    sign(&world).await;
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": image}});
    let told = call(&world, "DescribeImageSigningStatus", input).await;
    let codes: Vec<&Value> =
        told["signingStatuses"].as_array().unwrap().iter().map(|status| &status["failureCode"]).collect();
    assert_eq!(codes, [&json!("SigningProfileUnavailable"), &json!("AccessDenied")]);
    assert!(signatures(&world, &image).await.is_empty());
}

#[tokio::test]
async fn a_signature_goes_with_its_image() {
    let world = World::new().await;
    configure(&world, &[(RELEASE, None)]).await;
    let image = world.push_image("app", "v1", "1").await;
    sign(&world).await;
    assert_eq!(signatures(&world, &image).await.len(), 1);
    let unsigned = world.push_image("app", "v2", "2").await;
    for image in [&image, &unsigned] {
        assert_eq!(world.delete(&format!("/v2/app/manifests/{image}")).await.status, 202);
    }
    sign(&world).await;
    let changes = tokio::spawn(Arc::clone(&world.registry).deliver_changes());
    let mut watch = world.store.watch("/ecr/", world.store.revision() + 1);
    while !world.store.range("/ecr/changes/", 1).await.unwrap().kvs.is_empty() {
        watch.next_or_progress().await.unwrap();
    }
    changes.abort();
    assert!(signatures(&world, &image).await.is_empty());
    let images = call(&world, "ListImages", json!({"repositoryName": "app"})).await;
    assert_eq!(images["imageIds"], json!([]));
    assert!(world.store.range("/ecr/000000000000/us-east-1/signings/", 1).await.unwrap().kvs.is_empty());
}

#[tokio::test]
async fn a_registry_that_dies_at_any_step_signs_each_image_once() {
    let mut died = 0;
    for writes in 0.. {
        let memory = Arc::new(Memory::new(&MemoryOptions::default()));
        let (store, _) = Dying::store(&memory, usize::MAX);
        let world = World::with_store(store).await;
        configure(&world, &[(RELEASE, None), (AUDIT, None)]).await;
        let image = world.push_image("app", "v1", "1").await;

        let (store, dead) = Dying::store(&memory, writes);
        let dying = world.reopen(store);
        process(move || async move { sign_or(&dying, &dead).await }).await;
        let signed = memory.range(KeyRange::prefix("/ecr/sign/"), 1).await.unwrap().kvs.is_empty();
        let world = world.restart();
        sign(&world).await;
        assert_eq!(signatures(&world, &image).await.len(), 2, "{writes}");
        assert!(statuses(&world, &image).await.iter().all(|(_, status)| status == "COMPLETE"), "{writes}");
        assert_eq!(crate::storm::problems(&world.registry).await, Vec::<String>::new(), "{writes}");
        if signed {
            break;
        }
        died += 1;
    }
    assert!(died > 5, "it died {died} times");
}
