//! `AssumeRole`: a session of a role, for whom the role's trust policy allows.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::sts::{AssumeRoleRequest, AssumeRoleResponse, Tag};
use gantry_api::{Caller, Fault, PrincipalKind, Session};
use gantry_domain::policy::{Context, Decision, Document, Kind, Policies, Request, evaluate_trust};
use gantry_domain::tags::Tags;
use gantry_protocol::principals::{self, Principals};

use super::fault;
use super::role_session::{self, SECONDS_DEFAULT};
use crate::iam::{AssumableRole, Iam};

/// The longest for a session that another role's session begins.
const SECONDS_CHAINED_MAX: u64 = 3600;

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
    let seconds = seconds(caller, &input, &role)?;
    let policies = role_session::policies(input.policy.as_deref())?;
    let policy_arns = role_session::policy_arns(iam, &role.account, input.policy_arns.as_deref())?;
    let packed = role_session::packed_percent(&policies, &policy_arns, &tags.all)?;
    let source_identity = input.source_identity.or_else(|| caller.session.as_ref()?.source_identity.clone());
    let session = Session {
        policies,
        policy_arns,
        tags: tags.all,
        transitive_tag_keys: tags.transitive,
        source_identity: source_identity.clone(),
        ..Session::default()
    };
    let begun = role_session::begin(iam, role, &name, seconds, session)?;
    Ok(AssumeRoleResponse {
        assumed_role_user: Some(begun.user),
        credentials: Some(begun.credentials),
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
    let mut context = principals::context(caller);
    if let Some(id) = &input.external_id {
        context.add("sts:ExternalId", id.clone());
    }
    let tag = |tag: &Tag| (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default());
    let tags = input.tags.iter().flatten().map(tag);
    let transitive = input.transitive_tag_keys.as_deref().unwrap_or_default();
    role_session::describe(&mut context, role, session_name, input.source_identity.as_deref(), tags, transitive);
    context
}

fn seconds(caller: &Caller, input: &AssumeRoleRequest, role: &AssumableRole) -> Result<u64, Fault> {
    let chained = matches!(caller.kind, PrincipalKind::AssumedRole | PrincipalKind::Instance);
    match role_session::seconds(input.duration_seconds, role)? {
        Some(seconds) if chained && seconds > SECONDS_CHAINED_MAX => Err(fault::too_long_for_chain()),
        asked => Ok(asked.unwrap_or(SECONDS_DEFAULT)),
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
