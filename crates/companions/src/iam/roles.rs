//! Roles.

use std::collections::BTreeMap;

use gantry_api::iam::{
    CreateRoleRequest, CreateRoleResponse, DeleteRoleRequest, GetRoleRequest, GetRoleResponse, ListRolesRequest,
    ListRolesResponse, UpdateAssumeRolePolicyRequest, UpdateRoleDescriptionRequest, UpdateRoleDescriptionResponse,
    UpdateRoleRequest, UpdateRoleResponse,
};
use gantry_api::{Caller, Empty, Fault, iam};

use super::boundaries::check_boundary;
use super::documents;
use super::paging::asked;
use super::picture::Account;
use super::rows::{Grants, Role};
use super::{Iam, fault, names, wire};

/// Seconds a session may last when the role does not say.
const SESSION_SECONDS: u32 = 3600;

pub(super) async fn create_role(
    iam: &Iam,
    caller: &Caller,
    input: CreateRoleRequest,
) -> Result<CreateRoleResponse, Fault> {
    let account = &caller.account;
    let tags = wire::read_tags(input.tags)?;
    let trust = input.assume_role_policy_document.unwrap_or_default();
    documents::check_trust(&trust)?;
    let seconds = input.max_session_duration.and_then(|seconds| u32::try_from(seconds).ok());
    let role = Role {
        id: names::unique_id("AROA")?,
        name: input.role_name.unwrap_or_default(),
        path: names::path(input.path)?,
        created_at: iam.now(),
        trust,
        trusted_ids: BTreeMap::new(),
        description: input.description,
        session_seconds_max: seconds.unwrap_or(SESSION_SECONDS),
        tags,
        boundary: input.permissions_boundary,
        grants: Grants::default(),
        service: None,
    };
    if role.path.starts_with("/aws-service-role/") {
        return Err(fault::invalid(
            "Roles with the path prefix /aws-service-role/ are made by CreateServiceLinkedRole.",
        ));
    }
    let shown = iam
        .change(account, |picture, changes| {
            if picture.role(&role.name).is_ok() {
                return Err(fault::exists("Role", &role.name));
            }
            check_boundary(picture, account, role.boundary.as_deref())?;
            let role = Role { trusted_ids: documents::trusted_ids(picture, account, &role.trust)?, ..role.clone() };
            changes.put(&role);
            Ok(wire::whole_role(account, picture, &role))
        })
        .await?;
    Ok(CreateRoleResponse { role: Some(shown) })
}

pub(super) async fn get_role(iam: &Iam, caller: &Caller, input: GetRoleRequest) -> Result<GetRoleResponse, Fault> {
    let account = &caller.account;
    let name = input.role_name.unwrap_or_default();
    let mut role = iam.look(account, |picture| {
        picture.role(&name).map(|role| (wire::whole_role(account, picture, role), role.id.clone()))
    })?;
    role.0.role_last_used = Some(last_used(iam, &role.1));
    Ok(GetRoleResponse { role: Some(role.0) })
}

/// When the role with this id was last used, as far as is remembered.
pub(super) fn last_used(iam: &Iam, id: &str) -> iam::RoleLastUsed {
    match iam.inner.keyring.last_used(id) {
        Some(used) => iam::RoleLastUsed { last_used_date: wire::time(used.at * 1000), region: Some(used.region) },
        None => iam::RoleLastUsed::default(),
    }
}

pub(super) async fn list_roles(
    iam: &Iam,
    caller: &Caller,
    input: ListRolesRequest,
) -> Result<ListRolesResponse, Fault> {
    let account = &caller.account;
    let prefix = input.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
    let question = format!("ListRoles {account} {prefix}");
    let page = iam.look(account, |picture| {
        let roles = picture.roles.iter().filter(|(_, role)| role.path.starts_with(&prefix));
        asked!(input).page(&question, roles.map(|(key, role)| (key.clone(), wire::role(account, picture, role))))
    })?;
    Ok(ListRolesResponse { roles: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn update_role(
    iam: &Iam,
    caller: &Caller,
    input: UpdateRoleRequest,
) -> Result<UpdateRoleResponse, Fault> {
    let name = input.role_name.unwrap_or_default();
    let seconds = input.max_session_duration.and_then(|seconds| u32::try_from(seconds).ok());
    iam.change_role(&caller.account, &name, |_, role| {
        // What is not named goes back to its default, as with the real service.
        role.description = input.description.clone().filter(|description| !description.is_empty());
        role.session_seconds_max = seconds.unwrap_or(SESSION_SECONDS);
        Ok(())
    })
    .await?;
    Ok(UpdateRoleResponse {})
}

pub(super) async fn update_role_description(
    iam: &Iam,
    caller: &Caller,
    input: UpdateRoleDescriptionRequest,
) -> Result<UpdateRoleDescriptionResponse, Fault> {
    let (account, name) = (&caller.account, input.role_name.unwrap_or_default());
    iam.change_role(account, &name, |_, role| {
        role.description = input.description.clone();
        Ok(())
    })
    .await?;
    let role = iam.look(account, |picture| picture.role(&name).map(|role| wire::whole_role(account, picture, role)))?;
    Ok(UpdateRoleDescriptionResponse { role: Some(role) })
}

pub(super) async fn update_assume_role_policy(
    iam: &Iam,
    caller: &Caller,
    input: UpdateAssumeRolePolicyRequest,
) -> Result<Empty, Fault> {
    let name = input.role_name.unwrap_or_default();
    let trust = input.policy_document.unwrap_or_default();
    documents::check_trust(&trust)?;
    iam.change_role(&caller.account, &name, |picture, role| {
        role.trusted_ids = documents::trusted_ids(picture, &caller.account, &trust)?;
        role.trust.clone_from(&trust);
        Ok(())
    })
    .await
}

pub(super) async fn delete_role(iam: &Iam, caller: &Caller, input: DeleteRoleRequest) -> Result<Empty, Fault> {
    let name = input.role_name.unwrap_or_default();
    iam.change(&caller.account, |picture, changes| {
        let role = picture.role(&name)?;
        check_modifiable(role)?;
        let key = role.name.to_lowercase();
        let in_profile = picture.profiles.values().any(|profile| profile.role.as_ref() == Some(&key));
        let in_use = [
            (in_profile, "must remove roles from instance profile first"),
            (!role.grants.attached.is_empty(), "must detach all policies first"),
            (!role.grants.inline.is_empty(), "must delete policies first"),
        ];
        if let Some((_, first)) = in_use.into_iter().find(|(used, _)| *used) {
            return Err(fault::delete_conflict(first));
        }
        changes.delete(&**role);
        Ok(Empty {})
    })
    .await
}

/// Service-linked roles belong to their service.
pub(super) fn check_modifiable(role: &Role) -> Result<(), Fault> {
    if role.service.is_some() { Err(fault::protected_role(&role.name)) } else { Ok(()) }
}

impl Iam {
    /// Changes a role that users may change.
    pub(super) async fn change_role(
        &self,
        account: &str,
        name: &str,
        change: impl Fn(&Account, &mut Role) -> Result<(), Fault>,
    ) -> Result<Empty, Fault> {
        self.change(account, |picture, changes| {
            let mut role = Role::clone(picture.role(name)?);
            check_modifiable(&role)?;
            change(picture, &mut role)?;
            changes.put(&role);
            Ok(Empty {})
        })
        .await
    }
}
