//! `AssumeRole`: a session of a role, for whom the role's trust policy allows.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::sts::{AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser, PolicyDescriptorType};
use gantry_api::{Caller, Fault, PrincipalKind, Session};
use gantry_domain::policy::{Context, Decision, Document, Kind, Policies, Request, evaluate_trust};
use gantry_domain::tags::Tags;
use gantry_protocol::principals::{self, Principals};

use super::{credentials, fault};
use crate::iam::{AssumableRole, Iam, Owner};

/// Seconds a session lasts unless the request says otherwise.
const SECONDS_DEFAULT: u64 = 3600;
/// The longest for a session that another role's session begins.
const SECONDS_CHAINED_MAX: u64 = 3600;
/// What policies and tags of a session may have together, bytes; our own measure, the real one is not published.
const PACKED_BYTES_MAX: usize = 4096;

pub(super) fn assume_role(iam: &Iam, caller: &Caller, input: AssumeRoleRequest) -> Result<AssumeRoleResponse, Fault> {
    if input.serial_number.is_some() || input.token_code.is_some() {
        return Err(fault::no_mfa());
    }
    let arn = input.role_arn.clone().unwrap_or_default();
    let name = input.role_session_name.clone().unwrap_or_default();
    let tags = session_tags(caller, &input)?;
    let Some(role) = iam.assumable_role(&arn) else {
        return Err(fault::may_not_assume(&caller.principal_arn, &arn));
    };
    check_trust(iam, caller, &input, &role, &name)?;
    let seconds = seconds(caller, &input, role.session_seconds_max)?;
    let policies = session_policies(input.policy.as_deref())?;
    let policy_arns = session_policy_arns(iam, &role.account, input.policy_arns.as_deref())?;
    let packed = packed_percent(&policies, &policy_arns, &tags.all)?;
    let now = iam.now_seconds();
    let expires_at = now + seconds;
    let principal_id = format!("{}:{name}", role.id);
    let session = Session {
        principal_id: principal_id.clone(),
        issued_at: now,
        expires_at,
        policies,
        policy_arns,
        tags: tags.all,
        transitive_tag_keys: tags.transitive,
        source_identity: input.source_identity.or_else(|| caller.session.as_ref()?.source_identity.clone()),
        federated_provider: None,
        machine: None,
        task: None,
    };
    let source_identity = session.source_identity.clone();
    let session_arn = format!("arn:aws:sts::{}:assumed-role/{}/{name}", role.account, role.name);
    let owner = Owner::Role { name: role.name.to_lowercase(), id: role.id };
    let new = iam.begin_session(&role.account, &session_arn, owner, session)?;
    Ok(AssumeRoleResponse {
        assumed_role_user: Some(AssumedRoleUser { assumed_role_id: Some(principal_id), arn: Some(session_arn) }),
        credentials: Some(credentials(new, expires_at)),
        packed_policy_size: packed,
        source_identity,
        ..Default::default()
    })
}

/// Asks the trust policy for everything that the request does.
fn check_trust(
    iam: &Iam,
    caller: &Caller,
    input: &AssumeRoleRequest,
    role: &AssumableRole,
    session_name: &str,
) -> Result<(), Fault> {
    let authority = iam.authority(caller);
    let trust = Document::parse(&role.trust, Kind::Trust);
    let trust = trust.map_err(|_| fault::may_not_assume(&caller.principal_arn, &role.arn))?;
    let policies = Policies { principal: &authority.policies, resource: &[Arc::new(trust)] };
    let context = context(caller, input, role, session_name);
    let tagged = input.tags.as_ref().is_some_and(|tags| !tags.is_empty());
    let actions = [
        Some("sts:AssumeRole"),
        tagged.then_some("sts:TagSession"),
        input.source_identity.as_ref().map(|_| "sts:SetSourceIdentity"),
    ];
    for action in actions.into_iter().flatten() {
        let request = Request {
            principal: &authority.principal,
            action,
            resource: &role.arn,
            account: &role.account,
            now: iam.now_timestamp(),
            context: &context,
        };
        match evaluate_trust(&request, &policies) {
            Decision::Allow => {}
            Decision::Deny(denial) if denial.explicit => return Err(fault::denied(denial.sentence(&request))),
            // Why not is not told: it would tell whether there is such a role.
            Decision::Deny(_) if action == "sts:AssumeRole" => {
                return Err(fault::may_not_assume(&caller.principal_arn, &role.arn));
            }
            Decision::Deny(denial) => return Err(fault::denied(denial.sentence(&request))),
        }
    }
    Ok(())
}

