//! What is refused, with which status and code. `HEAD` answers like `GET`, without the body.

use gantry_registry::digest::Digest;

use crate::harness::{OCI_INDEX, OCI_MANIFEST, World};

const SHA256: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[tokio::test]
async fn every_refusal_has_its_status_and_code() {
    let world = World::new().await;
    let image = world.image("app", "x").await;
    let short = &SHA256[..70];
    let long = format!("{SHA256}0");
    let upper = SHA256.replacen("00", "AA", 1);
    let sha512 = SHA256.replace("sha256", "sha512");
    let no_upload = "/v2/app/blobs/uploads/6d0c5b5c-5f5f-4c4c-8f8f-000000000000";
    let put_manifest = |reference: &str| format!("PUT /v2/app/manifests/{reference}");
    let schema1 = "application/vnd.docker.distribution.manifest.v1+json";
    let rows: Vec<(String, &str, String, u16, &str)> = vec![
        // Names.
        ("GET /v2/App/tags/list".into(), "", String::new(), 400, "NAME_INVALID"),
        ("GET /v2/a..b/tags/list".into(), "", String::new(), 400, "NAME_INVALID"),
        ("GET /v2/-ab/manifests/v1".into(), "", String::new(), 400, "NAME_INVALID"),
        (format!("GET /v2/{}/tags/list", "a".repeat(257)), "", String::new(), 400, "NAME_INVALID"),
        ("POST /v2/App/blobs/uploads/".into(), "", String::new(), 400, "NAME_INVALID"),
        ("GET /v2/missing/tags/list".into(), "", String::new(), 404, "NAME_UNKNOWN"),
        ("GET /v2/missing/manifests/v1".into(), "", String::new(), 404, "NAME_UNKNOWN"),
        (format!("GET /v2/missing/blobs/{SHA256}"), "", String::new(), 404, "NAME_UNKNOWN"),
        (format!("GET /v2/missing/referrers/{SHA256}"), "", String::new(), 404, "NAME_UNKNOWN"),
        ("POST /v2/missing/blobs/uploads/".into(), "", String::new(), 404, "NAME_UNKNOWN"),
        (format!("POST /v2/missing/blobs/uploads/?digest={SHA256}"), "", "x".into(), 404, "NAME_UNKNOWN"),
        (format!("POST /v2/missing/blobs/uploads/?mount={SHA256}&from=app"), "", String::new(), 404, "NAME_UNKNOWN"),
        ("PUT /v2/missing/manifests/v1".into(), OCI_MANIFEST, image.clone(), 404, "NAME_UNKNOWN"),
        ("DELETE /v2/missing/manifests/v1".into(), "", String::new(), 404, "NAME_UNKNOWN"),
        (format!("DELETE /v2/missing/manifests/{SHA256}"), "", String::new(), 404, "NAME_UNKNOWN"),
        (format!("DELETE /v2/missing/blobs/{SHA256}"), "", String::new(), 404, "NAME_UNKNOWN"),
        // Digests: of a wrong length, case, algorithm.
        (format!("GET /v2/app/blobs/{short}"), "", String::new(), 400, "DIGEST_INVALID"),
        (format!("GET /v2/app/blobs/{long}"), "", String::new(), 400, "DIGEST_INVALID"),
        (format!("GET /v2/app/blobs/{upper}"), "", String::new(), 400, "DIGEST_INVALID"),
        (format!("GET /v2/app/blobs/{sha512}"), "", String::new(), 400, "DIGEST_INVALID"),
        ("GET /v2/app/blobs/latest".into(), "", String::new(), 400, "DIGEST_INVALID"),
        ("GET /v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e".into(), "", String::new(), 400, "DIGEST_INVALID"),
        (format!("DELETE /v2/app/blobs/{short}"), "", String::new(), 400, "DIGEST_INVALID"),
        (format!("GET /v2/app/manifests/{short}"), "", String::new(), 400, "DIGEST_INVALID"),
        (format!("GET /v2/app/manifests/{sha512}"), "", String::new(), 400, "DIGEST_INVALID"),
        ("GET /v2/app/manifests/blake3:00".into(), "", String::new(), 400, "DIGEST_INVALID"),
        (format!("DELETE /v2/app/manifests/{short}"), "", String::new(), 400, "DIGEST_INVALID"),
        (put_manifest(short), OCI_MANIFEST, image.clone(), 400, "DIGEST_INVALID"),
        (put_manifest(SHA256), OCI_MANIFEST, image.clone(), 400, "DIGEST_INVALID"),
        (format!("POST /v2/app/blobs/uploads/?digest={short}"), "", "x".into(), 400, "DIGEST_INVALID"),
        (format!("POST /v2/app/blobs/uploads/?digest={SHA256}"), "", "x".into(), 400, "DIGEST_INVALID"),
        (format!("POST /v2/app/blobs/uploads/?mount={short}&from=app"), "", String::new(), 400, "DIGEST_INVALID"),
        ("POST /v2/app/blobs/uploads/?digest-algorithm=md5".into(), "", String::new(), 400, "DIGEST_INVALID"),
        // What is not there.
        (format!("GET /v2/app/blobs/{SHA256}"), "", String::new(), 404, "BLOB_UNKNOWN"),
        (format!("DELETE /v2/app/blobs/{SHA256}"), "", String::new(), 404, "BLOB_UNKNOWN"),
        ("GET /v2/app/manifests/none".into(), "", String::new(), 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/app/manifests/.INVALID".into(), "", String::new(), 404, "MANIFEST_UNKNOWN"),
        (format!("GET /v2/app/manifests/{SHA256}"), "", String::new(), 404, "MANIFEST_UNKNOWN"),
        ("DELETE /v2/app/manifests/none".into(), "", String::new(), 404, "MANIFEST_UNKNOWN"),
        (format!("DELETE /v2/app/manifests/{SHA256}"), "", String::new(), 404, "MANIFEST_UNKNOWN"),
        (format!("GET {no_upload}"), "", String::new(), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("PATCH {no_upload}"), "", "x".into(), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("PUT {no_upload}?digest={SHA256}"), "", "x".into(), 404, "BLOB_UPLOAD_UNKNOWN"),
        (format!("DELETE {no_upload}"), "", String::new(), 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET /v2/app/blobs/uploads/not-an-id".into(), "", String::new(), 404, "BLOB_UPLOAD_UNKNOWN"),
        // Manifests.
        (put_manifest(".INVALID"), OCI_MANIFEST, image.clone(), 400, "TAG_INVALID"),
        (put_manifest(&"t".repeat(129)), OCI_MANIFEST, image.clone(), 400, "TAG_INVALID"),
        (put_manifest("v1?tag=.bad"), OCI_MANIFEST, image.clone(), 400, "TAG_INVALID"),
        (put_manifest("v1"), OCI_INDEX, image.clone(), 400, "MANIFEST_INVALID"),
        (put_manifest("v1"), schema1, image.clone(), 400, "MANIFEST_INVALID"),
        (
            put_manifest("v1"),
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "{}".into(),
            400,
            "MANIFEST_INVALID",
        ),
        (put_manifest("v1"), "text/plain", image.clone(), 400, "MANIFEST_INVALID"),
        (put_manifest("v1"), OCI_MANIFEST, String::new(), 400, "MANIFEST_INVALID"),
        (put_manifest("v1"), OCI_MANIFEST, "[]".into(), 400, "MANIFEST_INVALID"),
        (
            put_manifest("v1"),
            OCI_MANIFEST,
            image.replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
            400,
            "MANIFEST_INVALID",
        ),
        (put_manifest("v1"), OCI_MANIFEST, image.replace("\"size\":7", "\"size\":-7"), 400, "MANIFEST_INVALID"),
        (put_manifest("v1"), OCI_MANIFEST, image.replace("\"size\":7", "\"size\":8"), 400, "MANIFEST_INVALID"),
        (put_manifest("v1"), OCI_MANIFEST, image.replace("\"config\"", "\"konfig\""), 400, "MANIFEST_INVALID"),
        (put_manifest("v1"), OCI_MANIFEST, image.replace("sha256:", "sha256:z"), 400, "MANIFEST_INVALID"),
        // Methods and paths that mean nothing.
        ("POST /v2/app/manifests/v1".into(), "", String::new(), 405, "UNSUPPORTED"),
        ("PUT /v2/app/tags/list".into(), "", String::new(), 405, "UNSUPPORTED"),
        ("GET /v2/app/blobs/uploads/".into(), "", String::new(), 405, "UNSUPPORTED"),
        ("GET /v2/app".into(), "", String::new(), 405, "UNSUPPORTED"),
    ];
    for (request, media_type, body, status, code) in rows {
        let (method, path) = request.split_once(' ').unwrap();
        let mut call = world.call(method, path);
        if !media_type.is_empty() {
            call = call.header("content-type", media_type);
        }
        let answer = call.body(body).send().await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{request:.200}");
        assert!(!answer.json()["errors"][0]["message"].as_str().unwrap().is_empty(), "{request:.200}");
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        if method == "GET" {
            let head = world.head(path).await;
            assert_eq!((head.status.as_u16(), head.body.len()), (status, 0), "HEAD {path:.200}");
        }
    }
    assert_eq!(world.get("/v2/app/tags/list").await.json()["tags"], serde_json::json!([]));
}

#[tokio::test]
async fn a_blob_in_use_is_kept_and_says_so() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    for content in [&b"layer x"[..], b"{\"seed\":\"x\"}"] {
        let path = format!("/v2/app/blobs/{}", Digest::of(content));
        assert_eq!(world.delete(&path).await.refusal(), (405, "UNSUPPORTED".to_owned()));
        assert_eq!(world.get(&path).await.body, content);
    }
}
