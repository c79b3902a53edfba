//! Managed policies.

use std::collections::BTreeMap;

use gantry_api::iam::{
    CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, EntityType, GetPolicyRequest, GetPolicyResponse,
    ListEntitiesForPolicyRequest, ListEntitiesForPolicyResponse, ListPoliciesRequest, ListPoliciesResponse,
    PolicyGroup, PolicyRole, PolicyScopeType, PolicyUsageType, PolicyUser,
};
use gantry_api::{Caller, Empty, Fault, iam};

use super::aws_managed::{self, AwsManaged};
use super::documents;
use super::paging::asked;
use super::picture::{Account, Managed};
use super::rows::{Policy, PolicyVersion};
use super::{Iam, fault, names, wire};

pub(super) async fn create_policy(
    iam: &Iam,
    caller: &Caller,
    input: CreatePolicyRequest,
) -> Result<CreatePolicyResponse, Fault> {
    let account = &caller.account;
    let tags = wire::read_tags(input.tags)?;
    let document = input.policy_document.unwrap_or_default();
    documents::check_managed(&document)?;
    let now = iam.now();
    let policy = Policy {
        id: names::unique_id("ANPA")?,
        name: input.policy_name.unwrap_or_default(),
        path: names::path(input.path)?,
        created_at: now,
        updated_at: now,
        description: input.description,
        default_version: 1,
        next_version: 2,
        versions: BTreeMap::from([(1, PolicyVersion { document, created_at: now })]),
        tags,
    };
    iam.change(account, |picture, changes| {
        if picture.policies.contains_key(&policy.name.to_lowercase()) {
            return Err(fault::policy_exists(&policy.name));
        }
        changes.put(&policy);
        Ok(())
    })
    .await?;
    Ok(CreatePolicyResponse { policy: Some(customer(account, &policy, (0, 0))) })
}

pub(super) async fn get_policy(
    iam: &Iam,
    caller: &Caller,
    input: GetPolicyRequest,
) -> Result<GetPolicyResponse, Fault> {
    let account = &caller.account;
    let arn = input.policy_arn.unwrap_or_default();
    let policy = iam.look(account, |picture| {
        let policy = picture.managed(account, &arn).ok_or_else(|| fault::no_policy(&arn))?;
        let uses = picture.uses(&arn);
        Ok(match policy {
            Managed::Customer(policy) => customer(account, policy, uses),
            Managed::Aws(policy) => iam::Policy { description: Some(policy.description()), ..aws(policy, uses) },
        })
    })?;
    Ok(GetPolicyResponse { policy: Some(policy) })
}

