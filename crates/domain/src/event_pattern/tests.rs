#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn matches(pattern: &Value, event: &Value) -> bool {
    EventPattern::parse(&pattern.to_string()).unwrap().matches(event)
}

#[test]
fn a_leaf_matches_what_its_filters_say() {
    let cases = [
        (json!(["a"]), json!("a"), true),
        (json!(["a"]), json!("A"), false),
        (json!(["a", "b"]), json!("b"), true),
        (json!([1]), json!(1), true),
        (json!([1]), json!("1"), false),
        (json!([1]), json!(1.5), false),
        (json!([true]), json!(true), true),
        (json!([null]), json!(null), true),
        (json!([null]), json!(""), false),
        (json!([""]), json!(""), true),
        (json!(["a"]), json!(["x", "a"]), true),
        (json!(["a"]), json!([]), false),
        (json!(["a"]), json!({"a": 1}), false),
        (json!([{"prefix": "us-"}]), json!("us-east-1"), true),
        (json!([{"prefix": "us-"}]), json!("eu-west-1"), false),
        (json!([{"prefix": "1"}]), json!(12), false),
        (json!([{"prefix": {"equals-ignore-case": "EventB"}}]), json!("eventBridge"), true),
        (json!([{"suffix": ".png"}]), json!("a.png"), true),
        (json!([{"suffix": ".png"}]), json!("a.PNG"), false),
        (json!([{"suffix": {"equals-ignore-case": ".png"}}]), json!("a.PNG"), true),
        (json!([{"equals-ignore-case": "Alice"}]), json!("aLICE"), true),
        (json!([{"wildcard": "dir/*.png"}]), json!("dir/a/b.png"), true),
        (json!([{"wildcard": "dir/*.png"}]), json!("dir/a.jpg"), false),
        (json!([{"wildcard": "a\\*b*"}]), json!("a*bc"), true),
        (json!([{"wildcard": "a\\*b*"}]), json!("axbc"), false),
        (json!([{"anything-but": "a"}]), json!("b"), true),
        (json!([{"anything-but": "a"}]), json!("a"), false),
        (json!([{"anything-but": [1, 2]}]), json!(3), true),
        (json!([{"anything-but": [1, 2]}]), json!(2), false),
        (json!([{"anything-but": "a"}]), json!(null), true),
        (json!([{"anything-but": {"prefix": "init"}}]), json!("running"), true),
        (json!([{"anything-but": {"prefix": ["init", "run"]}}]), json!("running"), false),
        (json!([{"anything-but": {"suffix": ".txt"}}]), json!("a.txt"), false),
        (json!([{"anything-but": {"equals-ignore-case": ["INIT", "x"]}}]), json!("init"), false),
        (json!([{"anything-but": {"wildcard": "*/init/*"}}]), json!("a/init/b"), false),
        (json!([{"numeric": ["=", 5]}]), json!(5.0), true),
        (json!([{"numeric": [">", 0, "<=", 5]}]), json!(5), true),
        (json!([{"numeric": [">", 0, "<=", 5]}]), json!(0), false),
        (json!([{"numeric": ["<", -1.5]}]), json!(-2), true),
        (json!([{"numeric": [">=", 10]}]), json!("11"), false),
        (json!([{"cidr": "10.0.0.0/24"}]), json!("10.0.0.255"), true),
        (json!([{"cidr": "10.0.0.0/24"}]), json!("10.0.1.0"), false),
        (json!([{"cidr": "0.0.0.0/0"}]), json!("203.0.113.9"), true),
        (json!([{"cidr": "0.0.0.0/0"}]), json!("::1"), false),
        (json!([{"cidr": "2001:db8::/32"}]), json!("2001:db8:1::2"), true),
        (json!([{"exists": true}]), json!(null), true),
        (json!([{"exists": true}]), json!({}), false),
        (json!([{"exists": false}]), json!("a"), false),
        (json!([{"exists": false}, "a"]), json!("a"), true),
    ];
    for (leaf, value, expected) in cases {
        assert_eq!(matches(&json!({"x": leaf}), &json!({"x": value})), expected, "{leaf} against {value}");
    }
    assert!(matches(&json!({"x": [{"exists": false}]}), &json!({})));
    assert!(matches(&json!({"x": {"y": [{"exists": false}]}}), &json!({})));
    assert!(!matches(&json!({"x": [{"anything-but": "a"}]}), &json!({})));
}

