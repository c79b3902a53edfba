//! Which principal may call what: every call is authorized here, after its signature and before its input is decoded.
//!
//! A table per service ([`ecs`], [`events`], [`logs`], [`iam`]) says which actions on which resources a call needs, with the
//! condition keys of the service; the evaluator of the domain decides each, and all must be allowed. It is decided
//! before anything is looked up: whether a resource exists is nobody's business who may not use it.
//!
//! Not here: the registry and Secrets Manager decide by themselves, because repositories and secrets have policies of
//! their own, and so does the token service about roles, which have trust policies. The root of an account may do
//! everything; nothing is read for it.

mod application_autoscaling;
mod checks;
mod ecs;
mod events;
mod fields;
mod iam;
mod logs;
mod ssm;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use gantry_api::{Caller, Fault, PrincipalKind, ServiceInfo};
use gantry_domain::Timestamp;
use gantry_domain::policy::{Context, Decision, Policies, Request, evaluate};

use crate::principals::{self, Authority, Principals};
use crate::services::Input;
use checks::{Call, Check};
use fields::Fields;

/// What the agent of a container instance needs, and nothing else: the actions of AWS's container service role for
/// EC2.
pub(crate) const INSTANCE_ACTIONS: &[&str] = &[
    "ecs:CreateCluster",
    "ecs:DeregisterContainerInstance",
    "ecs:DiscoverPollEndpoint",
    "ecs:Poll",
    "ecs:RegisterContainerInstance",
    "ecs:StartTelemetrySession",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sts:GetCallerIdentity",
];

/// Services whose resources have policies of their own, and which decide about every call themselves.
const DECIDE_THEMSELVES: &[&str] = &["ecr", "secretsmanager"];

/// A task definition as authorization sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDefinition {
    /// With its revision.
    pub arn: String,
    /// The task role and the execution role, ARNs.
    pub roles: Vec<String>,
}

/// What authorization has to know about the world besides the request. Answers come from memory.
pub trait Facts: Send + Sync {
    /// The tags of a resource; none when it is not there.
    fn tags(&self, arn: &str) -> BTreeMap<String, String>;
    /// The task definition that a reference means now.
    fn task_definition(&self, caller: &Caller, reference: &str) -> Option<TaskDefinition>;
    /// The ARN of a `user`, `group`, `role` or `instance-profile` by its name.
    fn iam_arn(&self, account: &str, kind: &str, name: &str) -> Option<String>;
    /// The ARN of the permissions boundary of a `user` or `role` by its name.
    fn boundary(&self, account: &str, kind: &str, name: &str) -> Option<String>;
}

/// Knows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn tags(&self, _: &str) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn task_definition(&self, _: &Caller, _: &str) -> Option<TaskDefinition> {
        None
    }
    fn iam_arn(&self, _: &str, _: &str, _: &str) -> Option<String> {
        None
    }
    fn boundary(&self, _: &str, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// Decides calls.
pub(crate) struct Access<'a> {
    pub(crate) principals: &'a dyn Principals,
    pub(crate) facts: &'a dyn Facts,
}

