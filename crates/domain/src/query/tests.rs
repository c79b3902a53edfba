#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::{Just, ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as Generator,
};

use super::*;
use crate::placement::{Attributes, Groups, Instance};

/// Asks an expression of one instance.
fn ask(expression: &Expression) -> bool {
    let no_ports = (BTreeSet::new(), BTreeMap::new());
    let attributes: Attributes = [
        ("stack", Some("prod")),
        ("ecs.instance-type", Some("t2.small")),
        ("ecs.availability-zone", Some("us-east-1a")),
        ("capability", None),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
    .collect();
    let custom: Attributes = [("rack".to_owned(), Some("7".to_owned()))].into();
    let mut groups = Groups::default();
    groups.add("service:production");
    let instance = Instance {
        agent_connected: true,
        held_back: false,
        cpu_free: 0,
        memory_free: 0,
        gpus_free: 0,
        volume_gib_free: u32::MAX,
        tcp_reserved: &no_ports.0,
        udp_reserved: &no_ports.0,
        tcp_taken: &no_ports.1,
        udp_taken: &no_ports.1,
        custom_attributes: &custom,
        attributes: &attributes,
        groups: &groups,
        running_tasks: 3,
        agent_version: Some("1.14.5"),
        ec2_instance_id: Some("i-a"),
        registered_at: Timestamp::from_millis(1_529_360_908_000), // 2018-06-18T22:28:28Z
        taken: Default::default(),
    };
    expression.matches(&instance)
}

fn check(expression: &str, expected: bool) {
    let parsed: Expression = expression.parse().unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(ask(&parsed), expected, "{expression}");
}

#[test]
fn expressions_mean_what_the_guide_says() {
    for (expression, expected) in [
        ("attribute:stack == prod", true),
        ("attribute:stack==prod", true),
        ("attribute:stack equals 'prod'", true),
        ("attribute:stack != prod", false),
        ("attribute:rack == 7", true),
        ("attribute:missing != prod", false),
        ("not(attribute:missing == prod)", true),
        ("attribute:missing !exists", true),
        ("attribute:missing not_exists", true),
        ("attribute:capability exists", true),
        ("!(attribute:capability exists)", false),
        ("attribute:ecs.instance-type =~ t2.*", true),
        ("attribute:ecs.instance-type =~ t2", false),
        ("attribute:ecs.instance-type matches '(t2|m4)\\.small'", true),
        ("(attribute:ecs.instance-type =~ (t2|m4).small)", true),
        ("attribute:ecs.instance-type !~ g2.*", true),
        ("attribute:ecs.instance-type =~ g2.* and attribute:ecs.availability-zone != us-east-1d", false),
        ("attribute:stack in [prod, 'test']", true),
        ("attribute:stack !in [prod]", false),
        ("attribute:stack not_in [dev]", true),
        ("attribute:stack > a", true),
        ("task:group == service:production", true),
        ("not(task:group == database)", true),
        ("task:group != service:production", false),
        ("task:group =~ service:.*", true),
        ("ec2InstanceId in ['i-a','i-b']", true),
        ("ec2InstanceId == i-b", false),
        ("agentConnected == true", true),
        ("agentVersion < 1.14.10", true),
        ("agentVersion >= 1.14.5.0", true),
        ("registeredAt < 2018-02-13", false),
        ("registeredAt == 2018-06-18T22:28:28+00:00", true),
        ("registeredAt == 2018-06-18T23:28:28+01:00", true),
        ("registeredAt == 2018-06-18T22:28:28Z", true),
        ("registeredAt >= 2018-06-18T22:28:28", true),
        ("runningTasksCount == 3", true),
        ("runningTasksCount greater_than 3", false),
        // `and` binds tighter than `or`.
        ("runningTasksCount == 3 or agentConnected == false and agentConnected == false", true),
        ("(runningTasksCount == 3 || agentConnected == true) && agentConnected == false", false),
        ("not not agentConnected == true", true),
        ("!agentConnected == false", true),
        ("not(agentConnected == true)and agentConnected == true", false),
        ("agentConnected in [true]", true),
        ("agentConnected =~ t.*", true),
        ("agentVersion != 1.14.5", false),
        ("agentVersion > 1.9", true),
        ("agentVersion <= 1.14.5", true),
        ("runningTasksCount < 10", true),
        ("runningTasksCount >= 4", false),
        ("registeredAt > 2018-06-18", true),
        ("registeredAt != '2018-06-18T22:28:28Z'", false),
        ("ec2InstanceId not_in [i-b, i-c]", true),
        ("ec2InstanceId !~ i-[b-z]", true),
        ("task:group not_in [database]", true),
        ("task:group !~ service:prod.*", false),
        ("attribute:capability == ''", true),
        ("attribute:missing !in [a]", false),
        ("attribute:missing !~ a", false),
        ("attribute:stack >= prod", true),
        ("attribute:stack < prod", false),
        // Patterns are about ASCII, as in Java.
        ("attribute:stack =~ (?i)PROD", true),
        ("attribute:ecs.instance-type =~ \\w{2}\\.\\w+", true),
        ("attribute:stack =~ prod|test", true),
        ("attribute:stack =~ x|pro", false),
    ] {
        check(expression, expected);
    }
}

#[test]
fn anything_else_is_refused_with_the_place_where_it_shows() {
    for (text, expected) in [
        ("", "expected a subject but found the end at character 1"),
        ("  ", "expected a subject but found the end at character 3"),
        ("attribute:stack", "expected an operator but found the end at character 16"),
        ("attribute:stack ==", "expected a value but found the end at character 19"),
        ("attribute: == a", "unknown subject attribute: at character 1"),
        ("attribute:größe == a", "unknown subject attribute:größe at character 1"),
        ("stack == prod", "unknown subject stack at character 1"),
        ("AgentConnected == true", "unknown subject AgentConnected at character 1"),
        ("attribute:stack == 'prod", "expected a value but found \" at character 20"),
        ("attribute:stack = prod", "expected an operator but found = at character 17"),
        ("attribute:stack AND prod", "expected an operator but found AND at character 17"),
        ("(attribute:stack == prod", "expected a closing parenthesis but found the end at character 25"),
        ("attribute:stack == prod)", "expected the end but found ) at character 24"),
        ("attribute:stack == (prod)", "expected a value but found ( at character 20"),
        ("attribute:a == b attribute:c == d", "expected the end but found attribute:c at character 18"),
        ("attribute:a == b or", "expected a subject but found the end at character 20"),
        ("attribute:stack in prod", "expected a list in brackets but found prod at character 20"),
        ("attribute:stack in []", "expected a value but found ] at character 21"),
        ("attribute:stack in [a,]", "expected a value but found ] at character 23"),
        ("attribute:stack in [a b]", "expected a closing bracket but found b at character 23"),
        ("attribute:stack =~", "expected a pattern but found the end at character 19"),
        ("attribute:stack =~ '('", "( is not a valid pattern at character 20"),
        ("attribute:stack =~ 'a)|(b'", "a)|(b is not a valid pattern at character 20"),
        ("attribute:stack =~ '(?=a)'", "(?=a) is not a valid pattern at character 20"),
        ("attribute:stack =~ a{999}{999}", "a{999}{999} is not a valid pattern at character 20"),
        ("runningTasksCount == many", "many is not a valid value for runningTasksCount at character 22"),
        ("runningTasksCount exists", "operator exists is not valid for runningTasksCount at character 19"),
        ("runningTasksCount in [1]", "operator in is not valid for runningTasksCount at character 19"),
        ("registeredAt == yesterday", "yesterday is not a valid value for registeredAt at character 17"),
        ("registeredAt == 2018-02-30", "2018-02-30 is not a valid value for registeredAt at character 17"),
        ("registeredAt not_exists", "operator not_exists is not valid for registeredAt at character 14"),
        ("agentVersion =~ 1.*", "operator =~ is not valid for agentVersion at character 14"),
        ("agentVersion > 1.x", "1.x is not a valid value for agentVersion at character 16"),
        ("agentConnected > true", "operator > is not valid for agentConnected at character 16"),
        ("agentConnected == yes", "yes is not a valid value for agentConnected at character 19"),
        ("agentConnected in [true, no]", "no is not a valid value for agentConnected at character 26"),
        ("agentConnected exists", "operator exists is not valid for agentConnected at character 16"),
        ("ec2InstanceId < i-a", "operator < is not valid for ec2InstanceId at character 15"),
        ("task:group >= a", "operator >= is not valid for task:group at character 12"),
        ("task:group !exists", "operator !exists is not valid for task:group at character 12"),
        ("task:group", "expected an operator but found the end at character 11"),
        ("and", "unknown subject and at character 1"),
        ("&", "unknown subject & at character 1"),
        ("not", "expected a subject but found the end at character 4"),
        ("ä == 'ü", "unknown subject ä at character 1"),
        ("attribute:a == 'ü' x", "expected the end but found x at character 20"),
    ] {
        let error = text.parse::<Expression>().expect_err(text);
        assert_eq!(error.to_string(), expected, "{text:?}");
    }
    let problem = |text: String| text.parse::<Expression>().unwrap_err().problem;
    assert_eq!(problem("!".repeat(65)), Problem::TooDeep);
    assert_eq!(problem("(".repeat(2000)), Problem::TooDeep);
    assert_eq!(problem("a".repeat(2001)), Problem::TooLong);
}

/// Pieces that expressions are made of, and some that they are not.
const PIECES: [&str; 46] = [
    "attribute:stack",
    "attribute:",
    "task:group",
    "agentConnected",
    "agentVersion",
    "ec2InstanceId",
    "registeredAt",
    "runningTasksCount",
    "==",
    "equals",
    "!=",
    ">",
    ">=",
    "less_than",
    "=~",
    "!~",
    "in",
    "!in",
    "not_in",
    "exists",
    "!exists",
    "and",
    "&&",
    "or",
    "||",
    "not",
    "!",
    "(",
    ")",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "prod",
    "'a b'",
    "1.2.3",
    "2018-06-18T22:28:28Z",
    "7",
    "true",
    "a{9999}",
    "(a|b)+",
    "[a-z]*",
    "\\",
    "ü",
    "\u{0}",
];

fn soup() -> impl Generator<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => ".{0,3}",
    ];
    prop::collection::vec((piece, prop_oneof![Just(" "), Just("")]), 0..40)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, space)| [piece, space.to_owned()]).collect())
}

