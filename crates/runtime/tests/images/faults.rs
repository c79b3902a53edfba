//! A registry that fails, and one that lies.

use gantry_runtime::image::{ImageError, Images, RegistryAccess};
use serde_json::json;

use super::{Host, Layer, Registry, digest, options, registry::Fault};

const PATH: &str = "app/manifests/v1";

async fn image() -> (Registry, Host, String, String) {
    let registry = Registry::start().await;
    let layer = Layer::default().file("a", &"content ".repeat(50_000)).plain();
    registry.image("v1", std::slice::from_ref(&layer), json!({}));
    let (reference, blob) = (registry.reference("app:v1"), format!("app/blobs/{}", digest(&layer.0)));
    (registry, Host::new(), reference, blob)
}

#[tokio::test]
async fn a_registry_that_recovers_is_asked_again() {
    let (registry, host, reference, blob) = image().await;
    registry.fault(PATH, [Fault::Status(500), Fault::Status(429), Fault::Status(503)]);
    registry.fault(&blob, [Fault::Status(502), Fault::CutAfter(0), Fault::Status(504)]);
    host.pull(&reference).await.unwrap();
}

#[tokio::test]
async fn a_cut_blob_continues_where_it_broke_off() {
    let (registry, host, reference, blob) = image().await;
    registry.fault(&blob, [Fault::CutAfter(100_000), Fault::CutAfter(50_000)]);
    host.pull(&reference).await.unwrap();
    let ranges: Vec<String> =
        registry.state().requests.iter().filter_map(|r| Some(r.split_once(" bytes=")?.1.to_owned())).collect();
    assert_eq!(ranges, ["100000-", "150000-"]);
}

#[tokio::test]
async fn a_registry_without_ranges_starts_over() {
    let (registry, host, reference, blob) = image().await;
    registry.state().ignore_ranges = true;
    registry.fault(&blob, [Fault::CutAfter(100_000)]);
    host.pull(&reference).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_stays_broken_is_unreachable() {
    let (registry, host, reference, blob) = image().await;
    registry.fault(&blob, vec![Fault::Status(500); 4]);
    let error = host.pull(&reference).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("could not reach registry {}: 500 Internal Server Error: TEST: as told", registry.address)
    );
    registry.fault(&blob, vec![Fault::CutAfter(10); 4]);
    assert!(matches!(host.pull(&reference).await, Err(ImageError::Unreachable { .. })));
    assert_eq!((host.entries("layers"), host.entries("tmp")), (0, 0));
    host.pull(&reference).await.unwrap();
}

#[tokio::test]
async fn nobody_listening_and_nobody_answering_are_unreachable() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let error = Host::new().pull(&format!("{closed}/app:v1")).await.unwrap_err();
    assert!(
        matches!(&error, ImageError::Unreachable { registry, detail }
        if *registry == closed && detail.contains("refused")),
        "{error}"
    );

    let access = RegistryAccess { base_url: Some(format!("https://{closed}")), ..RegistryAccess::default() };
    let error = Host::new().images.resolve("app:v1", &access).await.unwrap_err();
    assert!(matches!(&error, ImageError::Unreachable { detail, .. } if detail.contains("refused")), "{error}");

    let (registry, _, reference, _) = image().await;
    let mut options = options();
    options.retry.idle_timeout = std::time::Duration::from_millis(50);
    registry.fault(PATH, vec![Fault::Silence; 4]);
    let error = Host::with(options).pull(&reference).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (registry, host, _, _) = image().await;
    let error = host.pull(&registry.reference("app:nothing")).await.unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    registry.fault(PATH, [Fault::Status(403)]);
    let error = host.pull(&registry.reference("app:v1")).await.unwrap_err();
    assert!(matches!(error, ImageError::Denied { .. }), "{error}");
    assert!(matches!(host.pull("no such/name").await, Err(ImageError::InvalidReference(_))));
}

#[tokio::test]
async fn content_with_another_digest_is_corrupt() {
    let (registry, host, reference, blob) = image().await;
    let is_corrupt = |result: Result<_, ImageError>, text: &str| match result {
        Err(ImageError::Corrupt { detail, .. }) => assert!(detail.contains(text), "{detail}"),
        other => panic!("{other:?}"),
    };
    let same_length = vec![b'x'; 401_920];
    registry.fault(&blob, [Fault::Content(same_length)]);
    is_corrupt(host.pull(&reference).await.map(drop), "arrived with digest");
    registry.fault(&blob, [Fault::Content(b"short".to_vec())]);
    is_corrupt(host.pull(&reference).await.map(drop), "ends after 5 of");
    registry.fault(&blob, [Fault::Content(vec![0; 1 << 20])]);
    is_corrupt(host.pull(&reference).await.map(drop), "longer than");
    registry.fault(&blob, [Fault::Status(404)]);
    is_corrupt(host.pull(&reference).await.map(drop), "does not have blob");
    assert_eq!((host.entries("layers"), host.entries("tmp")), (0, 0));
    host.pull(&reference).await.unwrap();
}

#[tokio::test]
async fn documents_that_are_no_image_are_corrupt() {
    let (registry, host) = (Registry::start().await, Host::new());
    let config = registry.blob("{}");
    let config = json!({"digest": config, "size": 2});
    let bad_layer = registry.blob("not a tar");
    let documents = [
        json!({"schemaVersion": 1, "name": "x", "fsLayers": []}),
        json!({"hello": "world"}),
        json!({"schemaVersion": 2, "config": config, "layers": [{"digest": bad_layer, "size": 9}]}),
    ];
    for document in documents {
        registry.manifest("bad", &document);
        let error = host.pull(&registry.reference("app:bad")).await.unwrap_err();
        assert!(matches!(error, ImageError::Corrupt { .. }), "{error:?}");
    }
    registry.image("bad", &[(b"not a tar".to_vec(), b"not a tar".to_vec())], json!({}));
    let error = host.pull(&registry.reference("app:bad")).await.unwrap_err();
    assert!(matches!(error, ImageError::Corrupt { .. }), "{error:?}");

    let layer = Layer::default().file("a", "1");
    let (blob, _) = layer.gzip();
    registry.image("bad", &[(blob, b"other content".to_vec())], json!({}));
    let error = host.pull(&registry.reference("app:bad")).await.unwrap_err();
    assert!(matches!(&error, ImageError::Corrupt { detail, .. } if detail.contains("unpacks to")), "{error:?}");
    assert_eq!((host.entries("layers"), host.entries("tmp")), (0, 0));
}
