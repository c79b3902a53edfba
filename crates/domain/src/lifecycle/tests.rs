#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn rule(priority: i64, selection: Value) -> Value {
    json!({"rulePriority": priority, "selection": selection, "action": {"type": "expire"}})
}

fn keep(tags: Value, count: u32) -> Value {
    let mut selection = tags;
    selection["countType"] = "imageCountMoreThan".into();
    selection["countNumber"] = count.into();
    selection
}

fn older(tags: Value, days: u32) -> Value {
    let mut selection = tags;
    selection["countType"] = "sinceImagePushed".into();
    selection["countUnit"] = "days".into();
    selection["countNumber"] = days.into();
    selection
}

fn prefix(prefixes: &[&str]) -> Value {
    json!({"tagStatus": "tagged", "tagPrefixList": prefixes})
}

fn policy(rules: Vec<Value>) -> Policy {
    Policy::parse(&json!({"rules": rules}).to_string()).unwrap()
}

fn image<'a>(tie: u64, tags: &[&'a str], days: i64) -> Image<'a> {
    Image {
        tie,
        tags: tags.to_vec(),
        pushed_at: NOW.plus_millis(-days * DAY_MS),
        pulled_at: None,
        archived_at: None,
        class: StorageClass::Standard,
    }
}

fn verdicts(policy: &Policy, images: &[Image<'_>]) -> BTreeMap<usize, Verdict> {
    let mut census = Census::new(policy);
    images.iter().for_each(|image| census.add(image));
    let evaluation = census.finish(NOW);
    let verdict = |(index, image)| evaluation.verdict(image).map(|verdict| (index, verdict));
    images.iter().enumerate().filter_map(verdict).collect()
}

/// `A1 B2`: image and the priority of the rule that expires it.
fn expired(rules: Vec<Value>, images: &[Image<'_>]) -> String {
    let name = |index: usize| char::from(b'A' + u8::try_from(index).unwrap());
    let verdicts = verdicts(&policy(rules), images);
    let texts: Vec<String> =
        verdicts.iter().map(|(index, verdict)| format!("{}{}", name(*index), verdict.priority)).collect();
    texts.join(" ")
}

#[test]
fn an_image_that_a_rule_selects_is_no_later_rules() {
    let images = [image(0, &["beta-1", "prod-1"], 10), image(1, &["beta-2", "prod-2"], 9), image(2, &["beta-3"], 8)];
    let (prod, beta) = (keep(prefix(&["prod"]), 1), keep(prefix(&["beta"]), 1));
    assert_eq!(expired(vec![rule(1, prod.clone()), rule(2, beta.clone())], &images), "A1");
    assert_eq!(expired(vec![rule(1, beta), rule(2, prod)], &images), "A1 B1");
}

#[test]
fn an_image_needs_a_tag_for_every_prefix() {
    let images = [
        image(0, &["alpha-1"], 12),
        image(1, &["beta-1"], 11),
        image(2, &["alpha-2", "beta-2"], 10),
        image(3, &["alpha-3"], 4),
        image(4, &["alpha-4", "beta-4"], 4),
    ];
    assert_eq!(expired(vec![rule(1, older(prefix(&["alpha", "beta"]), 5))], &images), "C1");
}

#[test]
fn any_counts_every_image() {
    let images = [image(0, &["a"], 4), image(1, &["b"], 3), image(2, &[], 2), image(3, &["d"], 1)];
    assert_eq!(expired(vec![rule(1, keep(json!({"tagStatus": "any"}), 1))], &images), "A1 B1 C1");
}

#[test]
fn rules_count_images_that_others_marked_and_protect_what_they_select() {
    let images = [
        image(0, &["alpha-1", "beta-1"], 4),
        image(1, &[], 3),
        image(2, &["alpha-2"], 2),
        image(3, &["git-hash"], 1),
        image(4, &[], 1),
    ];
    let rules = vec![
        rule(1, keep(prefix(&["alpha"]), 1)),
        rule(2, older(json!({"tagStatus": "untagged"}), 1)),
        rule(3, keep(json!({"tagStatus": "any"}), 1)),
    ];
    // D and E were pushed at one time, and the tie makes D the older of the two.
    let images = images.map(|image| Image { tie: 10 - image.tie, ..image });
    assert_eq!(expired(rules, &images), "A1 B2 D3");
}

#[test]
fn ages_are_more_than_so_many_days() {
    let day = |millis: i64| Image { pushed_at: NOW.plus_millis(-millis), ..image(0, &[], 0) };
    let rules = || vec![rule(1, older(json!({"tagStatus": "untagged"}), 1))];
    assert_eq!(expired(rules(), &[day(DAY_MS), day(DAY_MS + 1)]), "B1");
}

#[test]
fn pulled_images_are_archived_by_their_last_pull_and_archived_ones_expire() {
    let transition = json!({"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "sinceImagePulled",
        "countUnit": "days", "countNumber": 30}, "action": {"type": "transition", "targetStorageClass": "archive"}});
    let expire = rule(
        2,
        json!({"tagStatus": "any", "storageClass": "archive", "countType": "sinceImageTransitioned",
        "countUnit": "days", "countNumber": 90}),
    );
    let policy = policy(vec![transition, expire]);
    let days_ago = |days: i64| Some(NOW.plus_millis(-days * DAY_MS));
    let archived = |days| Image { class: StorageClass::Archive, archived_at: days_ago(days), ..image(0, &[], 500) };
    let images = [
        Image { pulled_at: days_ago(10), ..image(0, &["a"], 100) },
        Image { pulled_at: days_ago(31), ..image(1, &["b"], 100) },
        image(2, &[], 31),
        archived(91),
        archived(90),
    ];
    let actions: Vec<(usize, Action)> =
        verdicts(&policy, &images).into_iter().map(|(index, verdict)| (index, verdict.action)).collect();
    assert_eq!(actions, [(1, Action::Archive), (2, Action::Archive), (3, Action::Expire)]);
}

#[test]
fn patterns_match_whole_tags() {
    let patterns = |patterns: &[&str]| json!({"tagStatus": "tagged", "tagPatternList": patterns});
    let images = [image(0, &["v1.0-rc"], 9), image(1, &["v1.0"], 9), image(2, &["xv1.0-rc"], 9)];
    assert_eq!(expired(vec![rule(1, older(patterns(&["v*-rc"]), 1))], &images), "A1");
    assert_eq!(expired(vec![rule(1, older(patterns(&["*rc", "*0-*"]), 1))], &images), "A1 C1");
}

#[test]
fn documents_are_refused_in_the_services_words() {
    let any = || keep(json!({"tagStatus": "any"}), 1);
    let with = |rule: Value, name: &str, value: Value| {
        let mut rule = rule;
        rule[name] = value;
        rule
    };
    let without = |name: &str| {
        let mut rule = rule(1, any());
        rule.as_object_mut().unwrap().remove(name);
        rule
    };
    let transition = |selection: Value| {
        json!({"rulePriority": 1, "selection": selection,
            "action": {"type": "transition", "targetStorageClass": "archive"}})
    };
    let since = |kind: &str, days: u32| json!({"tagStatus": "any", "countType": kind, "countUnit": "days", "countNumber": days});
    let cases: Vec<(Vec<Value>, &str)> = vec![
        (vec![], "array is too short: must have at least 1 elements but instance has 0 elements"),
        (vec![json!("x")], r#"instance type (string) does not match any allowed primitive type (allowed: ["object"])"#),
        (vec![without("action")], r#"object has missing required properties (["action"])"#),
        (vec![json!({})], r#"object has missing required properties (["action","rulePriority","selection"])"#),
        (
            vec![with(rule(1, any()), "x", json!(1))],
            r#"object instance has properties which are not allowed by the schema: (["x"])"#,
        ),
        (vec![rule(0, any())], "numeric instance is lower than the required minimum (minimum: 1, found: 0)"),
        (
            vec![rule(1, keep(json!({"tagStatus": "any"}), 0))],
            "numeric instance is lower than the required minimum (minimum: 1, found: 0)",
        ),
        (
            vec![rule(1, keep(json!({"tagStatus": "all"}), 1))],
            r#"instance value (all) not found in enum :(possible values: ["any","tagged","untagged"])"#,
        ),
        (
            vec![rule(1, with(any(), "countType", json!("x")))],
            "instance failed to match exactly one schema (matched 0 out of 2)",
        ),
        (
            vec![rule(1, with(any(), "countUnit", json!("days")))],
            "instance failed to match exactly one schema (matched 0 out of 2)",
        ),
        (
            vec![with(rule(1, any()), "action", json!({"type": "delete"}))],
            r#"instance value (delete) not found in enum :(possible values: ["expire","transition"])"#,
        ),
        (
            vec![with(rule(1, any()), "action", json!({"type": "transition"}))],
            r#"object has missing required properties (["targetStorageClass"])"#,
        ),
        (vec![rule(1, any()), rule(1, keep(prefix(&["a"]), 1))], "rulePriority 1 is used by more than one rule"),
        (
            vec![rule(1, any()), rule(2, keep(prefix(&["a"]), 1))],
            "a rule with tagStatus any must have the highest value for rulePriority",
        ),
        (vec![rule(1, any()), rule(2, any())], "there can be only one rule with tagStatus any for a storage class"),
        (
            vec![rule(1, keep(prefix(&["a", "b"]), 1)), rule(2, keep(prefix(&["b", "a"]), 2))],
            "rules cannot have the same tagPrefixList or tagPatternList",
        ),
        (
            vec![rule(1, keep(json!({"tagStatus": "tagged"}), 1))],
            "tagStatus tagged requires either tagPrefixList or tagPatternList",
        ),
        (
            vec![rule(1, with(any(), "tagPrefixList", json!(["a"])))],
            "tagPrefixList can only be used with tagStatus tagged, not any",
        ),
        (
            vec![rule(1, keep(json!({"tagStatus": "tagged", "tagPatternList": ["*****"]}), 1))],
            "a pattern of tagPatternList can contain at most 4 wildcards (*)",
        ),
        (
            vec![rule(1, since("sinceImagePulled", 1))],
            "countType sinceImagePulled can only be used with action type transition",
        ),
        (
            vec![rule(1, since("sinceImageTransitioned", 90))],
            "countType sinceImageTransitioned requires storageClass archive and action type expire",
        ),
        (
            vec![rule(1, with(since("sinceImageTransitioned", 89), "storageClass", json!("archive")))],
            "numeric instance is lower than the required minimum (minimum: 90, found: 89)",
        ),
        (
            vec![transition(with(since("sinceImagePushed", 1), "storageClass", json!("archive")))],
            "action type transition can only be used with storageClass standard",
        ),
    ];
    for (rules, expected) in cases {
        let text = json!({"rules": rules}).to_string();
        assert_eq!(Policy::parse(&text).unwrap_err().to_string(), expected, "{text}");
    }
    for text in ["", "[]", "{", "3"] {
        assert_eq!(Policy::parse(text).unwrap_err(), PolicyError::NotAnObject, "{text}");
    }
    assert_eq!(Policy::parse("{}").unwrap_err().to_string(), r#"object has missing required properties (["rules"])"#);
    let many: Vec<Value> = (1..=51).map(|number| rule(number, keep(prefix(&[&format!("p{number}")]), 1))).collect();
    let text = json!({"rules": many}).to_string();
    assert_eq!(Policy::parse(&text).unwrap_err(), PolicyError::TooLong { maximum: 50, found: 51 });
}

#[test]
fn rules_are_given_back_in_the_order_of_their_priorities() {
    let sorted = r#"{ "rules": [{"rulePriority": 1}, {"rulePriority": 2}] }"#;
    assert_eq!(Policy::normalized(sorted), sorted);
    let reversed = r#"{"rules":[{"rulePriority":2},{"rulePriority":1}]}"#;
    assert_eq!(Policy::normalized(reversed), r#"{"rules":[{"rulePriority":1},{"rulePriority":2}]}"#);
}

const TAGS: [&str; 5] = ["a-1", "a-2", "b-1", "b-2", "c"];

fn any_rules() -> impl Strategy<Value = Vec<(u32, u32, bool)>> {
    // What each rule selects is given by its place; here are its number and whether it counts.
    prop::collection::vec((1..6_u32, 0..5_u32, any::<bool>()), 1..5)
}

fn build(rules: &[(u32, u32, bool)]) -> Policy {
    let selections = [
        prefix(&["a"]),
        prefix(&["b"]),
        json!({"tagStatus": "untagged"}),
        prefix(&["a", "b"]),
        json!({"tagStatus": "any"}),
    ];
    let mut used = BTreeSet::new();
    let mut documents = Vec::new();
    for (number, selection, counts) in rules {
        if used.insert(*selection) {
            let tags = selections[*selection as usize].clone();
            let last = if *selection == 4 { 100 } else { 0 };
            let made = if *counts { keep(tags, *number) } else { older(tags, *number) };
            documents.push(rule(last + 1 + documents.len() as i64, made));
        }
    }
    policy(documents)
}

/// The evaluation as the reference writes it down: every rule over all images, then what earlier rules claimed is
/// taken away.
fn by_the_book(policy: &Policy, images: &[Image<'_>]) -> BTreeMap<usize, Verdict> {
    let mut claimed = BTreeSet::new();
    let mut plan = BTreeMap::new();
    for rule in policy.rules() {
        let mut selected: Vec<usize> = (0..images.len()).filter(|index| rule.selects(&images[*index])).collect();
        selected.sort_by_key(|index| (std::cmp::Reverse(images[*index].pushed_at), images[*index].tie));
        let marked: Vec<usize> = match rule.criterion {
            Criterion::ImageCountMoreThan(count) => selected.iter().skip(count as usize).copied().collect(),
            Criterion::SinceImagePushed(days) => {
                let old = |index: &usize| NOW.millis_since(images[*index].pushed_at) > i64::from(days) * DAY_MS;
                selected.iter().copied().filter(old).collect()
            }
            _ => unreachable!("not generated"),
        };
        for index in marked {
            if !claimed.contains(&index) {
                plan.insert(index, Verdict { priority: rule.priority, action: rule.action });
            }
        }
        claimed.extend(selected);
    }
    plan
}

proptest! {
    #[test]
    fn image_by_image_gives_what_the_book_gives(
        rules in any_rules(),
        images in prop::collection::vec((prop::collection::btree_set(0..TAGS.len(), 0..3), 0..8_i64), 0..150),
    ) {
        let policy = build(&rules);
        let images: Vec<Image<'_>> = images
            .iter()
            .enumerate()
            .map(|(tie, (tags, days))| {
                let tags: Vec<&str> = tags.iter().map(|tag| TAGS[*tag]).collect();
                image(tie as u64, &tags, *days)
            })
            .collect();
        prop_assert_eq!(verdicts(&policy, &images), by_the_book(&policy, &images));
    }

    #[test]
    fn no_document_makes_it_panic(text in ".{0,200}") {
        let _ = Policy::parse(&text);
        let _ = Policy::normalized(&text);
    }
}
