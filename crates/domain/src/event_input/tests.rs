#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

const ABOUT: About<'_> =
    About { rule_arn: "arn:aws:events:r:a:rule/x", rule_name: "x", ingestion_time: "2026-01-01T00:00:00Z" };

fn event() -> Value {
    json!({"detail-type": "T", "resources": ["r1", "r2"], "detail": {"n": 5, "text": "say \"hi\"", "list": [{"a": 1}, {"b": 2}]}})
}

fn template(template: &str) -> EventInput {
    let path = |text: &str| text.parse().unwrap();
    let paths = [("n", "$.detail.n"), ("text", "$.detail.text"), ("none", "$.x.y"), ("type", "$['detail-type']")];
    let paths = paths.into_iter().map(|(name, text)| (name.to_owned(), path(text))).collect();
    EventInput::Template { paths, template: template.to_owned() }
}

#[test]
fn templates_are_filled() {
    let cases = [
        ("{\"a\": <n>, \"b\": <text>}", "{\"a\": 5, \"b\": \"say \\\"hi\\\"\"}"),
        ("\"<type> has <n>: <text>\"", "\"T has 5: say \\\"hi\\\"\""),
        ("{\"a\": <none>, \"b\": \"<none>\"}", "{\"a\": null, \"b\": \"\"}"),
        ("\"a \\\"<n>\\\" b\"", "\"a \\\"5\\\" b\""),
        ("\"1 < 2 <n> > <\"", "\"1 < 2 5 > <\""),
        ("{\"rule\": <aws.events.rule-name>}", "{\"rule\": \"x\"}"),
        ("no names", "no names"),
    ];
    for (text, expected) in cases {
        assert_eq!(template(text).of(&event(), ABOUT).unwrap(), expected, "{text}");
    }
    let whole = template("{\"e\": <aws.events.event.json>}").of(&event(), ABOUT).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&whole).unwrap()["e"], event());
}

#[test]
fn paths_find_what_they_name() {
    let cases = [
        ("$", Some(event())),
        ("$.detail.n", Some(json!(5))),
        ("$.resources[1]", Some(json!("r2"))),
        ("$.resources[*]", Some(json!(["r1", "r2"]))),
        ("$.detail.list[*].a", Some(json!([1]))),
        ("$[\"detail\"]['n']", Some(json!(5))),
        ("$.detail.n.x", None),
        ("$.resources[9]", None),
    ];
    for (path, expected) in cases {
        assert_eq!(path.parse::<Path>().unwrap().find(&event()), expected, "{path}");
    }
    for bad in ["", "detail", "$x", "$.", "$..a", "$[a]", "$['a'", "$[-1]"] {
        assert_eq!(bad.parse::<Path>(), Err(BadPath), "{bad}");
    }
}

#[test]
fn names_without_a_path_and_what_grows_too_large_are_refused() {
    assert_eq!(template("<other>").check(), Err(InputError::Undefined("other".to_owned())));
    template("<n> <aws.events.event>").check().unwrap();
    let large = json!({"detail": {"n": "x".repeat(10_000)}});
    assert_eq!(template(&"<n>".repeat(100)).of(&large, ABOUT), Err(InputError::TooLarge));
    assert_eq!(EventInput::Part("$.detail.none".parse().unwrap()).of(&event(), ABOUT).unwrap(), "null");
}
