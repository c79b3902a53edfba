//! Every error that the model declares for an operation: provoked, with its sentence, or named here as one that no
//! client can provoke, with the reason.

use std::collections::BTreeSet;

use async_trait::async_trait;
use gantry_api::PrincipalKind;
use gantry_api::ecr::OPERATIONS;
use gantry_domain::arn::Scope;
use gantry_registry::digest::Digest;
use gantry_registry::pull_through::secrets::{SecretError, Secrets};
use serde_json::{Map, Value, json};

use crate::ecr::{call, call_as};
use crate::harness::{ACCOUNT, OCI_INDEX, OCI_MANIFEST, World, caller, index};

const MISSING_REPOSITORY: &str =
    "The repository with name 'missing' does not exist in the registry with id '000000000000'";
const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const NO_UPLOAD: &str = "00000000-0000-0000-0000-000000000000";
const POLICY: &str = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}"#;
const ARN: &str = "arn:aws:ecr:us-east-1:000000000000:repository/missing";

/// Errors that no client can provoke, or only in another world, by error and operations (`*`: all that declare it).
const UNREACHABLE: &[(&str, &[&str], &str)] = &[
    ("ServerException", &["*"], "what fails inside"),
    ("KmsException", &["*"], "there is no key service; KMS is refused by name as a parameter"),
    ("BlockedByOrganizationPolicyException", &["*"], "there are no organizations"),
    (
        "UnableToGetUpstreamImageException",
        &["BatchGetImage"],
        "what an upstream does not give is a failure of its image",
    ),
    ("UnableToGetUpstreamLayerException", &["*"], "layers come with their image"),
    ("UnableToListUpstreamImageReferrersException", &["*"], "provoked in `pull_through`, by an upstream that is down"),
    ("RepositoryNotFoundException", &["BatchGetRepositoryScanningConfiguration"], "it is a failure of the repository"),
    (
        "LimitExceededException",
        &["BatchGetImage", "DeregisterPullTimeUpdateExclusion", "ListPullTimeUpdateExclusions", "PutAccountSetting"],
        "there is no such quota here",
    ),
    ("LimitExceededException", &["CreateRepository"], "provoked in `quotas`, where few may be"),
    ("LimitExceededException", &["UploadLayerPart"], "4,200 parts, or 52,000 MiB"),
    ("TooManyTagsException", &["UntagResource"], "fewer tags are never too many"),
    (
        "ValidationException",
        &[
            "BatchGetRepositoryScanningConfiguration",
            "CreateRepositoryCreationTemplate",
            "DeleteLifecyclePolicy",
            "DeletePullThroughCacheRule",
            "DeleteRegistryPolicy",
            "DeleteRepositoryCreationTemplate",
            "DeleteSigningConfiguration",
            "DeregisterPullTimeUpdateExclusion",
            "DescribeImageReplicationStatus",
            "DescribeImageScanFindings",
            "DescribeImageSigningStatus",
            "DescribePullThroughCacheRules",
            "DescribeRegistry",
            "DescribeReplicationBackfillResults",
            "DescribeRepositoryCreationTemplates",
            "GetAccountSetting",
            "GetLifecyclePolicy",
            "GetLifecyclePolicyPreview",
            "GetRegistryPolicy",
            "GetRegistryScanningConfiguration",
            "GetSigningConfiguration",
            "ListImageReferrers",
            "ListPullTimeUpdateExclusions",
            "ListReplicationBackfills",
            "PutAccountSetting",
            "PutImageScanningConfiguration",
            "PutLifecyclePolicy",
            "PutRegistryPolicy",
            "PutRegistryScanningConfiguration",
            "PutReplicationConfiguration",
            "PutSigningConfiguration",
            "RegisterPullTimeUpdateExclusion",
            "StartLifecyclePolicyPreview",
            "StopReplicationBackfill",
            "UpdateImageStorageClass",
            "UpdateRepositoryCreationTemplate",
            "ValidatePullThroughCacheRule",
        ],
        "a well-formed request is never refused for the state of things, or has an error of its own for that",
    ),
    (
        "InvalidParameterException",
        &[
            "DeleteRegistryPolicy",
            "DescribeRegistry",
            "GetRegistryPolicy",
            "GetRegistryScanningConfiguration",
            "GetSigningConfiguration",
        ],
        "the input has no members",
    ),
];

