//! What tokens say, case by case.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

const NOW: i64 = 1_700_000_000;

/// A good token with `changes`; null takes a claim away.
fn token(changes: Value) -> Map<String, Value> {
    let mut claims =
        json!({"iss": "https://id.example", "sub": "repo:a/b", "aud": "sts", "iat": NOW - 5, "exp": NOW + 300});
    let claims = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        claims.insert(name.clone(), value.clone());
    }
    claims.retain(|_, value| !value.is_null());
    claims.clone()
}

fn check(changes: Value) -> Result<WebIdentity, Refusal> {
    let client_ids = ["sts".to_owned(), "other".to_owned()];
    read(NOW, &Provider { name: "id.example", client_ids: &client_ids }, &token(changes))
}

fn keys(changes: Value) -> Vec<String> {
    check(changes).unwrap().keys.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[test]
fn a_token_counts_for_its_audience_and_its_time() {
    let expired = |expired_at| Refusal::Expired { now: NOW, expired_at };
    for (changes, refusal) in [
        (json!({}), None),
        (json!({"exp": NOW - 59}), None),
        (json!({"exp": NOW + 1, "iat": 0}), None),
        (json!({"exp": (NOW + 1) as f64 + 0.5}), None),
        (json!({"iat": NOW + 60, "nbf": NOW + 60}), None),
        (json!({"aud": ["else", "other"]}), None),
        (json!({"aud": "else", "azp": "other"}), None),
        (json!({"exp": NOW - 60}), Some(expired(NOW - 60))),
        (json!({"exp": 0}), Some(expired(0))),
        (json!({"iat": NOW + 61}), Some(Refusal::Future("iat"))),
        (json!({"nbf": NOW + 61}), Some(Refusal::Future("nbf"))),
        (json!({"aud": "else"}), Some(Refusal::Audience)),
        (json!({"aud": "STS"}), Some(Refusal::Audience)),
        (json!({"aud": []}), Some(Refusal::Audience)),
        // Whom it was issued to is what counts.
        (json!({"azp": "else"}), Some(Refusal::Audience)),
        (json!({"azp": ""}), Some(Refusal::Audience)),
        (json!({"aud": null}), Some(Refusal::Missing("aud"))),
        (json!({"sub": null}), Some(Refusal::Missing("sub"))),
        (json!({"exp": null}), Some(Refusal::Missing("exp"))),
        (json!({"iat": null}), Some(Refusal::Missing("iat"))),
        (json!({"aud": 1}), Some(Refusal::Malformed("aud"))),
        (json!({"aud": ["sts", 1]}), Some(Refusal::Malformed("aud"))),
        (json!({"azp": ["sts"]}), Some(Refusal::Malformed("azp"))),
        (json!({"sub": ""}), Some(Refusal::Malformed("sub"))),
        (json!({"sub": 7}), Some(Refusal::Malformed("sub"))),
        (json!({"sub": "s".repeat(256)}), Some(Refusal::Malformed("sub"))),
        (json!({"exp": "1800000000"}), Some(Refusal::Malformed("exp"))),
        (json!({"exp": 1e300}), Some(Refusal::Malformed("exp"))),
        (json!({"exp": u64::MAX}), Some(Refusal::Malformed("exp"))),
        (json!({"exp": -1}), Some(Refusal::Malformed("exp"))),
        (json!({"nbf": true}), Some(Refusal::Malformed("nbf"))),
    ] {
        assert_eq!(check(changes.clone()).err(), refusal, "{changes}");
    }
}

#[test]
fn claims_are_condition_keys() {
    assert_eq!(keys(json!({})), ["id.example:sub=repo:a/b", "id.example:aud=sts"]);
    assert_eq!(
        keys(json!({"aud": "else", "azp": "other"}))[1..],
        ["id.example:aud=other", "id.example:azp=other", "id.example:oaud=else"]
    );
    assert_eq!(keys(json!({"aud": ["else", "other", "sts"]}))[1..], ["id.example:aud=other", "id.example:aud=sts"]);
    assert_eq!(
        keys(
            json!({"amr": ["pwd", "mfa"], "repository": "a/b", "run": 7, "ok": true, "deep": {"x": 1}, "list": [[1], "x"]})
        )[2..],
        [
            "id.example:amr=pwd",
            "id.example:amr=mfa",
            "id.example:list=x",
            "id.example:ok=true",
            "id.example:repository=a/b",
            "id.example:run=7"
        ]
    );
}

#[test]
fn a_claim_does_not_become_another_by_its_case() {
    let good = ["id.example:sub=repo:a/b", "id.example:aud=sts"];
    assert_eq!(keys(json!({"SUB": "root", "Aud": "x", "Amr": "mfa", "OAUD": "x"})), good);
    assert_eq!(keys(json!({"Repository": "evil", "repository": "a/b"})), good);
}

#[test]
fn a_token_brings_session_tags_and_a_source_identity() {
    let tags = json!({"principal_tags": {"team": ["a"], "cost": "7"}, "transitive_tag_keys": ["team"]});
    let identity = check(json!({TAGS: tags, SOURCE_IDENTITY: "ann@corp"})).unwrap();
    let team_and_cost = BTreeMap::from([("cost".to_owned(), "7".to_owned()), ("team".to_owned(), "a".to_owned())]);
    assert_eq!(identity.tags, team_and_cost);
    assert_eq!(identity.transitive_tag_keys, ["team"]);
    assert_eq!(identity.source_identity.as_deref(), Some("ann@corp"));
    assert_eq!(identity.keys.len(), 2);
    let flat = json!({
        "https://aws.amazon.com/tags/principal_tags/team": ["a"],
        "https://aws.amazon.com/tags/principal_tags/cost": "7",
        "https://aws.amazon.com/tags/transitive_tag_keys": ["team"],
    });
    assert_eq!(check(flat).unwrap(), WebIdentity { source_identity: None, ..identity });
}

#[test]
fn what_no_session_can_have_is_rejected() {
    for tags in [
        json!("team"),
        json!({"principal_tags": []}),
        json!({"principal_tags": {"team": ["a", "b"]}}),
        json!({"principal_tags": {"team": [7]}}),
        json!({"principal_tags": {"aws:team": ["a"]}}),
        json!({"principal_tags": {"team": ["a"]}, "transitive_tag_keys": ["cost"]}),
        json!({"principal_tags": {"team": ["a"]}, "transitive_tag_keys": "team"}),
    ] {
        assert_eq!(check(json!({TAGS: tags.clone()})).err(), Some(Refusal::Rejected(TAGS)), "{tags}");
    }
    let double = json!({TAGS: {"principal_tags": {"a": ["1"]}}, "https://aws.amazon.com/tags/principal_tags/a": ["2"]});
    assert_eq!(check(double).err(), Some(Refusal::Rejected(TAGS)));
    assert_eq!(check(json!({"https://aws.amazon.com/tagsx": "1"})).err(), Some(Refusal::Rejected(TAGS)));
    for identity in [json!("a"), json!("a b"), json!("aws:root"), json!("x".repeat(65)), json!(7)] {
        let refusal = check(json!({SOURCE_IDENTITY: identity})).err();
        assert_eq!(refusal, Some(Refusal::Rejected(SOURCE_IDENTITY)));
    }
}
