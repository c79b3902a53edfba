//! What all ways to assume a role share: what limits the session that begins, and what trust policies are asked with.

use std::collections::BTreeMap;

use gantry_api::sts::{AssumedRoleUser, Credentials, PolicyDescriptorType};
use gantry_api::{Fault, Session};
use gantry_domain::policy::{Context, Document, Kind};

use super::{credentials, fault};
use crate::iam::{AssumableRole, Iam, Owner};

/// Seconds a session lasts unless the request says otherwise.
pub(super) const SECONDS_DEFAULT: u64 = 3600;
/// What policies and tags of a session may have together, bytes; our own measure, the real one is not published.
const PACKED_BYTES_MAX: usize = 4096;

/// A session that has begun.
pub(super) struct Begun {
    pub(super) credentials: Credentials,
    pub(super) user: AssumedRoleUser,
}

/// Begins a session of `role`, called `name`, for `seconds`.
pub(super) fn begin(
    iam: &Iam,
    role: AssumableRole,
    name: &str,
    seconds: u64,
    session: Session,
) -> Result<Begun, Fault> {
    let now = iam.now_seconds();
    let expires_at = now + seconds;
    let principal_id = format!("{}:{name}", role.id);
    let session = Session { principal_id: principal_id.clone(), issued_at: now, expires_at, ..session };
    let arn = format!("arn:aws:sts::{}:assumed-role/{}/{name}", role.account, role.name);
    let owner = Owner::Role { name: role.name.to_lowercase(), id: role.id };
    let new = iam.begin_session(&role.account, &arn, owner, session)?;
    Ok(Begun {
        credentials: credentials(new, expires_at),
        user: AssumedRoleUser { assumed_role_id: Some(principal_id), arn: Some(arn) },
    })
}

/// Adds the condition keys of the session that is asked for and of the role.
pub(super) fn describe(
    context: &mut Context,
    role: &AssumableRole,
    name: &str,
    source_identity: Option<&str>,
    tags: impl IntoIterator<Item = (String, String)>,
    transitive_tag_keys: &[String],
) {
    context.add("sts:RoleSessionName", name);
    if let Some(identity) = source_identity {
        context.add("sts:SourceIdentity", identity);
    }
    for (key, value) in tags {
        context.add(&format!("aws:RequestTag/{key}"), value);
        context.add("aws:TagKeys", key);
    }
    for key in transitive_tag_keys {
        context.add("sts:TransitiveTagKeys", key.clone());
    }
    for (key, value) in &role.tags {
        context.add(&format!("aws:ResourceTag/{key}"), value.clone());
        context.add(&format!("iam:ResourceTag/{key}"), value.clone());
    }
}

pub(super) fn policies(policy: Option<&str>) -> Result<Vec<String>, Fault> {
    if let Some(text) = policy {
        Document::parse(text, Kind::Identity).map_err(|error| fault::malformed_policy(&error))?;
    }
    Ok(policy.map(str::to_owned).into_iter().collect())
}

pub(super) fn policy_arns(
    iam: &Iam,
    account: &str,
    policies: Option<&[PolicyDescriptorType]>,
) -> Result<Vec<String>, Fault> {
    let arns = policies.unwrap_or_default().iter().filter_map(|policy| policy.arn.clone());
    let arns: Vec<String> = arns.collect();
    if arns.len() > 10 {
        return Err(fault::validation("A session may be limited by at most 10 managed policies."));
    }
    match arns.iter().find(|arn| !iam.has_managed_policy(account, arn)) {
        Some(arn) => Err(fault::validation(format!("The specified policy {arn} does not exist or is not attachable."))),
        None => Ok(arns),
    }
}

/// How much of what a session may carry it carries, in percent; nothing when it carries none.
pub(super) fn packed_percent(
    policies: &[String],
    arns: &[String],
    tags: &BTreeMap<String, String>,
) -> Result<Option<i32>, Fault> {
    let texts = policies.iter().chain(arns).chain(tags.keys()).chain(tags.values());
    let bytes: usize = texts.map(String::len).sum();
    let percent = (bytes * 100).div_ceil(PACKED_BYTES_MAX);
    if percent > 100 {
        return Err(fault::packed_policy_too_large(percent));
    }
    Ok((bytes > 0).then(|| i32::try_from(percent).unwrap_or(100)))
}

/// The seconds that were asked for, which the role must allow.
pub(super) fn seconds(asked: Option<i32>, role: &AssumableRole) -> Result<Option<u64>, Fault> {
    let asked = asked.and_then(|seconds| u64::try_from(seconds).ok());
    match asked {
        Some(seconds) if seconds > role.session_seconds_max => Err(fault::too_long_for_role()),
        asked => Ok(asked),
    }
}
