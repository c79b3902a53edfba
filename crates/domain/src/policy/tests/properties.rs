//! What holds for all policies.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn action() -> impl Strategy<Value = &'static str> {
    select(vec!["*", "ecr:*", "ecr:Get*", "ecr:GetImage", "ecr:PutImage", "s3:*"])
}

fn resource() -> impl Strategy<Value = &'static str> {
    select(vec![
        "*",
        REPOSITORY,
        "arn:aws:ecr:*:*:repository/*",
        "arn:aws:ecr:*:*:repository/${t:k, 'team'}/*",
        "arn:aws:s3:::b",
    ])
}

fn condition() -> impl Strategy<Value = String> {
    let prefix = select(vec!["", "ForAllValues:", "ForAnyValue:"]);
    let name = select(vec![
        ("StringEquals", "a"),
        ("StringNotLike", "a*"),
        ("NumericLessThan", "5"),
        ("IpAddress", "10.0.0.0/8"),
        ("ArnNotLike", "arn:aws:s3:::${t:k}"),
        ("Bool", "true"),
        ("DateNotEquals", "2024-01-01"),
    ]);
    let suffix = select(vec!["", "IfExists"]);
    let key = select(vec!["t:k", "t:l", "aws:PrincipalArn", "aws:CurrentTime"]);
    (prefix, name, suffix, key).prop_map(|(prefix, (name, value), suffix, key)| {
        format!(r#""Condition":{{"{prefix}{name}{suffix}":{{"{key}":"{value}"}}}},"#)
    })
}

fn statement(principal: bool) -> impl Strategy<Value = String> {
    let effect = select(vec!["Allow", "Allow", "Deny"]);
    let not = || select(vec!["", "", "Not"]);
    let who = select(vec![
        r#""*""#,
        r#"{"AWS":"111122223333"}"#,
        r#"{"AWS":"arn:aws:iam::111122223333:role/ci/deploy"}"#,
        r#"{"AWS":["444455556666","arn:aws:iam::111122223333:user/dev/ann"]}"#,
    ]);
    (effect, not(), action(), not(), resource(), proptest::option::of(condition()), who).prop_map(
        move |(effect, not_action, action, not_resource, resource, condition, who)| {
            let condition = condition.unwrap_or_default();
            let who = if principal { format!(r#""Principal":{who},"#) } else { String::new() };
            format!(
                r#"{{{who}{condition}"Effect":"{effect}","{not_action}Action":"{action}","{not_resource}Resource":"{resource}"}}"#
            )
        },
    )
}

fn statements(principal: bool) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(statement(principal), 0..5)
}

fn document(kind: Kind, statements: &[String]) -> Vec<Arc<Document>> {
    if statements.is_empty() {
        return Vec::new();
    }
    vec![parse(kind, &format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(",")))]
}

fn principal() -> impl Strategy<Value = Principal> {
    select(vec![
        Principal::root(ACCOUNT),
        Principal::root(OTHER),
        user(),
        role_session(ACCOUNT),
        role_session(OTHER),
        Principal::new(Identity::Service { name: "ecs.amazonaws.com".into() }),
        Principal::new(Identity::Anonymous),
    ])
}

fn context() -> impl Strategy<Value = Context> {
    let value = || select(vec!["a", "team", "3", "10.0.0.9", "true", "arn:aws:s3:::a"]);
    (proptest::collection::vec(value(), 0..3), proptest::option::of(value())).prop_map(|(several, one)| {
        let mut context = Context::default();
        several.into_iter().for_each(|value| context.add("t:k", value));
        one.into_iter().for_each(|value| context.add("t:l", value));
        context
    })
}

#[derive(Debug, Clone)]
struct Scene {
    principal: Principal,
    action: &'static str,
    context: Context,
    identity: Vec<String>,
    resource: Vec<String>,
}

fn scene() -> impl Strategy<Value = Scene> {
    let action = select(vec!["ecr:GetImage", "ecr:PutImage", "s3:Get", "iam:PassRole"]);
    (principal(), action, context(), statements(false), statements(true)).prop_map(
        |(principal, action, context, identity, resource)| Scene { principal, action, context, identity, resource },
    )
}

impl Scene {
    fn decide(&self) -> Decision {
        let identity = document(Kind::Identity, &self.identity);
        let own = PrincipalPolicies { identity, ..PrincipalPolicies::default() };
        let resource = document(Kind::Resource, &self.resource);
        let request = request(&self.principal, self.action, REPOSITORY, &self.context);
        evaluate(&request, &Policies { principal: &own, resource: &resource })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_deny_never_allows_more(scene in scene(), to_own in statement(false), to_all in statement(true)) {
        let deny = |text: String| text.replace(r#""Effect":"Allow""#, r#""Effect":"Deny""#);
        let before = scene.decide();
        let mut own = scene.clone();
        own.identity.push(deny(to_own));
        prop_assert!(before.is_allowed() || !own.decide().is_allowed());
        let mut resource = scene.clone();
        resource.resource.push(deny(to_all));
        prop_assert!(before.is_allowed() || !resource.decide().is_allowed());
    }

    #[test]
    fn another_allow_never_takes_away(scene in scene(), allow in statement(false)) {
        let allow = allow.replace(r#""Effect":"Deny""#, r#""Effect":"Allow""#);
        let mut more = scene.clone();
        more.identity.push(allow);
        prop_assert!(!scene.decide().is_allowed() || more.decide().is_allowed());
    }

    #[test]
    fn a_deny_of_everything_denies_everything(scene in scene()) {
        let mut denied = scene;
        denied.resource.push(r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}"#.into());
        prop_assert!(!denied.decide().is_allowed());
    }

    #[test]
    fn the_order_of_statements_does_not_matter(scene in scene(), seed in any::<prop::sample::Index>()) {
        let mut turned = scene.clone();
        for statements in [&mut turned.identity, &mut turned.resource] {
            if !statements.is_empty() {
                let by = seed.index(statements.len());
                statements.rotate_left(by);
                statements.reverse();
            }
        }
        prop_assert_eq!(scene.decide(), turned.decide());
    }

    #[test]
    fn one_document_or_one_for_each_statement_is_the_same(scene in scene()) {
        let one_by_one = |kind, statements: &[String]| -> Vec<Arc<Document>> {
            statements.iter().flat_map(|statement| document(kind, std::slice::from_ref(statement))).collect()
        };
        let identity = one_by_one(Kind::Identity, &scene.identity);
        let own = PrincipalPolicies { identity, ..PrincipalPolicies::default() };
        let resource = one_by_one(Kind::Resource, &scene.resource);
        let request = request(&scene.principal, scene.action, REPOSITORY, &scene.context);
        prop_assert_eq!(evaluate(&request, &Policies { principal: &own, resource: &resource }), scene.decide());
    }

    #[test]
    fn a_foreign_caller_needs_both_sides(scene in scene()) {
        let foreign = scene.principal.account().is_some_and(|account| account != ACCOUNT);
        if foreign && scene.decide().is_allowed() {
            let by_itself = Scene { resource: Vec::new(), ..scene.clone() }.decide();
            prop_assert!(!by_itself.is_allowed());
            let by_the_other = Scene { identity: Vec::new(), ..scene.clone() }.decide();
            prop_assert!(scene.principal.is_root() || !by_the_other.is_allowed());
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,200}") {
        for kind in [Kind::Identity, Kind::Resource, Kind::Implied, Kind::Trust] {
            let _ = Document::parse(&text, kind);
        }
    }

    #[test]
    fn any_values_are_compared_without_a_panic(
        operator in "(ForAllValues:|ForAnyValue:)?(String|Numeric|Date|Arn)(Equals|NotEquals|Like|LessThan)(IfExists)?|Bool|IpAddress|Null|BinaryEquals",
        key in "[a-z${}:*/]{0,8}",
        values in proptest::collection::vec("[a-zA-Z0-9${}:*?/.,' éß-]{0,24}", 0..3),
        resource in "(arn:)?[a-z:*?${}',éß/]{0,24}",
        given in ".{0,40}",
    ) {
        let text = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "*", "Resource": resource, "Condition": {operator: {key.clone(): values}}},
        });
        if let Ok(document) = Document::parse(&text.to_string(), Kind::Identity) {
            let own = PrincipalPolicies { identity: vec![Arc::new(document)], ..PrincipalPolicies::default() };
            let context = Context::default().with(&key, given.clone());
            let _ = evaluate(&request(&user(), &given, &given, &context), &Policies::of(&own));
        }
    }

    #[test]
    fn an_unknown_operator_is_refused(name in "[A-Za-z]{1,20}") {
        prop_assume!(condition_is_unknown(&name));
        let text = format!(
            r#"{{"Statement":{{"Effect":"Deny","Action":"*","Resource":"*","Condition":{{"{name}":{{"t:k":"1"}}}}}}}}"#
        );
        let refused = Document::parse(&text, Kind::Identity).map_err(|error| error.problem);
        prop_assert_eq!(refused, Err(Problem::Operator(name)));
    }
}

fn condition_is_unknown(name: &str) -> bool {
    !["Bool", "BoolIfExists", "Null"].contains(&name)
        && !["String", "Numeric", "Date", "Binary", "Arn", "Ip", "NotIp"].iter().any(|known| name.starts_with(known))
}
