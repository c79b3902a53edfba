//! Tables of what policies say, and properties that hold for all of them.
#![allow(clippy::unwrap_used)]

mod conditions;
mod evaluation;
mod grammar;
mod matching;
mod properties;

use std::sync::Arc;

use super::*;
use crate::time::Timestamp;

const ACCOUNT: &str = "111122223333";
const OTHER: &str = "444455556666";
const REPOSITORY: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/web";
/// 2024-02-29T12:34:56Z
const NOW: Timestamp = Timestamp::from_seconds(1_709_210_096);

fn user() -> Principal {
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/dev/ann");
    let mut user = Principal::new(Identity::User { arn, id: "AIDAANNANNANNANNANNAN".into() });
    user.tags.insert("Team".into(), "web".into());
    user
}

fn role_session(account: &str) -> Principal {
    Principal::new(Identity::RoleSession {
        arn: format!("arn:aws:sts::{account}:assumed-role/deploy/ci"),
        role_arn: format!("arn:aws:iam::{account}:role/ci/deploy"),
        id: "AROADEPLOYDEPLOYDEPLO:ci".into(),
    })
}

fn request<'a>(principal: &'a Principal, action: &'a str, resource: &'a str, context: &'a Context) -> Request<'a> {
    Request { principal, action, resource, account: ACCOUNT, now: NOW, context }
}

fn parse(kind: Kind, text: &str) -> Arc<Document> {
    Arc::new(Document::parse(text, kind).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// An identity policy of the version with variables.
fn identity(statements: &str) -> Arc<Document> {
    parse(Kind::Identity, &format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#))
}

/// Whether a user whose only policy is this one is allowed.
fn allowed(statements: &str, action: &str, resource: &str, context: &Context) -> bool {
    let own = PrincipalPolicies { identity: vec![identity(statements)], ..PrincipalPolicies::default() };
    evaluate(&request(&user(), action, resource, context), &Policies::of(&own)).is_allowed()
}
