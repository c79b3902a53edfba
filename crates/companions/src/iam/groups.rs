//! Groups and who is in them. A user's row names its groups.

use std::sync::Arc;

use gantry_api::iam::{
    AddUserToGroupRequest, CreateGroupRequest, CreateGroupResponse, DeleteGroupRequest, GetGroupRequest,
    GetGroupResponse, ListGroupsForUserRequest, ListGroupsForUserResponse, ListGroupsRequest, ListGroupsResponse,
    RemoveUserFromGroupRequest,
};
use gantry_api::{Caller, Empty, Fault};

use super::paging::asked;
use super::picture::Account;
use super::rows::{Grants, Group, User};
use super::{Iam, fault, names, wire};

/// Groups a user may be in.
const GROUPS_PER_USER_MAX: usize = 10;

pub(super) async fn create_group(
    iam: &Iam,
    caller: &Caller,
    input: CreateGroupRequest,
) -> Result<CreateGroupResponse, Fault> {
    let group = Group {
        id: names::unique_id("AGPA")?,
        name: input.group_name.unwrap_or_default(),
        path: names::path(input.path)?,
        created_at: iam.now(),
        grants: Grants::default(),
    };
    iam.change(&caller.account, |picture, changes| {
        if picture.group(&group.name).is_ok() {
            return Err(fault::exists("Group", &group.name));
        }
        changes.put(&group);
        Ok(())
    })
    .await?;
    Ok(CreateGroupResponse { group: Some(wire::group(&caller.account, &group)) })
}

pub(super) async fn get_group(iam: &Iam, caller: &Caller, input: GetGroupRequest) -> Result<GetGroupResponse, Fault> {
    let account = &caller.account;
    let name = input.group_name.clone().unwrap_or_default();
    let question = format!("GetGroup {account} {name}");
    iam.look(account, |picture| {
        let group = picture.group(&name)?;
        let members = members(picture, group);
        let shown = members.map(|user| (user.name.to_lowercase(), wire::user(account, user)));
        let page = asked!(input).page(&question, shown)?;
        Ok(GetGroupResponse {
            group: Some(wire::group(account, group)),
            users: Some(page.items),
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    })
}

pub(super) async fn list_groups(
    iam: &Iam,
    caller: &Caller,
    input: ListGroupsRequest,
) -> Result<ListGroupsResponse, Fault> {
    let account = &caller.account;
    let prefix = input.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
    let question = format!("ListGroups {account} {prefix}");
    let page = iam.look(account, |picture| {
        let groups = picture.groups.iter().filter(|(_, group)| group.path.starts_with(&prefix));
        asked!(input).page(&question, groups.map(|(key, group)| (key.clone(), wire::group(account, group))))
    })?;
    Ok(ListGroupsResponse { groups: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn list_groups_for_user(
    iam: &Iam,
    caller: &Caller,
    input: ListGroupsForUserRequest,
) -> Result<ListGroupsForUserResponse, Fault> {
    let account = &caller.account;
    let name = input.user_name.clone().unwrap_or_default();
    let question = format!("ListGroupsForUser {account} {name}");
    let page = iam.look(account, |picture| {
        let user = picture.user(&name)?;
        let groups = user.groups.iter().filter_map(|key| Some((key.clone(), picture.groups.get(key)?)));
        asked!(input).page(&question, groups.map(|(key, group)| (key, wire::group(account, group))))
    })?;
    Ok(ListGroupsForUserResponse { groups: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn delete_group(iam: &Iam, caller: &Caller, input: DeleteGroupRequest) -> Result<Empty, Fault> {
    let name = input.group_name.unwrap_or_default();
    iam.change(&caller.account, |picture, changes| {
        let group = picture.group(&name)?;
        let in_use = [
            (members(picture, group).next().is_some(), "must remove users from group first"),
            (!group.grants.attached.is_empty(), "must detach all policies first"),
            (!group.grants.inline.is_empty(), "must delete policies first"),
        ];
        if let Some((_, first)) = in_use.into_iter().find(|(used, _)| *used) {
            return Err(fault::delete_conflict(first));
        }
        changes.delete(&**group);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn add_user_to_group(
    iam: &Iam,
    caller: &Caller,
    input: AddUserToGroupRequest,
) -> Result<Empty, Fault> {
    let (group, name) = (input.group_name.unwrap_or_default(), input.user_name.unwrap_or_default());
    iam.change(&caller.account, |picture, changes| {
        let group = picture.group(&group)?;
        let mut user = User::clone(picture.user(&name)?);
        if !user.groups.insert(group.name.to_lowercase()) {
            return Ok(Empty {});
        }
        if user.groups.len() > GROUPS_PER_USER_MAX {
            return Err(fault::quota("GroupsPerUser", GROUPS_PER_USER_MAX));
        }
        changes.put(&user);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn remove_user_from_group(
    iam: &Iam,
    caller: &Caller,
    input: RemoveUserFromGroupRequest,
) -> Result<Empty, Fault> {
    let (group, name) = (input.group_name.unwrap_or_default(), input.user_name.unwrap_or_default());
    iam.change(&caller.account, |picture, changes| {
        let group = picture.group(&group)?;
        let mut user = User::clone(picture.user(&name)?);
        if !user.groups.remove(&group.name.to_lowercase()) {
            return Err(fault::not_in_group(&user.name, &group.name));
        }
        changes.put(&user);
        Ok(Empty {})
    })
    .await
}

/// The users in a group, by name.
pub(super) fn members<'a>(picture: &'a Account, group: &Group) -> impl Iterator<Item = &'a Arc<User>> {
    let key = group.name.to_lowercase();
    picture.users.values().filter(move |user| user.groups.contains(&key))
}