/// A comparison with its answer for the instance of [`ask`].
fn comparison() -> impl Generator<Value = (String, bool)> {
    let one = |text: &str, answer| (text.to_owned(), answer);
    prop::sample::select(vec![
        one("attribute:stack == prod", true),
        one("attribute:missing != 'x'", false),
        one("attribute:capability exists", true),
        one("task:group in [a, \"b\"]", false),
        one("agentVersion > 1.2", true),
        one("runningTasksCount <= 2", false),
        one("ec2InstanceId =~ (i|j)-a", true),
        one("registeredAt >= 2030-01-01", false),
    ])
}

/// Whole expressions with their answers, in either spelling of every connective.
fn expression() -> impl Generator<Value = (String, bool)> {
    comparison().prop_recursive(5, 40, 4, |inner| {
        let many = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (inner, any::<bool>()).prop_map(|((text, answer), word)| {
                (if word { format!("not ({text})") } else { format!("!({text})") }, !answer)
            }),
            (many.clone(), any::<bool>()).prop_map(|(parts, word)| {
                let texts: Vec<String> = parts.iter().map(|(text, _)| format!("({text})")).collect();
                (texts.join(if word { " and " } else { "&&" }), parts.iter().all(|(_, answer)| *answer))
            }),
            (many, any::<bool>()).prop_map(|(parts, word)| {
                let texts: Vec<String> = parts.iter().map(|(text, _)| format!("({text})")).collect();
                (texts.join(if word { " or " } else { "||" }), parts.iter().any(|(_, answer)| *answer))
            }),
        ]
    })
}

/// Whatever the text is, there is an answer, and an error points into it.
fn survives(text: &str) {
    match text.parse::<Expression>() {
        Ok(expression) => drop(ask(&expression)),
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.at), "{text:?}: {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![soup(), ".{0,60}".prop_map(|text: String| text)]) {
        survives(&text);
    }

    #[test]
    fn no_mutation_of_an_expression_makes_it_panic(
        (text, _) in expression(),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
        with in prop::sample::select(&PIECES[..]),
    ) {
        let letters: Vec<char> = text.chars().collect();
        let (from, to) = (cut.0.index(letters.len() + 1), cut.1.index(letters.len() + 1));
        let (from, to) = (from.min(to), to.max(from));
        let mutated: String = letters[..from].iter().chain(&with.chars().collect::<Vec<_>>()).chain(&letters[to..]).collect();
        survives(&mutated);
    }

    #[test]
    fn connectives_mean_what_they_say((text, answer) in expression()) {
        match text.parse::<Expression>() {
            Ok(expression) => prop_assert_eq!(ask(&expression), answer, "{}", text),
            Err(error) => prop_assert!(error.problem == Problem::TooLong, "{text}: {error}"),
        }
    }
}
