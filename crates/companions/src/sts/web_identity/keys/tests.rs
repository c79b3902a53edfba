//! Signatures that another implementation made, good ones and those that must not pass for good.

#![allow(clippy::unwrap_used)]

use super::*;

const TOKENS: &str = include_str!("../tokens.json");

fn token(name: &str) -> String {
    let tokens: serde_json::Value = serde_json::from_str(TOKENS).unwrap();
    tokens["tokens"][name].as_str().unwrap().to_owned()
}

/// Whether the key that the token says, if there is one, has signed it.
fn is_signed(token: &str, keys: &[Key]) -> Option<bool> {
    let jwt = Jwt::parse(token).unwrap();
    find(keys, &jwt).map(|key| key.has_signed(&jwt))
}

#[test]
fn a_key_knows_its_signatures() {
    let keys = read(TOKENS.as_bytes()).unwrap();
    // Not the shared secret, nor the key for encryption, nor the one of a kind that nobody knows here.
    assert_eq!(keys.len(), 3);
    for (name, expected) in [
        ("RS256", Some(true)),
        ("RS384", Some(true)),
        ("RS512", Some(true)),
        ("ES256", Some(true)),
        ("ES384", Some(true)),
        ("no key id", Some(true)),
        ("other key", Some(false)),
        ("tampered", Some(false)),
        ("unknown key id", None),
        ("encryption key", None),
        ("kind of another key", None),
    ] {
        assert_eq!(is_signed(&token(name), &keys), expected, "{name}");
    }
    let good = token("ES256");
    for cut in [1, 4, 40] {
        let short = &good[..good.len() - cut];
        assert_ne!(
            Jwt::parse(short).ok().and_then(|jwt| find(&keys, &jwt).map(|key| key.has_signed(&jwt))),
            Some(true)
        );
    }
}

#[test]
fn a_token_without_a_key_id_is_signed_with_the_only_key_that_it_can_be() {
    let mut keys = read(TOKENS.as_bytes()).unwrap();
    keys.extend(keys.clone());
    assert_eq!(is_signed(&token("no key id"), &keys), None);
    assert_eq!(is_signed(&token("ES256"), &keys), Some(true));
}

#[test]
fn a_key_that_says_its_algorithm_is_for_no_other() {
    let text = TOKENS.replace(r#""kid": "rsa","#, r#""kid": "rsa", "alg": "RS384","#);
    let keys = read(text.as_bytes()).unwrap();
    assert_eq!(is_signed(&token("RS384"), &keys), Some(true));
    assert_eq!(is_signed(&token("RS256"), &keys), None);
}

#[test]
fn what_is_no_key_set_is_refused_and_what_is_no_key_passed_over() {
    for text in ["", "[]", "{}", r#"{"keys": 1}"#] {
        assert!(matches!(read(text.as_bytes()), Err(KeySetError::NotOne(_))), "{text}");
    }
    let many = format!(r#"{{"keys": [{}]}}"#, vec!["{}"; KEYS_MAX + 1].join(","));
    assert!(matches!(read(many.as_bytes()), Err(KeySetError::TooMany)));
    for key in [
        "1",
        "{}",
        r#"{"kty": "RSA"}"#,
        r#"{"kty": "RSA", "n": "AAAA", "e": "AQAB"}"#,
        r#"{"kty": "RSA", "n": "%", "e": "AQAB"}"#,
        r#"{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}"#,
        r#"{"kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA"}"#,
    ] {
        assert_eq!(read(format!(r#"{{"keys": [{key}]}}"#).as_bytes()).unwrap(), [], "{key}");
    }
}