pub(super) async fn list_policies(
    iam: &Iam,
    caller: &Caller,
    input: ListPoliciesRequest,
) -> Result<ListPoliciesResponse, Fault> {
    let account = &caller.account;
    let scope = input.scope.clone().unwrap_or(PolicyScopeType::All);
    let prefix = input.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
    let attached = input.only_attached.unwrap_or(false);
    let usage = input.policy_usage_filter.clone();
    let question = format!("ListPolicies {account} {scope:?} {prefix} {attached} {usage:?}");
    let used = |(permissions, boundaries): (usize, usize)| match &usage {
        Some(PolicyUsageType::PermissionsBoundary) => boundaries > 0,
        Some(_) => permissions > 0,
        None => !attached || permissions > 0,
    };
    let page = iam.look(account, |picture| {
        let local = picture.policies.values().filter(|_| scope != PolicyScopeType::Aws);
        let local = local.filter(|policy| policy.path.starts_with(&prefix)).filter_map(|policy| {
            let (arn, uses) = (policy.arn(account), picture.uses(&policy.arn(account)));
            // Descriptions and tags come with GetPolicy only.
            let shown = iam::Policy { description: None, tags: None, ..customer(account, policy, uses) };
            used(uses).then_some((arn, shown))
        });
        let of_aws = aws_managed::all().iter().filter(|_| scope != PolicyScopeType::Local);
        let of_aws = of_aws.filter(|policy| policy.path().starts_with(&prefix)).filter_map(|policy| {
            let uses = picture.uses(&policy.arn);
            used(uses).then(|| (policy.arn.clone(), aws(policy, uses)))
        });
        let mut all: Vec<(String, iam::Policy)> = local.chain(of_aws).collect();
        all.sort_by(|(left, _), (right, _)| left.cmp(right));
        asked!(input).page(&question, all)
    })?;
    Ok(ListPoliciesResponse { policies: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn delete_policy(iam: &Iam, caller: &Caller, input: DeletePolicyRequest) -> Result<Empty, Fault> {
    let arn = input.policy_arn.unwrap_or_default();
    iam.change(&caller.account, |picture, changes| {
        let policy = own_policy(picture, &caller.account, &arn)?;
        let (permissions, boundaries) = picture.uses(&arn);
        if permissions + boundaries > 0 {
            return Err(fault::policy_in_use(permissions + boundaries));
        }
        if policy.versions.len() > 1 {
            return Err(fault::policy_has_versions());
        }
        changes.delete(policy);
        Ok(Empty {})
    })
    .await
}

/// One of those that a policy is attached to.
enum Entity {
    Group(PolicyGroup),
    User(PolicyUser),
    Role(PolicyRole),
}

pub(super) async fn list_entities_for_policy(
    iam: &Iam,
    caller: &Caller,
    input: ListEntitiesForPolicyRequest,
) -> Result<ListEntitiesForPolicyResponse, Fault> {
    let account = &caller.account;
    let arn = input.policy_arn.clone().unwrap_or_default();
    let filter = input.entity_filter.clone();
    let prefix = input.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
    let as_boundary = input.policy_usage_filter == Some(PolicyUsageType::PermissionsBoundary);
    let question = format!("ListEntitiesForPolicy {account} {arn} {filter:?} {prefix} {as_boundary}");
    let page = iam.look(account, |picture| {
        picture.managed(account, &arn).ok_or_else(|| fault::no_policy(&arn))?;
        let wanted = |entity: EntityType| filter.as_ref().is_none_or(|filter| *filter == entity);
        asked!(input).page(
            &question,
            entities(picture, &arn, &prefix, as_boundary).filter(|(_, entity)| {
                wanted(match entity {
                    Entity::Group(_) => EntityType::Group,
                    Entity::User(_) => EntityType::User,
                    Entity::Role(_) => EntityType::Role,
                })
            }),
        )
    })?;
    let (mut groups, mut users, mut roles) = (Vec::new(), Vec::new(), Vec::new());
    for entity in page.items {
        match entity {
            Entity::Group(group) => groups.push(group),
            Entity::User(user) => users.push(user),
            Entity::Role(role) => roles.push(role),
        }
    }
    Ok(ListEntitiesForPolicyResponse {
        policy_groups: Some(groups),
        policy_users: Some(users),
        policy_roles: Some(roles),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

fn entities<'a>(
    picture: &'a Account,
    arn: &'a str,
    prefix: &'a str,
    as_boundary: bool,
) -> impl Iterator<Item = (String, Entity)> {
    let has = move |attached: bool, boundary: Option<&String>| {
        if as_boundary { boundary.is_some_and(|boundary| boundary == arn) } else { attached }
    };
    let groups = picture
        .groups
        .iter()
        .filter(move |(_, group)| group.path.starts_with(prefix) && has(group.grants.attached.contains(arn), None));
    let users = picture.users.iter().filter(move |(_, user)| {
        user.path.starts_with(prefix) && has(user.grants.attached.contains(arn), user.boundary.as_ref())
    });
    let roles = picture.roles.iter().filter(move |(_, role)| {
        role.path.starts_with(prefix) && has(role.grants.attached.contains(arn), role.boundary.as_ref())
    });
    let groups = groups.map(|(key, group)| {
        let shown = PolicyGroup { group_id: Some(group.id.clone()), group_name: Some(group.name.clone()) };
        (format!("group/{key}"), Entity::Group(shown))
    });
    let roles = roles.map(|(key, role)| {
        let shown = PolicyRole { role_id: Some(role.id.clone()), role_name: Some(role.name.clone()) };
        (format!("role/{key}"), Entity::Role(shown))
    });
    let users = users.map(|(key, user)| {
        let shown = PolicyUser { user_id: Some(user.id.clone()), user_name: Some(user.name.clone()) };
        (format!("user/{key}"), Entity::User(shown))
    });
    groups.chain(roles).chain(users)
}

/// A policy that the account may change.
pub(super) fn own_policy<'a>(picture: &'a Account, account: &str, arn: &str) -> Result<&'a Policy, Fault> {
    if aws_managed::find(arn).is_some() {
        return Err(fault::aws_managed());
    }
    picture.policy(account, arn).map(|policy| &**policy).ok_or_else(|| fault::no_policy(arn))
}

pub(super) fn customer(account: &str, policy: &Policy, (attached, boundaries): (usize, usize)) -> iam::Policy {
    iam::Policy {
        arn: Some(policy.arn(account)),
        attachment_count: i32::try_from(attached).ok(),
        create_date: wire::time(policy.created_at),
        default_version_id: Some(format!("v{}", policy.default_version)),
        description: policy.description.clone(),
        is_attachable: Some(true),
        path: Some(policy.path.clone()),
        permissions_boundary_usage_count: i32::try_from(boundaries).ok(),
        policy_id: Some(policy.id.clone()),
        policy_name: Some(policy.name.clone()),
        tags: wire::tags(&policy.tags),
        update_date: wire::time(policy.updated_at),
    }
}

pub(super) fn aws(policy: &AwsManaged, (attached, boundaries): (usize, usize)) -> iam::Policy {
    iam::Policy {
        arn: Some(policy.arn.clone()),
        attachment_count: i32::try_from(attached).ok(),
        create_date: wire::time(AwsManaged::CREATED_AT),
        default_version_id: Some(policy.version_id()),
        is_attachable: Some(true),
        path: Some(policy.path().to_owned()),
        permissions_boundary_usage_count: i32::try_from(boundaries).ok(),
        policy_id: Some(policy.id()),
        policy_name: Some(policy.name().to_owned()),
        update_date: wire::time(AwsManaged::CREATED_AT),
        ..iam::Policy::default()
    }
}
