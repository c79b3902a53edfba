//! The ECR operations, on the wire: JSON in, JSON out.

use gantry_api::codec::Codec;
use gantry_api::{Caller, Fault, OperationInfo, PrincipalKind, ServiceInfo, ecr};
use gantry_registry::digest::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::{ACCOUNT, OCI_MANIFEST, World, caller, index};

struct Json(Value);

impl Codec for Json {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_value(self.0.clone())
            .map_err(|error| Fault::new("SerializationException", 400, error.to_string()))
    }

    fn encode<T: Serialize>(&self, _: &ServiceInfo, _: &OperationInfo, output: &T) -> Result<Vec<u8>, Fault> {
        Ok(serde_json::to_vec(output).unwrap())
    }
}

pub(crate) async fn call_as(world: &World, caller: &Caller, operation: &str, input: Value) -> Result<Value, Fault> {
    let answer = ecr::dispatch(world.registry.as_ref(), caller, operation, &Json(input)).await.unwrap();
    answer.map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

pub(crate) async fn call(world: &World, operation: &str, input: Value) -> Value {
    call_as(world, &caller(PrincipalKind::Root), operation, input).await.unwrap()
}

pub(crate) async fn refusal(world: &World, operation: &str, input: Value) -> (String, String) {
    let fault = call_as(world, &caller(PrincipalKind::Root), operation, input).await.unwrap_err();
    (fault.code.to_owned(), fault.message)
}

/// Replaces times, which differ from run to run.
pub(crate) fn without_times(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    if name.ends_with("At") || name.ends_with("Time") {
                        assert!(member.is_f64(), "{name}");
                        *member = json!("TIME");
                    }
                    walk(member);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut value);
    value
}

