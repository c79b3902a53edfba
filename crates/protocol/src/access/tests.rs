//! What calls are authorized against, and that no operation is left out.

#![allow(clippy::unwrap_used)]

use gantry_domain::policy::{Document, Identity, Kind, Principal, PrincipalPolicies};
use std::sync::Arc;

use super::*;
use crate::query::Form;

/// A world with one task definition and one role.
struct World;

impl Facts for World {
    fn tags(&self, arn: &str) -> BTreeMap<String, String> {
        let team = arn.ends_with(":service/prod/web").then(|| ("team".to_owned(), "a".to_owned()));
        team.into_iter().collect()
    }
    fn task_definition(&self, caller: &Caller, reference: &str) -> Option<TaskDefinition> {
        let arn = caller.arn("ecs", "task-definition/web:3");
        let roles = vec!["arn:aws:iam::111122223333:role/app".to_owned()];
        let daemon = reference.ends_with(":daemon-task-definition/agent:1");
        (daemon || matches!(reference, "web" | "web:3")).then_some(TaskDefinition { arn, roles })
    }
    fn iam_arn(&self, account: &str, kind: &str, name: &str) -> Option<String> {
        (name == "deployer").then(|| format!("arn:aws:iam::{account}:{kind}/teams/{name}"))
    }
    fn boundary(&self, _: &str, kind: &str, name: &str) -> Option<String> {
        (name == "bounded").then(|| format!("boundary-of-{kind}"))
    }
}

fn user() -> Caller {
    Caller {
        principal_arn: "arn:aws:iam::111122223333:user/ann".into(),
        kind: PrincipalKind::User,
        access_key_id: "AKIAANN".into(),
        ..Caller::root("111122223333", "us-east-1")
    }
}

fn info(service: &str) -> &'static ServiceInfo {
    match service {
        "ecs" => &gantry_api::ecs::SERVICE,
        "application-autoscaling" => &gantry_api::application_autoscaling::SERVICE,
        "events" => &gantry_api::events::SERVICE,
        "logs" => &gantry_api::logs::SERVICE,
        "iam" => &gantry_api::iam::SERVICE,
        "ssm" => &gantry_api::ssm::SERVICE,
        _ => &gantry_api::sts::SERVICE,
    }
}

/// The checks of a call, as `ACTION RESOURCE` with the part of the ARN that differs.
fn needs(service: &str, operation: &str, input: &str) -> Vec<String> {
    let form = Form::parse(input.as_bytes()).unwrap();
    let input = if info(service).query { Input::Query(&form) } else { Input::Json(input.as_bytes()) };
    let known = info(service).operations.iter().find(|known| known.name == operation).unwrap();
    let (caller, fields) = (user(), Fields::read(input, known.members));
    let call = Call { caller: &caller, operation, fields: &fields, facts: &World };
    let short = |arn: &String| {
        arn.replace("arn:aws:", "").replace("us-east-1:111122223333:", "").replace("iam::111122223333:", "")
    };
    let shown = |check: &Check| {
        format!("{} {}", check.action, check.resources.iter().map(short).collect::<Vec<_>>().join(" or "))
    };
    checks_of(&call, info(service)).iter().map(shown).collect()
}