fn context(caller: &Caller, input: &AssumeRoleRequest, role: &AssumableRole, session_name: &str) -> Context {
    let mut context = principals::context(caller).with("sts:RoleSessionName", session_name);
    if let Some(id) = &input.external_id {
        context.add("sts:ExternalId", id.clone());
    }
    if let Some(identity) = &input.source_identity {
        context.add("sts:SourceIdentity", identity.clone());
    }
    for tag in input.tags.iter().flatten() {
        let (key, value) = (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default());
        context.add(&format!("aws:RequestTag/{key}"), value);
        context.add("aws:TagKeys", key);
    }
    for key in input.transitive_tag_keys.iter().flatten() {
        context.add("sts:TransitiveTagKeys", key.clone());
    }
    for (key, value) in &role.tags {
        context.add(&format!("aws:ResourceTag/{key}"), value.clone());
        context.add(&format!("iam:ResourceTag/{key}"), value.clone());
    }
    context
}

fn seconds(caller: &Caller, input: &AssumeRoleRequest, role_max: u64) -> Result<u64, Fault> {
    let asked = input.duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let chained = matches!(caller.kind, PrincipalKind::AssumedRole | PrincipalKind::Instance);
    match asked {
        Some(seconds) if seconds > role_max => Err(fault::too_long_for_role()),
        Some(seconds) if chained && seconds > SECONDS_CHAINED_MAX => Err(fault::too_long_for_chain()),
        Some(seconds) => Ok(seconds),
        None => Ok(SECONDS_DEFAULT),
    }
}

/// Tags of the session that begins.
struct SessionTags {
    all: BTreeMap<String, String>,
    transitive: Vec<String>,
}

/// The request's tags and the transitive ones of the caller's own session, which the request may not change.
fn session_tags(caller: &Caller, input: &AssumeRoleRequest) -> Result<SessionTags, Fault> {
    let given = input.tags.iter().flatten().map(|tag| (tag.key.as_deref(), tag.value.as_deref()));
    let mut all: BTreeMap<String, String> =
        Tags::parse(given).map_err(|error| fault::validation(error.to_string()))?.into();
    let mut transitive = input.transitive_tag_keys.clone().unwrap_or_default();
    if let Some(key) = transitive.iter().find(|key| !all.contains_key(*key)) {
        return Err(fault::validation(format!(
            "The specified transitive tag key must be included in the requested tags: {key}"
        )));
    }
    for key in caller.session.iter().flat_map(|session| &session.transitive_tag_keys) {
        let Some(value) = caller.session.as_ref().and_then(|session| session.tags.get(key)) else { continue };
        if all.insert(key.clone(), value.clone()).is_some() {
            return Err(fault::validation(format!(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session: {key}"
            )));
        }
        transitive.push(key.clone());
    }
    Ok(SessionTags { all, transitive })
}

pub(super) fn session_policies(policy: Option<&str>) -> Result<Vec<String>, Fault> {
    if let Some(text) = policy {
        Document::parse(text, Kind::Identity).map_err(|error| fault::malformed_policy(&error))?;
    }
    Ok(policy.map(str::to_owned).into_iter().collect())
}

pub(super) fn session_policy_arns(
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
