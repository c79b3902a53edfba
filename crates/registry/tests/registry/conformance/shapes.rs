//! Every shape of content: what is pushed under one manifest.

use gantry_registry::digest::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::harness::{OCI_INDEX, OCI_MANIFEST, World};

pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A manifest to push, after the blobs and manifests it needs were.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) media_type: &'static str,
    pub(super) text: String,
    /// What the referrers API must say of it: the subject and the artifact type.
    pub(super) refers: Option<(Digest, Option<&'static str>)>,
}

/// Pushes bytes as a blob, named by `algorithm`; returns its descriptor.
pub(super) async fn blob(world: &World, algorithm: Algorithm, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of_with(algorithm, bytes);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    let pushed = world.call("POST", &path).body(bytes).send().await;
    assert_eq!(pushed.status, 201, "{pushed:?}");
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// Pushes a manifest by its digest; returns its descriptor.
async fn child(world: &World, algorithm: Algorithm, media_type: &str, manifest: &Value) -> Value {
    let text = manifest.to_string();
    let digest = Digest::of_with(algorithm, text.as_bytes());
    let call = world.call("PUT", &format!("/v2/app/manifests/{digest}")).header("content-type", media_type);
    let pushed = call.body(text.as_bytes()).send().await;
    assert_eq!(pushed.status, 201, "{pushed:?}");
    json!({"mediaType": media_type, "digest": digest, "size": text.len()})
}

fn image(config: &Value, layers: &[&Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers})
}

fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
}

fn with(mut manifest: Value, name: &str, value: Value) -> Value {
    manifest[name] = value;
    manifest
}

/// All shapes, with what they need already in the repository `app`.
pub(super) async fn all(world: &World, algorithm: Algorithm) -> Vec<Shape> {
    let config = blob(world, algorithm, CONFIG, b"{\"architecture\":\"amd64\",\"os\":\"linux\"}").await;
    let layer = blob(world, algorithm, LAYER, b"a layer").await;
    let second = blob(world, algorithm, LAYER, b"another layer").await;
    let empty = blob(world, algorithm, EMPTY, b"{}").await;
    let nothing = blob(world, algorithm, LAYER, b"").await;
    let plain = image(&config, &[&layer, &second]);
    let amd64 = child(world, algorithm, OCI_MANIFEST, &with(plain.clone(), "annotations", json!({"a": "1"}))).await;
    let arm64 = child(world, algorithm, OCI_MANIFEST, &with(plain.clone(), "annotations", json!({"a": "2"}))).await;
    let inner = with(index(&[amd64.clone(), arm64.clone()]), "annotations", json!({"inner": "1"}));
    let inner = child(world, algorithm, OCI_INDEX, &inner).await;
    let docker = with(plain.clone(), "mediaType", json!(DOCKER_MANIFEST));
    let listed = with(docker.clone(), "annotations", json!({"listed": "1"}));
    let docker_child = child(world, algorithm, DOCKER_MANIFEST, &listed).await;
    let subject = Digest::of_with(algorithm, b"a subject that is not here");
    let about = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 26});
    let attestation = with(
        with(amd64.clone(), "platform", json!({"architecture": "unknown", "os": "unknown"})),
        "annotations",
        json!({"vnd.docker.reference.type": "attestation-manifest"}),
    );
    let foreign = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "size": 123_456,
        "digest": Digest::of_with(algorithm, b"elsewhere"), "urls": ["https://example.com/layer"],
    });
    let foreign_docker = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "size": 123_456,
        "digest": Digest::of_with(algorithm, b"elsewhere too"), "urls": ["https://example.com/layer"],
    });
    let custom = with(config.clone(), "mediaType", json!("application/vnd.example.config+json"));
    let artifact = with(image(&empty, &[&layer]), "artifactType", json!("application/vnd.example.artifact"));
    let signature =
        |type_: &str| with(with(image(&empty, &[]), "artifactType", json!(type_)), "subject", about.clone());
    let large = with(plain.clone(), "annotations", json!({"large": "a".repeat(3_900_000)}));
    let mut shapes = vec![
        ("image", OCI_MANIFEST, plain.clone()),
        ("image without its own media type", OCI_MANIFEST, without(plain.clone(), "mediaType")),
        ("image with one layer twice", OCI_MANIFEST, image(&config, &[&layer, &layer])),
        ("image without layers", OCI_MANIFEST, image(&config, &[])),
        ("image with an empty layer", OCI_MANIFEST, image(&config, &[&nothing])),
        ("image with a layer from elsewhere", OCI_MANIFEST, image(&config, &[&foreign, &layer])),
        ("image with unknown members", OCI_MANIFEST, with(plain.clone(), "future", json!([null, {"x": 1.5}]))),
        ("image with data", OCI_MANIFEST, image(&with(empty.clone(), "data", json!("e30=")), &[])),
        ("image with annotations", OCI_MANIFEST, with(plain.clone(), "annotations", json!({"k": "ü\n\"", "": ""}))),
        ("large image", OCI_MANIFEST, large),
        ("Docker image", DOCKER_MANIFEST, docker),
        (
            "Docker image with a layer from elsewhere",
            DOCKER_MANIFEST,
            with(image(&config, &[&foreign_docker]), "mediaType", json!(DOCKER_MANIFEST)),
        ),
        ("artifact with a type", OCI_MANIFEST, artifact.clone()),
        ("artifact by its configuration", OCI_MANIFEST, image(&custom, &[&layer])),
        ("index", OCI_INDEX, index(&[amd64.clone(), arm64])),
        ("index with an attestation", OCI_INDEX, index(&[amd64.clone(), attestation])),
        ("empty index", OCI_INDEX, index(&[])),
        ("index of indexes", OCI_INDEX, index(&[inner.clone(), amd64])),
        ("index that is an artifact", OCI_INDEX, with(index(&[]), "artifactType", json!("application/vnd.example.i"))),
        ("index of a build cache", OCI_INDEX, index(&[layer.clone(), second])),
        ("Docker list", DOCKER_LIST, with(index(std::slice::from_ref(&docker_child)), "mediaType", json!(DOCKER_LIST))),
    ]
    .into_iter()
    .map(|(name, media_type, manifest)| Shape { name, media_type, text: manifest.to_string(), refers: None })
    .collect::<Vec<_>>();
    let referring = [
        ("signature", OCI_MANIFEST, signature("application/vnd.example.sig"), Some("application/vnd.example.sig")),
        (
            "attached image",
            OCI_MANIFEST,
            with(image(&custom, &[]), "subject", about.clone()),
            Some("application/vnd.example.config+json"),
        ),
        ("attached index", OCI_INDEX, with(index(&[inner]), "subject", about.clone()), None),
        (
            "attached typed index",
            OCI_INDEX,
            with(with(index(&[]), "subject", about.clone()), "artifactType", json!("application/vnd.example.j")),
            Some("application/vnd.example.j"),
        ),
    ];
    shapes.extend(referring.into_iter().map(|(name, media_type, manifest, artifact_type)| {
        let manifest = with(manifest, "annotations", json!({"shape": name}));
        Shape { name, media_type, text: manifest.to_string(), refers: Some((subject.clone(), artifact_type)) }
    }));
    shapes
}

fn without(mut manifest: Value, name: &str) -> Value {
    manifest.as_object_mut().unwrap().remove(name);
    manifest
}
