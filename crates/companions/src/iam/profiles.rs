//! Instance profiles: how a role gets to a container instance.

use gantry_api::iam::{
    AddRoleToInstanceProfileRequest, CreateInstanceProfileRequest, CreateInstanceProfileResponse,
    DeleteInstanceProfileRequest, GetInstanceProfileRequest, GetInstanceProfileResponse,
    ListInstanceProfilesForRoleRequest, ListInstanceProfilesForRoleResponse, ListInstanceProfilesRequest,
    ListInstanceProfilesResponse, RemoveRoleFromInstanceProfileRequest,
};
use gantry_api::{Caller, Empty, Fault, iam};

use super::paging::asked;
use super::roles::check_modifiable;
use super::rows::InstanceProfile;
use super::{Iam, fault, names, wire};

pub(super) async fn create_instance_profile(
    iam: &Iam,
    caller: &Caller,
    input: CreateInstanceProfileRequest,
) -> Result<CreateInstanceProfileResponse, Fault> {
    let account = &caller.account;
    let profile = InstanceProfile {
        tags: wire::read_tags(input.tags)?,
        id: names::unique_id("AIPA")?,
        name: input.instance_profile_name.unwrap_or_default(),
        path: names::path(input.path)?,
        created_at: iam.now(),
        role: None,
    };
    let shown = iam
        .change(account, |picture, changes| {
            if picture.profile(&profile.name).is_ok() {
                return Err(fault::profile_exists(&profile.name));
            }
            changes.put(&profile);
            Ok(iam::InstanceProfile { tags: wire::tags(&profile.tags), ..wire::profile(account, picture, &profile) })
        })
        .await?;
    Ok(CreateInstanceProfileResponse { instance_profile: Some(shown) })
}

pub(super) async fn get_instance_profile(
    iam: &Iam,
    caller: &Caller,
    input: GetInstanceProfileRequest,
) -> Result<GetInstanceProfileResponse, Fault> {
    let account = &caller.account;
    let name = input.instance_profile_name.unwrap_or_default();
    let profile = iam.look(account, |picture| {
        let profile = picture.profile(&name)?;
        Ok(iam::InstanceProfile { tags: wire::tags(&profile.tags), ..wire::profile(account, picture, profile) })
    })?;
    Ok(GetInstanceProfileResponse { instance_profile: Some(profile) })
}

pub(super) async fn list_instance_profiles(
    iam: &Iam,
    caller: &Caller,
    input: ListInstanceProfilesRequest,
) -> Result<ListInstanceProfilesResponse, Fault> {
    let account = &caller.account;
    let prefix = input.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
    let question = format!("ListInstanceProfiles {account} {prefix}");
    let page = iam.look(account, |picture| {
        let profiles = picture.profiles.iter().filter(|(_, profile)| profile.path.starts_with(&prefix));
        let shown = profiles.map(|(key, profile)| (key.clone(), wire::profile(account, picture, profile)));
        asked!(input).page(&question, shown)
    })?;
    Ok(ListInstanceProfilesResponse {
        instance_profiles: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn list_instance_profiles_for_role(
    iam: &Iam,
    caller: &Caller,
    input: ListInstanceProfilesForRoleRequest,
) -> Result<ListInstanceProfilesForRoleResponse, Fault> {
    let account = &caller.account;
    let name = input.role_name.clone().unwrap_or_default();
    let question = format!("ListInstanceProfilesForRole {account} {name}");
    let page = iam.look(account, |picture| {
        let role = picture.role(&name)?.name.to_lowercase();
        let profiles = picture.profiles.iter().filter(|(_, profile)| profile.role.as_ref() == Some(&role));
        let shown = profiles.map(|(key, profile)| (key.clone(), wire::profile(account, picture, profile)));
        asked!(input).page(&question, shown)
    })?;
    Ok(ListInstanceProfilesForRoleResponse {
        instance_profiles: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}

pub(super) async fn add_role_to_instance_profile(
    iam: &Iam,
    caller: &Caller,
    input: AddRoleToInstanceProfileRequest,
) -> Result<Empty, Fault> {
    let (name, role) = (input.instance_profile_name.unwrap_or_default(), input.role_name.unwrap_or_default());
    iam.change(&caller.account, |picture, changes| {
        let mut profile = InstanceProfile::clone(picture.profile(&name)?);
        let role = picture.role(&role)?;
        check_modifiable(role)?;
        if profile.role.is_some() {
            return Err(fault::quota("InstanceSessionsPerInstanceProfile", 1));
        }
        profile.role = Some(role.name.to_lowercase());
        changes.put(&profile);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn remove_role_from_instance_profile(
    iam: &Iam,
    caller: &Caller,
    input: RemoveRoleFromInstanceProfileRequest,
) -> Result<Empty, Fault> {
    let (name, role) = (input.instance_profile_name.unwrap_or_default(), input.role_name.unwrap_or_default());
    iam.change(&caller.account, |picture, changes| {
        let mut profile = InstanceProfile::clone(picture.profile(&name)?);
        if profile.role != Some(role.to_lowercase()) {
            return Err(fault::not_in_profile(&role, &profile.name));
        }
        profile.role = None;
        changes.put(&profile);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn delete_instance_profile(
    iam: &Iam,
    caller: &Caller,
    input: DeleteInstanceProfileRequest,
) -> Result<Empty, Fault> {
    let name = input.instance_profile_name.unwrap_or_default();
    iam.change(&caller.account, |picture, changes| {
        let profile = picture.profile(&name)?;
        if profile.role.is_some() {
            return Err(fault::delete_conflict("must remove roles from instance profile first"));
        }
        changes.delete(&**profile);
        Ok(Empty {})
    })
    .await
}
