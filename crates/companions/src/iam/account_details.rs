//! `GetAccountAuthorizationDetails`: all of an account's users, groups, roles and policies at once, for audits and
//! backups. Of AWS's policies there are those that the account uses.

use std::collections::BTreeMap;

use gantry_api::iam::{
    AttachedPolicy, EntityType, GetAccountAuthorizationDetailsRequest, GetAccountAuthorizationDetailsResponse,
    GroupDetail, ManagedPolicyDetail, PolicyDetail, RoleDetail, UserDetail,
};
use gantry_api::{Caller, Fault, iam};

use super::paging::asked;
use super::picture::Account;
use super::rows::{Group, Policy, Role, User};
use super::{Iam, aws_managed, documents, policies, roles, versions, wire};

/// One of what the list has.
enum Detail {
    User(UserDetail),
    Group(GroupDetail),
    Role(RoleDetail),
    Policy(ManagedPolicyDetail),
}

pub(super) async fn get_account_authorization_details(
    iam: &Iam,
    caller: &Caller,
    input: GetAccountAuthorizationDetailsRequest,
) -> Result<GetAccountAuthorizationDetailsResponse, Fault> {
    let account = &caller.account;
    let filter = input.filter.clone().unwrap_or_default();
    let question = format!("GetAccountAuthorizationDetails {account} {filter:?}");
    let wanted = |kind: EntityType| filter.is_empty() || filter.contains(&kind);
    let page = iam.look(account, |picture| {
        let users = picture.users.iter().filter(|_| wanted(EntityType::User));
        let users = users.map(|(key, row)| (format!("1 {key}"), Detail::User(user(account, picture, row))));
        let groups = picture.groups.iter().filter(|_| wanted(EntityType::Group));
        let groups = groups.map(|(key, row)| (format!("2 {key}"), Detail::Group(group(account, picture, row))));
        let roles = picture.roles.iter().filter(|_| wanted(EntityType::Role));
        let roles = roles.map(|(key, row)| (format!("3 {key}"), Detail::Role(role(iam, account, picture, row))));
        let local = picture.policies.iter().filter(|_| wanted(EntityType::LocalManagedPolicy));
        let local = local.map(|(key, row)| (format!("4 {key}"), Detail::Policy(of_customer(account, picture, row))));
        let of_aws = aws_managed::all().iter().filter(|_| wanted(EntityType::AWSManagedPolicy));
        let of_aws = of_aws.filter_map(|policy| {
            let uses = picture.uses(&policy.arn);
            let versions = vec![versions::of_aws(policy, true)];
            let shown = iam::Policy { description: Some(policy.description()), ..policies::aws(policy, uses) };
            (uses != (0, 0)).then(|| (format!("5 {}", policy.arn), Detail::Policy(managed(shown, versions))))
        });
        asked!(input).page(&question, users.chain(groups).chain(roles).chain(local).chain(of_aws))
    })?;
    let (mut users, mut groups, mut roles, mut policies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for detail in page.items {
        match detail {
            Detail::User(user) => users.push(user),
            Detail::Group(group) => groups.push(group),
            Detail::Role(role) => roles.push(role),
            Detail::Policy(policy) => policies.push(policy),
        }
    }
    Ok(GetAccountAuthorizationDetailsResponse {
        user_detail_list: Some(users),
        group_detail_list: Some(groups),
        role_detail_list: Some(roles),
        policies: Some(policies),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

fn user(account: &str, picture: &Account, row: &User) -> UserDetail {
    let groups = row.groups.iter().filter_map(|name| picture.groups.get(name));
    UserDetail {
        arn: Some(row.arn(account)),
        attached_managed_policies: Some(attached(account, picture, row.grants.attached.iter())),
        create_date: wire::time(row.created_at),
        group_list: Some(groups.map(|group| group.name.clone()).collect()),
        path: Some(row.path.clone()),
        permissions_boundary: wire::boundary(row.boundary.as_ref()),
        tags: wire::tags(&row.tags),
        user_id: Some(row.id.clone()),
        user_name: Some(row.name.clone()),
        user_policy_list: Some(inline(&row.grants.inline)),
    }
}

fn group(account: &str, picture: &Account, row: &Group) -> GroupDetail {
    GroupDetail {
        arn: Some(row.arn(account)),
        attached_managed_policies: Some(attached(account, picture, row.grants.attached.iter())),
        create_date: wire::time(row.created_at),
        group_id: Some(row.id.clone()),
        group_name: Some(row.name.clone()),
        group_policy_list: Some(inline(&row.grants.inline)),
        path: Some(row.path.clone()),
    }
}

fn role(iam: &Iam, account: &str, picture: &Account, row: &Role) -> RoleDetail {
    let name = row.name.to_lowercase();
    let profiles = picture.profiles.values().filter(|profile| profile.role.as_ref() == Some(&name));
    RoleDetail {
        arn: Some(row.arn(account)),
        assume_role_policy_document: Some(documents::encode(&picture.trust(account, row))),
        attached_managed_policies: Some(attached(account, picture, row.grants.attached.iter())),
        create_date: wire::time(row.created_at),
        instance_profile_list: Some(profiles.map(|profile| wire::profile(account, picture, profile)).collect()),
        path: Some(row.path.clone()),
        permissions_boundary: wire::boundary(row.boundary.as_ref()),
        role_id: Some(row.id.clone()),
        role_last_used: Some(roles::last_used(iam, &row.id)),
        role_name: Some(row.name.clone()),
        role_policy_list: Some(inline(&row.grants.inline)),
        tags: wire::tags(&row.tags),
    }
}

fn of_customer(account: &str, picture: &Account, row: &Policy) -> ManagedPolicyDetail {
    let versions = row.versions.iter().rev().map(|(number, version)| versions::whole(row, *number, version));
    managed(policies::customer(account, row, picture.uses(&row.arn(account))), versions.collect())
}

fn managed(policy: iam::Policy, versions: Vec<iam::PolicyVersion>) -> ManagedPolicyDetail {
    ManagedPolicyDetail {
        arn: policy.arn,
        attachment_count: policy.attachment_count,
        create_date: policy.create_date,
        default_version_id: policy.default_version_id,
        description: policy.description,
        is_attachable: policy.is_attachable,
        path: policy.path,
        permissions_boundary_usage_count: policy.permissions_boundary_usage_count,
        policy_id: policy.policy_id,
        policy_name: policy.policy_name,
        policy_version_list: Some(versions),
        update_date: policy.update_date,
    }
}

fn attached<'a>(account: &str, picture: &Account, arns: impl Iterator<Item = &'a String>) -> Vec<AttachedPolicy> {
    let named = arns.filter_map(|arn| Some((arn, picture.managed(account, arn)?)));
    named
        .map(|(arn, policy)| AttachedPolicy {
            policy_arn: Some(arn.clone()),
            policy_name: Some(policy.name().to_owned()),
        })
        .collect()
}

fn inline(policies: &BTreeMap<String, String>) -> Vec<PolicyDetail> {
    let shown = |(name, document): (&String, &String)| PolicyDetail {
        policy_name: Some(name.clone()),
        policy_document: Some(documents::encode(document)),
    };
    policies.iter().map(shown).collect()
}