#[test]
fn all_members_have_to_match_and_those_of_a_list_in_the_same_element() {
    let event = json!({
        "source": "aws.ecs", "detail-type": "ECS Task State Change",
        "detail": {"lastStatus": "STOPPED", "containers": [{"name": "web", "exitCode": 1}, {"name": "log", "exitCode": 0}]}
    });
    let cases = [
        (json!({"source": ["aws.ecs"], "detail": {"lastStatus": ["STOPPED"]}}), true),
        (json!({"source": ["aws.ecs"], "detail": {"lastStatus": ["RUNNING"]}}), false),
        (json!({"detail": {"containers": {"name": ["web"], "exitCode": [1]}}}), true),
        (json!({"detail": {"containers": {"name": ["web"], "exitCode": [0]}}}), false),
        (json!({"$or": [{"source": ["aws.ecr"]}, {"detail": {"lastStatus": ["STOPPED"]}}]}), true),
        (json!({"$or": [{"source": ["aws.ecr"]}, {"detail": {"lastStatus": ["RUNNING"]}}]}), false),
        (json!({"source": ["x"], "$or": [{"source": ["aws.ecs"]}, {"source": ["aws.ecr"]}]}), false),
        (json!({"detail": {"$or": [{"lastStatus": ["STOPPED"]}, {"x": [1]}]}}), true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(matches(&pattern, &event), expected, "{pattern}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_a_reason() {
    let long = format!(r#"{{"source":["{}"]}}"#, "x".repeat(TEXT_LENGTH_MAX));
    let cases = [
        (r#"{"source":"aws.ecs"}"#, "\"source\" must be an object or an array"),
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        (r#"{"a":{}}"#, "Empty objects are not allowed"),
        (r#"{"a":[]}"#, "Empty arrays are not allowed"),
        (r#"{"a":[[1]]}"#, "Arrays are not allowed in an array of match expressions"),
        (r#"{"a":[{"prefix":"a","suffix":"b"}]}"#, "Only one key allowed in match expression"),
        (r#"{"a":[{"prefx":"a"}]}"#, "Unrecognized match type prefx"),
        (r#"{"a":[{"prefix":1}]}"#, "prefix match pattern must be a string"),
        (r#"{"a":[{"wildcard":"a**"}]}"#, "Consecutive wildcard characters at pos 1"),
        (r#"{"a":[{"exists":1}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a":[{"anything-but":[true]}]}"#, "Inside anything but list, start|null|boolean is not supported."),
        (r#"{"a":[{"numeric":5}]}"#, "Value of numeric must be an array."),
        (r#"{"a":[{"numeric":[">",5,"<",1]}]}"#, "Bottom must be less than top"),
        (r#"{"a":[{"numeric":["~",5]}]}"#, "Unrecognized numeric range operator: ~"),
        (r#"{"a":[{"numeric":[">","5"]}]}"#, "Value of > must be numeric"),
        (r#"{"a":[{"numeric":[]}]}"#, "Invalid member in numeric match: null"),
        (r#"{"a":[{"cidr":"10.0.0.0/33"}]}"#, "IPv4 mask bits must be at most 32"),
        (r#"{"a":[{"cidr":"ten/8"}]}"#, "Nonstandard IP address: ten"),
        (r#"{"$or":[{"a":[1]}]}"#, "There must have at least 2 Objects in $or relationship."),
        (&long, "Event pattern is longer than 4096 characters"),
    ];
    for (text, reason) in cases {
        assert_eq!(EventPattern::parse(text).unwrap_err().to_string(), reason, "{text}");
    }
    assert!(EventPattern::parse("{").unwrap_err().to_string().starts_with("Invalid JSON: "));
}

/// JSON with few names, so that patterns and events meet.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3i64).prop_map(Value::from),
        "[ab*]{0,3}".prop_map(Value::from),
    ];
    let name = prop_oneof![Just("a"), Just("b"), Just("prefix"), Just("anything-but"), Just("numeric"), Just("$or")];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The pattern that asks for everything an object has.
fn pattern_of(value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) => {
            let members: serde_json::Map<String, Value> = members
                .iter()
                .filter(|(name, _)| *name != "$or")
                .filter_map(|(name, value)| Some((name.clone(), pattern_of(value)?)))
                .collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        Value::Array(items) => items.iter().find_map(pattern_of),
        leaf => Some(json!([leaf])),
    }
}

proptest! {
    #[test]
    fn reading_and_matching_never_panic(pattern in any_json(), event in any_json()) {
        if let Ok(pattern) = EventPattern::parse(&pattern.to_string()) {
            pattern.matches(&event);
        }
    }

    #[test]
    fn an_event_matches_the_pattern_of_its_own_members(event in any_json()) {
        if let (Value::Object(_), Some(pattern)) = (&event, pattern_of(&event)) {
            prop_assert!(matches(&pattern, &event), "{} against {}", pattern, event);
        }
    }

    #[test]
    fn anything_but_is_the_opposite(text in "[ab]{0,2}", other in "[ab]{0,2}") {
        let event = json!({"x": text});
        for filter in ["prefix", "suffix", "wildcard", "equals-ignore-case"] {
            let one = matches(&json!({"x": [{filter: other}]}), &event);
            prop_assert_ne!(one, matches(&json!({"x": [{"anything-but": {filter: other}}]}), &event));
        }
        prop_assert_ne!(matches(&json!({"x": [other]}), &event), matches(&json!({"x": [{"anything-but": other}]}), &event));
    }

    #[test]
    fn ranges_hold_what_lies_between(low in -9..9i64, width in 1..9i64, number in -20..20i64) {
        let event = json!({"x": number});
        let pattern = json!({"x": [{"numeric": [">", low, "<=", low + width]}]});
        prop_assert_eq!(matches(&pattern, &event), low < number && number <= low + width);
    }
}
