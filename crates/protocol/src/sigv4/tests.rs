//! The published test vectors of Signature Version 4, and every way to be refused.

use http::Request;

use super::*;
use crate::signer::{self, Credentials};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// 2015-08-30T12:36:00Z, the time of the published vectors.
const THEN: u64 = 1_440_938_160;

struct TestKeys;

impl Keys for TestKeys {
    fn key(&self, access_key_id: &str, token: Option<&str>) -> Option<Arc<Key>> {
        let key = Key {
            secret: SECRET.into(),
            account: "123456789012".into(),
            principal_arn: "arn:aws:iam::123456789012:root".into(),
            kind: gantry_api::PrincipalKind::Root,
            active: true,
            session: None,
        };
        let session = gantry_api::Session { expires_at: THEN + 900, ..Default::default() };
        match (access_key_id, token) {
            ("AKIDEXAMPLE", _) => Some(Arc::new(key)),
            ("INACTIVE", _) => Some(Arc::new(Key { active: false, ..key })),
            ("ASIAEXAMPLE", None | Some("token")) => Some(Arc::new(Key { session: Some(Arc::new(session)), ..key })),
            _ => None,
        }
    }
}

fn check(request: Request<()>, now: u64) -> Result<String, SignatureError> {
    let checked = Checked { body_sha256: EMPTY, signing_name: "service", now };
    let (parts, ()) = request.into_parts();
    verify(&parts, checked, &TestKeys, &SigningKeys::default()).map(|verified| verified.region)
}

fn published(uri: &str, signature: &str) -> Request<()> {
    Request::get(uri)
        .header("Host", "example.amazonaws.com")
        .header("X-Amz-Date", "20150830T123600Z")
        .header(
            "Authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            ),
        )
        .body(())
        .expect("is a request")
}

#[test]
fn the_published_vectors_verify() {
    let vectors = [
        ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ];
    for (uri, signature) in vectors {
        assert_eq!(check(published(uri, signature), THEN), Ok("us-east-1".into()), "{uri}");
    }
}

#[test]
fn one_wrong_digit_is_a_mismatch() {
    let request = published("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf32");
    assert_eq!(check(request, THEN), Err(SignatureError::Mismatch(MISMATCH.into())));
}

#[test]
fn a_wrong_clock_is_told_with_both_times() {
    let good = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let late = "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)";
    assert_eq!(check(published("/", good), THEN + 901), Err(SignatureError::Mismatch(late.into())));
    let early =
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)";
    assert_eq!(check(published("/", good), THEN - 901), Err(SignatureError::Mismatch(early.into())));
    assert!(check(published("/", good), THEN + 900).is_ok());
}

fn signed(access_key_id: &str, service: &str, token: Option<&str>) -> Request<()> {
    let mut request = Request::post("http://localhost:4566/").header("Host", "localhost:4566");
    if let Some(token) = token {
        request = request.header("X-Amz-Security-Token", token);
    }
    let credentials =
        Credentials { access_key_id: access_key_id.into(), secret: SECRET.into(), region: "eu-central-1".into() };
    let request = request.body(Vec::new()).expect("is a request");
    signer::sign(request, &credentials, service, THEN).expect("signs").map(|_| ())
}

#[test]
fn our_own_signer_is_believed() {
    assert_eq!(check(signed("AKIDEXAMPLE", "service", None), THEN), Ok("eu-central-1".into()));
}

#[test]
fn keys_tokens_and_scopes_are_checked_before_the_signature() {
    let refused = |request| check(request, THEN).expect_err("refused");
    assert_eq!(refused(signed("NOBODY", "service", None)), SignatureError::InvalidToken);
    assert_eq!(refused(signed("INACTIVE", "service", None)), SignatureError::InvalidToken);
    assert_eq!(refused(signed("ASIAEXAMPLE", "service", None)), SignatureError::InvalidToken);
    assert_eq!(refused(signed("ASIAEXAMPLE", "service", Some("other"))), SignatureError::InvalidToken);
    assert_eq!(refused(signed("AKIDEXAMPLE", "service", Some("token"))), SignatureError::InvalidToken);
    assert_eq!(
        refused(signed("AKIDEXAMPLE", "other", None)),
        SignatureError::Mismatch("Credential should be scoped to correct service: 'service'. ".into())
    );
    assert_eq!(check(signed("ASIAEXAMPLE", "service", Some("token")), THEN), Ok("eu-central-1".into()));
    assert_eq!(check(signed("ASIAEXAMPLE", "service", Some("token")), THEN + 900), Err(SignatureError::Expired));
}

#[test]
fn no_signature_and_half_signatures_have_their_own_errors() {
    let plain = Request::post("/").body(()).expect("is a request");
    assert_eq!(check(plain, THEN), Err(SignatureError::Missing));
    for header in [
        "Bearer x",
        "AWS4-HMAC-SHA256 Credential=a",
        "AWS4-HMAC-SHA256 nonsense",
        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c",
    ] {
        let request = Request::post("/").header("Authorization", header).header("X-Amz-Date", "20150830T123600Z");
        let error = check(request.body(()).expect("is a request"), THEN).expect_err("refused");
        assert!(matches!(error, SignatureError::Incomplete(_)), "{header}: {error:?}");
    }
}

#[test]
fn every_error_has_its_code_in_both_dialects() {
    let (json, query) = (&gantry_api::ecs::SERVICE, &gantry_api::sts::SERVICE);
    let errors = [
        (SignatureError::Missing, "MissingAuthenticationTokenException", "MissingAuthenticationToken"),
        (SignatureError::Incomplete("x".into()), "IncompleteSignatureException", "IncompleteSignature"),
        (SignatureError::InvalidToken, "UnrecognizedClientException", "InvalidClientTokenId"),
        (SignatureError::Expired, "ExpiredTokenException", "ExpiredToken"),
        (SignatureError::Mismatch("x".into()), "InvalidSignatureException", "SignatureDoesNotMatch"),
    ];
    for (error, json_code, query_code) in errors {
        let (json, query) = (error.fault(json), error.fault(query));
        assert_eq!((json.code, json.status), (json_code, 400));
        assert_eq!((query.code, query.status), (query_code, 403));
    }
}
