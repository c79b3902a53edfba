//! A role as tasks take it on, for tests.

#![allow(clippy::unwrap_used)]

use gantry_api::Caller;
use gantry_api::iam::{CreateRoleRequest, Iam as _, PutRolePolicyRequest};
use gantry_companions::{iam::Iam, sealing::Sealer};
use gantry_store::Memory;
use serde_json::{Value, json};

/// A task of the role's account.
pub(super) const TASK: &str = "arn:aws:ecs:us-east-1:000000000000:task/default/0123";

/// IAM with a role that trusts tasks under a condition and has these statements; its ARN.
pub(super) async fn iam_with_role(name: &str, condition: &Value, statements: &Value) -> (Iam, String) {
    let iam = Iam::open(Memory::store(), Sealer::ephemeral().unwrap(), gantry_registry::system_clock()).await.unwrap();
    let root = Caller::root("000000000000", "us-east-1");
    let trust = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Condition": condition}});
    let input = CreateRoleRequest {
        role_name: Some(name.into()),
        assume_role_policy_document: Some(trust.to_string()),
        ..Default::default()
    };
    let arn = iam.create_role(&root, input).await.unwrap().role.unwrap().arn.unwrap();
    if statements.as_array().is_some_and(|statements| !statements.is_empty()) {
        let policy = json!({"Version": "2012-10-17", "Statement": statements});
        let input = PutRolePolicyRequest {
            role_name: Some(name.into()),
            policy_name: Some("p".into()),
            policy_document: Some(policy.to_string()),
        };
        iam.put_role_policy(&root, input).await.unwrap();
    }
    (iam, arn)
}