#[test]
fn calls_are_authorized_against_what_they_name() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("ecs", "ListClusters", "{}", &["ecs:ListClusters *"]),
        ("ssm", "ResumeSession", r#"{"SessionId":"s-1"}"#, &["ssm:ResumeSession ssm:session/s-1"]),
        ("ssm", "TerminateSession", r#"{"SessionId":"s-1"}"#, &["ssm:TerminateSession ssm:session/s-1"]),
        (
            "ssm",
            "StartSession",
            r#"{"Target":"ecs:my_cluster_0123_0123-app","DocumentName":"D"}"#,
            &["ssm:StartSession ecs:task/my_cluster/0123", "ssm:StartSession ssm:document/D"],
        ),
        ("ssm", "StartSession", r#"{"Target":"mi-1"}"#, &["ssm:StartSession ssm:managed-instance/mi-1"]),
        (
            "application-autoscaling",
            "PutScalingPolicy",
            r#"{"ServiceNamespace":"ecs","ResourceId":"service/default/web"}"#,
            &["application-autoscaling:PutScalingPolicy application-autoscaling:scalable-target/*"],
        ),
        (
            "application-autoscaling",
            "DescribeScalableTargets",
            r#"{"ServiceNamespace":"ecs"}"#,
            &["application-autoscaling:DescribeScalableTargets *"],
        ),
        (
            "application-autoscaling",
            "TagResource",
            r#"{"ResourceARN":"arn:aws:application-autoscaling:us-east-1:111122223333:scalable-target/1","Tags":{}}"#,
            &["application-autoscaling:TagResource application-autoscaling:scalable-target/1"],
        ),
        ("ecs", "DescribeClusters", "{}", &["ecs:DescribeClusters ecs:cluster/default"]),
        (
            "ecs",
            "DescribeClusters",
            r#"{"clusters":["a","arn:aws:ecs:us-east-1:111122223333:cluster/b"]}"#,
            &["ecs:DescribeClusters ecs:cluster/a", "ecs:DescribeClusters ecs:cluster/b"],
        ),
        (
            "ecs",
            "CreateCluster",
            r#"{"clusterName":"a","tags":[{"key":"k","value":"v"}]}"#,
            &["ecs:CreateCluster ecs:cluster/a", "ecs:TagResource ecs:cluster/a"],
        ),
        (
            "ecs",
            "DescribeServices",
            r#"{"cluster":"prod","services":["web"]}"#,
            &["ecs:DescribeServices ecs:service/prod/web"],
        ),
        (
            "ecs",
            "UpdateService",
            r#"{"service":"arn:aws:ecs:us-east-1:111122223333:service/other/web"}"#,
            &["ecs:UpdateService ecs:service/default/web", "ecs:UpdateService ecs:service/other/web"],
        ),
        ("ecs", "StopTask", r#"{"cluster":"prod","task":"0123"}"#, &["ecs:StopTask ecs:task/prod/0123"]),
        ("ecs", "DescribeTasks", r#"{"tasks":[]}"#, &["ecs:DescribeTasks ecs:task/default/*"]),
        (
            "ecs",
            "RunTask",
            r#"{"taskDefinition":"web"}"#,
            &["ecs:RunTask ecs:task-definition/web:3", "iam:PassRole role/app"],
        ),
        (
            "ecs",
            "RunTask",
            r#"{"taskDefinition":"none","overrides":{"taskRoleArn":"deployer"}}"#,
            &["ecs:RunTask ecs:task-definition/none", "iam:PassRole role/teams/deployer"],
        ),
        (
            "ecs",
            "StartTask",
            r#"{"taskDefinition":"none","tags":[{"key":"k"}]}"#,
            &["ecs:StartTask ecs:task-definition/none", "ecs:TagResource ecs:task/default/*"],
        ),
        (
            "ecs",
            "RegisterTaskDefinition",
            r#"{"family":"web","taskRoleArn":"arn:aws:iam::111122223333:role/x","executionRoleArn":"y"}"#,
            &["ecs:RegisterTaskDefinition ecs:task-definition/web:*", "iam:PassRole role/x", "iam:PassRole role/y"],
        ),
        (
            "ecs",
            "CreateService",
            r#"{"serviceName":"web","taskDefinition":"web:3"}"#,
            &["ecs:CreateService ecs:service/default/web", "iam:PassRole role/app"],
        ),
        (
            "ecs",
            "ExecuteCommand",
            r#"{"task":"0123","container":"c"}"#,
            &["ecs:ExecuteCommand ecs:task/default/0123", "ecs:ExecuteCommand ecs:cluster/default"],
        ),
        (
            "ecs",
            "DescribeServiceRevisions",
            r#"{"serviceRevisionArns":["arn:aws:ecs:us-east-1:111122223333:service-revision/c/s/9"]}"#,
            &[
                "ecs:DescribeServiceRevisions ecs:service-revision/c/s/9",
                "ecs:DescribeServiceRevisions ecs:service/c/s",
            ],
        ),
        (
            "ecs",
            "CreateDaemon",
            r#"{"daemonName":"agent","clusterArn":"c","daemonTaskDefinitionArn":"agent:1","tags":[{"key":"k"}]}"#,
            &["ecs:CreateDaemon ecs:daemon/c/agent", "ecs:TagResource ecs:daemon/c/agent", "iam:PassRole role/app"],
        ),
        (
            "ecs",
            "UpdateDaemon",
            r#"{"daemonArn":"arn:aws:ecs:us-east-1:111122223333:daemon/c/agent","daemonTaskDefinitionArn":"agent:1"}"#,
            &["ecs:UpdateDaemon ecs:daemon/c/agent", "iam:PassRole role/app"],
        ),
        // Without what it should name, a call needs its action on everything.
        ("ecs", "DescribeServices", r#"{"services":[]}"#, &["ecs:DescribeServices *"]),
        ("ecs", "StopTask", "not json", &["ecs:StopTask *"]),
        (
            "logs",
            "PutLogEvents",
            r#"{"logGroupName":"g","logStreamName":"s","logEvents":[{"message":1}]}"#,
            &["logs:PutLogEvents logs:log-group:g:log-stream:s"],
        ),
        (
            "events",
            "PutRule",
            r#"{"Name":"r","RoleArn":"arn:aws:iam::111122223333:role/x"}"#,
            &["events:PutRule events:rule/r", "iam:PassRole role/x"],
        ),
        ("events", "DescribeRule", r#"{"Name":"r","EventBusName":"b"}"#, &["events:DescribeRule events:rule/b/r"]),
        (
            "events",
            "DeleteRule",
            r#"{"Name":"r","EventBusName":"arn:aws:events:us-east-1:111122223333:event-bus/default"}"#,
            &["events:DeleteRule events:rule/r"],
        ),
        (
            "events",
            "PutTargets",
            r#"{"Rule":"r","Targets":[{"Id":"1","Arn":"a","RoleArn":"arn:aws:iam::111122223333:role/x"}]}"#,
            &["events:PutTargets events:rule/r", "iam:PassRole role/x"],
        ),
        (
            "events",
            "PutEvents",
            r#"{"Entries":[{"Source":"s"},{"EventBusName":"b"}]}"#,
            &["events:PutEvents events:event-bus/default", "events:PutEvents events:event-bus/b"],
        ),
        ("events", "ListRules", "{}", &["events:ListRules *"]),
        ("events", "CreateEventBus", r#"{"Name":"b"}"#, &["events:CreateEventBus events:event-bus/b"]),
        (
            "logs",
            "FilterLogEvents",
            r#"{"logGroupIdentifier":"arn:aws:logs:us-east-1:111122223333:log-group:g:*"}"#,
            &["logs:FilterLogEvents logs:log-group:g:* or logs:log-group:g"],
        ),
        // Whatever partition a request writes, the policies see the resource that it means.
        (
            "logs",
            "FilterLogEvents",
            r#"{"logGroupIdentifier":"arn:x:logs:us-east-1:111122223333:log-group:g"}"#,
            &["logs:FilterLogEvents logs:log-group:g:* or logs:log-group:g"],
        ),
        (
            "ecs",
            "RegisterTaskDefinition",
            r#"{"family":"web","taskRoleArn":"arn:x:iam::111122223333:role/admin"}"#,
            &["ecs:RegisterTaskDefinition ecs:task-definition/web:*", "iam:PassRole role/admin"],
        ),
        (
            "logs",
            "StartQuery",
            r#"{"logGroupNames":["a","b"]}"#,
            &[
                "logs:StartQuery logs:log-group:a:* or logs:log-group:a",
                "logs:StartQuery logs:log-group:b:* or logs:log-group:b",
            ],
        ),
        ("iam", "GetRole", "RoleName=deployer", &["iam:GetRole role/teams/deployer"]),
        ("iam", "CreateRole", "RoleName=x&Path=/a/", &["iam:CreateRole role/a/x"]),
        ("iam", "AttachRolePolicy", "RoleName=x&PolicyArn=arn:aws:iam::aws:policy/P", &["iam:AttachRolePolicy role/x"]),
        ("iam", "GetPolicy", "PolicyArn=arn:aws:iam::aws:policy/P", &["iam:GetPolicy iam::aws:policy/P"]),
        ("iam", "CreateAccessKey", "", &["iam:CreateAccessKey user/ann"]),
        ("iam", "CreateAccessKey", "UserName=bob", &["iam:CreateAccessKey user/bob"]),
        ("iam", "AddUserToGroup", "UserName=bob&GroupName=g", &["iam:AddUserToGroup group/g"]),
        (
            "iam",
            "AddRoleToInstanceProfile",
            "RoleName=r&InstanceProfileName=p",
            &["iam:AddRoleToInstanceProfile instance-profile/p", "iam:PassRole role/r"],
        ),
        ("iam", "ListRoles", "", &["iam:ListRoles *"]),
        (
            "iam",
            "CreateOpenIDConnectProvider",
            "Url=https%3A%2F%2Fid.example%2Fa",
            &["iam:CreateOpenIDConnectProvider oidc-provider/id.example/a"],
        ),
        ("iam", "CreateOpenIDConnectProvider", "Url=ftp", &["iam:CreateOpenIDConnectProvider oidc-provider/"]),
        (
            "iam",
            "TagOpenIDConnectProvider",
            "OpenIDConnectProviderArn=arn:aws:iam::111122223333:oidc-provider/id.example",
            &["iam:TagOpenIDConnectProvider oidc-provider/id.example"],
        ),
        ("iam", "ListOpenIDConnectProviders", "", &["iam:ListOpenIDConnectProviders *"]),
        ("sts", "AssumeRoleWithWebIdentity", "RoleArn=x", &[]),
        ("sts", "GetAccessKeyInfo", "AccessKeyId=x", &["sts:GetAccessKeyInfo *"]),
        ("sts", "AssumeRole", "RoleArn=x", &[]),
    ];
    for (service, operation, input, expected) in table {
        assert_eq!(needs(service, operation, input), *expected, "{operation} {input}");
    }
}

#[test]
fn every_operation_needs_a_permission() {
    let free = ["AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"];
    for service in ["application-autoscaling", "ecs", "events", "logs", "iam", "sts"] {
        for operation in info(service).operations {
            let checks = needs(service, operation.name, "{}");
            assert_eq!(checks.is_empty(), service == "sts" && free.contains(&operation.name), "{}", operation.name);
        }
    }
}

#[test]
fn the_table_of_ecs_names_every_operation() {
    let (caller, fields) = (user(), Fields::read(Input::Json(b"{}"), &[]));
    for operation in gantry_api::ecs::OPERATIONS {
        let call = Call { caller: &caller, operation: operation.name, fields: &fields, facts: &NoFacts };
        assert!(ecs::checks(&call).is_some(), "access/ecs.rs does not say what {} needs", operation.name);
    }
}

/// A user with one policy.
struct Ann(PrincipalPolicies);

impl Principals for Ann {
    fn authority(&self, caller: &Caller) -> Arc<Authority> {
        let identity = Identity::User { arn: caller.principal_arn.clone(), id: "AIDA".into() };
        Arc::new(Authority { principal: Principal::new(identity), policies: self.0.clone() })
    }
}

fn call(policy: &str, service: &str, operation: &str, input: &str) -> Result<(), String> {
    let document = Arc::new(Document::parse(policy, Kind::Identity).unwrap());
    let ann = Ann(PrincipalPolicies { identity: vec![document], ..PrincipalPolicies::default() });
    let access = Access { principals: &ann, facts: &World };
    let form = Form::parse(input.as_bytes()).unwrap();
    let input = if info(service).query { Input::Query(&form) } else { Input::Json(input.as_bytes()) };
    access
        .authorize(&user(), info(service), operation, input)
        .map_err(|fault| format!("{} {} {}", fault.code, fault.status, fault.message))
}

#[test]
fn conditions_see_tags_of_the_resource_and_of_the_request() {
    let by_resource = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecs:*","Resource":"*",
        "Condition":{"StringEquals":{"aws:ResourceTag/team":"a"}}}}"#;
    assert_eq!(call(by_resource, "ecs", "DeleteService", r#"{"cluster":"prod","service":"web"}"#), Ok(()));
    assert!(call(by_resource, "ecs", "DeleteService", r#"{"cluster":"prod","service":"api"}"#).is_err());
    let by_request = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecs:*","Resource":"*",
        "Condition":{"StringEquals":{"aws:RequestTag/team":"a"}}}}"#;
    assert_eq!(call(by_request, "ecs", "CreateCluster", r#"{"tags":[{"key":"team","value":"a"}]}"#), Ok(()));
    assert!(call(by_request, "ecs", "CreateCluster", r#"{"tags":[{"key":"team","value":"b"}]}"#).is_err());
}

#[test]
fn a_role_is_passed_only_to_whom_the_policy_says() {
    let policy = |service: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"ecs:RunTask","Resource":"*"}},
            {{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{{"StringEquals":{{"iam:PassedToService":"{service}"}}}}}}]}}"#
        )
    };
    let run = r#"{"taskDefinition":"web"}"#;
    assert_eq!(call(&policy("ecs-tasks.amazonaws.com"), "ecs", "RunTask", run), Ok(()));
    assert_eq!(
        call(&policy("ec2.amazonaws.com"), "ecs", "RunTask", run).unwrap_err(),
        "AccessDeniedException 400 User: arn:aws:iam::111122223333:user/ann is not authorized to perform: iam:PassRole on \
         resource: arn:aws:iam::111122223333:role/app because no identity-based policy allows the iam:PassRole action"
    );
}

#[test]
fn one_of_several_resources_that_is_denied_denies_the_call() {
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
        {"Effect":"Deny","Action":"logs:*","Resource":"arn:aws:logs:*:*:log-group:secret"},
        {"Effect":"Deny","Action":"ecs:*","Resource":"arn:aws:ecs:*:*:service/prod/db"}]}"#;
    assert_eq!(call(policy, "ecs", "DescribeServices", r#"{"cluster":"prod","services":["web"]}"#), Ok(()));
    assert!(call(policy, "ecs", "DescribeServices", r#"{"cluster":"prod","services":["web","db"]}"#).is_err());
    assert_eq!(call(policy, "logs", "DescribeLogStreams", r#"{"logGroupName":"open"}"#), Ok(()));
    assert!(call(policy, "logs", "DescribeLogStreams", r#"{"logGroupName":"secret"}"#).is_err());
    assert!(call(policy, "iam", "ListRoles", "").is_ok());
}

#[test]
fn the_boundary_of_a_call_that_names_none_is_that_of_whom_it_changes() {
    let when = |boundary: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"iam:*","Resource":"*",
            "Condition":{{"StringEquals":{{"iam:PermissionsBoundary":"{boundary}"}}}}}}}}"#
        )
    };
    for (operation, input, boundary) in [
        ("AttachRolePolicy", "RoleName=bounded&PolicyArn=p", Some("boundary-of-role")),
        ("PutUserPolicy", "UserName=bounded&PolicyName=p", Some("boundary-of-user")),
        ("DeleteRolePermissionsBoundary", "RoleName=bounded", Some("boundary-of-role")),
        ("DetachRolePolicy", "RoleName=free&PolicyArn=p", None),
        ("PutRolePermissionsBoundary", "RoleName=bounded&PermissionsBoundary=new", Some("new")),
        ("CreateRole", "RoleName=bounded", None),
        ("DeleteRole", "RoleName=bounded", None),
        ("AttachGroupPolicy", "GroupName=bounded&PolicyArn=p", None),
    ] {
        for asked in ["boundary-of-role", "boundary-of-user", "new"] {
            let allowed = call(&when(asked), "iam", operation, input).is_ok();
            assert_eq!(allowed, boundary == Some(asked), "{operation} {input} under {asked}");
        }
    }
}

#[test]
fn a_member_that_the_operation_does_not_have_changes_nothing() {
    let own = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":[
        "arn:aws:iam::111122223333:policy/mine","arn:aws:iam::111122223333:instance-profile/mine",
        "arn:aws:iam::111122223333:oidc-provider/mine"]}}"#;
    for further in [
        "PolicyArn=arn:aws:iam::111122223333:policy/mine",
        "InstanceProfileName=mine",
        "OpenIDConnectProviderArn=arn:aws:iam::111122223333:oidc-provider/mine",
    ] {
        assert!(call(own, "iam", "DeleteRole", &format!("RoleName=admin&{further}")).is_err(), "{further}");
        assert!(call(own, "iam", "ListUsers", further).is_err(), "{further}");
    }
    let when = |key: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":"*",
            "Condition":{{"StringEquals":{{"{key}":"b"}}}}}}}}"#
        )
    };
    for (key, operation, input, allowed) in [
        ("iam:PermissionsBoundary", "CreateUser", "UserName=x&PermissionsBoundary=b", true),
        ("iam:PermissionsBoundary", "PutUserPolicy", "UserName=x&PermissionsBoundary=b", false),
        ("aws:RequestTag/a", "CreateUser", "UserName=x&Tags.member.1.Key=a&Tags.member.1.Value=b", true),
        ("aws:RequestTag/a", "DeleteUser", "UserName=x&Tags.member.1.Key=a&Tags.member.1.Value=b", false),
    ] {
        assert_eq!(call(&when(key), "iam", operation, input).is_ok(), allowed, "{operation} {input}");
    }
    let tagged = when("aws:RequestTag/a");
    assert!(call(&tagged, "ecs", "CreateCluster", r#"{"tags":[{"key":"a","value":"b"}]}"#).is_ok());
    assert!(call(&tagged, "ecs", "DeleteCluster", r#"{"cluster":"c","tags":[{"key":"a","value":"b"}]}"#).is_err());
}
