//! What one authorization costs against 50 policies, on one core: `cargo bench -p gantry-domain --bench policies`.
//!
//! Prints a table in Markdown for docs/benchmarks.md. The policies are of the kind that people attach to roles: ten
//! statements each with several actions, ARNs with wildcards and conditions. Every one is looked at: a Deny may be in
//! the last.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use gantry_domain::{
    Timestamp,
    policy::{Context, Document, Identity, Kind, Policies, Principal, PrincipalPolicies, Request, evaluate},
};

const POLICIES: usize = 50;
const STATEMENTS: usize = 10;
const CALLS: usize = 20_000;

/// Repositories and clusters of one team; the actions of both services, for what carries the team's tag.
fn policy(team: usize) -> Arc<Document> {
    let statement = |number: usize| {
        let (actions, resource) = match number % 2 {
            0 => (
                r#""ecr:BatchGet*", "ecr:GetDownloadUrlForLayer", "ecr:Describe*", "ecr:PutImage""#,
                "ecr:*:*:repository",
            ),
            _ => (
                r#""ecs:Describe*", "ecs:List*", "ecs:RunTask", "ecs:StopTask", "ecs:UpdateService""#,
                "ecs:*:*:service",
            ),
        };
        format!(
            r#"{{"Sid": "S{number}", "Effect": "Allow", "Action": [{actions}],
                "Resource": ["arn:aws:{resource}/team{team}/app{number}-*", "arn:aws:{resource}/team{team}/*/app{number}"],
                "Condition": {{"StringEquals": {{"aws:ResourceTag/team": ["t{team}", "all"]}},
                              "IpAddress": {{"aws:SourceIp": "10.0.0.0/8"}}}}}}"#
        )
    };
    let statements: Vec<String> = (0..STATEMENTS).map(statement).collect();
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(","));
    Arc::new(Document::parse(&text, Kind::Identity).unwrap())
}

fn main() {
    let of_principal =
        PrincipalPolicies { identity: (0..POLICIES).map(policy).collect(), ..PrincipalPolicies::default() };
    let user = Principal::new(Identity::User { arn: "arn:aws:iam::000000000000:user/ann".into(), id: "AIDA1".into() });
    let context = Context::default().with("aws:SourceIp", "10.1.2.3").with("aws:ResourceTag/team", "t49");
    let of = "arn:aws:ecr:us-east-1:000000000000:repository";
    let calls = [
        ("allowed by the last policy", "ecr:PutImage", format!("{of}/team49/app8-web"), true),
        ("allowed by none, action and service known to all", "ecr:PutImage", format!("{of}/team50/app8-web"), false),
        ("allowed by none, action known to none", "ecr:DeleteRepository", format!("{of}/team49/app8-web"), false),
    ];
    println!("| {POLICIES} policies of {STATEMENTS} statements | µs, median / 99th percentile | goal |");
    println!("|---|---|---|");
    for (name, action, resource, allowed) in calls {
        let request = Request {
            principal: &user,
            action,
            resource: &resource,
            account: "000000000000",
            now: Timestamp::from_seconds(1_700_000_000),
            context: &context,
        };
        let mut took: Vec<Duration> = (0..CALLS)
            .map(|_| {
                let start = Clock::now();
                let decision = evaluate(black_box(&request), &Policies::of(&of_principal));
                let took = start.elapsed();
                assert_eq!(black_box(decision).is_allowed(), allowed, "{name}");
                took
            })
            .collect();
        took.sort_unstable();
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        println!("| {name} | {:.1} / {:.1} | 20 |", micros(took[CALLS / 2]), micros(took[CALLS * 99 / 100]));
    }
}
