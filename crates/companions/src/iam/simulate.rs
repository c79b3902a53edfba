//! Policy simulation: what would be decided, and by which policies.

use std::sync::Arc;

use gantry_api::iam::{
    ContextEntry, EvaluationResult, PermissionsBoundaryDecisionDetail, PolicyEvaluationDecisionType,
    SimulateCustomPolicyRequest, SimulatePolicyResponse, SimulatePrincipalPolicyRequest,
};
use gantry_api::{Caller, Fault};
use gantry_domain::Timestamp;
use gantry_domain::policy::{
    Context, Decision, Document, Identity, Kind, Policies, PolicyType, Principal, PrincipalPolicies, Request, evaluate,
};

use super::paging::{Asked, asked};
use super::picture::Account;
use super::{Iam, fault};

pub(super) async fn simulate_custom_policy(
    iam: &Iam,
    caller: &Caller,
    input: SimulateCustomPolicyRequest,
) -> Result<SimulatePolicyResponse, Fault> {
    if input.ordered_organization_policy_input_list.is_some_and(|list| !list.is_empty()) {
        return Err(fault::invalid("Gantry has no organizations to simulate the policies of."));
    }
    let policies = PrincipalPolicies {
        identity: parse_all(input.policy_input_list.as_deref())?,
        boundary: boundary(input.permissions_boundary_policy_input_list.as_deref())?,
        session: None,
    };
    let arn = input.caller_arn.clone();
    let arn = arn.unwrap_or_else(|| format!("arn:aws:iam::{}:user/simulated", caller.account));
    let simulation = Simulation {
        principal: principal(&arn, "AIDASIMULATED")?,
        policies,
        resource_policy: resource_policy(input.resource_policy.as_deref())?,
        actions: input.action_names.clone().unwrap_or_default(),
        resources: input.resource_arns.clone().unwrap_or_default(),
        context: input.context_entries.clone().unwrap_or_default(),
        account: owner(caller, input.resource_owner.as_deref()),
        now: (iam.inner.clock)(),
    };
    simulation.run(asked!(input))
}

pub(super) async fn simulate_principal_policy(
    iam: &Iam,
    caller: &Caller,
    input: SimulatePrincipalPolicyRequest,
) -> Result<SimulatePolicyResponse, Fault> {
    if input.policy_exclusion_list.is_some_and(|list| !list.is_empty()) {
        return Err(fault::invalid("PolicyExclusionList is not supported: give the policies to SimulateCustomPolicy."));
    }
    let account = &caller.account;
    let source = input.policy_source_arn.clone().unwrap_or_default();
    let (mut policies, id) = iam.look(account, |picture| source_policies(picture, account, &source))?;
    policies.identity.extend(parse_all(input.policy_input_list.as_deref())?);
    if let Some(given) = boundary(input.permissions_boundary_policy_input_list.as_deref())? {
        policies.boundary = Some(given);
    }
    let arn = input.caller_arn.clone().unwrap_or_else(|| match source.split_once(":group/") {
        Some((before, group)) => format!("{before}:user/{group}"),
        None => source.clone(),
    });
    let simulation = Simulation {
        principal: principal(&arn, &id)?,
        policies,
        resource_policy: resource_policy(input.resource_policy.as_deref())?,
        actions: input.action_names.clone().unwrap_or_default(),
        resources: input.resource_arns.clone().unwrap_or_default(),
        context: input.context_entries.clone().unwrap_or_default(),
        account: owner(caller, input.resource_owner.as_deref()),
        now: (iam.inner.clock)(),
    };
    simulation.run(asked!(input))
}

/// What is asked of the evaluator: every action on every resource.
struct Simulation {
    principal: Principal,
    policies: PrincipalPolicies,
    resource_policy: Vec<Arc<Document>>,
    actions: Vec<String>,
    resources: Vec<String>,
    context: Vec<ContextEntry>,
    account: String,
    now: Timestamp,
}

