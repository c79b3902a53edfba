//! IAM over a store: what two requests at once leave behind, and what a restart finds.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use gantry_api::iam::{
    AttachRolePolicyRequest, CreateAccessKeyRequest, CreatePolicyRequest, CreateRoleRequest, CreateUserRequest,
    DeletePolicyRequest, GetPolicyRequest, Iam as _, ListAttachedRolePoliciesRequest,
};
use gantry_api::sts::{AssumeRoleRequest, Sts as _};
use gantry_api::{Caller, PrincipalKind};
use gantry_companions::Sts;
use gantry_companions::iam::Iam;
use gantry_companions::sealing::Sealer;
use gantry_domain::Timestamp;
use gantry_protocol::identity::Keys;
use gantry_store::{Memory, Store};

const ACCOUNT: &str = "000000000000";
const ANYTHING: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"000000000000"}}}"#;

async fn open(store: &Store, sealer: &Sealer) -> Iam {
    let clock = Arc::new(|| Timestamp::from_seconds(1_700_000_000));
    Iam::open(store.clone(), sealer.clone(), clock).await.unwrap()
}

fn root() -> Caller {
    Caller::root(ACCOUNT, "us-east-1")
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn make_role(iam: &Iam, name: &str) {
    let input = CreateRoleRequest {
        role_name: text(name),
        assume_role_policy_document: text(TRUST),
        ..CreateRoleRequest::default()
    };
    iam.create_role(&root(), input).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_is_being_attached_is_not_deleted_meanwhile() {
    let (store, sealer) = (Memory::store(), Sealer::ephemeral().unwrap());
    // Two servers over one store: neither waits for the other.
    let (left, right) = (open(&store, &sealer).await, open(&store, &sealer).await);
    make_role(&left, "r").await;
    for round in 0..20 {
        let input = CreatePolicyRequest {
            policy_name: Some(format!("p{round}")),
            policy_document: text(ANYTHING),
            ..CreatePolicyRequest::default()
        };
        let arn = left.create_policy(&root(), input).await.unwrap().policy.unwrap().arn;
        let caller = root();
        let attach = AttachRolePolicyRequest { role_name: text("r"), policy_arn: arn.clone() };
        let attach = left.attach_role_policy(&caller, attach);
        let delete = right.delete_policy(&caller, DeletePolicyRequest { policy_arn: arn.clone() });
        let (attached, deleted) = tokio::join!(attach, delete);
        // The second server may not have seen the policy yet, and then deletes nothing.
        assert!(attached.is_err() || deleted.is_err(), "both happened in round {round}");
        let list = ListAttachedRolePoliciesRequest { role_name: text("r"), ..Default::default() };
        let listed = left.list_attached_role_policies(&caller, list).await.unwrap().attached_policies.unwrap();
        let is_attached = listed.iter().any(|policy| policy.policy_arn == arn);
        let is_there = left.get_policy(&caller, GetPolicyRequest { policy_arn: arn }).await.is_ok();
        assert!(is_there || !is_attached, "a policy is attached that is not there, in round {round}");
        let detach = gantry_api::iam::DetachRolePolicyRequest {
            role_name: text("r"),
            policy_arn: listed.first().and_then(|policy| policy.policy_arn.clone()),
        };
        if is_attached {
            left.detach_role_policy(&caller, detach).await.unwrap();
        }
    }
}

#[tokio::test]
async fn keys_and_sessions_are_found_after_a_restart_and_only_with_the_servers_key() {
    let (store, sealer) = (Memory::store(), Sealer::ephemeral().unwrap());
    let iam = open(&store, &sealer).await;
    iam.create_user(&root(), CreateUserRequest { user_name: text("ann"), ..Default::default() }).await.unwrap();
    let input = CreateAccessKeyRequest { user_name: text("ann") };
    let key = iam.create_access_key(&root(), input).await.unwrap().access_key.unwrap();
    make_role(&iam, "r").await;
    let input = AssumeRoleRequest {
        role_arn: text("arn:aws:iam::000000000000:role/r"),
        role_session_name: text("s1"),
        ..AssumeRoleRequest::default()
    };
    let session = Sts::new(iam).assume_role(&root(), input).await.unwrap().credentials.unwrap();

    let again = open(&store, &sealer).await;
    let found = again.key(key.access_key_id.as_deref().unwrap(), None).unwrap();
    assert_eq!((Some(&found.secret), found.kind), (key.secret_access_key.as_ref(), PrincipalKind::User));
    assert!(!format!("{found:?}").contains(&found.secret));
    let (id, token) = (session.access_key_id.unwrap(), session.session_token.unwrap());
    let found = again.key(&id, Some(&token)).unwrap();
    assert_eq!(Some(&found.secret), session.secret_access_key.as_ref());
    assert_eq!(found.session.as_ref().unwrap().expires_at, 1_700_003_600);
    assert_eq!(found.principal_arn, "arn:aws:sts::000000000000:assumed-role/r/s1");

    for wrong in [None, Some(""), Some(&token[1..]), Some(&token[..token.len() - 4])] {
        assert!(again.key(&id, wrong).is_none());
    }
    assert!(again.key("ASIAAAAAAAAAAAAAAAAA", Some(&token)).is_none());
    let stranger = open(&store, &Sealer::ephemeral().unwrap()).await;
    assert!(stranger.key(key.access_key_id.as_deref().unwrap(), None).is_none());
    assert!(stranger.key(&id, Some(&token)).is_none());
}
