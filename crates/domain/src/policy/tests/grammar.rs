//! What is a policy, and what is not.

use super::*;

const OK: &str = "";

fn check(kind: Kind, text: &str, expected: &str) {
    let result = Document::parse(text, kind).map_or_else(|error| error.to_string(), |_| String::new());
    let fits = if expected.is_empty() { result.is_empty() } else { result.contains(expected) };
    assert!(fits, "{kind:?} {text}\n  said: {result:?}\n  expected: {expected:?}");
}

/// Checks a whole document, and the message expected; none for what is fine.
#[test]
fn documents() {
    let s = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    for (text, expected) in [
        (format!(r#"{{"Statement":{s}}}"#), OK),
        (format!(r#"{{"Statement":[{s}]}}"#), OK),
        (format!(r#"{{"Statement":[{s},{s}]}}"#), OK),
        (format!(r#"{{"Version":"2012-10-17","Statement":{s}}}"#), OK),
        (format!(r#"{{"Version":"2008-10-17","Statement":{s}}}"#), OK),
        (format!(r#"{{"Version":"2013-10-17","Statement":{s}}}"#), r#"unknown Version "2013-10-17""#),
        (format!(r#"{{"Version":2012,"Statement":{s}}}"#), "Version must be a string"),
        (
            format!(r#"{{"Version":"2012-10-17","Version":"2012-10-17","Statement":{s}}}"#),
            r#""Version" is given twice"#,
        ),
        (format!(r#"{{"Id":"x","Statement":{s}}}"#), "Id does not belong"),
        (format!(r#"{{"statement":{s}}}"#), r#"unknown element "statement""#),
        (format!(r#"{{"Statement":{s},"Extra":1}}"#), r#"unknown element "Extra""#),
        (format!(r#"{{"Statement":{s}}} x"#), "not JSON"),
        (format!(r#"[{s}]"#), "must be an object"),
        (r#"{"Statement":[]}"#.into(), "Statement is empty"),
        (r#"{"Statement":"x"}"#.into(), "a statement must be an object"),
        (r#"{"Version":"2012-10-17"}"#.into(), "Statement is missing"),
        ("{}".into(), "Statement is missing"),
        ("".into(), "not JSON"),
        ("null".into(), "must be an object"),
        ("{".into(), "not JSON"),
        ("[".repeat(500), "not JSON"),
        (" ".repeat(128 * 1024 + 1), "longer than"),
    ] {
        check(Kind::Identity, &text, expected);
    }
    check(Kind::Implied, r#"{"Id":"x","Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}"#, OK);
    check(Kind::Trust, r#"{"Id":"x","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:*"}}"#, OK);
    let statements = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Allow"}]}"#;
    check(Kind::Identity, statements, "statement 2: Action is missing");
}

/// Statements of an identity policy.
#[test]
fn statements() {
    for (statement, expected) in [
        (r#""Effect":"Allow","Action":"*","Resource":"*""#, OK),
        (r#""Sid":"A1","Effect":"Deny","Action":["ecr:A","b:C*"],"Resource":["*","arn:aws:s3:::b"]"#, OK),
        (r#""Sid":"","Effect":"Allow","NotAction":"ecr:*","NotResource":"*""#, OK),
        (r#""Sid":"a b","Effect":"Allow","Action":"*","Resource":"*""#, r#"Sid "a b""#),
        (r#""Sid":1,"Effect":"Allow","Action":"*","Resource":"*""#, "Sid must be a string"),
        (r#""Action":"*","Resource":"*""#, "Effect is missing"),
        (r#""Effect":"allow","Action":"*","Resource":"*""#, "Effect must be"),
        (r#""Effect":"Permit","Action":"*","Resource":"*""#, "Effect must be"),
        (r#""effect":"Allow","Action":"*","Resource":"*""#, r#"unknown element "effect""#),
        (r#""Effect":"Allow","Resource":"*""#, "Action is missing"),
        (r#""Effect":"Allow","Action":[],"Resource":"*""#, "Action is empty"),
        (r#""Effect":"Allow","Action":"*","NotAction":"*","Resource":"*""#, "exclude each other"),
        (r#""Effect":"Allow","Action":"*","Action":"*","Resource":"*""#, r#""Action" is given twice"#),
        (r#""Effect":"Allow","Action":{"a":1},"Resource":"*""#, "Action must be a string"),
        (r#""Effect":"Allow","Action":[1],"Resource":"*""#, "Action must be a string"),
        (r#""Effect":"Allow","Action":null,"Resource":"*""#, "Action must be a string"),
        (r#""Effect":"Allow","Action":"","Resource":"*""#, "is not an action"),
        (r#""Effect":"Allow","Action":"PutImage","Resource":"*""#, r#""PutImage" is not an action"#),
        (r#""Effect":"Allow","Action":"e*:PutImage","Resource":"*""#, "is not an action"),
        (r#""Effect":"Allow","Action":"ecr:","Resource":"*""#, "is not an action"),
        (r#""Effect":"Allow","Action":":a","Resource":"*""#, "is not an action"),
        (r#""Effect":"Allow","Action":"ecr:Put Image","Resource":"*""#, "is not an action"),
        (r#""Effect":"Allow","Action":"ecr:a:b","Resource":"*""#, "is not an action"),
        (r#""Effect":"Allow","Action":"*""#, "Resource is missing"),
        (r#""Effect":"Allow","Action":"*","Resource":[]"#, "Resource is empty"),
        (r#""Effect":"Allow","Action":"*","Resource":"*","NotResource":"*""#, "exclude each other"),
        (r#""Effect":"Allow","Action":"*","Resource":"web""#, "neither an ARN"),
        (r#""Effect":"Allow","Action":"*","Resource":"""#, "neither an ARN"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:ecr""#, "neither an ARN"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:ecr:::""#, "neither an ARN"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:*:::x""#, "neither an ARN"),
        (r#""Effect":"Allow","Action":"*","Resource":"urn:aws:ecr:::x""#, "neither an ARN"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}""#, OK),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:s3::${a:b}:x""#, "last part"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username""#, "malformed variable"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${username}""#, "malformed variable"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${a:b,c}""#, "malformed variable"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${}""#, "malformed variable"),
        (r#""Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${a:${b:c}}""#, "malformed variable"),
        (r#""Effect":"Allow","Principal":"*","Action":"*","Resource":"*""#, "Principal does not belong"),
        (r#""Effect":"Allow","NotPrincipal":"*","Action":"*","Resource":"*""#, "Principal does not belong"),
        (r#""Effect":"Allow","Action":"*","Resource":"*","Condition":[]"#, "Condition must be an object"),
        (r#""Effect":"Allow","Action":"*","Resource":"*","Condition":null"#, "Condition must be an object"),
    ] {
        check(Kind::Identity, &format!(r#"{{"Version":"2012-10-17","Statement":{{{statement}}}}}"#), expected);
    }
    let twice = r#"{"Statement":[{"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"},
        {"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    check(Kind::Identity, twice, r#"statement 2: Sid "A" is given to two statements"#);
}

#[test]
fn conditions() {
    for (condition, expected) in [
        (r#"{"StringEquals":{"a:b":"c"}}"#, OK),
        (r#"{"StringEquals":{"a:b":["c",1,true]}}"#, OK),
        (r#"{"ForAllValues:StringLikeIfExists":{"a:b":"c"}}"#, OK),
        (r#"{"StringEqualz":{"a:b":"c"}}"#, r#"unknown condition operator "StringEqualz""#),
        (r#"{"stringequals":{"a:b":"c"}}"#, "unknown condition operator"),
        (r#"{"ForSomeValues:StringEquals":{"a:b":"c"}}"#, "unknown condition operator"),
        (r#"{"IfExists":{"a:b":"c"}}"#, "unknown condition operator"),
        (r#"{"NullIfExists":{"a:b":"true"}}"#, "unknown condition operator"),
        (r#"{"ForAnyValue:Null":{"a:b":"true"}}"#, "unknown condition operator"),
        (r#"{"":{"a:b":"true"}}"#, "unknown condition operator"),
        (r#"{"StringEqualz":{}}"#, "unknown condition operator"),
        (r#"{"StringEquals":"x"}"#, "must be an object"),
        (r#"{"StringEquals":{"a":"c"}}"#, r#""a" is not a condition key"#),
        (r#"{"StringEquals":{":a":"c"}}"#, "is not a condition key"),
        (r#"{"StringEquals":{"a:b":null}}"#, "must be a string, number or boolean"),
        (r#"{"StringEquals":{"a:b":[["c"]]}}"#, "must be a string, number or boolean"),
        (r#"{"StringEquals":{"a:b":{"c":"d"}}}"#, "must be a string, number or boolean"),
        (r#"{"StringEquals":{"a:b":"c","a:b":"d"}}"#, "given twice"),
        (r#"{"StringEquals":{"a:b":"c"},"StringEquals":{"a:c":"d"}}"#, "given twice"),
        (r#"{"StringEquals":{"a:b":"${x"}}"#, "malformed variable"),
        (r#"{"NumericEquals":{"a:b":"ten"}}"#, r#""ten" is not a value for a Numeric operator"#),
        (r#"{"NumericEquals":{"a:b":"NaN"}}"#, "is not a value"),
        (r#"{"NumericEquals":{"a:b":"1e999"}}"#, "is not a value"),
        (r#"{"NumericEquals":{"a:b":"${a:b}"}}"#, "is not a value"),
        (r#"{"DateEquals":{"a:b":"yesterday"}}"#, "is not a value for a Date operator"),
        (r#"{"DateEquals":{"a:b":"2024-13-01"}}"#, "is not a value"),
        (r#"{"DateEquals":{"a:b":1e15}}"#, "is not a value"),
        (r#"{"Bool":{"a:b":"yes"}}"#, "is not a value for Bool"),
        (r#"{"Bool":{"a:b":"${a:c}"}}"#, OK),
        (r#"{"Null":{"a:b":"yes"}}"#, "is not a value for Null"),
        (r#"{"BinaryEquals":{"a:b":"%"}}"#, "is not a value for BinaryEquals"),
        (r#"{"BinaryEquals":{"a:b":"QQQQQ"}}"#, "is not a value for BinaryEquals"),
        (r#"{"IpAddress":{"a:b":"10.0.0.0/33"}}"#, "is not a value for IpAddress"),
        (r#"{"IpAddress":{"a:b":"10.0.0.0/+8"}}"#, "is not a value for IpAddress"),
        (r#"{"IpAddress":{"a:b":"10.0.0/8"}}"#, "is not a value for IpAddress"),
        (r#"{"IpAddress":{"a:b":"::/129"}}"#, "is not a value for IpAddress"),
        (r#"{"ArnLike":{"a:b":"arn:aws:s3:::${a:c"}}"#, "malformed variable"),
        (r#"{"ArnLike":{"a:b":"é:ü:ö:ä:ß:€"}}"#, OK),
    ] {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}}}"#
        );
        check(Kind::Identity, &text, expected);
    }
}

#[test]
fn principals() {
    for (element, expected) in [
        (r#""Principal":"*""#, OK),
        (r#""Principal":{"AWS":"*"}"#, OK),
        (r#""Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:root"]}"#, OK),
        (r#""Principal":{"AWS":"arn:aws:iam::111122223333:user/a/b"}"#, OK),
        (r#""Principal":{"AWS":"arn:aws-us-gov:iam::111122223333:role/a"}"#, OK),
        (r#""Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/a/b"}"#, OK),
        (r#""Principal":{"AWS":"arn:aws:sts::111122223333:federated-user/a"}"#, OK),
        (r#""Principal":{"AWS":"AROADEPLOYDEPLOYDEPLO"}"#, OK),
        (r#""Principal":{"Service":"ecs.amazonaws.com","Federated":"idp.example.com"}"#, OK),
        (r#""NotPrincipal":{"AWS":"111122223333"}"#, "NotPrincipal goes with"),
        (r#""Principal":"111122223333""#, "is not a principal"),
        (r#""Principal":["*"]"#, "Principal must be"),
        (r#""Principal":{}"#, "Principal is empty"),
        (r#""Principal":{"AWS":[]}"#, "Principal is empty"),
        (r#""Principal":{"aws":"*"}"#, r#"unknown type of principal "aws""#),
        (r#""Principal":{"Aws":"111122223333"}"#, "unknown type of principal"),
        (r#""Principal":{"CanonicalUser":"0123456789abcdef"}"#, r#"unknown type of principal "CanonicalUser""#),
        (r#""Principal":{"AWS":"11112222333"}"#, "is not a principal"),
        (r#""Principal":{"AWS":"arn:aws:iam::111122223333:role/*"}"#, "is not a principal"),
        (r#""Principal":{"AWS":"arn:aws:iam::*:root"}"#, "is not a principal"),
        (r#""Principal":{"AWS":"arn:aws:iam::111122223333:group/a"}"#, "is not a principal"),
        (r#""Principal":{"AWS":"arn:aws:iam::111122223333:role/"}"#, "is not a principal"),
        (r#""Principal":{"AWS":"arn:aws:iam:us-east-1:111122223333:role/a"}"#, "is not a principal"),
        (r#""Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/a"}"#, "is not a principal"),
        (r#""Principal":{"AWS":"arn:aws:sts::111122223333:role/a"}"#, "is not a principal"),
        (r#""Principal":{"AWS":""}"#, "is not a principal"),
        (r#""Principal":{"Service":"*"}"#, "is not a principal"),
        (r#""Principal":{"Service":"ecs"}"#, "is not a principal"),
        (r#""Principal":{"Federated":"*"}"#, "is not a principal"),
        (r#""Sid":"x""#, "Principal is missing"),
    ] {
        let text = format!(r#"{{"Statement":{{"Effect":"Allow",{element},"Action":"ecr:*"}}}}"#);
        check(Kind::Implied, &text, expected);
    }
    check(Kind::Implied, r#"{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"*"}}"#, OK);
}

#[test]
fn kinds_differ_in_what_they_contain() {
    let table: &[(&str, [&str; 4])] = &[
        // Identity, Resource, Implied, Trust
        (r#""Action":"sts:A","Resource":"*""#, [OK, "Principal is missing", "Resource does", "Resource does"]),
        (r#""Action":"sts:A","NotResource":"*""#, [OK, "Principal is missing", "Resource does", "Resource does"]),
        (
            r#""Action":"sts:A","Principal":"*","Resource":"*""#,
            ["Principal does", OK, "Resource does", "Resource does"],
        ),
        (r#""Action":"sts:A","Principal":"*""#, ["Resource is missing", "Resource is missing", OK, OK]),
        (r#""Action":"ecr:A","Principal":"*""#, ["Resource is missing", "Resource is missing", OK, "not an action"]),
        (
            r#""Action":"sts:A""#,
            ["Resource is missing", "Resource is missing", "Principal is missing", "Principal is missing"],
        ),
    ];
    for (statement, expected) in table {
        let text = format!(r#"{{"Statement":{{"Effect":"Deny",{statement}}}}}"#);
        for (kind, expected) in [Kind::Identity, Kind::Resource, Kind::Implied, Kind::Trust].iter().zip(expected) {
            check(*kind, &text, expected);
        }
    }
    let not_principal = r#"{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"sts:A"}}"#;
    check(Kind::Trust, not_principal, "NotPrincipal does not belong");
    // Resource policies may use any Sid, twice too.
    let sids = r#"{"Statement":[{"Sid":"new statement","Effect":"Allow","Principal":"*","Action":"*"},
        {"Sid":"new statement","Effect":"Allow","Principal":"*","Action":"*"}]}"#;
    check(Kind::Implied, sids, OK);
}

#[test]
fn what_counts_towards_a_limit() {
    assert_eq!(significant_length("{ \"a\":\n\t\"b c\" }"), 10);
    assert_eq!(significant_length("é"), 1);
}