fn is_unreachable(operation: &str, code: &str) -> bool {
    UNREACHABLE
        .iter()
        .any(|(error, operations, _)| *error == code && (operations.contains(&"*") || operations.contains(&operation)))
}

/// Secrets by what their names end with.
struct ByName;

#[async_trait]
impl Secrets for ByName {
    async fn text(&self, _: &Scope, arn: &str) -> Result<String, SecretError> {
        match arn.rsplit('/').next() {
            Some("missing-AbCdEf") => Err(SecretError::NotFound),
            Some("sealed-AbCdEf") => Err(SecretError::Undecryptable),
            Some("closed-AbCdEf") => Err(SecretError::Inaccessible),
            _ => Ok(r#"{"username":"u","accessToken":"t"}"#.to_owned()),
        }
    }
}

fn secret(name: &str) -> String {
    format!("arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:ecr-pullthroughcache/{name}-AbCdEf")
}

/// What was provoked, and what was answered otherwise than expected.
struct Table<'a> {
    world: &'a World,
    provoked: BTreeSet<(String, String)>,
    wrong: Vec<String>,
}

impl Table<'_> {
    /// Calls an operation, which must refuse with this error and sentence; `…` at an end of it stands for anything.
    async fn refuses(&mut self, operation: &str, input: Value, code: &str, sentence: &str) {
        let code = format!("{code}Exception");
        let answer = call_as(self.world, &caller(PrincipalKind::Root), operation, input.clone()).await;
        let (got, message) = answer.map_or_else(|fault| (fault.code.to_owned(), fault.message), |_| Default::default());
        let matches = match (sentence.strip_prefix('…'), sentence.strip_suffix('…')) {
            (Some(end), None) => message.ends_with(end),
            (None, Some(start)) => message.starts_with(start),
            (Some(middle), Some(_)) => message.contains(middle.trim_end_matches('…')),
            (None, None) => message == sentence,
        };
        if got != code || !matches {
            self.wrong.push(format!("{operation} {input:.200}\n  says {got} {message}\n   not {code} {sentence}"));
        }
        self.provoked.insert((operation.to_owned(), code));
    }
}

