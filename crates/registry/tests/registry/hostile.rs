//! Whatever comes in, the answer is a clear refusal: never a panic, never a 5xx, never a file outside its place.

use proptest::prelude::*;

use crate::harness::World;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("app".to_owned()),
        Just("blobs".to_owned()),
        Just("uploads".to_owned()),
        Just("manifests".to_owned()),
        Just("tags".to_owned()),
        Just("list".to_owned()),
        Just("referrers".to_owned()),
        Just("_catalog".to_owned()),
        Just("..".to_owned()),
        Just("%2e%2e".to_owned()),
        Just("%2F".to_owned()),
        Just("%00".to_owned()),
        Just("%".to_owned()),
        Just(String::new()),
        Just(DIGEST.to_owned()),
        Just("latest".to_owned()),
        "[a-zA-Z0-9._:@~-]{1,20}",
    ]
}

fn header_value() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,40}", "[0-9]{1,30}-[0-9]{0,30}", "bytes=[0-9,-]{1,30}", "bytes [0-9-]{1,40}/[0-9]{0,20}"]
}

fn requests() -> impl Strategy<Value = (String, String, Vec<(String, String)>, Vec<u8>)> {
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]);
    let path = prop::collection::vec(segment(), 0..7).prop_map(|segments| format!("/v2/{}", segments.join("/")));
    let parameter = prop::sample::select(vec!["digest", "mount", "from", "n", "last", "tag", "artifactType"]);
    let value = prop_oneof![Just(DIGEST.to_owned()), "[a-zA-Z0-9%:/._-]{0,30}"];
    let query = prop::collection::vec((parameter, value), 0..3)
        .prop_map(|pairs| pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"));
    let name =
        prop::sample::select(vec!["range", "content-range", "content-type", "if-range", "if-none-match", "host"]);
    let headers = prop::collection::vec((name.prop_map(str::to_owned), header_value()), 0..3);
    let body = prop::collection::vec(any::<u8>(), 0..200);
    (method, path, query, headers, body)
        .prop_map(|(method, path, query, headers, body)| (method.to_owned(), format!("{path}?{query}"), headers, body))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_of_any_shape_are_answered(requests in prop::collection::vec(requests(), 60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            world.push_image("app", "latest", "x").await;
            let started = world.call("POST", "/v2/app/blobs/uploads/").send().await;
            let upload = started.header("location").rsplit('/').next().unwrap().to_owned();
            for (method, path, headers, body) in requests {
                let path = path.replace("latest", if body.len() % 2 == 0 { "latest" } else { &upload });
                let Ok(_) = path.parse::<http::Uri>() else { continue };
                let mut call = world.call(&method, &path);
                for (name, value) in &headers {
                    call = call.header(name, value);
                }
                let answer = call.body(body).send().await;
                assert!(answer.status.as_u16() < 500, "{method} {path} {headers:?}: {answer:?}");
            }
        });
    }

    #[test]
    fn manifests_of_any_shape_are_answered(cut in 0_usize..400, insert in "[\\[\\]{}\",:0-9a-z -]{0,12}", drop in 0_usize..30) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let text = world.image("app", "x").await;
            let at = cut.min(text.len());
            let end = (at + drop).min(text.len());
            let broken = format!("{}{insert}{}", &text[..at], &text[end..]);
            let answer = world.put_manifest("app", "v1", &broken).await;
            assert!(matches!(answer.status.as_u16(), 201 | 400), "{broken}: {answer:?}");
            if answer.status == 201 {
                assert_eq!(world.get("/v2/app/manifests/v1").await.body, broken.as_bytes());
            }
        });
    }
}
