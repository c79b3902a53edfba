//! Rows as the wire shows them.

use std::collections::BTreeMap;

use gantry_api::iam::{self, AttachedPermissionsBoundary, PermissionsBoundaryAttachmentType, Tag};
use gantry_api::{Fault, Timestamp};
use gantry_domain::tags::{TagError, Tags};

use super::documents;
use super::fault;
use super::picture::Account;
use super::rows::{Group, InstanceProfile, Role, User};

/// Tags of a request.
pub(super) fn read_tags(tags: Option<Vec<Tag>>) -> Result<BTreeMap<String, String>, Fault> {
    let tags = tags.unwrap_or_default();
    let parsed = Tags::parse(tags.iter().map(|tag| (tag.key.as_deref(), tag.value.as_deref())));
    let parsed = parsed.map_err(|error| match error {
        TagError::Duplicate(_) => {
            fault::invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        }
        TagError::TooMany => fault::quota("TagsPerResource", 50),
        TagError::Reserved(_) => fault::invalid("aws: prefixed tag key names are not allowed for external use."),
        error => fault::validation(error.to_string()),
    })?;
    Ok(parsed.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Option<Vec<Tag>> {
    let list = tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) });
    (!tags.is_empty()).then(|| list.collect())
}

/// Milliseconds since the epoch, told in whole seconds as the real service does.
pub(super) fn time(millis: u64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(millis / 1000 * 1000))
}

pub(super) fn boundary(arn: Option<&String>) -> Option<AttachedPermissionsBoundary> {
    arn.map(|arn| AttachedPermissionsBoundary {
        permissions_boundary_arn: Some(arn.clone()),
        permissions_boundary_type: Some(PermissionsBoundaryAttachmentType::PermissionsBoundaryPolicy),
    })
}

/// A user as lists show it: without tags and boundary.
pub(super) fn user(account: &str, row: &User) -> iam::User {
    iam::User {
        arn: Some(row.arn(account)),
        create_date: time(row.created_at),
        path: Some(row.path.clone()),
        user_id: Some(row.id.clone()),
        user_name: Some(row.name.clone()),
        ..iam::User::default()
    }
}

/// A user with everything.
pub(super) fn whole_user(account: &str, row: &User) -> iam::User {
    iam::User { permissions_boundary: boundary(row.boundary.as_ref()), tags: tags(&row.tags), ..user(account, row) }
}

pub(super) fn group(account: &str, row: &Group) -> iam::Group {
    iam::Group {
        arn: Some(row.arn(account)),
        create_date: time(row.created_at),
        group_id: Some(row.id.clone()),
        group_name: Some(row.name.clone()),
        path: Some(row.path.clone()),
    }
}

/// A role as lists show it: without tags and boundary.
pub(super) fn role(account: &str, picture: &Account, row: &Role) -> iam::Role {
    iam::Role {
        arn: Some(row.arn(account)),
        assume_role_policy_document: Some(documents::encode(&picture.trust(account, row))),
        create_date: time(row.created_at),
        description: row.description.clone(),
        max_session_duration: i32::try_from(row.session_seconds_max).ok(),
        path: Some(row.path.clone()),
        role_id: Some(row.id.clone()),
        role_name: Some(row.name.clone()),
        ..iam::Role::default()
    }
}

/// A role with everything.
pub(super) fn whole_role(account: &str, picture: &Account, row: &Role) -> iam::Role {
    iam::Role {
        permissions_boundary: boundary(row.boundary.as_ref()),
        tags: tags(&row.tags),
        ..role(account, picture, row)
    }
}

/// An instance profile; without its tags in lists.
pub(super) fn profile(account: &str, picture: &Account, row: &InstanceProfile) -> iam::InstanceProfile {
    let role = row.role.as_ref().and_then(|name| picture.roles.get(name));
    iam::InstanceProfile {
        arn: Some(row.arn(account)),
        create_date: time(row.created_at),
        instance_profile_id: Some(row.id.clone()),
        instance_profile_name: Some(row.name.clone()),
        path: Some(row.path.clone()),
        roles: Some(role.into_iter().map(|row| self::role(account, picture, row)).collect()),
        ..iam::InstanceProfile::default()
    }
}