/// An input that is complete, for operations on a repository.
fn with_repository(name: &str) -> Vec<(&'static str, Value)> {
    let image = json!({"imageTag": "v1"});
    let table: &[(&'static str, Value)] = &[
        ("BatchCheckLayerAvailability", json!({"layerDigests": [NO_DIGEST]})),
        ("BatchDeleteImage", json!({"imageIds": [image]})),
        ("BatchGetImage", json!({"imageIds": [image]})),
        ("CompleteLayerUpload", json!({"uploadId": NO_UPLOAD, "layerDigests": [NO_DIGEST]})),
        ("DeleteLifecyclePolicy", json!({})),
        ("DeleteRepository", json!({})),
        ("DeleteRepositoryPolicy", json!({})),
        ("DescribeImageReplicationStatus", json!({"imageId": image})),
        ("DescribeImageScanFindings", json!({"imageId": image})),
        ("DescribeImageSigningStatus", json!({"imageId": image})),
        ("DescribeImages", json!({})),
        ("GetDownloadUrlForLayer", json!({"layerDigest": NO_DIGEST})),
        ("GetLifecyclePolicy", json!({})),
        ("GetLifecyclePolicyPreview", json!({})),
        ("GetRepositoryPolicy", json!({})),
        ("InitiateLayerUpload", json!({})),
        ("ListImageReferrers", json!({"subjectId": {"imageDigest": NO_DIGEST}})),
        ("ListImages", json!({})),
        ("PutImage", json!({"imageManifest": "{}", "imageManifestMediaType": OCI_MANIFEST})),
        ("PutImageScanningConfiguration", json!({"imageScanningConfiguration": {"scanOnPush": true}})),
        ("PutImageTagMutability", json!({"imageTagMutability": "MUTABLE"})),
        ("PutLifecyclePolicy", json!({"lifecyclePolicyText": POLICY})),
        (
            "SetRepositoryPolicy",
            json!({"policyText": r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"ecr:*"}}"#}),
        ),
        ("StartImageScan", json!({"imageId": image})),
        ("StartLifecyclePolicyPreview", json!({})),
        ("UpdateImageStorageClass", json!({"imageId": image, "targetStorageClass": "ARCHIVE"})),
        (
            "UploadLayerPart",
            json!({"uploadId": NO_UPLOAD, "partFirstByte": 0, "partLastByte": 0, "layerPartBlob": "eA=="}),
        ),
    ];
    let named = |input: &Value| {
        let mut input: Map<String, Value> = input.as_object().unwrap().clone();
        input.insert("repositoryName".to_owned(), json!(name));
        Value::Object(input)
    };
    table.iter().map(|(operation, input)| (*operation, named(input))).collect()
}

#[tokio::test]
async fn every_declared_error_is_provoked_or_cannot_be() {
    let world = World::with(|registry| registry.with_secrets(std::sync::Arc::new(ByName))).await;
    let mut table = Table { world: &world, provoked: BTreeSet::new(), wrong: Vec::new() };
    repositories(&mut table).await;
    parameters(&mut table).await;
    images(&mut table).await;
    layers(&mut table).await;
    registry(&mut table).await;
    pull_through(&mut table).await;
    quotas(&mut table).await;
    assert!(table.wrong.is_empty(), "{}", table.wrong.join("\n"));
    let mut forgotten = Vec::new();
    for operation in OPERATIONS {
        for code in operation.errors {
            let provoked = table.provoked.contains(&(operation.name.to_owned(), (*code).to_owned()));
            assert!(
                !(provoked && is_unreachable(operation.name, code)),
                "{} {code} is not unreachable",
                operation.name
            );
            if !provoked && !is_unreachable(operation.name, code) {
                forgotten.push(format!("{} {code}", operation.name));
            }
        }
    }
    assert!(forgotten.is_empty(), "nothing provokes {forgotten:#?}");
}

async fn repositories(table: &mut Table<'_>) {
    for (operation, input) in with_repository("missing") {
        table.refuses(operation, input, "RepositoryNotFound", MISSING_REPOSITORY).await;
    }
    let missing = json!({"repositoryNames": ["missing"]});
    table.refuses("DescribeRepositories", missing, "RepositoryNotFound", MISSING_REPOSITORY).await;
    for (operation, input) in [
        ("ListTagsForResource", json!({"resourceArn": ARN})),
        ("TagResource", json!({"resourceArn": ARN, "tags": []})),
        ("UntagResource", json!({"resourceArn": ARN, "tagKeys": ["k"]})),
    ] {
        table.refuses(operation, input, "RepositoryNotFound", MISSING_REPOSITORY).await;
    }
    let exists = "The repository with name 'app' already exists in the registry with id '000000000000'";
    table.refuses("CreateRepository", json!({"repositoryName": "app"}), "RepositoryAlreadyExists", exists).await;
    let tags = |count: usize| -> Value { (0..count).map(|n| json!({"Key": format!("k{n}"), "Value": "v"})).collect() };
    let too_many = "The list of tags on the repository is over the limit. The maximum number of tags that can be \
                    applied to a repository is 50.";
    let input = json!({"repositoryName": "new", "tags": tags(51)});
    table.refuses("CreateRepository", input, "TooManyTags", too_many).await;
    let app = ARN.replace("missing", "app");
    table.refuses("TagResource", json!({"resourceArn": app, "tags": tags(51)}), "TooManyTags", too_many).await;
    let reserved = json!([{"Key": "aws:k", "Value": "v"}]);
    let text = "tag key \"aws:k\" is reserved";
    let input = json!({"repositoryName": "new", "tags": reserved});
    table.refuses("CreateRepository", input, "InvalidTagParameter", text).await;
    table.refuses("TagResource", json!({"resourceArn": app, "tags": reserved}), "InvalidTagParameter", text).await;
    let input = json!({"resourceArn": app, "tagKeys": ["aws:k"]});
    table.refuses("UntagResource", input, "InvalidTagParameter", text).await;
    let none = |what: &str| {
        format!("{what} does not exist for the repository with name 'app' in the registry with id '000000000000'")
    };
    for (operation, code, what) in [
        ("GetRepositoryPolicy", "RepositoryPolicyNotFound", "Repository policy"),
        ("DeleteRepositoryPolicy", "RepositoryPolicyNotFound", "Repository policy"),
        ("GetLifecyclePolicy", "LifecyclePolicyNotFound", "Lifecycle policy"),
        ("DeleteLifecyclePolicy", "LifecyclePolicyNotFound", "Lifecycle policy"),
        ("StartLifecyclePolicyPreview", "LifecyclePolicyNotFound", "Lifecycle policy"),
        ("GetLifecyclePolicyPreview", "LifecyclePolicyPreviewNotFound", "Lifecycle policy preview"),
    ] {
        table.refuses(operation, json!({"repositoryName": "app"}), code, &none(what)).await;
    }
    let preview = json!({"repositoryName": "app", "lifecyclePolicyText": POLICY});
    call(table.world, "StartLifecyclePolicyPreview", preview.clone()).await;
    let text = "There is already an in progress lifecycle policy preview on the repository with name 'app'…";
    table.refuses("StartLifecyclePolicyPreview", preview, "LifecyclePolicyPreviewInProgress", text).await;
}

async fn parameters(table: &mut Table<'_>) {
    let regex = "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '[a-z0-9]…";
    for (operation, input) in with_repository("Not A Name") {
        table.refuses(operation, input, "InvalidParameter", regex).await;
    }
    table.refuses("CreateRepository", json!({"repositoryName": "X Y"}), "InvalidParameter", regex).await;
    table.refuses("DescribeRepositories", json!({"repositoryNames": ["X Y"]}), "InvalidParameter", "…").await;
    let invalid_arn = "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'";
    for (operation, input) in [
        ("ListTagsForResource", json!({"resourceArn": "x"})),
        ("TagResource", json!({"resourceArn": "x", "tags": []})),
        ("UntagResource", json!({"resourceArn": "x", "tagKeys": ["k"]})),
    ] {
        table.refuses(operation, input, "InvalidParameter", invalid_arn).await;
    }
    let invalid = |what: &str, constraint: &str| {
        format!("Invalid parameter at '{what}' failed to satisfy constraint: '{constraint}'")
    };
    let policy = invalid("PolicyText", "Invalid repository policy provided");
    let input = json!({"repositoryName": "app", "policyText": "{}"});
    table.refuses("SetRepositoryPolicy", input, "InvalidParameter", &policy).await;
    let policy = invalid("PolicyText", "Invalid registry policy provided");
    table.refuses("PutRegistryPolicy", json!({"policyText": "{}"}), "InvalidParameter", &policy).await;
    let input = json!({"repositoryName": "app", "lifecyclePolicyText": " ".repeat(100)});
    let sentence = "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy \
                    validation failure: Could not map policyString into LifecyclePolicy.…";
    table.refuses("PutLifecyclePolicy", input, "InvalidParameter", sentence).await;
    let same = "Invalid parameter at…";
    let itself = json!({"rules": [{"destinations": [{"region": "us-east-1", "registryId": ACCOUNT}]}]});
    let sentence = "…Replication destination cannot be the same as the source registry…";
    let input = json!({"replicationConfiguration": itself});
    table.refuses("PutReplicationConfiguration", input, "InvalidParameter", sentence).await;
    for (operation, input) in [
        ("BatchGetRepositoryScanningConfiguration", json!({"repositoryNames": ["X Y"]})),
        ("DescribePullThroughCacheRules", json!({"nextToken": "x"})),
        ("DescribeRepositoryCreationTemplates", json!({"nextToken": "x"})),
        ("DescribeReplicationBackfillResults", json!({"replicationBackfillId": "x"})),
        ("GetAccountSetting", json!({"name": "SPEED"})),
        ("PutAccountSetting", json!({"name": "BLOB_MOUNTING", "value": "SOMETIMES"})),
        ("GetAuthorizationToken", json!({"registryIds": []})),
        ("ListPullTimeUpdateExclusions", json!({"nextToken": "x"})),
        ("ListReplicationBackfills", json!({"nextToken": "x"})),
        ("RegisterPullTimeUpdateExclusion", json!({"principalArn": "x"})),
        ("DeregisterPullTimeUpdateExclusion", json!({"principalArn": "x"})),
        (
            "PutRegistryScanningConfiguration",
            json!({"rules": [{"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": []}]}),
        ),
        ("PutSigningConfiguration", json!({"signingConfiguration": {"rules": [{"signingProfileArn": "x"}]}})),
        ("StartReplicationBackfill", json!({"destination": {"region": "X", "registryId": "1"}})),
        ("StopReplicationBackfill", json!({"replicationBackfillId": "x"})),
        ("CreateRepositoryCreationTemplate", json!({"prefix": "X Y", "appliedFor": ["REPLICATION"]})),
        ("UpdateRepositoryCreationTemplate", json!({"prefix": "X Y"})),
        ("DeleteRepositoryCreationTemplate", json!({"prefix": "X Y"})),
        ("CreatePullThroughCacheRule", json!({"ecrRepositoryPrefix": "X Y", "upstreamRegistryUrl": "quay.io"})),
        ("UpdatePullThroughCacheRule", json!({"ecrRepositoryPrefix": "X Y"})),
        ("DeletePullThroughCacheRule", json!({"ecrRepositoryPrefix": "X Y"})),
        ("ValidatePullThroughCacheRule", json!({"ecrRepositoryPrefix": "X Y"})),
    ] {
        table.refuses(operation, input, "InvalidParameter", same).await;
    }
}

async fn images(table: &mut Table<'_>) {
    let world = table.world;
    let image = world.image("app", "x").await;
    let digest = world.push_image("app", "v1", "x").await;
    let missing = "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the repository \
                   with name 'app' in the registry with id '000000000000'";
    let none = json!({"imageTag": "none"});
    for operation in [
        "DescribeImageReplicationStatus",
        "DescribeImageScanFindings",
        "DescribeImageSigningStatus",
        "StartImageScan",
        "UpdateImageStorageClass",
    ] {
        let input = json!({"repositoryName": "app", "imageId": none, "targetStorageClass": "ARCHIVE"});
        table.refuses(operation, input, "ImageNotFound", missing).await;
    }
    table
        .refuses("DescribeImages", json!({"repositoryName": "app", "imageIds": [none]}), "ImageNotFound", missing)
        .await;
    let put = |manifest: &str, media_type: &str, more: Value| {
        let mut input =
            json!({"repositoryName": "app", "imageManifest": manifest, "imageManifestMediaType": media_type});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let sentence = format!(
        "Image with digest '{digest}' and tag 'v1' already exists in the repository with name 'app' in registry with id '{ACCOUNT}'"
    );
    let input = put(&image, OCI_MANIFEST, json!({"imageTag": "v1"}));
    table.refuses("PutImage", input, "ImageAlreadyExists", &sentence).await;
    let input = put(&image, OCI_MANIFEST, json!({"imageDigest": NO_DIGEST}));
    table.refuses("PutImage", input, "ImageDigestDoesNotMatch", "The provided digest…").await;
    let sentence = format!(
        "Layers with digests '[{NO_DIGEST}]' required for pushing image into repository with name 'app' in the registry with id '{ACCOUNT}' do not exist"
    );
    let layer = json!({"mediaType": "application/x", "digest": NO_DIGEST, "size": 1});
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": layer, "layers": []}).to_string();
    table.refuses("PutImage", put(&manifest, OCI_MANIFEST, json!({})), "LayersNotFound", &sentence).await;
    let list = index(&[(&NO_DIGEST.parse::<Digest>().unwrap(), 1)]);
    let sentence = sentence.replace("Layers", "Images");
    table.refuses("PutImage", put(&list, OCI_INDEX, json!({})), "ReferencedImagesNotFound", &sentence).await;
    let input = put("no json", OCI_MANIFEST, json!({}));
    let sentence = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'";
    table.refuses("PutImage", input, "InvalidParameter", sentence).await;

    let immutable = json!({"repositoryName": "app", "imageTagMutability": "IMMUTABLE"});
    call(world, "PutImageTagMutability", immutable.clone()).await;
    let other = image.replace("{\"", "{\"x\":1,\"");
    let sentence = "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the \
                    tag is immutable.";
    let input = put(&other, OCI_MANIFEST, json!({"imageTag": "v1"}));
    table.refuses("PutImage", input, "ImageTagAlreadyExists", sentence).await;
    call(world, "PutImageTagMutability", json!({"repositoryName": "app", "imageTagMutability": "MUTABLE"})).await;

    let not_empty = "The repository with name 'app' in registry with id '000000000000' cannot be deleted because it \
                     still contains images";
    table.refuses("DeleteRepository", json!({"repositoryName": "app"}), "RepositoryNotEmpty", not_empty).await;
    let v1 = json!({"repositoryName": "app", "imageId": {"imageTag": "v1"}});
    let sentence = "Image scan does not exist for the image with '{imageDigest:'…";
    table.refuses("DescribeImageScanFindings", v1.clone(), "ScanNotFound", sentence).await;
    let class =
        |class: &str| json!({"repositoryName": "app", "imageId": {"imageTag": "v1"}, "targetStorageClass": class});
    table.refuses("UpdateImageStorageClass", class("STANDARD"), "ImageStorageClassUpdateNotSupported", "…").await;
    call(world, "UpdateImageStorageClass", class("ARCHIVE")).await;
    let sentence = format!("The image with digest '{digest}' is archived.");
    table.refuses("StartImageScan", v1.clone(), "ImageArchived", &sentence).await;
    call(world, "UpdateImageStorageClass", class("STANDARD")).await;
    call(world, "StartImageScan", v1.clone()).await;
    let sentence = "The scan quota per image has been exceeded. Wait and try again.";
    table.refuses("StartImageScan", v1.clone(), "LimitExceeded", sentence).await;
    let list = index(&[(&digest, image.len())]);
    world.put_manifest("app", "list", &list).await;
    let input = json!({"repositoryName": "app", "imageId": {"imageTag": "list"}});
    table.refuses("StartImageScan", input, "UnsupportedImageType", "The image with digest…").await;
    call(world, "PutRegistryScanningConfiguration", json!({"scanType": "ENHANCED"})).await;
    table.refuses("StartImageScan", v1, "Validation", "This feature is disabled").await;
}

async fn layers(table: &mut Table<'_>) {
    let world = table.world;
    let started = async || {
        let started = call(world, "InitiateLayerUpload", json!({"repositoryName": "app"})).await;
        started["uploadId"].as_str().unwrap().to_owned()
    };
    let part = |upload: &str, first: u64, base64: &str, length: u64| {
        json!({"repositoryName": "app", "uploadId": upload, "partFirstByte": first, "partLastByte": first + length - 1,
            "layerPartBlob": base64})
    };
    let complete =
        |upload: &str, digest: &str| json!({"repositoryName": "app", "uploadId": upload, "layerDigests": [digest]});
    let gone = format!(
        "Upload with id '{NO_UPLOAD}' could not be found for the repository with name 'app' in the registry with id '{ACCOUNT}'"
    );
    table.refuses("UploadLayerPart", part(NO_UPLOAD, 0, "eA==", 1), "UploadNotFound", &gone).await;
    table.refuses("CompleteLayerUpload", complete(NO_UPLOAD, NO_DIGEST), "UploadNotFound", &gone).await;
    let upload = started().await;
    table.refuses("CompleteLayerUpload", complete(&upload, NO_DIGEST), "EmptyUpload", "Upload with id…").await;
    table
        .refuses("UploadLayerPart", part(&upload, 5, "eA==", 1), "InvalidLayerPart", "Invalid layer part upload…")
        .await;
    call(world, "UploadLayerPart", part(&upload, 0, "eA==", 1)).await;
    table.refuses("CompleteLayerUpload", complete(&upload, NO_DIGEST), "InvalidLayer", "The provided digest…").await;
    let upload = started().await;
    call(world, "UploadLayerPart", part(&upload, 0, "eA==", 1)).await;
    call(world, "UploadLayerPart", part(&upload, 1, "eQ==", 1)).await;
    let sentence = "Layer parts other than the last must be at least 5242880 bytes";
    let digest = Digest::of(b"xy").to_string();
    table.refuses("CompleteLayerUpload", complete(&upload, &digest), "LayerPartTooSmall", sentence).await;
    let there = world.push_blob("app", b"x").await.to_string();
    let upload = started().await;
    call(world, "UploadLayerPart", part(&upload, 0, "eA==", 1)).await;
    let sentence = "…already exists in the repository with name 'app' in registry with id '000000000000'";
    table.refuses("CompleteLayerUpload", complete(&upload, &there), "LayerAlreadyExists", sentence).await;
    let download = |digest: &str| json!({"repositoryName": "app", "layerDigest": digest});
    let sentence = format!(
        "The layer with digest '{NO_DIGEST}' does not exist in the repository with name 'app' in the registry with id '{ACCOUNT}'"
    );
    table.refuses("GetDownloadUrlForLayer", download(NO_DIGEST), "LayersNotFound", &sentence).await;
    let sentence = "…is not associated with an image in the repository with name 'app'";
    table.refuses("GetDownloadUrlForLayer", download(&there), "LayerInaccessible", sentence).await;
}

async fn registry(table: &mut Table<'_>) {
    let world = table.world;
    for operation in ["GetRegistryPolicy", "DeleteRegistryPolicy"] {
        let sentence = "Registry policy does not exist in the registry with id '000000000000'";
        table.refuses(operation, json!({}), "RegistryPolicyNotFound", sentence).await;
    }
    for operation in ["GetSigningConfiguration", "DeleteSigningConfiguration"] {
        let sentence = "Signing configuration does not exist in the registry with id '000000000000'";
        table.refuses(operation, json!({}), "SigningConfigurationNotFound", sentence).await;
    }
    let principal = json!({"principalArn": "arn:aws:iam::000000000000:role/scanner"});
    table.refuses("DeregisterPullTimeUpdateExclusion", principal.clone(), "ExclusionNotFound", "…").await;
    call(world, "RegisterPullTimeUpdateExclusion", principal.clone()).await;
    table.refuses("RegisterPullTimeUpdateExclusion", principal, "ExclusionAlreadyExists", "…").await;
    let template = json!({"prefix": "team", "appliedFor": ["REPLICATION"]});
    for operation in ["UpdateRepositoryCreationTemplate", "DeleteRepositoryCreationTemplate"] {
        table.refuses(operation, json!({"prefix": "team"}), "TemplateNotFound", "…").await;
    }
    call(world, "CreateRepositoryCreationTemplate", template.clone()).await;
    table.refuses("CreateRepositoryCreationTemplate", template, "TemplateAlreadyExists", "…").await;

    let backfill = json!({"replicationBackfillId": NO_UPLOAD});
    for operation in ["DescribeReplicationBackfillResults", "StopReplicationBackfill"] {
        table.refuses(operation, backfill.clone(), "ReplicationBackfillNotFound", "…").await;
    }
    let place = |region: &str| json!({"region": region, "registryId": ACCOUNT});
    let regions: Vec<String> = (0..11).map(|n| format!("eu-west-{n}")).collect();
    let start = |region: &str| json!({"destination": place(region)});
    table.refuses("StartReplicationBackfill", start("eu-west-0"), "Validation", "…").await;
    let rules: Vec<Value> = regions.iter().map(|region| json!({"destinations": [place(region)]})).collect();
    let destinations: Vec<Value> = regions.iter().map(|region| place(region)).collect();
    let sentence = "…at most 10 rules…";
    let input = json!({"replicationConfiguration": {"rules": rules}});
    table.refuses("PutReplicationConfiguration", input, "InvalidParameter", sentence).await;
    let input = json!({"replicationConfiguration": {"rules": [{"destinations": destinations}]}});
    call(world, "PutReplicationConfiguration", input).await;
    let started = call(world, "StartReplicationBackfill", start("eu-west-0")).await;
    table.refuses("StartReplicationBackfill", start("eu-west-0"), "ReplicationBackfillInProgress", "…").await;
    for region in &regions[1..10] {
        call(world, "StartReplicationBackfill", start(region)).await;
    }
    table.refuses("StartReplicationBackfill", start("eu-west-10"), "LimitExceeded", "…").await;
    let id = started["replicationBackfillId"].as_str().unwrap().to_owned();
    call(world, "StopReplicationBackfill", json!({"replicationBackfillId": id})).await;
    let input = json!({"replicationBackfillId": id});
    table.refuses("StopReplicationBackfill", input, "ReplicationBackfillInvalidStatus", "…").await;
}

async fn pull_through(table: &mut Table<'_>) {
    let world = table.world;
    let create = |prefix: &str, host: &str, more: Value| {
        let mut input = json!({"ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": host});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    for operation in ["UpdatePullThroughCacheRule", "DeletePullThroughCacheRule", "ValidatePullThroughCacheRule"] {
        let input = json!({"ecrRepositoryPrefix": "none", "credentialArn": secret("good")});
        table.refuses(operation, input, "PullThroughCacheRuleNotFound", "…").await;
    }
    let input = json!({"ecrRepositoryPrefixes": ["none"]});
    table.refuses("DescribePullThroughCacheRules", input, "PullThroughCacheRuleNotFound", "…").await;
    const CREATE: &str = "CreatePullThroughCacheRule";
    let input = create("quay", "example.com", json!({}));
    table.refuses(CREATE, input, "UnsupportedUpstreamRegistry", "…").await;
    let input = create("hub", "registry-1.docker.io", json!({}));
    let sentence = "The upstream registry with URL 'registry-1.docker.io' requires a credentialArn.";
    table.refuses(CREATE, input, "Validation", sentence).await;
    let secrets = [
        ("missing", "SecretNotFound", "The secret does not exist."),
        ("sealed", "UnableToDecryptSecretValue", "The secret value cannot be decrypted."),
        ("closed", "UnableToAccessSecret", "The secret cannot be accessed."),
    ];
    for (name, code, sentence) in secrets {
        let input = create("hub", "registry-1.docker.io", json!({"credentialArn": secret(name)}));
        table.refuses(CREATE, input, code, sentence).await;
    }
    let good = create("hub", "registry-1.docker.io", json!({"credentialArn": secret("good")}));
    call(world, CREATE, good.clone()).await;
    table.refuses(CREATE, good, "PullThroughCacheRuleAlreadyExists", "…").await;
    for (name, code, sentence) in secrets {
        let input = json!({"ecrRepositoryPrefix": "hub", "credentialArn": secret(name)});
        table.refuses("UpdatePullThroughCacheRule", input, code, sentence).await;
    }
    let input = json!({"ecrRepositoryPrefix": "hub"});
    table.refuses("UpdatePullThroughCacheRule", input, "Validation", "…").await;
}

async fn quotas(table: &mut Table<'_>) {
    let world = table.world;
    let rule =
        |number: usize| json!({"ecrRepositoryPrefix": format!("p{number:02}"), "upstreamRegistryUrl": "quay.io"});
    for number in 0..49 {
        call(world, "CreatePullThroughCacheRule", rule(number)).await;
    }
    table.refuses("CreatePullThroughCacheRule", rule(50), "LimitExceeded", "…").await;
    let role = |number: usize| json!({"principalArn": format!("arn:aws:iam::{ACCOUNT}:role/r{number:03}")});
    for number in 0..99 {
        call(world, "RegisterPullTimeUpdateExclusion", role(number)).await;
    }
    table.refuses("RegisterPullTimeUpdateExclusion", role(100), "LimitExceeded", "…").await;
    let template = |number: usize| json!({"prefix": format!("q{number:03}"), "appliedFor": ["REPLICATION"]});
    for number in 0..499 {
        call(world, "CreateRepositoryCreationTemplate", template(number)).await;
    }
    table.refuses("CreateRepositoryCreationTemplate", template(500), "LimitExceeded", "…").await;
    world.repository("tags").await;
    let image = world.image("tags", "x").await;
    let put = |number: usize| {
        json!({"repositoryName": "tags", "imageManifest": image, "imageManifestMediaType": OCI_MANIFEST,
            "imageTag": format!("t{number:04}")})
    };
    for number in 0..1000 {
        call(world, "PutImage", put(number)).await;
    }
    let sentence = "Adding tag 't1000' to an image in the repository with name 'tags' in registry with id \
        '000000000000' exceeds the maximum allowed number of tags per image which is '1000'";
    table.refuses("PutImage", put(1000), "LimitExceeded", sentence).await;
    // All of them go with the image.
    let digest = Digest::of(image.as_bytes());
    let input = json!({"repositoryName": "tags", "imageIds": [{"imageDigest": digest}]});
    let deleted = call(world, "BatchDeleteImage", input).await;
    assert_eq!(deleted["imageIds"].as_array().unwrap().len(), 1000);
}
