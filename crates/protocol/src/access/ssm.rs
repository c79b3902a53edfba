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