impl Simulation {
    fn run(self, asked: Asked) -> Result<SimulatePolicyResponse, Fault> {
        let any = ["*".to_owned()];
        let resources = if self.resources.is_empty() { &any[..] } else { &self.resources };
        let mut context = Context::default();
        for entry in &self.context {
            let key = entry.context_key_name.as_deref().unwrap_or_default();
            entry.context_key_values.iter().flatten().for_each(|value| context.add(key, value.clone()));
        }
        let pairs = self.actions.iter().flat_map(|action| resources.iter().map(move |resource| (action, resource)));
        let question = format!("simulate {} {:?} {:?}", self.principal.arn(), self.actions, resources);
        let results = pairs
            .enumerate()
            .map(|(number, (action, resource))| (format!("{number:08}"), self.one(action, resource, &context)));
        let page = asked.page(&question, results)?;
        Ok(SimulatePolicyResponse {
            evaluation_results: Some(page.items),
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }

    fn one(&self, action: &str, resource: &str, context: &Context) -> EvaluationResult {
        let (principal, account) = (&self.principal, self.account.as_str());
        let request = Request { principal, action, resource, account, now: self.now, context };
        let policies = Policies { principal: &self.policies, resource: &self.resource_policy };
        let decision = evaluate(&request, &policies);
        let eval_decision = match decision {
            Decision::Allow => PolicyEvaluationDecisionType::Allowed,
            Decision::Deny(denial) if denial.explicit => PolicyEvaluationDecisionType::ExplicitDeny,
            Decision::Deny(_) => PolicyEvaluationDecisionType::ImplicitDeny,
        };
        let by_boundary =
            matches!(decision, Decision::Deny(denial) if denial.policy == PolicyType::PermissionsBoundary);
        let boundary = self
            .policies
            .boundary
            .as_ref()
            .map(|_| PermissionsBoundaryDecisionDetail { allowed_by_permissions_boundary: Some(!by_boundary) });
        EvaluationResult {
            eval_action_name: Some(action.to_owned()),
            eval_resource_name: Some(resource.to_owned()),
            eval_decision: Some(eval_decision),
            matched_statements: Some(Vec::new()),
            missing_context_values: Some(Vec::new()),
            permissions_boundary_decision_detail: boundary,
            ..EvaluationResult::default()
        }
    }
}

/// The policies and the id of a user, group or role.
fn source_policies(picture: &Account, account: &str, arn: &str) -> Result<(PrincipalPolicies, String), Fault> {
    let resource = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_prefix(account));
    let resource = resource.and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
    let name = resource.rsplit('/').next().unwrap_or_default();
    let invalid = || fault::invalid(format!("Invalid Entity Arn: {arn} does not clearly define entity type and name."));
    let missing = || Fault::new("NoSuchEntity", 404, format!("Entity {arn} cannot be found."));
    match resource.split('/').next().unwrap_or_default() {
        "user" => {
            let user = picture.user(name).ok().filter(|user| user.arn(account) == arn).ok_or_else(missing)?;
            Ok((picture.user_policies(account, user), user.id.clone()))
        }
        "role" => {
            let role = picture.role(name).ok().filter(|role| role.arn(account) == arn).ok_or_else(missing)?;
            Ok((picture.role_policies(account, role), role.id.clone()))
        }
        "group" => {
            let group = picture.group(name).ok().filter(|group| group.arn(account) == arn).ok_or_else(missing)?;
            let identity = picture.documents(account, &group.grants).collect();
            Ok((PrincipalPolicies { identity, ..PrincipalPolicies::default() }, "AIDASIMULATED".to_owned()))
        }
        _ => Err(invalid()),
    }
}

/// The principal with this ARN; a role stands for one of its sessions.
fn principal(arn: &str, id: &str) -> Result<Principal, Fault> {
    let identity = if let Some((before, role)) = arn.split_once(":role/") {
        let account = before.rsplit(':').next().unwrap_or_default();
        let name = role.rsplit('/').next().unwrap_or_default();
        let session = format!("arn:aws:sts::{account}:assumed-role/{name}/simulated");
        Identity::RoleSession { arn: session, role_arn: arn.to_owned(), id: format!("{id}:simulated") }
    } else if arn.contains(":user/") {
        Identity::User { arn: arn.to_owned(), id: id.to_owned() }
    } else {
        return Err(fault::invalid(format!("Invalid Entity Arn: {arn} is not a user or role.")));
    };
    Ok(Principal::new(identity))
}

fn owner(caller: &Caller, given: Option<&str>) -> String {
    let account = given.and_then(|owner| if owner.starts_with("arn:") { owner.split(':').nth(4) } else { Some(owner) });
    account.map_or_else(|| caller.account.clone(), str::to_owned)
}

fn parse(text: &str, kind: Kind) -> Result<Arc<Document>, Fault> {
    Document::parse(text, kind).map(Arc::new).map_err(|error| fault::invalid(format!("Invalid policy: {error}")))
}

fn parse_all(texts: Option<&[String]>) -> Result<Vec<Arc<Document>>, Fault> {
    texts.unwrap_or_default().iter().map(|text| parse(text, Kind::Identity)).collect()
}

fn boundary(texts: Option<&[String]>) -> Result<Option<Arc<Document>>, Fault> {
    match texts.unwrap_or_default() {
        [] => Ok(None),
        [text] => parse(text, Kind::Identity).map(Some),
        _ => Err(fault::invalid("Only one permissions boundary policy can be simulated.")),
    }
}

fn resource_policy(text: Option<&str>) -> Result<Vec<Arc<Document>>, Fault> {
    text.map(|text| parse(text, Kind::Resource)).transpose().map(|policy| policy.into_iter().collect())
}
