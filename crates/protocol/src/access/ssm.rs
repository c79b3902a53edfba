//! What each call of Systems Manager is authorized against.

use gantry_domain::parameter::name::bare;
use gantry_domain::parameter::reference::{ParameterReference, Place};

use super::checks::{Call, Check, pass_role};

/// Who gets the roles of managed instances.
const SERVICE: &str = "ssm.amazonaws.com";

pub(super) fn checks(call: &Call<'_>) -> Vec<Check> {
    let action = format!("ssm:{}", call.operation);
    let fields = call.fields;
    let text = |member: &str| fields.text(member).unwrap_or_default();
    match call.operation {
        "PutParameter" => put_parameter(call, &action),
        "GetParameter"
        | "GetParameterHistory"
        | "DeleteParameter"
        | "LabelParameterVersion"
        | "UnlabelParameterVersion" => vec![Check::new(action, parameter(call, text("Name")))],
        "GetParameters" | "DeleteParameters" => {
            let of = |name: &&str| Check::new(&*action, parameter(call, name));
            let checks: Vec<Check> = fields.texts("Names").iter().map(of).collect();
            if checks.is_empty() { vec![Check::new(action, "*")] } else { checks }
        }
        "ResumeSession" | "TerminateSession" => {
            let id = call.fields.text("SessionId").unwrap_or_default();
            vec![Check::new(action, call.caller.arn("ssm", &format!("session/{id}")))]
        }
        "StartSession" => start_session(call, &action),
        "GetParametersByPath" => {
            // Policies are written for what is below the path, and for the path itself.
            let path = parameter(call, text("Path").trim_end_matches('/'));
            let recursive = fields.is_on("Recursive").to_string();
            vec![Check::new(action, format!("{path}/")).or(path).key("ssm:Recursive", recursive)]
        }
        "AddTagsToResource" | "RemoveTagsFromResource" | "ListTagsForResource" => {
            let id = text("ResourceId");
            let resource = match text("ResourceType") {
                "Parameter" => parameter(call, id),
                "ManagedInstance" => managed_instance(call, id),
                _ => "*".to_owned(),
            };
            let mut check = Check::new(action, resource).with_request_tags();
            for key in fields.texts("TagKeys") {
                check = check.key("aws:TagKeys", key);
            }
            vec![check]
        }
        "DeregisterManagedInstance" => vec![Check::new(action, managed_instance(call, text("InstanceId")))],
        "UpdateManagedInstanceRole" => {
            vec![Check::new(action, managed_instance(call, text("InstanceId"))), role(call)]
        }
        "CreateActivation" => vec![Check::new(action, "*"), role(call)],
        _ => vec![Check::new(action, "*")],
    }
}

fn put_parameter(call: &Call<'_>, action: &str) -> Vec<Check> {
    let resource = parameter(call, call.fields.text("Name").unwrap_or_default());
    let overwrite = call.fields.is_on("Overwrite").to_string();
    let mut check = Check::new(action, &*resource).with_request_tags().key("ssm:Overwrite", overwrite);
    if let Some(policies) = call.fields.text("Policies") {
        check = check.key("ssm:Policies", policies);
    }
    let is_tagged = call.fields.list("Tags").next().is_some();
    let tagging = is_tagged.then(|| Check::new("ssm:AddTagsToResource", resource).with_request_tags());
    [check].into_iter().chain(tagging).collect()
}

/// The ARN of a parameter that is given by name or ARN, with a selector or without.
fn parameter(call: &Call<'_>, given: &str) -> String {
    let here = |name: &str| call.caller.arn("ssm", &format!("parameter/{}", bare(name)));
    match given.parse() {
        Ok(ParameterReference { place: Some(Place { account, region }), name, .. }) => {
            format!("arn:aws:ssm:{region}:{account}:parameter/{}", bare(&name))
        }
        Ok(ParameterReference { place: None, name, .. }) => here(&name),
        // It will be refused; until then it must not be taken for another.
        Err(_) => here(given),
    }
}

fn managed_instance(call: &Call<'_>, id: &str) -> String {
    call.caller.arn("ssm", &format!("managed-instance/{id}"))
}

/// The role of managed instances is handed to Systems Manager.
fn role(call: &Call<'_>) -> Check {
    let name = call.fields.text("IamRole").unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let known = call.facts.iam_arn(&call.caller.account, "role", name);
    let arn = known.unwrap_or_else(|| format!("arn:aws:iam::{}:role/{name}", call.caller.account));
    pass_role(&arn, SERVICE)
}

/// The task behind `ecs:CLUSTER_TASK_RUNTIME-ID` and the document.
fn start_session(call: &Call<'_>, action: &str) -> Vec<Check> {
    let target = call.fields.text("Target").unwrap_or_default();
    let task = target.strip_prefix("ecs:").and_then(|name| name.rsplit_once('_')?.0.rsplit_once('_'));
    let resource = match task {
        Some((cluster, task)) => call.caller.arn("ecs", &format!("task/{cluster}/{task}")),
        None => call.caller.arn("ssm", &format!("managed-instance/{target}")),
    };
    let document = call.fields.text("DocumentName").map(|name| call.caller.arn("ssm", &format!("document/{name}")));
    std::iter::once(resource).chain(document).map(|resource| Check::new(action.to_owned(), resource)).collect()
}
