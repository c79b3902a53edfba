//! Which policies together allow what, and what a denial says.

use super::*;

/// `A` allows everything, `D` denies everything, `-` allows something else.
fn own(letters: &str) -> Vec<Arc<Document>> {
    let statement = |letter| match letter {
        'A' => r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#,
        'D' => r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#,
        _ => r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#,
    };
    letters.chars().map(|letter| identity(statement(letter))).collect()
}

/// Statements of a resource policy, such as `A:role D:*`.
fn of_resource(grants: &str, action: &str) -> Vec<Arc<Document>> {
    let statement = |grant: &str| {
        let (effect, principal) = grant.split_once(':').unwrap();
        let effect = if effect == "A" { "Allow" } else { "Deny" };
        let principal = match principal {
            "*" => r#""*""#.to_owned(),
            "own" => format!(r#"{{"AWS":"{ACCOUNT}"}}"#),
            "own-root" => format!(r#"{{"AWS":"arn:aws:iam::{ACCOUNT}:root"}}"#),
            "other" => format!(r#"{{"AWS":"{OTHER}"}}"#),
            "user" => format!(r#"{{"AWS":"arn:aws:iam::{ACCOUNT}:user/dev/ann"}}"#),
            "role" => format!(r#"{{"AWS":"arn:aws:iam::{ACCOUNT}:role/ci/deploy"}}"#),
            "session" => format!(r#"{{"AWS":"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/ci"}}"#),
            "other-role" => format!(r#"{{"AWS":"arn:aws:iam::{OTHER}:role/ci/deploy"}}"#),
            "federated" => format!(r#"{{"AWS":"arn:aws:sts::{ACCOUNT}:federated-user/bob"}}"#),
            "service" => r#"{"Service":"ecs-tasks.amazonaws.com"}"#.to_owned(),
            "web" => r#"{"Federated":"idp.example.com"}"#.to_owned(),
            unknown => panic!("{unknown}"),
        };
        format!(r#"{{"Effect":"{effect}","Principal":{principal},"Action":"{action}"}}"#)
    };
    grants
        .split_whitespace()
        .map(|grant| parse(Kind::Implied, &format!(r#"{{"Statement":{}}}"#, statement(grant))))
        .collect()
}

fn who(name: &str) -> Principal {
    match name {
        "root" => Principal::root(ACCOUNT),
        "other-root" => Principal::root(OTHER),
        "user" => user(),
        "role" => role_session(ACCOUNT),
        "other-role" => role_session(OTHER),
        "federated" => {
            Principal::new(Identity::FederatedUser { arn: format!("arn:aws:sts::{ACCOUNT}:federated-user/bob") })
        }
        "service" => Principal::new(Identity::Service { name: "ecs-tasks.amazonaws.com".into() }),
        "web" => Principal::new(Identity::WebIdentity { provider: "idp.example.com".into(), subject: "me".into() }),
        _ => Principal::new(Identity::Anonymous),
    }
}

/// What was decided, in a word: `allow`, or which kind of policy denies (`!` for an explicit deny).
fn word(decision: Decision) -> &'static str {
    let Decision::Deny(denial) = decision else { return "allow" };
    match (denial.explicit, denial.policy) {
        (false, PolicyType::Identity) => "identity",
        (false, PolicyType::Resource) => "resource",
        (false, PolicyType::PermissionsBoundary) => "boundary",
        (false, PolicyType::Session) => "session",
        (false, PolicyType::RoleTrust) => "trust",
        (true, PolicyType::Identity) => "!identity",
        (true, PolicyType::Resource) => "!resource",
        (true, PolicyType::PermissionsBoundary) => "!boundary",
        (true, PolicyType::Session) => "!session",
        (true, PolicyType::RoleTrust) => "!trust",
    }
}

fn policies(identity: &str, boundary: &str, session: &str) -> PrincipalPolicies {
    let session = (!session.is_empty()).then(|| own(session));
    PrincipalPolicies { identity: own(identity), boundary: own(boundary).pop(), session }
}

/// principal | identity | boundary | session | resource policies | decision
const TABLE: &str = "
    root        |    |   |   |                    | allow
    root        |    |   |   | A:other            | allow
    root        |    |   |   | D:*                | !resource
    root        |    |   |   | D:own              | !resource
    root        |    |   |   | D:user             | allow
    user        |    |   |   |                    | identity
    user        | -  |   |   |                    | identity
    user        | A  |   |   |                    | allow
    user        | -A |   |   |                    | allow
    user        | AD |   |   |                    | !identity
    user        | DA |   |   |                    | !identity
    user        | D  |   |   |                    | !identity
    user        | A  | A |   |                    | allow
    user        | A  | - |   |                    | boundary
    user        | A  | D |   |                    | !boundary
    user        |    | A |   |                    | identity
    user        | A  |   | A |                    | allow
    user        | A  |   | - |                    | session
    user        | A  |   | -A|                    | allow
    user        | A  |   | D |                    | !session
    user        | A  | - | - |                    | boundary
    user        | A  | A | - |                    | session
    user        |    | D | D |                    | !boundary
    user        |    |   |   | A:user             | allow
    user        | -  | - | - | A:user             | allow
    user        | D  |   |   | A:user             | !identity
    user        | A  | D |   | A:user             | !boundary
    user        | A  |   | D | A:user             | !session
    user        | A  |   |   | D:user             | !resource
    user        | A  |   |   | D:own              | !resource
    user        | A  |   |   | D:own-root         | !resource
    user        | A  |   |   | D:*                | !resource
    user        |    |   |   | A:user D:*         | !resource
    user        |    |   |   | D:* A:user         | !resource
    user        | A  |   |   | D:role             | allow
    user        |    |   |   | A:own              | identity
    user        |    |   |   | A:own-root         | identity
    user        | A  |   |   | A:own              | allow
    user        | A  | - |   | A:own              | boundary
    user        |    |   |   | A:*                | allow
    user        | -  | - | - | A:*                | allow
    user        |    |   |   | A:own A:user       | allow
    user        |    |   |   | A:role             | identity
    user        |    |   |   | A:other            | identity
    role        |    |   |   |                    | identity
    role        | A  |   |   |                    | allow
    role        | A  | - |   |                    | boundary
    role        | A  |   | - |                    | session
    role        | A  |   | A |                    | allow
    role        |    |   |   | A:role             | allow
    role        |    | - |   | A:role             | boundary
    role        |    | A | - | A:role             | session
    role        |    | A | A | A:role             | allow
    role        |    |   |   | A:session          | allow
    role        | -  | - | - | A:session          | allow
    role        | -  | - | - | A:role A:session   | allow
    role        | -  | - | - | A:*                | allow
    role        |    |   |   | A:own              | identity
    role        |    |   |   | A:user             | identity
    role        |    |   |   | A:other-role       | identity
    role        | A  |   |   | D:role             | !resource
    role        | A  |   |   | D:session          | !resource
    role        | A  |   |   | D:other-role       | allow
    federated   | A  |   |   |                    | session
    federated   | A  |   | A |                    | allow
    federated   | A  |   | - |                    | session
    federated   |    |   | A |                    | identity
    federated   |    |   |   | A:federated        | allow
    federated   | A  |   |   | A:own              | session
    other-root  |    |   |   |                    | resource
    other-root  |    |   |   | A:other            | allow
    other-root  |    |   |   | A:*                | allow
    other-root  |    |   |   | A:own              | resource
    other-root  |    |   |   | A:other D:*        | !resource
    other-root  |    |   |   | A:* D:other        | !resource
    other-root  |    |   |   | D:own              | resource
    other-role  |    |   |   |                    | identity
    other-role  | A  |   |   |                    | resource
    other-role  | A  |   |   | A:other            | allow
    other-role  | A  |   |   | A:other-role       | allow
    other-role  | A  |   |   | A:*                | allow
    other-role  | A  |   |   | A:role             | resource
    other-role  |    |   |   | A:other            | identity
    other-role  |    |   |   | A:other-role       | identity
    other-role  |    |   |   | A:*                | identity
    other-role  | A  | - |   | A:other            | boundary
    other-role  | A  |   | - | A:other            | session
    other-role  | A  |   |   | A:other D:other    | !resource
    other-role  | AD |   |   | A:other            | !identity
    other-role  | D  |   |   |                    | !identity
    service     |    |   |   |                    | resource
    service     |    |   |   | A:service          | allow
    service     |    |   |   | A:*                | allow
    service     |    |   |   | A:own              | resource
    service     |    |   |   | A:service D:*      | !resource
    anonymous   |    |   |   |                    | resource
    anonymous   |    |   |   | A:*                | allow
    anonymous   |    |   |   | A:own              | resource
";

/// The same for a role's trust policy.
const TRUST_TABLE: &str = "
    user        | A  |   |   |                    | trust
    user        | A  |   |   | A:role             | trust
    user        |    |   |   | A:user             | allow
    user        | -  | - | - | A:user             | allow
    user        | D  |   |   | A:user             | !identity
    user        | A  |   |   | A:user D:user      | !trust
    user        |    |   |   | A:own              | identity
    user        | A  |   |   | A:own              | allow
    user        | A  | - |   | A:own              | boundary
    user        | A  |   | - | A:own              | session
    user        |    |   |   | A:*                | allow
    role        |    |   |   | A:role             | allow
    role        |    | - |   | A:role             | boundary
    role        |    |   |   | A:session          | allow
    role        | A  |   |   | A:own              | allow
    root        |    |   |   | A:own              | allow
    root        |    |   |   |                    | trust
    other-role  | A  |   |   |                    | trust
    other-role  |    |   |   | A:other-role       | identity
    other-role  | A  |   |   | A:other-role       | allow
    other-role  | A  |   |   | A:other            | allow
    other-role  |    |   |   | A:*                | identity
    other-root  |    |   |   | A:other            | allow
    service     |    |   |   | A:service          | allow
    service     |    |   |   | A:own              | trust
    service     |    |   |   | A:service D:*      | !trust
    web         |    |   |   | A:web              | allow
    web         |    |   |   | A:service          | trust
    anonymous   |    |   |   | A:own              | trust
";

#[test]
fn every_row_of_the_table() {
    check(TABLE, "ecr:BatchGetImage", "*", evaluate);
}

#[test]
fn every_row_of_the_table_of_trust() {
    check(TRUST_TABLE, "sts:AssumeRole", "sts:*", evaluate_trust);
}

fn check(table: &str, action: &str, of_statements: &str, decide: fn(&Request<'_>, &Policies<'_>) -> Decision) {
    let rows = table.lines().map(str::trim).filter(|row| !row.is_empty());
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [principal, identity, boundary, session, resource, expected] = cells[..] else { panic!("{row}") };
        let own = policies(identity, boundary, session);
        let resource = of_resource(resource, of_statements);
        let principal = who(principal);
        let context = Context::default();
        let request = request(&principal, action, REPOSITORY, &context);
        let decision = decide(&request, &Policies { principal: &own, resource: &resource });
        assert_eq!(word(decision), expected, "{row}");
    }
}

#[test]
fn what_needs_no_permission() {
    let context = Context::default();
    for (action, identity, expected) in [
        ("sts:GetCallerIdentity", "", "allow"),
        ("sts:GetCallerIdentity", "D", "allow"),
        ("sts:GetSessionToken", "", "allow"),
        ("sts:GetSessionToken", "D", "!identity"),
        ("sts:AssumeRole", "", "identity"),
    ] {
        let own = policies(identity, "", "");
        assert_eq!(word(evaluate(&request(&user(), action, "*", &context), &Policies::of(&own))), expected, "{action}");
    }
}

#[test]
fn a_denial_says_who_what_where_and_by_which_kind_of_policy() {
    let principal = role_session(ACCOUNT);
    let context = Context::default();
    let sentence = |explicit, policy| {
        Denial { explicit, policy }.sentence(&request(&principal, "ecr:PutImage", REPOSITORY, &context))
    };
    let start = "User: arn:aws:sts::111122223333:assumed-role/deploy/ci is not authorized to perform: ecr:PutImage on \
                 resource: arn:aws:ecr:us-east-1:111122223333:repository/team/web";
    for (explicit, policy, end) in [
        (false, PolicyType::Identity, "because no identity-based policy allows the ecr:PutImage action"),
        (false, PolicyType::Resource, "because no resource-based policy allows the ecr:PutImage action"),
        (false, PolicyType::PermissionsBoundary, "because no permissions boundary allows the ecr:PutImage action"),
        (false, PolicyType::Session, "because no session policy allows the ecr:PutImage action"),
        (false, PolicyType::RoleTrust, "because no role trust policy allows the ecr:PutImage action"),
        (true, PolicyType::Identity, "with an explicit deny in an identity-based policy"),
        (true, PolicyType::Resource, "with an explicit deny in a resource-based policy"),
        (true, PolicyType::PermissionsBoundary, "with an explicit deny in a permissions boundary"),
        (true, PolicyType::Session, "with an explicit deny in a session policy"),
        (true, PolicyType::RoleTrust, "with an explicit deny in a role trust policy"),
    ] {
        assert_eq!(sentence(explicit, policy), format!("{start} {end}"));
    }
}

#[test]
fn a_role_that_is_made_again_is_another_one() {
    let mut trust = (*of_resource("A:role", "sts:*")[0]).clone();
    let named = PrincipalPattern::Arn(format!("arn:aws:iam::{ACCOUNT}:role/ci/deploy"));
    assert_eq!(trust.principals().collect::<Vec<_>>(), [&named]);
    trust.map_principals(|_| PrincipalPattern::UniqueId("AROADEPLOYDEPLOYDEPLO".into()));
    let resource = [Arc::new(trust)];
    let own = PrincipalPolicies::default();
    let ask = |id: &str| {
        let mut principal = role_session(ACCOUNT);
        let Identity::RoleSession { id: old, .. } = &mut principal.identity else { panic!() };
        *old = id.into();
        let context = Context::default();
        let request = request(&principal, "sts:AssumeRole", "arn:aws:iam::111122223333:role/x", &context);
        evaluate_trust(&request, &Policies { principal: &own, resource: &resource }).is_allowed()
    };
    assert!(ask("AROADEPLOYDEPLOYDEPLO:ci"));
    assert!(!ask("AROANEWNEWNEWNEWNEWNE:ci"));
}
