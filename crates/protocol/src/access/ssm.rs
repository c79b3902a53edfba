//! What each call of Systems Manager is authorized against.

use super::checks::{Call, Check, pass_role};

/// Who gets the roles of managed instances.
const SERVICE: &str = "ssm.amazonaws.com";

pub(super) fn checks(call: &Call<'_>) -> Vec<Check> {
    let action = format!("ssm:{}", call.operation);
    let mut checks = match call.operation {
        "DeregisterManagedInstance" | "UpdateManagedInstanceRole" => {
            let id = call.fields.text("InstanceId").unwrap_or_default();
            vec![Check::new(action, call.caller.arn("ssm", &format!("managed-instance/{id}")))]
        }
        "ResumeSession" | "TerminateSession" => {
            let id = call.fields.text("SessionId").unwrap_or_default();
            vec![Check::new(action, call.caller.arn("ssm", &format!("session/{id}")))]
        }
        "StartSession" => start_session(call, &action),
        _ => vec![Check::new(action, "*")],
    };
    if matches!(call.operation, "CreateActivation" | "UpdateManagedInstanceRole") {
        let name = call.fields.text("IamRole").unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let known = call.facts.iam_arn(&call.caller.account, "role", name);
        let arn = known.unwrap_or_else(|| format!("arn:aws:iam::{}:role/{name}", call.caller.account));
        checks.push(pass_role(&arn, SERVICE));
    }
    checks
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
