//! Inline policies of users, groups and roles, as operations.

use gantry_api::iam::{
    DeleteGroupPolicyRequest, DeleteRolePolicyRequest, DeleteUserPolicyRequest, GetGroupPolicyRequest,
    GetGroupPolicyResponse, GetRolePolicyRequest, GetRolePolicyResponse, GetUserPolicyRequest, GetUserPolicyResponse,
    ListGroupPoliciesRequest, ListGroupPoliciesResponse, ListRolePoliciesRequest, ListRolePoliciesResponse,
    ListUserPoliciesRequest, ListUserPoliciesResponse, PutGroupPolicyRequest, PutRolePolicyRequest,
    PutUserPolicyRequest,
};
use gantry_api::{Caller, Empty, Fault};

use super::Iam;
use super::paging::asked;
use super::rows::{Group, Role, User};

pub(super) async fn put_user_policy(iam: &Iam, caller: &Caller, input: PutUserPolicyRequest) -> Result<Empty, Fault> {
    let (name, policy) = (input.user_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    iam.put_inline::<User>(&caller.account, &name, &policy, &input.policy_document.unwrap_or_default()).await
}

pub(super) async fn get_user_policy(
    iam: &Iam,
    caller: &Caller,
    input: GetUserPolicyRequest,
) -> Result<GetUserPolicyResponse, Fault> {
    let (name, policy) = (input.user_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    let (name, document) = iam.get_inline::<User>(&caller.account, &name, &policy)?;
    Ok(GetUserPolicyResponse { user_name: Some(name), policy_name: Some(policy), policy_document: Some(document) })
}

pub(super) async fn delete_user_policy(
    iam: &Iam,
    caller: &Caller,
    input: DeleteUserPolicyRequest,
) -> Result<Empty, Fault> {
    let (name, policy) = (input.user_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    iam.delete_inline::<User>(&caller.account, &name, &policy).await
}

pub(super) async fn list_user_policies(
    iam: &Iam,
    caller: &Caller,
    input: ListUserPoliciesRequest,
) -> Result<ListUserPoliciesResponse, Fault> {
    let name = input.user_name.clone().unwrap_or_default();
    let page = iam.list_inline::<User>(&caller.account, &name, asked!(input))?;
    Ok(ListUserPoliciesResponse {
        policy_names: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn put_group_policy(iam: &Iam, caller: &Caller, input: PutGroupPolicyRequest) -> Result<Empty, Fault> {
    let (name, policy) = (input.group_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    iam.put_inline::<Group>(&caller.account, &name, &policy, &input.policy_document.unwrap_or_default()).await
}

pub(super) async fn get_group_policy(
    iam: &Iam,
    caller: &Caller,
    input: GetGroupPolicyRequest,
) -> Result<GetGroupPolicyResponse, Fault> {
    let (name, policy) = (input.group_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    let (name, document) = iam.get_inline::<Group>(&caller.account, &name, &policy)?;
    Ok(GetGroupPolicyResponse { group_name: Some(name), policy_name: Some(policy), policy_document: Some(document) })
}

pub(super) async fn delete_group_policy(
    iam: &Iam,
    caller: &Caller,
    input: DeleteGroupPolicyRequest,
) -> Result<Empty, Fault> {
    let (name, policy) = (input.group_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    iam.delete_inline::<Group>(&caller.account, &name, &policy).await
}

pub(super) async fn list_group_policies(
    iam: &Iam,
    caller: &Caller,
    input: ListGroupPoliciesRequest,
) -> Result<ListGroupPoliciesResponse, Fault> {
    let name = input.group_name.clone().unwrap_or_default();
    let page = iam.list_inline::<Group>(&caller.account, &name, asked!(input))?;
    Ok(ListGroupPoliciesResponse {
        policy_names: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn put_role_policy(iam: &Iam, caller: &Caller, input: PutRolePolicyRequest) -> Result<Empty, Fault> {
    let (name, policy) = (input.role_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    iam.put_inline::<Role>(&caller.account, &name, &policy, &input.policy_document.unwrap_or_default()).await
}

pub(super) async fn get_role_policy(
    iam: &Iam,
    caller: &Caller,
    input: GetRolePolicyRequest,
) -> Result<GetRolePolicyResponse, Fault> {
    let (name, policy) = (input.role_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    let (name, document) = iam.get_inline::<Role>(&caller.account, &name, &policy)?;
    Ok(GetRolePolicyResponse { role_name: Some(name), policy_name: Some(policy), policy_document: Some(document) })
}

pub(super) async fn delete_role_policy(
    iam: &Iam,
    caller: &Caller,
    input: DeleteRolePolicyRequest,
) -> Result<Empty, Fault> {
    let (name, policy) = (input.role_name.unwrap_or_default(), input.policy_name.unwrap_or_default());
    iam.delete_inline::<Role>(&caller.account, &name, &policy).await
}

pub(super) async fn list_role_policies(
    iam: &Iam,
    caller: &Caller,
    input: ListRolePoliciesRequest,
) -> Result<ListRolePoliciesResponse, Fault> {
    let name = input.role_name.clone().unwrap_or_default();
    let page = iam.list_inline::<Role>(&caller.account, &name, asked!(input))?;
    Ok(ListRolePoliciesResponse {
        policy_names: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}