impl Access<'_> {
    /// Refuses a call that the caller may not make.
    pub(crate) fn authorize(
        &self,
        caller: &Caller,
        service: &ServiceInfo,
        operation: &str,
        input: Input<'_>,
    ) -> Result<(), Fault> {
        if caller.kind == PrincipalKind::Root || DECIDE_THEMSELVES.contains(&service.name) {
            return Ok(());
        }
        let known = service.operations.iter().find(|known| known.name == operation);
        let fields = Fields::read(input, known.map_or(&[], |known| known.members));
        let call = Call { caller, operation, fields: &fields, facts: self.facts };
        self.decide(&call, service, &checks_of(&call, service))
    }

    /// Refuses `action` on `resource`, for doors other than the AWS APIs.
    pub(crate) fn authorize_one(
        &self,
        caller: &Caller,
        service: &ServiceInfo,
        action: &str,
        resource: String,
    ) -> Result<(), Fault> {
        if caller.kind == PrincipalKind::Root {
            return Ok(());
        }
        let fields = Fields::read(Input::Json(b"{}"), &[]);
        let call = Call { caller, operation: action, fields: &fields, facts: self.facts };
        self.decide(&call, service, &[Check::new(action, resource)])
    }

    fn decide(&self, call: &Call<'_>, service: &ServiceInfo, checks: &[Check]) -> Result<(), Fault> {
        let authority = self.principals.authority(call.caller);
        let common = principals::context(call.caller);
        let request_tags = call.fields.tags();
        checks.iter().try_for_each(|check| {
            let context = self.context(&common, check, service, &request_tags);
            decide_one(&authority, &call.caller.account, check, &context).map_err(|sentence| denied(service, sentence))
        })
    }

    fn context(
        &self,
        common: &Context,
        check: &Check,
        service: &ServiceInfo,
        request_tags: &[(String, String)],
    ) -> Context {
        let mut context = common.clone();
        for (key, value) in &check.keys {
            context.add(key, value.clone());
        }
        if check.request_tags {
            for (key, value) in request_tags {
                context.add(&format!("aws:RequestTag/{key}"), value.clone());
                context.add("aws:TagKeys", key.clone());
            }
        }
        // Tags of roles are no condition of passing them, with AWS neither.
        let tagged = check.resources.first().filter(|_| check.action != "iam:PassRole");
        for (key, value) in tagged.map(|arn| self.facts.tags(arn)).unwrap_or_default() {
            context.add(&format!("{}:ResourceTag/{key}", service.signing_name), value.clone());
            context.add(&format!("aws:ResourceTag/{key}"), value);
        }
        context
    }
}

/// The checks of a call. An operation that has no entry needs its action on everything.
fn checks_of(call: &Call<'_>, service: &ServiceInfo) -> Vec<Check> {
    let on_everything = || vec![Check::new(format!("{}:{}", service.signing_name, call.operation), "*")];
    match service.name {
        "ecs" => ecs::checks(call).filter(|checks| !checks.is_empty()).unwrap_or_else(on_everything),
        "application-autoscaling" => application_autoscaling::checks(call),
        "events" => events::checks(call),
        "logs" => logs::checks(call),
        "iam" => iam::checks(call),
        "ssm" => ssm::checks(call),
        // Trust policies are the token service's own matter, and who one is may be asked by anybody.
        "sts" if matches!(call.operation, "AssumeRole" | "AssumeRoleWithWebIdentity" | "GetCallerIdentity") => {
            Vec::new()
        }
        _ => on_everything(),
    }
}

/// Allowed under one of the resource's names, and denied under none; otherwise the sentence for the first.
fn decide_one(authority: &Authority, own_account: &str, check: &Check, context: &Context) -> Result<(), String> {
    let mut refusal = None;
    let mut allowed = false;
    for resource in &check.resources {
        let account = resource.split(':').nth(4).filter(|account| account.len() == 12).unwrap_or(own_account);
        let request =
            Request { principal: &authority.principal, action: &check.action, resource, account, now: now(), context };
        match evaluate(&request, &Policies::of(&authority.policies)) {
            Decision::Allow => allowed = true,
            Decision::Deny(denial) if denial.explicit => return Err(denial.sentence(&request)),
            Decision::Deny(denial) => refusal = refusal.or_else(|| Some(denial.sentence(&request))),
        }
    }
    match refusal {
        Some(sentence) if !allowed => Err(sentence),
        _ => Ok(()),
    }
}

fn denied(service: &ServiceInfo, sentence: String) -> Fault {
    let (code, status) = if service.query { ("AccessDenied", 403) } else { ("AccessDeniedException", 400) };
    Fault::new(code, status, sentence)
}

fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis());
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