#[tokio::test]
async fn a_repository_is_created_described_and_deleted() {
    let world = World::new().await;
    let expected = json!({
        "repositoryArn": "arn:aws:ecr:us-east-1:000000000000:repository/team/web",
        "registryId": ACCOUNT,
        "repositoryName": "team/web",
        "repositoryUri": "localhost:4566/team/web",
        "createdAt": "TIME",
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": false},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    });
    let created = call(&world, "CreateRepository", json!({"repositoryName": "team/web"})).await;
    assert_eq!(without_times(created), json!({"repository": expected}));
    let described = call(&world, "DescribeRepositories", json!({"repositoryNames": ["team/web"]})).await;
    assert_eq!(without_times(described), json!({"repositories": [expected]}));
    let again = refusal(&world, "CreateRepository", json!({"repositoryName": "team/web"})).await;
    let text = "The repository with name 'team/web' already exists in the registry with id '000000000000'";
    assert_eq!(again, ("RepositoryAlreadyExistsException".to_owned(), text.to_owned()));
    let deleted = call(&world, "DeleteRepository", json!({"repositoryName": "team/web"})).await;
    assert_eq!(without_times(deleted), json!({"repository": expected}));
    let missing = refusal(&world, "DescribeRepositories", json!({"repositoryNames": ["app", "team/web"]})).await;
    let text = "The repository with name 'team/web' does not exist in the registry with id '000000000000'";
    assert_eq!(missing, ("RepositoryNotFoundException".to_owned(), text.to_owned()));
}

#[tokio::test]
async fn bad_repositories_are_refused() {
    let world = World::new().await;
    for (input, code) in [
        (json!({"repositoryName": "Not-Valid"}), "InvalidParameterException"),
        (json!({"repositoryName": "x"}), "InvalidParameterException"),
        (json!({}), "InvalidParameterException"),
        (json!({"repositoryName": "ok1", "imageTagMutability": "SOMETIMES"}), "InvalidParameterException"),
        (
            json!({"repositoryName": "ok1", "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}),
            "InvalidParameterException",
        ),
        (
            json!({"repositoryName": "ok1", "imageTagMutability": "IMMUTABLE",
                "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "x*"}]}),
            "InvalidParameterException",
        ),
        (
            json!({"repositoryName": "ok1", "encryptionConfiguration": {"encryptionType": "KMS"}}),
            "InvalidParameterException",
        ),
        (json!({"repositoryName": "ok1", "tags": [{"Key": "aws:x", "Value": "y"}]}), "InvalidTagParameterException"),
        (
            json!({"repositoryName": "ok1",
                "tags": (0..51).map(|i| json!({"Key": format!("k{i}"), "Value": ""})).collect::<Vec<_>>()}),
            "TooManyTagsException",
        ),
        (json!({"repositoryName": "ok1", "registryId": "111111111111"}), "AccessDeniedException"),
    ] {
        assert_eq!(refusal(&world, "CreateRepository", input.clone()).await.0, code, "{input}");
    }
    let described = call(&world, "DescribeRepositories", json!({})).await;
    assert_eq!(described["repositories"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn repositories_are_described_in_pages() {
    let world = World::new().await;
    for name in ["b1", "a1", "c1", "a1/x"] {
        call(&world, "CreateRepository", json!({"repositoryName": name})).await;
    }
    let (mut names, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({"maxResults": 2});
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = call(&world, "DescribeRepositories", input).await;
        let page_names = page["repositories"].as_array().unwrap().iter();
        names.extend(page_names.map(|repository| repository["repositoryName"].as_str().unwrap().to_owned()));
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(names, ["a1", "a1/x", "app", "b1", "c1"]);
    for input in [
        json!({"nextToken": "garbage"}),
        json!({"maxResults": 0}),
        json!({"maxResults": 1001}),
        json!({"repositoryNames": ["app"], "maxResults": 5}),
    ] {
        let refused = refusal(&world, "DescribeRepositories", input.clone()).await;
        assert_eq!(refused.0, "InvalidParameterException", "{input}");
    }
}

#[tokio::test]
async fn a_repository_with_images_is_deleted_only_by_force() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    let text = "The repository with name 'app' in registry with id '000000000000' cannot be deleted because it still contains images";
    let refused = refusal(&world, "DeleteRepository", json!({"repositoryName": "app"})).await;
    assert_eq!(refused, ("RepositoryNotEmptyException".to_owned(), text.to_owned()));
    let started = world.call("POST", "/v2/app/blobs/uploads/").send().await;
    call(&world, "DeleteRepository", json!({"repositoryName": "app", "force": true})).await;
    assert_eq!(world.get("/v2/app/manifests/v1").await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    assert_eq!(world.get(started.header("location")).await.status, 404);
    // A new one of the same name starts empty.
    call(&world, "CreateRepository", json!({"repositoryName": "app"})).await;
    assert_eq!(world.get("/v2/app/manifests/v1").await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    let digest = Digest::of(b"layer x");
    assert_eq!(world.head(&format!("/v2/app/blobs/{digest}")).await.status, 404);
}

#[tokio::test]
async fn resource_tags() {
    let world = World::new().await;
    let arn = "arn:aws:ecr:us-east-1:000000000000:repository/app";
    let tags = json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]);
    assert_eq!(call(&world, "TagResource", json!({"resourceArn": arn, "tags": tags})).await, json!({}));
    assert_eq!(call(&world, "ListTagsForResource", json!({"resourceArn": arn})).await, json!({"tags": tags}));
    let change = json!({"resourceArn": arn, "tags": [{"Key": "b", "Value": "3"}]});
    call(&world, "TagResource", change).await;
    call(&world, "UntagResource", json!({"resourceArn": arn, "tagKeys": ["a", "never"]})).await;
    let left = call(&world, "ListTagsForResource", json!({"resourceArn": arn})).await;
    assert_eq!(left, json!({"tags": [{"Key": "b", "Value": "3"}]}));
    for (arn, code) in [
        ("nonsense", "InvalidParameterException"),
        ("arn:aws:ecr:us-east-1:000000000000:image/app", "InvalidParameterException"),
        ("arn:aws:ecr:eu-west-1:000000000000:repository/app", "InvalidParameterException"),
        ("arn:aws:ecr:us-east-1:111111111111:repository/app", "AccessDeniedException"),
        ("arn:aws:ecr:us-east-1:000000000000:repository/missing", "RepositoryNotFoundException"),
    ] {
        assert_eq!(refusal(&world, "ListTagsForResource", json!({"resourceArn": arn})).await.0, code, "{arn}");
    }
    let text = refusal(&world, "ListTagsForResource", json!({"resourceArn": "nonsense"})).await.1;
    assert_eq!(text, "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'");
}

#[tokio::test]
async fn a_token_opens_the_other_door() {
    let world = World::new().await;
    let answer = call(&world, "GetAuthorizationToken", json!({})).await;
    let data = answer["authorizationData"].as_array().unwrap();
    assert_eq!(data.len(), 1);
    assert_eq!(data[0]["proxyEndpoint"], "http://localhost:4566");
    assert!(data[0]["expiresAt"].is_f64());
    let basic = format!("Basic {}", data[0]["authorizationToken"].as_str().unwrap());
    assert_eq!(world.anonymous("GET", "/v2/").header("authorization", &basic).send().await.status, 200);
    let ids = json!({"registryIds": [ACCOUNT, "111111111111"]});
    assert_eq!(call(&world, "GetAuthorizationToken", ids).await["authorizationData"].as_array().unwrap().len(), 2);
    assert_eq!(
        refusal(&world, "GetAuthorizationToken", json!({"registryIds": []})).await.0,
        "InvalidParameterException"
    );

    let instance = caller(PrincipalKind::Instance);
    let answer = call_as(&world, &instance, "GetAuthorizationToken", json!({})).await.unwrap();
    let basic = format!("Basic {}", answer["authorizationData"][0]["authorizationToken"].as_str().unwrap());
    let push = world.anonymous("POST", "/v2/app/blobs/uploads/").header("authorization", &basic);
    assert_eq!(push.send().await.status, 403);
    let refused = call_as(&world, &instance, "DeleteRepository", json!({"repositoryName": "app"})).await.unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
    assert!(
        call_as(&world, &instance, "BatchGetImage", json!({"repositoryName": "app", "imageIds": [{"imageTag": "v"}]}))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn images_are_listed_and_described() {
    let world = World::new().await;
    let image = world.push_image("app", "v1", "x").await;
    world.push_image("app", "v2", "x").await;
    let untagged_text = world.image("app", "untagged").await;
    let untagged = Digest::of(untagged_text.as_bytes());
    world.put_manifest("app", untagged.as_str(), &untagged_text).await;
    let list = index(&[(&image, world.get("/v2/app/manifests/v1").await.body.len())]);
    world.put_manifest("app", "list", &list).await;
    let list = Digest::of(list.as_bytes());

    let ids = |value: Value| {
        let mut ids: Vec<(String, String)> = value["imageIds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| {
                (id["imageDigest"].as_str().unwrap().to_owned(), id["imageTag"].as_str().unwrap_or("-").to_owned())
            })
            .collect();
        ids.sort();
        ids
    };
    let pair = |digest: &Digest, tag: &str| (digest.to_string(), tag.to_owned());
    let mut all = vec![pair(&image, "v1"), pair(&image, "v2"), pair(&untagged, "-"), pair(&list, "list")];
    all.sort();
    assert_eq!(ids(call(&world, "ListImages", json!({"repositoryName": "app"})).await), all);
    let filtered = json!({"repositoryName": "app", "filter": {"tagStatus": "UNTAGGED"}});
    assert_eq!(ids(call(&world, "ListImages", filtered).await), [pair(&untagged, "-")]);
    let archived = json!({"repositoryName": "app", "filter": {"imageStatus": "ARCHIVED"}});
    assert_eq!(ids(call(&world, "ListImages", archived).await), []);
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    for _ in 0..4 {
        let mut input = json!({"repositoryName": "app", "maxResults": 1});
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let page = call(&world, "ListImages", input).await;
        token = page["nextToken"].clone();
        seen.extend(ids(page));
    }
    assert!(token.is_null());
    assert_eq!(seen, all);

    let size = |seed: &str| format!("{{\"seed\":\"{seed}\"}}").len() + format!("layer {seed}").len();
    let described = call(
        &world,
        "DescribeImages",
        json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}, {"imageTag": "v2"}]}),
    )
    .await;
    assert_eq!(
        without_times(described),
        json!({"imageDetails": [{
            "registryId": ACCOUNT, "repositoryName": "app", "imageDigest": image, "imageTags": ["v1", "v2"],
            "imageSizeInBytes": size("x"), "imagePushedAt": "TIME", "imageManifestMediaType": OCI_MANIFEST,
            "artifactMediaType": "application/vnd.oci.image.config.v1+json", "imageStatus": "ACTIVE",
            "lastRecordedPullTime": "TIME",
        }]})
    );
    let described =
        call(&world, "DescribeImages", json!({"repositoryName": "app", "imageIds": [{"imageTag": "list"}]})).await;
    assert_eq!(described["imageDetails"][0]["imageSizeInBytes"], size("x"));
    assert_eq!(described["imageDetails"][0].get("artifactMediaType"), None);
    let described = call(&world, "DescribeImages", json!({"repositoryName": "app"})).await;
    assert_eq!(described["imageDetails"].as_array().unwrap().len(), 3);
    let missing =
        refusal(&world, "DescribeImages", json!({"repositoryName": "app", "imageIds": [{"imageTag": "v9"}]})).await;
    let text = "The image with imageId {imageDigest:'null', imageTag:'v9'} does not exist within the repository with name 'app' in the registry with id '000000000000'";
    assert_eq!(missing, ("ImageNotFoundException".to_owned(), text.to_owned()));
}

#[tokio::test]
async fn images_are_read_and_retagged_without_an_upload() {
    let world = World::new().await;
    let digest = world.push_image("app", "v1", "x").await;
    let manifest = String::from_utf8(world.get("/v2/app/manifests/v1").await.body.to_vec()).unwrap();
    let other = Digest::of(b"other");
    let ids = json!([
        {"imageTag": "v1"}, {"imageDigest": digest}, {"imageTag": "v9"}, {}, {"imageDigest": "nonsense"},
        {"imageTag": "v1", "imageDigest": other}, {"imageTag": "v1", "imageDigest": digest},
    ]);
    let got = call(
        &world,
        "BatchGetImage",
        json!({"repositoryName": "app", "imageIds": ids, "acceptedMediaTypes": ["text/plain"]}),
    )
    .await;
    let image = |id: Value| {
        json!({"registryId": ACCOUNT, "repositoryName": "app", "imageId": id, "imageManifest": manifest,
            "imageManifestMediaType": OCI_MANIFEST})
    };
    let tagged = json!({"imageTag": "v1", "imageDigest": digest});
    assert_eq!(got["images"], json!([image(tagged.clone()), image(json!({"imageDigest": digest})), image(tagged)]));
    let failures = got["failures"].as_array().unwrap();
    let codes: Vec<_> = failures.iter().map(|failure| failure["failureCode"].as_str().unwrap()).collect();
    assert_eq!(codes, ["ImageNotFound", "MissingDigestAndTag", "InvalidImageDigest", "ImageTagDoesNotMatchDigest"]);
    assert_eq!(
        failures[0],
        json!({"imageId": {"imageTag": "v9"}, "failureCode": "ImageNotFound", "failureReason": "Requested image not found"})
    );

    let input = json!({"repositoryName": "app", "imageManifest": manifest, "imageTag": "v2"});
    let put = call(&world, "PutImage", input.clone()).await;
    assert_eq!(put["image"]["imageId"], json!({"imageTag": "v2", "imageDigest": digest}));
    let again = refusal(&world, "PutImage", input).await;
    let text = format!(
        "Image with digest '{digest}' and tag 'v2' already exists in the repository with name 'app' in registry with id '000000000000'"
    );
    assert_eq!(again, ("ImageAlreadyExistsException".to_owned(), text));
    let bare = refusal(&world, "PutImage", json!({"repositoryName": "app", "imageManifest": manifest})).await;
    assert_eq!(bare.0, "ImageAlreadyExistsException");
    for (input, code) in [
        (json!({"repositoryName": "app", "imageManifest": "{"}), "InvalidParameterException"),
        (json!({"repositoryName": "app", "imageManifest": "{\"schemaVersion\":2}"}), "InvalidParameterException"),
        (json!({"repositoryName": "app", "imageManifest": manifest, "imageTag": "-x"}), "InvalidParameterException"),
        (
            json!({"repositoryName": "app", "imageManifest": manifest, "imageDigest": other}),
            "ImageDigestDoesNotMatchException",
        ),
        (json!({"repositoryName": "missing", "imageManifest": manifest}), "RepositoryNotFoundException"),
        (
            json!({"repositoryName": "app", "imageManifest": manifest.replace("\"size\":7", "\"size\":8")}),
            "InvalidParameterException",
        ),
    ] {
        assert_eq!(refusal(&world, "PutImage", input.clone()).await.0, code, "{input}");
    }
    world.repository("bare").await;
    let refused = refusal(&world, "PutImage", json!({"repositoryName": "bare", "imageManifest": manifest})).await;
    assert_eq!(refused.0, "LayersNotFoundException");
    let refused = json!({"repositoryName": "bare", "imageManifest": index(&[(&digest, manifest.len())])});
    assert_eq!(refusal(&world, "PutImage", refused).await.0, "ReferencedImagesNotFoundException");
}

#[tokio::test]
async fn immutable_tags_hold_at_this_door_too() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    let other = world.image("app", "other").await;
    let set = |mode: &str| json!({"repositoryName": "app", "imageTagMutability": mode});
    let answer = call(&world, "PutImageTagMutability", set("IMMUTABLE")).await;
    assert_eq!(answer, json!({"registryId": ACCOUNT, "repositoryName": "app", "imageTagMutability": "IMMUTABLE"}));
    let put = json!({"repositoryName": "app", "imageManifest": other, "imageTag": "v1"});
    let text = "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.";
    let refused = refusal(&world, "PutImage", put.clone()).await;
    assert_eq!(refused, ("ImageTagAlreadyExistsException".to_owned(), text.to_owned()));
    let filters = json!([{"filterType": "WILDCARD", "filter": "v*"}]);
    let mut excluding = set("IMMUTABLE_WITH_EXCLUSION");
    let refused = refusal(&world, "PutImageTagMutability", excluding.clone()).await;
    assert_eq!(
        refused.1,
        "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: \
         'ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as IMMUTABLE_WITH_EXCLUSION'"
    );
    excluding["imageTagMutabilityExclusionFilters"] = filters.clone();
    let answer = call(&world, "PutImageTagMutability", excluding).await;
    assert_eq!(answer["imageTagMutabilityExclusionFilters"], filters);
    call(&world, "PutImage", put).await;
}

#[tokio::test]
async fn images_are_deleted_by_tag_and_by_digest() {
    let world = World::new().await;
    let two = world.push_image("app", "a", "two").await;
    world.push_image("app", "b", "two").await;
    let one = world.push_image("app", "c", "one").await;
    let delete = |ids: Value| json!({"repositoryName": "app", "imageIds": ids});
    let answer = call(&world, "BatchDeleteImage", delete(json!([{"imageTag": "a"}, {"imageTag": "nope"}]))).await;
    assert_eq!(answer["imageIds"], json!([{"imageTag": "a", "imageDigest": two}]));
    assert_eq!(answer["failures"][0]["failureCode"], "ImageNotFound");
    assert_eq!(world.head(&format!("/v2/app/manifests/{two}")).await.status, 200);
    // With the last tag the image goes.
    call(&world, "BatchDeleteImage", delete(json!([{"imageTag": "b"}]))).await;
    assert_eq!(world.head(&format!("/v2/app/manifests/{two}")).await.status, 404);
    let wrong = call(&world, "BatchDeleteImage", delete(json!([{"imageTag": "c", "imageDigest": two}]))).await;
    assert_eq!(wrong["failures"][0]["failureCode"], "ImageTagDoesNotMatchDigest");
    let answer = call(&world, "BatchDeleteImage", delete(json!([{"imageDigest": one}]))).await;
    assert_eq!(answer, json!({"imageIds": [{"imageTag": "c", "imageDigest": one}], "failures": []}));
}

#[tokio::test]
async fn lists_are_deleted_before_what_they_need() {
    let world = World::new().await;
    let text = world.image("app", "child").await;
    let child = Digest::of(text.as_bytes());
    world.put_manifest("app", child.as_str(), &text).await;
    let list_text = index(&[(&child, text.len())]);
    let list = Digest::of(list_text.as_bytes());
    world.put_manifest("app", "list", &list_text).await;
    let only_child = json!({"repositoryName": "app", "imageIds": [{"imageDigest": child}]});
    let answer = call(&world, "BatchDeleteImage", only_child).await;
    assert_eq!(answer["failures"][0]["failureCode"], "ImageReferencedByManifestList");
    assert_eq!(
        answer["failures"][0]["failureReason"],
        format!("Requested image referenced by manifest list: [{list}]")
    );
    let both = json!({"repositoryName": "app", "imageIds": [{"imageDigest": child}, {"imageDigest": list}]});
    let answer = call(&world, "BatchDeleteImage", both).await;
    assert_eq!(answer["failures"], json!([]));
    assert_eq!(answer["imageIds"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn layers_go_up_in_parts_and_come_down_by_link() {
    use base64::Engine as _;
    let world = World::new().await;
    let mib = 1024 * 1024;
    let bytes: Vec<u8> = (0..6 * mib + 100).map(|i: usize| (i % 251) as u8).collect();
    let digest = Digest::of(&bytes);
    let check = json!({"repositoryName": "app", "layerDigests": [digest, "nonsense", "sha999:ab"]});
    let answer = call(&world, "BatchCheckLayerAvailability", check.clone()).await;
    assert_eq!(answer["layers"][0], json!({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"}));
    assert_eq!(answer["layers"][1], json!({"layerDigest": "sha999:ab", "layerAvailability": "UNAVAILABLE"}));
    assert_eq!(answer["failures"][0]["failureCode"], "InvalidLayerDigest");

    let started = call(&world, "InitiateLayerUpload", json!({"repositoryName": "app"})).await;
    assert_eq!(started["partSize"], 20_971_520);
    let id = started["uploadId"].as_str().unwrap().to_owned();
    let part = |from: usize, to: usize| {
        json!({"repositoryName": "app", "uploadId": id, "partFirstByte": from, "partLastByte": to - 1,
            "layerPartBlob": base64::engine::general_purpose::STANDARD.encode(&bytes[from..to])})
    };
    let complete = |digest: &Digest| json!({"repositoryName": "app", "uploadId": id, "layerDigests": [digest]});
    assert_eq!(refusal(&world, "CompleteLayerUpload", complete(&digest)).await.0, "EmptyUploadException");
    assert_eq!(call(&world, "UploadLayerPart", part(0, 6 * mib)).await["lastByteReceived"], 6 * mib - 1);
    let fault = call_as(&world, &caller(PrincipalKind::Root), "UploadLayerPart", part(100, 200)).await.unwrap_err();
    assert_eq!(fault.code, "InvalidLayerPartException");
    let field = |name: &str| fault.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone());
    assert_eq!(field("lastValidByteReceived"), Some(json!(6 * mib - 1)));
    assert_eq!(field("uploadId"), Some(json!(id)));
    call(&world, "UploadLayerPart", part(6 * mib, 6 * mib + 100)).await;
    let done = call(&world, "CompleteLayerUpload", complete(&digest)).await;
    assert_eq!(done, json!({"registryId": ACCOUNT, "repositoryName": "app", "uploadId": id, "layerDigest": digest}));
    let refused = refusal(&world, "CompleteLayerUpload", complete(&digest)).await;
    let text = format!(
        "Upload with id '{id}' could not be found for the repository with name 'app' in the registry with id '000000000000'"
    );
    assert_eq!(refused, ("UploadNotFoundException".to_owned(), text));
    let answer = call(&world, "BatchCheckLayerAvailability", check).await;
    assert_eq!(
        answer["layers"][0],
        json!({"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": bytes.len()})
    );

    let link = json!({"repositoryName": "app", "layerDigest": digest});
    assert_eq!(refusal(&world, "GetDownloadUrlForLayer", link.clone()).await.0, "LayerInaccessibleException");
    let manifest = crate::harness::manifest(&digest, bytes.len(), &digest, bytes.len()).to_string();
    call(&world, "PutImage", json!({"repositoryName": "app", "imageManifest": manifest})).await;
    let answer = call(&world, "GetDownloadUrlForLayer", link).await;
    let path = answer["downloadUrl"].as_str().unwrap().strip_prefix("http://localhost:4566").unwrap().to_owned();
    assert_eq!(world.anonymous("GET", &path).send().await.body, bytes);
    for forged in [path.replace("/app/", "/other/"), path.replace("X-Gantry-Expires=1", "X-Gantry-Expires=2")] {
        assert_eq!(world.anonymous("GET", &forged).send().await.status, 401);
    }
    world.advance_hours(2);
    assert_eq!(world.anonymous("GET", &path).send().await.status, 403);
    let absent = json!({"repositoryName": "app", "layerDigest": Digest::of(b"absent")});
    assert_eq!(refusal(&world, "GetDownloadUrlForLayer", absent).await.0, "LayersNotFoundException");
}

#[tokio::test]
async fn parts_but_the_last_have_a_minimum_and_content_its_digest() {
    use base64::Engine as _;
    let world = World::new().await;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let started = call(&world, "InitiateLayerUpload", json!({"repositoryName": "app"})).await;
    let id = started["uploadId"].clone();
    for (first, text) in [(0, b"first".as_slice()), (5, b"second")] {
        let part = json!({"repositoryName": "app", "uploadId": id, "partFirstByte": first,
            "partLastByte": first + text.len() - 1, "layerPartBlob": encode(text)});
        call(&world, "UploadLayerPart", part).await;
    }
    let complete = json!({"repositoryName": "app", "uploadId": id, "layerDigests": [Digest::of(b"firstsecond")]});
    assert_eq!(refusal(&world, "CompleteLayerUpload", complete).await.0, "LayerPartTooSmallException");

    let started = call(&world, "InitiateLayerUpload", json!({"repositoryName": "app"})).await;
    let id = started["uploadId"].clone();
    let part = json!({"repositoryName": "app", "uploadId": id, "partFirstByte": 0, "partLastByte": 3, "layerPartBlob": encode(b"abcd")});
    call(&world, "UploadLayerPart", part).await;
    let wrong = json!({"repositoryName": "app", "uploadId": id, "layerDigests": [Digest::of(b"other")]});
    assert_eq!(refusal(&world, "CompleteLayerUpload", wrong).await.0, "InvalidLayerException");

    world.push_blob("app", b"abcd").await;
    let started = call(&world, "InitiateLayerUpload", json!({"repositoryName": "app"})).await;
    let id = started["uploadId"].clone();
    let part = json!({"repositoryName": "app", "uploadId": id, "partFirstByte": 0, "partLastByte": 3, "layerPartBlob": encode(b"abcd")});
    call(&world, "UploadLayerPart", part).await;
    let complete = json!({"repositoryName": "app", "uploadId": id, "layerDigests": [Digest::of(b"abcd")]});
    assert_eq!(refusal(&world, "CompleteLayerUpload", complete).await.0, "LayerAlreadyExistsException");
}

#[tokio::test]
async fn a_registry_describes_itself() {
    let world = World::new().await;
    let described = call(&world, "DescribeRegistry", json!({})).await;
    assert_eq!(described, json!({"registryId": ACCOUNT, "replicationConfiguration": {"rules": []}}));
}
