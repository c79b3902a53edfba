#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    arn::ContainerInstanceId,
    placement::{Attributes, Instance},
};

fn check(expression: &str, expected: bool) {
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
    let groups: BTreeMap<String, u32> = [("service:production".to_owned(), 2)].into();
    let instance = Instance {
        id: ContainerInstanceId::from_bytes([1; 16]),
        agent_connected: true,
        cpu_free: 0,
        memory_free: 0,
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
    let parsed: Expression = expression.parse().unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(parsed.matches(&instance), expected, "{expression}");
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
    ] {
        check(expression, expected);
    }
}

#[test]
fn anything_else_is_refused_by_name() {
    for text in [
        "",
        "attribute:stack",
        "attribute:stack ==",
        "attribute: == a",
        "stack == prod",
        "attribute:stack == 'prod",
        "attribute:stack = prod",
        "(attribute:stack == prod",
        "attribute:stack == prod)",
        "attribute:stack == prod attribute:stack == prod",
        "attribute:stack in prod",
        "attribute:stack in []",
        "attribute:stack =~ '('",
        "attribute:stack =~ 'a{999}{999}{999}'",
        "runningTasksCount == many",
        "runningTasksCount exists",
        "registeredAt == yesterday",
        "agentVersion =~ 1.*",
        "agentConnected > true",
        "and",
        "&",
        "not",
    ] {
        assert!(text.parse::<Expression>().is_err(), "{text:?} was taken");
    }
    assert_eq!("!".repeat(65).parse::<Expression>().unwrap_err(), QueryError::TooDeep);
    assert_eq!("(".repeat(2000).parse::<Expression>().unwrap_err(), QueryError::TooDeep);
    assert_eq!("a".repeat(2001).parse::<Expression>().unwrap_err(), QueryError::TooLong);
}
