//! Permissions boundaries: a managed policy that says the most a user or role may ever do.

use gantry_api::iam::{DeleteRolePermissionsBoundaryRequest, PutRolePermissionsBoundaryRequest};
use gantry_api::{Caller, Empty, Fault};

use super::picture::Account;
use super::{Iam, fault};

pub(super) async fn put_role_permissions_boundary(
    iam: &Iam,
    caller: &Caller,
    input: PutRolePermissionsBoundaryRequest,
) -> Result<Empty, Fault> {
    let name = input.role_name.unwrap_or_default();
    iam.change_role(&caller.account, &name, |picture, role| {
        check_boundary(picture, &caller.account, input.permissions_boundary.as_deref())?;
        role.boundary.clone_from(&input.permissions_boundary);
        Ok(())
    })
    .await
}

pub(super) async fn delete_role_permissions_boundary(
    iam: &Iam,
    caller: &Caller,
    input: DeleteRolePermissionsBoundaryRequest,
) -> Result<Empty, Fault> {
    let name = input.role_name.unwrap_or_default();
    iam.change_role(&caller.account, &name, |_, role| {
        role.boundary.take().map(|_| ()).ok_or_else(|| fault::no_boundary(&role.name))
    })
    .await
}

/// A boundary must be a managed policy that is there.
pub(super) fn check_boundary(picture: &Account, account: &str, arn: Option<&str>) -> Result<(), Fault> {
    match arn {
        Some(arn) if picture.managed(account, arn).is_none() => Err(fault::no_such_policy_for_boundary(arn)),
        _ => Ok(()),
    }
}
