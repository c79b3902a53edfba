#![allow(clippy::unwrap_used)]

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef";

fn here() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

#[test]
fn an_arn_parses_and_prints_unchanged() {
    for resource in [
        "cluster/default",
        "service/web",
        "service/default/web_1",
        "task/0123456789abcdef0123456789abcdef",
        "task/prod/0123456789abcdef0123456789abcdef",
        "container-instance/prod/0123456789abcdef0123456789abcdef",
        "container/prod/0123456789abcdef0123456789abcdef/c9a2b2b2-0000-4000-8000-000000000000",
        "task-definition/web:12",
        "capacity-provider/FARGATE_SPOT",
        "task-set/prod/web/ecs-svc/1234567890123456789",
        "service-deployment/prod/web/abc_DEF-123456789012",
        "service-revision/prod/web/1234567890123456789",
        "attachment/c9a2b2b2-0000-4000-8000-000000000000",
    ] {
        let text = format!("arn:aws:ecs:eu-west-1:123456789012:{resource}");
        assert_eq!(text.parse::<Arn>().unwrap().to_string(), text);
    }
}

#[test]
fn the_old_hyphenated_task_id_means_the_same_task() {
    let old: TaskId = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
    assert_eq!(old, HEX.parse().unwrap());
    assert_eq!(old.to_string(), HEX);
}

#[test]
fn texts_that_are_not_arns_are_refused() {
    for (text, error) in [
        ("", ArnError::NotEcs),
        ("arn:aws:ecs", ArnError::NotEcs),
        ("arn:aws:s3:us-east-1:000000000000:cluster/a", ArnError::NotEcs),
        ("arn:aws:ecs:us-east-1:00000000000:cluster/a", ArnError::NotEcs),
        ("arn:aws:ecs:us-east-1:00000000000x:cluster/a", ArnError::NotEcs),
        ("arn:aws:ecs::000000000000:cluster/a", ArnError::NotEcs),
        ("arn:aws-cn:ecs:us-east-1:000000000000:cluster/a", ArnError::NotEcs),
        ("arn:aws:ecs:us-east-1:000000000000:", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:cluster", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:cluster/", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:cluster/a/b", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:cluster/a b", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:cluster/ä", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:task/a/short", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:task/a/0123456789ABCDEF0123456789ABCDEF", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:task-definition/web", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:task-definition/web:0", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:task-definition/web:+1", ArnError::Resource),
        ("arn:aws:ecs:us-east-1:000000000000:pod/a", ArnError::Resource),
    ] {
        assert_eq!(text.parse::<Arn>(), Err(error), "{text}");
    }
}

#[test]
fn a_region_decides_the_partition() {
    assert!(Scope::new("000000000000", "cn-north-1").cluster_arn("a").starts_with("arn:aws-cn:ecs:cn-north-1:"));
    assert!(Scope::new("000000000000", "us-gov-west-1").root_principal_arn().starts_with("arn:aws-us-gov:iam::"));
    assert_eq!(here().cluster_arn("default"), "arn:aws:ecs:us-east-1:000000000000:cluster/default");
}

#[test]
fn a_reference_is_a_name_an_id_or_an_arn() {
    let scope = here();
    let web: Name = "web".parse().unwrap();
    let task: TaskId = HEX.parse().unwrap();
    assert_eq!(scope.cluster("web"), Ok(web.clone()));
    assert_eq!(scope.cluster(&scope.cluster_arn("web")), Ok(web.clone()));
    assert_eq!(scope.service("prod", "web"), Ok(web.clone()));
    assert_eq!(scope.service("prod", &scope.service_arn("prod", "web")), Ok(web.clone()));
    assert_eq!(scope.service("prod", "arn:aws:ecs:us-east-1:000000000000:service/web"), Ok(web.clone()));
    assert_eq!(scope.task("prod", HEX), Ok(task));
    assert_eq!(scope.task("prod", &scope.task_arn("prod", task)), Ok(task));
    assert_eq!(scope.capacity_provider(&scope.capacity_provider_arn("web")), Ok(web));
}

#[test]
fn a_reference_to_elsewhere_is_refused() {
    let scope = here();
    let elsewhere = Scope::new("000000000000", "eu-west-1");
    let stranger = Scope::new("111111111111", "us-east-1");
    assert!(matches!(scope.cluster(&elsewhere.cluster_arn("a")), Err(ReferenceError::Region { .. })));
    assert!(matches!(scope.cluster(&stranger.cluster_arn("a")), Err(ReferenceError::Account { .. })));
    assert!(matches!(scope.service("a", &scope.service_arn("b", "web")), Err(ReferenceError::Cluster { .. })));
    assert_eq!(scope.cluster(&scope.service_arn("b", "web")), Err(ReferenceError::Malformed));
    assert_eq!(scope.cluster("no/slash"), Err(ReferenceError::Malformed));
    assert_eq!(scope.cluster(""), Err(ReferenceError::Malformed));
    assert_eq!(scope.cluster(&"a".repeat(256)), Err(ReferenceError::Malformed));
}

#[test]
fn a_task_definition_reference_may_leave_the_revision_out() {
    let scope = here();
    for (text, revision) in [
        ("web", None),
        ("web:3", Some(3)),
        ("arn:aws:ecs:us-east-1:000000000000:task-definition/web:3", Some(3)),
        ("arn:aws:ecs:us-east-1:000000000000:task-definition/web", None),
    ] {
        let reference = scope.task_definition(text).unwrap();
        assert_eq!(reference.family.as_str(), "web");
        assert_eq!(reference.revision.map(Revision::get), revision, "{text}");
    }
    for (text, error) in [
        ("web:x", ReferenceError::Revision("x".into())),
        ("web:", ReferenceError::Revision(String::new())),
        ("web:0", ReferenceError::Revision("0".into())),
        ("web:99999999999", ReferenceError::Revision("99999999999".into())),
        ("web:1:2", ReferenceError::Revision("1:2".into())),
        (":1", ReferenceError::Malformed),
        ("", ReferenceError::Malformed),
        ("arn:aws:ecs:us-east-1:000000000000:cluster/web", ReferenceError::Malformed),
        ("arn:aws:ecs", ReferenceError::Malformed),
    ] {
        assert_eq!(scope.task_definition(text), Err(error), "{text}");
    }
}

#[test]
fn a_uuid_has_version_four_and_hyphens() {
    assert_eq!(uuid_text([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

#[test]
fn task_definitions_sort_by_family_and_then_by_number() {
    let key = |family: &str, number| TaskDefinitionKey {
        family: family.parse().unwrap(),
        revision: Revision::new(number).unwrap(),
    };
    let mut keys = [key("b", 1), key("a", 10), key("a", 9)];
    keys.sort();
    assert_eq!(keys.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:9", "a:10", "b:1"]);
}

#[test]
fn a_host_of_ecr_names_account_and_region() {
    for (host, expected) in [
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com", Some("us-east-1")),
        ("000000000000.dkr.ecr.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
        ("00000000000.dkr.ecr.us-east-1.amazonaws.com", None),
        ("00000000000x.dkr.ecr.us-east-1.amazonaws.com", None),
        ("000000000000.dkr.ecr..amazonaws.com", None),
        ("000000000000.dkr.ecr.us.east.amazonaws.com", None),
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com:443", None),
        ("000000000000.dkr.us-east-1.amazonaws.com", None),
        ("localhost:4566", None),
    ] {
        assert_eq!(Scope::of_registry_host(host), expected.map(|region| Scope::new("000000000000", region)), "{host}");
    }
}
