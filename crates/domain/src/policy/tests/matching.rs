//! Actions, resources, variables and principals.

use super::*;

#[test]
fn actions() {
    for (pattern, action, expected) in [
        ("*", "ecr:PutImage", true),
        ("ecr:*", "ecr:PutImage", true),
        ("ecr:*", "ecs:RunTask", false),
        ("ecr:*", "ecr-public:PutImage", false),
        ("ecr:PutImage", "ecr:PutImage", true),
        ("ECR:putimage", "ecr:PutImage", true),
        ("ecr:putimage", "ECR:PUTIMAGE", true),
        ("ecr:Put*", "ecr:PutImage", true),
        ("ecr:Put*", "ecr:PutImageTagMutability", true),
        ("ecr:*Image", "ecr:PutImage", true),
        ("ecr:*Image", "ecr:PutImageTagMutability", false),
        ("ecr:?utImage", "ecr:PutImage", true),
        ("ecr:?utImage", "ecr:utImage", false),
        ("ecr:Put", "ecr:PutImage", false),
        ("ecr:*Layer*", "ecr:UploadLayerPart", true),
        ("ecr:Batch*Image", "ecr:BatchGetImage", true),
        ("ecr:Batch*Image", "ecr:BatchGetImages", false),
    ] {
        let plain = format!(r#"{{"Effect":"Allow","Action":"{pattern}","Resource":"*"}}"#);
        assert_eq!(allowed(&plain, action, REPOSITORY, &Context::default()), expected, "{pattern} {action}");
        let not = format!(r#"{{"Effect":"Allow","NotAction":["{pattern}"],"Resource":"*"}}"#);
        assert_eq!(allowed(&not, action, REPOSITORY, &Context::default()), !expected, "not {pattern} {action}");
    }
    let several = r#"{"Effect":"Allow","NotAction":["ecr:*","ecs:RunTask"],"Resource":"*"}"#;
    for (action, expected) in [("ecr:PutImage", false), ("ecs:RunTask", false), ("ecs:StopTask", true)] {
        assert_eq!(allowed(several, action, "*", &Context::default()), expected, "{action}");
    }
}

#[test]
fn resources() {
    for (pattern, resource, expected) in [
        ("*", REPOSITORY, true),
        ("*", "*", true),
        ("**", "*", true),
        (REPOSITORY, "*", false),
        ("arn:aws:ecr:*:*:*", "*", false),
        (REPOSITORY, REPOSITORY, true),
        ("arn:aws:ecr:us-east-1:111122223333:repository/*", REPOSITORY, true),
        ("arn:aws:ecr:us-east-1:111122223333:repository/team", REPOSITORY, false),
        ("arn:aws:ecr:us-east-1:111122223333:repository/team/*", REPOSITORY, true),
        ("arn:aws:ecr:us-east-1:111122223333:repository/*/web", REPOSITORY, true),
        ("arn:aws:ecr:us-east-1:111122223333:repository/team/we?", REPOSITORY, true),
        ("arn:aws:ecr:us-east-1:111122223333:repository/TEAM/web", REPOSITORY, false),
        ("arn:aws:ecr:us-east-1:111122223333:*", REPOSITORY, true),
        ("arn:aws:ecr:*:111122223333:repository/team/web", REPOSITORY, true),
        ("arn:aws:ecr:us-*-1:*:repository/team/web", REPOSITORY, true),
        ("arn:*:ecr:us-east-1:111122223333:repository/team/web", REPOSITORY, true),
        ("arn:aws-cn:ecr:us-east-1:111122223333:repository/team/web", REPOSITORY, false),
        ("arn:aws:ecr:eu-west-1:111122223333:repository/team/web", REPOSITORY, false),
        ("arn:aws:ecr:us-east-1:444455556666:repository/team/web", REPOSITORY, false),
        ("arn:aws:ecr::111122223333:repository/team/web", REPOSITORY, false),
        ("arn:aws:ecs:us-east-1:111122223333:*", REPOSITORY, false),
        // A wildcard of one part stays in that part.
        ("arn:aws:ecr:us*3333:111122223333:repository/team/web", REPOSITORY, false),
        ("arn:aws:ecs:*:*:task-definition/web", "arn:aws:ecs:us-east-1:1:task-definition/web:3", false),
        ("arn:aws:ecs:*:*:task-definition/web:*", "arn:aws:ecs:us-east-1:1:task-definition/web:3", true),
        ("arn:aws:ecs:*:*:task-definition/web*", "arn:aws:ecs:us-east-1:1:task-definition/web:3", true),
        ("arn:aws:iam::111122223333:role/*", "arn:aws:iam::111122223333:role/path/app", true),
    ] {
        let plain = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{pattern}"}}"#);
        assert_eq!(allowed(&plain, "ecr:Get", resource, &Context::default()), expected, "{pattern} {resource}");
        let not = format!(r#"{{"Effect":"Allow","Action":"*","NotResource":"{pattern}"}}"#);
        assert_eq!(allowed(&not, "ecr:Get", resource, &Context::default()), !expected, "not {pattern} {resource}");
    }
}

#[test]
fn variables() {
    let context = Context::default()
        .with("t:stage", "prod")
        .with("t:star", "*")
        .with("t:set", "a")
        .with("t:set", "b")
        .with("t:repository", "team/web");
    let arn = |resource: &str| format!("arn:aws:ecr:us-east-1:111122223333:repository/{resource}");
    for (pattern, resource, expected) in [
        ("${aws:username}", "ann", true),
        ("${aws:UserName}", "ann", true),
        ("${aws:username}/*", "ann/web", true),
        ("${aws:username}/*", "bob/web", false),
        ("${aws:PrincipalTag/Team}-*", "web-1", true),
        ("${aws:PrincipalTag/team}-*", "web-1", true),
        ("${t:stage}/${aws:username}", "prod/ann", true),
        ("${t:repository}", "team/web", true),
        ("${t:none}", "", false),
        ("${t:none}", "${t:none}", false),
        ("${t:none, 'shared'}", "shared", true),
        ("${t:none,'shared'}/*", "shared/x", true),
        ("${t:none, 'a}b'}", "a}b", true),
        ("${t:stage, 'dev'}", "dev", false),
        ("${t:stage, 'dev'}", "prod", true),
        ("${t:set}", "a", false),
        ("${t:set, 'x'}", "x", true),
        // What a variable stands for is text, never a pattern.
        ("${t:star}", "anything", false),
        ("${t:star}", "*", true),
        ("a${*}", "a*", true),
        ("a${*}", "ab", false),
        ("a${?}", "a?", true),
        ("a${?}", "ab", false),
        ("${$}{x}", "${x}", true),
    ] {
        let statement = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{}"}}"#, arn(pattern));
        assert_eq!(allowed(&statement, "ecr:Get", &arn(resource), &context), expected, "{pattern} {resource}");
    }
    for (operator, key, value, expected) in [
        ("StringEquals", "t:stage", "${t:stage}", true),
        ("StringEquals", "t:star", "${t:star}", true),
        ("StringEquals", "t:stage", "${t:none}", false),
        ("StringNotEquals", "t:stage", "${t:none}", true),
        ("StringEquals", "t:stage", "${t:none, 'prod'}", true),
        ("StringEquals", "t:stage", "${*}", false),
        ("StringEquals", "t:star", "${*}", true),
        ("StringEqualsIgnoreCase", "t:stage", "${t:none, 'PROD'}", true),
        ("StringLike", "t:repository", "team/${t:none, '*'}", false),
        ("StringLike", "t:repository", "team/*${t:none, 'eb'}", true),
        ("Bool", "aws:ViaAWSService", "${aws:PrincipalIsAWSService}", true),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::${aws:PrincipalAccount}:user/*", true),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::${aws:ResourceAccount, 'x:y'}:user/dev/${aws:username}", true),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::${t:none}:user/*", false),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::${t:none}:user/*", true),
    ] {
        let statement = format!(
            r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{"{operator}":{{"{key}":"{value}"}}}}}}"#
        );
        assert_eq!(allowed(&statement, "ecr:Get", "*", &context), expected, "{operator} {key} {value}");
    }
}

#[test]
fn before_2012_a_variable_is_text() {
    for version in [r#""Version":"2008-10-17","#, ""] {
        let text = format!(
            r#"{{{version}"Statement":{{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${{aws:username}}"}}}}"#
        );
        let own = PrincipalPolicies { identity: vec![parse(Kind::Identity, &text)], ..PrincipalPolicies::default() };
        let ask = |resource: &str| {
            evaluate(&request(&user(), "s3:Get", resource, &Context::default()), &Policies::of(&own)).is_allowed()
        };
        assert!(!ask("arn:aws:s3:::ann"));
        assert!(ask("arn:aws:s3:::${aws:username}"));
    }
}

#[test]
fn principals() {
    let user = user();
    let session = role_session(ACCOUNT);
    let root = Principal::root(ACCOUNT);
    let stranger = Principal::root(OTHER);
    let federated =
        Principal::new(Identity::FederatedUser { arn: format!("arn:aws:sts::{ACCOUNT}:federated-user/bob") });
    let service = Principal::new(Identity::Service { name: "ecs-tasks.amazonaws.com".into() });
    let provider = format!("arn:aws:iam::{ACCOUNT}:oidc-provider/idp.example.com/a");
    let web = Principal::new(Identity::WebIdentity { provider, subject: "me".into() });
    let nobody = Principal::new(Identity::Anonymous);
    let everyone = [&user, &session, &root, &stranger, &federated, &service, &web, &nobody];
    // Which of everyone, in that order, a Deny with this principal hits.
    for (principal, hit) in [
        (r#""*""#, "11111111"),
        (r#"{"AWS":"*"}"#, "11111111"),
        (r#"{"AWS":"111122223333"}"#, "11101000"),
        (r#"{"AWS":"arn:aws:iam::111122223333:root"}"#, "11101000"),
        (r#"{"AWS":"444455556666"}"#, "00010000"),
        (r#"{"AWS":["444455556666","111122223333"]}"#, "11111000"),
        (r#"{"AWS":"arn:aws:iam::111122223333:user/dev/ann"}"#, "10000000"),
        (r#"{"AWS":"arn:aws:iam::111122223333:user/ann"}"#, "00000000"),
        (r#"{"AWS":"AIDAANNANNANNANNANNAN"}"#, "10000000"),
        (r#"{"AWS":"arn:aws:iam::111122223333:role/ci/deploy"}"#, "01000000"),
        (r#"{"AWS":"arn:aws:iam::111122223333:role/deploy"}"#, "00000000"),
        (r#"{"AWS":"AROADEPLOYDEPLOYDEPLO"}"#, "01000000"),
        (r#"{"AWS":"arn:aws:sts::111122223333:assumed-role/deploy/ci"}"#, "01000000"),
        (r#"{"AWS":"arn:aws:sts::111122223333:assumed-role/deploy/other"}"#, "00000000"),
        (r#"{"AWS":"arn:aws:sts::111122223333:federated-user/bob"}"#, "00001000"),
        (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, "00000100"),
        (r#"{"Service":["ecs.amazonaws.com","ecs-tasks.amazonaws.com"],"AWS":"444455556666"}"#, "00010100"),
        (r#"{"Federated":"arn:aws:iam::111122223333:oidc-provider/idp.example.com/a"}"#, "00000010"),
        (r#"{"Federated":"idp.example.com/a"}"#, "00000010"),
        (r#"{"Federated":"idp.example.com"}"#, "00000000"),
    ] {
        check_hits(&format!(r#""Principal":{principal}"#), hit, &everyone);
    }
    for (principal, hit) in [
        (r#"{"AWS":"*"}"#, "00000000"),
        (r#"{"AWS":"111122223333"}"#, "11011111"),
        (r#"{"AWS":"arn:aws:iam::111122223333:user/dev/ann"}"#, "11111111"),
        (r#"{"AWS":["111122223333","arn:aws:iam::111122223333:user/dev/ann"]}"#, "01011111"),
        (r#"{"AWS":["111122223333","arn:aws:iam::111122223333:role/ci/deploy"]}"#, "11011111"),
        (
            r#"{"AWS":["111122223333","arn:aws:iam::111122223333:role/ci/deploy",
                "arn:aws:sts::111122223333:assumed-role/deploy/ci"]}"#,
            "10011111",
        ),
        (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, "11111011"),
    ] {
        check_hits(&format!(r#""NotPrincipal":{principal}"#), hit, &everyone);
    }
}

fn check_hits(element: &str, expected: &str, everyone: &[&Principal]) {
    let text = format!(r#"{{"Statement":{{"Effect":"Deny",{element},"Action":"*"}}}}"#);
    let document = [parse(Kind::Implied, &text)];
    let own = PrincipalPolicies::default();
    let policies = Policies { principal: &own, resource: &document };
    let hits: String = everyone
        .iter()
        .map(|principal| {
            let decision = evaluate(&request(principal, "ecr:Get", REPOSITORY, &Context::default()), &policies);
            if matches!(decision, Decision::Deny(Denial { explicit: true, .. })) { '1' } else { '0' }
        })
        .collect();
    assert_eq!(hits, expected, "{element}");
}
