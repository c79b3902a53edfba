//! Users.

use gantry_api::iam::{
    CreateUserRequest, CreateUserResponse, DeleteUserRequest, GetUserRequest, GetUserResponse, ListUsersRequest,
    ListUsersResponse, UpdateUserRequest,
};
use gantry_api::{Caller, Empty, Fault, PrincipalKind, iam};

use super::boundaries::check_boundary;
use super::paging::asked;
use super::rows::{Grants, User};
use super::{Iam, fault, names, wire};

pub(super) async fn create_user(
    iam: &Iam,
    caller: &Caller,
    input: CreateUserRequest,
) -> Result<CreateUserResponse, Fault> {
    let tags = wire::read_tags(input.tags)?;
    let user = User {
        id: names::unique_id("AIDA")?,
        name: input.user_name.unwrap_or_default(),
        path: names::path(input.path)?,
        created_at: iam.now(),
        tags,
        boundary: input.permissions_boundary,
        grants: Grants::default(),
        groups: Default::default(),
        keys: Vec::new(),
    };
    iam.change(&caller.account, |picture, changes| {
        if picture.user(&user.name).is_ok() {
            return Err(fault::exists("User", &user.name));
        }
        check_boundary(picture, &caller.account, user.boundary.as_deref())?;
        changes.put(&user);
        Ok(())
    })
    .await?;
    Ok(CreateUserResponse { user: Some(wire::whole_user(&caller.account, &user)) })
}

pub(super) async fn get_user(iam: &Iam, caller: &Caller, input: GetUserRequest) -> Result<GetUserResponse, Fault> {
    let account = &caller.account;
    if input.user_name.is_none() && caller.kind == PrincipalKind::Root {
        return Ok(GetUserResponse { user: Some(root(caller)) });
    }
    let name = own_name(caller, input.user_name)?;
    let user = iam.look(account, |picture| picture.user(&name).map(|user| wire::whole_user(account, user)))?;
    Ok(GetUserResponse { user: Some(user) })
}

pub(super) async fn list_users(
    iam: &Iam,
    caller: &Caller,
    input: ListUsersRequest,
) -> Result<ListUsersResponse, Fault> {
    let account = &caller.account;
    let prefix = input.path_prefix.clone().unwrap_or_else(|| "/".to_owned());
    let question = format!("ListUsers {account} {prefix}");
    let page = iam.look(account, |picture| {
        let users = picture.users.iter().filter(|(_, user)| user.path.starts_with(&prefix));
        asked!(input).page(&question, users.map(|(key, user)| (key.clone(), wire::user(account, user))))
    })?;
    Ok(ListUsersResponse { users: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn update_user(iam: &Iam, caller: &Caller, input: UpdateUserRequest) -> Result<Empty, Fault> {
    let name = input.user_name.unwrap_or_default();
    let new_path = input.new_path.map(|path| names::path(Some(path))).transpose()?;
    iam.change(&caller.account, |picture, changes| {
        let before = picture.user(&name)?;
        let mut user = User::clone(before);
        user.path = new_path.clone().unwrap_or(user.path);
        user.name = input.new_user_name.clone().unwrap_or(user.name);
        if user.name.to_lowercase() != before.name.to_lowercase() {
            if picture.user(&user.name).is_ok() {
                return Err(fault::exists("User", &user.name));
            }
            changes.delete(&**before);
        }
        changes.put(&user);
        Ok(Empty {})
    })
    .await
}

pub(super) async fn delete_user(iam: &Iam, caller: &Caller, input: DeleteUserRequest) -> Result<Empty, Fault> {
    let name = input.user_name.unwrap_or_default();
    iam.change(&caller.account, |picture, changes| {
        let user = picture.user(&name)?;
        let in_use = [
            (!user.groups.is_empty(), "must remove users from group first"),
            (!user.keys.is_empty(), "must delete access keys first"),
            (!user.grants.attached.is_empty(), "must detach all policies first"),
            (!user.grants.inline.is_empty(), "must delete policies first"),
        ];
        if let Some((_, first)) = in_use.into_iter().find(|(used, _)| *used) {
            return Err(fault::delete_conflict(first));
        }
        changes.delete(&**user);
        Ok(Empty {})
    })
    .await
}

/// The user a request is about: the named one, or the caller.
pub(super) fn own_name(caller: &Caller, name: Option<String>) -> Result<String, Fault> {
    match (name, caller.kind) {
        (Some(name), _) => Ok(name),
        (None, PrincipalKind::User) => {
            let name = caller.principal_arn.rsplit('/').next();
            name.map(str::to_owned).ok_or_else(fault::must_name_user)
        }
        (None, _) => Err(fault::must_name_user()),
    }
}

/// The account's root, which `GetUser` shows when root asks for itself.
fn root(caller: &Caller) -> iam::User {
    iam::User {
        arn: Some(caller.principal_arn.clone()),
        create_date: wire::time(0),
        user_id: Some(caller.account.clone()),
        ..iam::User::default()
    }
}
