//! Operators: every one, with and without a value, with several, with prefix and suffix.

use super::*;

/// The request's values of the key `t:k`: none, one, or several parted by `|`.
fn holds(operator: &str, expected: &str, given: Option<&str>) -> bool {
    let mut context = Context::default();
    for value in given.into_iter().flat_map(|given| given.split('|')) {
        context.add("T:K", value);
    }
    let statement = format!(
        r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{"{operator}":{{"t:k":{expected}}}}}}}"#
    );
    allowed(&statement, "ecr:Get", "*", &context)
}

const NONE: Option<&str> = None;

#[test]
fn single_values() {
    let table: &[(&str, &str, Option<&str>, bool)] = &[
        ("StringEquals", r#""a""#, Some("a"), true),
        ("StringEquals", r#""a""#, Some("A"), false),
        ("StringEquals", r#""a*""#, Some("ab"), false),
        ("StringEquals", r#""a*""#, Some("a*"), true),
        ("StringEquals", r#"["a","b"]"#, Some("b"), true),
        ("StringEquals", r#"["a","b"]"#, Some("c"), false),
        ("StringEquals", "[]", Some("c"), false),
        ("StringEquals", r#""""#, Some(""), true),
        ("StringEquals", "true", Some("true"), true),
        ("StringEquals", "17", Some("17"), true),
        ("StringEquals", r#""a""#, NONE, false),
        ("StringNotEquals", r#""a""#, Some("a"), false),
        ("StringNotEquals", r#""a""#, Some("b"), true),
        ("StringNotEquals", r#"["a","b"]"#, Some("b"), false),
        ("StringNotEquals", r#"["a","b"]"#, Some("c"), true),
        ("StringNotEquals", "[]", Some("c"), true),
        ("StringNotEquals", r#""a""#, NONE, true),
        ("StringEqualsIgnoreCase", r#""Ab""#, Some("aB"), true),
        ("StringEqualsIgnoreCase", r#""É""#, Some("é"), true),
        ("StringEqualsIgnoreCase", r#""a*""#, Some("ab"), false),
        ("StringEqualsIgnoreCase", r#""a""#, NONE, false),
        ("StringNotEqualsIgnoreCase", r#""Ab""#, Some("aB"), false),
        ("StringNotEqualsIgnoreCase", r#""Ab""#, Some("b"), true),
        ("StringNotEqualsIgnoreCase", r#""Ab""#, NONE, true),
        ("StringLike", r#""a*c""#, Some("abbc"), true),
        ("StringLike", r#""a?c""#, Some("abbc"), false),
        ("StringLike", r#""a?c""#, Some("abc"), true),
        ("StringLike", r#""A*""#, Some("abc"), false),
        ("StringLike", r#""*""#, Some(""), true),
        ("StringLike", r#""*""#, NONE, false),
        ("StringNotLike", r#""a*""#, Some("abc"), false),
        ("StringNotLike", r#""a*""#, Some("b"), true),
        ("StringNotLike", r#"["a*","b*"]"#, Some("bc"), false),
        ("StringNotLike", r#""a*""#, NONE, true),
        ("NumericEquals", "10", Some("10.0"), true),
        ("NumericEquals", r#""10""#, Some("1e1"), true),
        ("NumericEquals", "10", Some("ten"), false),
        ("NumericEquals", "10", Some("inf"), false),
        ("NumericEquals", "10", NONE, false),
        ("NumericNotEquals", "10", Some("11"), true),
        ("NumericNotEquals", "10", Some("10"), false),
        ("NumericNotEquals", "10", Some("ten"), true),
        ("NumericNotEquals", "10", NONE, true),
        ("NumericLessThan", "10", Some("9.5"), true),
        ("NumericLessThan", "10", Some("10"), false),
        ("NumericLessThan", "-1", Some("-2"), true),
        ("NumericLessThanEquals", "10", Some("10"), true),
        ("NumericLessThanEquals", "10", Some("10.1"), false),
        ("NumericGreaterThan", "10", Some("10"), false),
        ("NumericGreaterThan", "10", Some("11"), true),
        ("NumericGreaterThan", "[10, 5]", Some("6"), true),
        ("NumericGreaterThanEquals", "10", Some("10"), true),
        ("NumericGreaterThanEquals", "10", Some("9"), false),
        ("NumericGreaterThanEquals", "10", NONE, false),
        ("DateEquals", r#""2024-02-29T12:34:56Z""#, Some("1709210096"), true),
        ("DateEquals", r#""2024-02-29T13:34:56+01:00""#, Some("2024-02-29T12:34:56Z"), true),
        ("DateEquals", "1709210096", Some("2024-02-29T12:34:56Z"), true),
        ("DateEquals", "1709210096", Some("never"), false),
        ("DateNotEquals", "1709210096", Some("1709210097"), true),
        ("DateNotEquals", "1709210096", Some("1709210096"), false),
        ("DateNotEquals", "1709210096", NONE, true),
        ("DateLessThan", r#""2024-03-01""#, Some("2024-02-29T23:59:59Z"), true),
        ("DateLessThan", r#""2024-03-01""#, Some("2024-03-01T00:00:00Z"), false),
        ("DateLessThanEquals", r#""2024-03-01""#, Some("2024-03-01T00:00:00Z"), true),
        ("DateGreaterThan", r#""2024-03-01""#, Some("2024-03-01T00:00:00Z"), false),
        ("DateGreaterThan", r#""2024-03-01""#, Some("2024-03-01T00:00:01Z"), true),
        ("DateGreaterThanEquals", r#""2024-03-01""#, Some("2024-03-01"), true),
        ("DateGreaterThanEquals", r#""2024-03-01""#, NONE, false),
        ("Bool", "true", Some("true"), true),
        ("Bool", r#""true""#, Some("false"), false),
        ("Bool", r#""False""#, Some("false"), true),
        ("Bool", "false", Some("maybe"), false),
        ("Bool", "false", NONE, false),
        ("BinaryEquals", r#""QmluYXJ5""#, Some("QmluYXJ5"), true),
        ("BinaryEquals", r#""QQ==""#, Some("QQ"), true),
        ("BinaryEquals", r#""QQ==""#, Some("Qg=="), false),
        ("BinaryEquals", r#""QQ==""#, Some("%"), false),
        ("IpAddress", r#""203.0.113.0/24""#, Some("203.0.113.77"), true),
        ("IpAddress", r#""203.0.113.9/24""#, Some("203.0.113.77"), true),
        ("IpAddress", r#""203.0.113.0/24""#, Some("203.0.114.1"), false),
        ("IpAddress", r#""203.0.113.7""#, Some("203.0.113.7"), true),
        ("IpAddress", r#""203.0.113.7""#, Some("203.0.113.8"), false),
        ("IpAddress", r#""0.0.0.0/0""#, Some("9.9.9.9"), true),
        ("IpAddress", r#""0.0.0.0/0""#, Some("2001:db8::1"), false),
        ("IpAddress", r#""10.0.0.0/8""#, Some("::ffff:10.1.2.3"), true),
        ("IpAddress", r#""2001:db8::/32""#, Some("2001:db8:1::9"), true),
        ("IpAddress", r#""2001:db8::/32""#, Some("2001:db9::9"), false),
        ("IpAddress", r#""::1""#, Some("::1"), true),
        ("IpAddress", r#"["10.0.0.0/8","192.168.0.0/16"]"#, Some("192.168.1.1"), true),
        ("IpAddress", r#""10.0.0.0/8""#, Some("localhost"), false),
        ("IpAddress", r#""10.0.0.0/8""#, NONE, false),
        ("NotIpAddress", r#""10.0.0.0/8""#, Some("10.1.1.1"), false),
        ("NotIpAddress", r#""10.0.0.0/8""#, Some("11.1.1.1"), true),
        ("NotIpAddress", r#"["10.0.0.0/8","11.0.0.0/8"]"#, Some("11.1.1.1"), false),
        ("NotIpAddress", r#""10.0.0.0/8""#, Some("localhost"), true),
        ("NotIpAddress", r#""10.0.0.0/8""#, NONE, true),
        ("ArnEquals", r#""arn:aws:iam::111122223333:role/*""#, Some("arn:aws:iam::111122223333:role/a/b"), true),
        ("ArnLike", r#""arn:aws:iam::111122223333:role/*""#, Some("arn:aws:iam::111122223333:user/a"), false),
        ("ArnLike", r#""arn:*:sns:*:*:topic?""#, Some("arn:aws-cn:sns:cn-north-1:111122223333:topic1"), true),
        ("ArnLike", r#""arn:aws:sns:*""#, Some("arn:aws:sns:us-east-1:111122223333:topic"), false),
        ("ArnLike", r#""arn:aws:*:*:a""#, Some("arn:aws:sns:us-east-1:x:a"), false),
        ("ArnLike", r#""arn:aws:logs:*:*:log-group:*""#, Some("arn:aws:logs:us-east-1:1:log-group:/a:b:c"), true),
        ("ArnLike", r#""*""#, Some("arn:aws:sns:us-east-1:111122223333:topic"), false),
        ("ArnLike", r#""arn:aws:s3:::b""#, Some("b"), false),
        ("ArnLike", r#""arn:aws:s3:::b""#, NONE, false),
        ("ArnNotEquals", r#""arn:aws:s3:::b""#, Some("arn:aws:s3:::b"), false),
        ("ArnNotLike", r#""arn:aws:s3:::b*""#, Some("arn:aws:s3:::c"), true),
        ("ArnNotLike", r#""arn:aws:s3:::b*""#, Some("c"), true),
        ("ArnNotLike", r#""arn:aws:s3:::b*""#, NONE, true),
        ("Null", "true", NONE, true),
        ("Null", r#""true""#, Some("x"), false),
        ("Null", "false", Some("x"), true),
        ("Null", r#""false""#, NONE, false),
        ("Null", r#"["true","false"]"#, NONE, true),
    ];
    for (operator, expected, given, result) in table {
        assert_eq!(holds(operator, expected, *given), *result, "{operator} {expected} {given:?}");
        // With a value, IfExists changes nothing; without one it holds.
        if *operator != "Null" {
            let result = given.is_none() || *result;
            assert_eq!(holds(&format!("{operator}IfExists"), expected, *given), result, "{operator}IfExists {given:?}");
            // One value is a set of one.
            if given.is_some() {
                for prefix in ["ForAllValues", "ForAnyValue"] {
                    let operator = format!("{prefix}:{operator}");
                    assert_eq!(holds(&operator, expected, *given), result, "{operator} {expected} {given:?}");
                }
            }
        }
    }
}

#[test]
fn sets_of_values() {
    let table: &[(&str, &str, Option<&str>, bool)] = &[
        ("ForAllValues:StringEquals", r#"["a","b"]"#, Some("a|b"), true),
        ("ForAllValues:StringEquals", r#"["a","b"]"#, Some("a"), true),
        ("ForAllValues:StringEquals", r#"["a","b"]"#, Some("a|c"), false),
        ("ForAllValues:StringEquals", r#"["a","b"]"#, NONE, true),
        ("ForAllValues:StringNotEquals", r#"["a","b"]"#, Some("c|d"), true),
        ("ForAllValues:StringNotEquals", r#"["a","b"]"#, Some("a|d"), false),
        ("ForAllValues:StringNotEquals", r#"["a","b"]"#, NONE, true),
        ("ForAllValues:StringLike", r#""te*""#, Some("team|test"), true),
        ("ForAllValues:StringEqualsIfExists", r#""a""#, NONE, true),
        ("ForAllValues:NumericLessThan", "5", Some("1|4"), true),
        ("ForAllValues:NumericLessThan", "5", Some("1|6"), false),
        ("ForAllValues:ArnLike", r#""arn:aws:s3:::*""#, Some("arn:aws:s3:::a|b"), false),
        ("ForAnyValue:StringEquals", r#"["a","b"]"#, Some("c|b"), true),
        ("ForAnyValue:StringEquals", r#"["a","b"]"#, Some("c|d"), false),
        ("ForAnyValue:StringEquals", r#"["a","b"]"#, NONE, false),
        ("ForAnyValue:StringEqualsIfExists", r#""a""#, NONE, true),
        ("ForAnyValue:StringNotEquals", r#"["a","b"]"#, Some("a|c"), true),
        ("ForAnyValue:StringNotEquals", r#"["a","b"]"#, Some("a|b"), false),
        ("ForAnyValue:StringNotEquals", r#"["a","b"]"#, NONE, false),
        ("ForAnyValue:IpAddress", r#""10.0.0.0/8""#, Some("9.9.9.9|10.0.0.1"), true),
        ("ForAnyValue:Bool", "true", Some("false|true"), true),
        ("StringEquals", r#""a""#, Some("a|b"), true),
        ("StringEquals", r#""a""#, Some("b|c"), false),
        ("StringNotEquals", r#""a""#, Some("a|b"), true),
        ("StringNotEquals", r#""a""#, Some("a|a"), false),
        ("Null", "false", Some("a|b"), true),
    ];
    for (operator, expected, given, result) in table {
        assert_eq!(holds(operator, expected, *given), *result, "{operator} {expected} {given:?}");
    }
}

#[test]
fn every_operator_and_every_key_must_hold() {
    let context = Context::default().with("t:a", "1").with("t:b", "2");
    for (condition, expected) in [
        (r#"{}"#, true),
        (r#"{"StringEquals":{}}"#, true),
        (r#"{"StringEquals":{"t:a":"1","t:b":"2"}}"#, true),
        (r#"{"StringEquals":{"t:a":"1","t:b":"3"}}"#, false),
        (r#"{"StringEquals":{"t:a":"1"},"StringLike":{"t:b":"*"}}"#, true),
        (r#"{"StringEquals":{"t:a":"1"},"StringNotLike":{"t:b":"*"}}"#, false),
        (r#"{"StringEquals":{"T:A":"1"}}"#, true),
    ] {
        let statement = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#);
        assert_eq!(allowed(&statement, "ecr:Get", "*", &context), expected, "{condition}");
    }
}

#[test]
fn keys_that_follow_from_the_request() {
    let context = Context::default()
        .with("aws:PrincipalArn", "arn:aws:iam::111122223333:root")
        .with("aws:PrincipalAccount", OTHER)
        .with("aws:ResourceTag/Stage", "prod")
        .with("aws:TagKeys", "a")
        .with("aws:TagKeys", "b");
    let user = user();
    let session = role_session(ACCOUNT);
    let root = Principal::root(ACCOUNT);
    let service = Principal::new(Identity::Service { name: "ecs-tasks.amazonaws.com".into() });
    let federated =
        Principal::new(Identity::FederatedUser { arn: format!("arn:aws:sts::{ACCOUNT}:federated-user/bob") });
    for (principal, operator, key, value, expected) in [
        (&user, "ArnEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:user/dev/ann", true),
        (&user, "StringEquals", "aws:PrincipalAccount", ACCOUNT, true),
        (&user, "StringEquals", "aws:PrincipalAccount", OTHER, false),
        (&user, "StringEquals", "aws:PrincipalType", "User", true),
        (&user, "StringEquals", "aws:username", "ann", true),
        (&user, "StringEquals", "aws:userid", "AIDAANNANNANNANNANNAN", true),
        (&user, "StringEquals", "aws:principaltag/TEAM", "web", true),
        (&user, "Null", "aws:PrincipalTag/other", "true", true),
        (&user, "StringEquals", "aws:ResourceAccount", ACCOUNT, true),
        (&user, "DateGreaterThan", "aws:CurrentTime", "2024-02-29T12:34:55Z", true),
        (&user, "DateGreaterThan", "aws:CurrentTime", "2024-02-29T12:34:56Z", false),
        (&user, "NumericEquals", "aws:EpochTime", "1709210096", true),
        (&user, "DateEquals", "aws:EpochTime", "2024-02-29T12:34:56Z", true),
        (&user, "Bool", "aws:ViaAWSService", "false", true),
        (&user, "Bool", "aws:PrincipalIsAWSService", "false", true),
        (&user, "Null", "aws:PrincipalServiceName", "true", true),
        (&user, "StringEquals", "AWS:ResourceTag/stage", "prod", true),
        (&user, "ForAllValues:StringEquals", "aws:TagKeys", "a", false),
        (&session, "ArnEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/ci/deploy", true),
        (&session, "StringEquals", "aws:PrincipalType", "AssumedRole", true),
        (&session, "StringEquals", "aws:userid", "AROADEPLOYDEPLOYDEPLO:ci", true),
        (&session, "Null", "aws:username", "true", true),
        (&root, "StringEquals", "aws:PrincipalType", "Account", true),
        (&root, "StringEquals", "aws:userid", ACCOUNT, true),
        (&root, "ArnEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:root", true),
        (&service, "Bool", "aws:PrincipalIsAWSService", "true", true),
        (&service, "StringEquals", "aws:PrincipalServiceName", "ecs-tasks.amazonaws.com", true),
        (&service, "Null", "aws:PrincipalArn", "true", true),
        (&federated, "StringEquals", "aws:userid", "111122223333:bob", true),
        (&federated, "StringEquals", "aws:PrincipalType", "FederatedUser", true),
    ] {
        let text = format!(
            r#"{{"Statement":{{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*",
               "Condition":{{"{operator}":{{"{key}":"{value}"}}}}}}}}"#
        );
        let document = [parse(Kind::Resource, &text)];
        let own = PrincipalPolicies::default();
        let policies = Policies { principal: &own, resource: &document };
        let decision = evaluate(&request(principal, "ecr:Get", REPOSITORY, &context), &policies);
        let denied = Decision::Deny(Denial { explicit: true, policy: PolicyType::Resource });
        assert_eq!(decision == denied, expected, "{operator} {key} {value} for {}", principal.arn());
    }
}
