//! Managed policies attached to users, groups and roles, as operations.

use gantry_api::iam::{
    AttachGroupPolicyRequest, AttachRolePolicyRequest, AttachUserPolicyRequest, DetachGroupPolicyRequest,
    DetachRolePolicyRequest, DetachUserPolicyRequest, ListAttachedGroupPoliciesRequest,
    ListAttachedGroupPoliciesResponse, ListAttachedRolePoliciesRequest, ListAttachedRolePoliciesResponse,
    ListAttachedUserPoliciesRequest, ListAttachedUserPoliciesResponse,
};
use gantry_api::{Caller, Empty, Fault};

use super::Iam;
use super::paging::asked;
use super::rows::{Group, Role, User};

pub(super) async fn attach_user_policy(
    iam: &Iam,
    caller: &Caller,
    input: AttachUserPolicyRequest,
) -> Result<Empty, Fault> {
    let (name, arn) = (input.user_name.unwrap_or_default(), input.policy_arn.unwrap_or_default());
    iam.attach::<User>(&caller.account, &name, &arn).await
}

pub(super) async fn detach_user_policy(
    iam: &Iam,
    caller: &Caller,
    input: DetachUserPolicyRequest,
) -> Result<Empty, Fault> {
    let (name, arn) = (input.user_name.unwrap_or_default(), input.policy_arn.unwrap_or_default());
    iam.detach::<User>(&caller.account, &name, &arn).await
}

pub(super) async fn list_attached_user_policies(
    iam: &Iam,
    caller: &Caller,
    input: ListAttachedUserPoliciesRequest,
) -> Result<ListAttachedUserPoliciesResponse, Fault> {
    let name = input.user_name.clone().unwrap_or_default();
    let prefix = input.path_prefix.as_deref();
    let page = iam.list_attached::<User>(&caller.account, &name, prefix, asked!(input))?;
    Ok(ListAttachedUserPoliciesResponse {
        attached_policies: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn attach_group_policy(
    iam: &Iam,
    caller: &Caller,
    input: AttachGroupPolicyRequest,
) -> Result<Empty, Fault> {
    let (name, arn) = (input.group_name.unwrap_or_default(), input.policy_arn.unwrap_or_default());
    iam.attach::<Group>(&caller.account, &name, &arn).await
}

pub(super) async fn detach_group_policy(
    iam: &Iam,
    caller: &Caller,
    input: DetachGroupPolicyRequest,
) -> Result<Empty, Fault> {
    let (name, arn) = (input.group_name.unwrap_or_default(), input.policy_arn.unwrap_or_default());
    iam.detach::<Group>(&caller.account, &name, &arn).await
}

pub(super) async fn list_attached_group_policies(
    iam: &Iam,
    caller: &Caller,
    input: ListAttachedGroupPoliciesRequest,
) -> Result<ListAttachedGroupPoliciesResponse, Fault> {
    let name = input.group_name.clone().unwrap_or_default();
    let prefix = input.path_prefix.as_deref();
    let page = iam.list_attached::<Group>(&caller.account, &name, prefix, asked!(input))?;
    Ok(ListAttachedGroupPoliciesResponse {
        attached_policies: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn attach_role_policy(
    iam: &Iam,
    caller: &Caller,
    input: AttachRolePolicyRequest,
) -> Result<Empty, Fault> {
    let (name, arn) = (input.role_name.unwrap_or_default(), input.policy_arn.unwrap_or_default());
    iam.attach::<Role>(&caller.account, &name, &arn).await
}

pub(super) async fn detach_role_policy(
    iam: &Iam,
    caller: &Caller,
    input: DetachRolePolicyRequest,
) -> Result<Empty, Fault> {
    let (name, arn) = (input.role_name.unwrap_or_default(), input.policy_arn.unwrap_or_default());
    iam.detach::<Role>(&caller.account, &name, &arn).await
}

pub(super) async fn list_attached_role_policies(
    iam: &Iam,
    caller: &Caller,
    input: ListAttachedRolePoliciesRequest,
) -> Result<ListAttachedRolePoliciesResponse, Fault> {
    let name = input.role_name.clone().unwrap_or_default();
    let prefix = input.path_prefix.as_deref();
    let page = iam.list_attached::<Role>(&caller.account, &name, prefix, asked!(input))?;
    Ok(ListAttachedRolePoliciesResponse {
        attached_policies: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}
