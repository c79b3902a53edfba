//! What each call of EventBridge is authorized against.

use serde_json::Value;

use super::checks::{Call, Check, in_our_partition, pass_role};

/// Who the roles of rules and targets are handed to.
const SERVICE: &str = "events.amazonaws.com";

/// The checks of a call.
pub(super) fn checks(call: &Call<'_>) -> Vec<Check> {
    let (operation, fields) = (call.operation, call.fields);
    let action = format!("events:{operation}");
    let text = |member: &str| fields.text(member).unwrap_or_default();
    match operation {
        "PutRule" => {
            let mut checks = vec![Check::new(action, rule(call, text("Name"))).with_request_tags()];
            checks.extend(fields.text("RoleArn").map(|role| pass_role(role, SERVICE)));
            checks
        }
        "DescribeRule" | "DeleteRule" | "EnableRule" | "DisableRule" => {
            vec![Check::new(action, rule(call, text("Name")))]
        }
        "PutTargets" => {
            // A check for each, so that a condition on the target holds for every one of them.
            let rule = rule(call, text("Rule"));
            let targets: Vec<&Value> = fields.list("Targets").collect();
            let of_target = |target: &&Value| {
                let check = Check::new(&*action, &*rule);
                check.key("events:TargetArn", target["Arn"].as_str().unwrap_or_default())
            };
            let roles = targets.iter().filter_map(|target| target["RoleArn"].as_str());
            let roles = roles.map(|role| pass_role(role, SERVICE));
            let checks: Vec<Check> = targets.iter().map(of_target).chain(roles).collect();
            if checks.is_empty() { vec![Check::new(action, rule)] } else { checks }
        }
        "RemoveTargets" | "ListTargetsByRule" => vec![Check::new(action, rule(call, text("Rule")))],
        "PutEvents" => {
            let of_entry = |entry: &Value| {
                let check = Check::new(&*action, bus(call, entry["EventBusName"].as_str()));
                let keys = [("events:source", "Source"), ("events:detail-type", "DetailType")];
                keys.into_iter().fold(check, |check, (key, member)| match entry[member].as_str() {
                    Some(value) => check.key(key, value),
                    None => check,
                })
            };
            let checks: Vec<Check> = fields.list("Entries").map(of_entry).collect();
            if checks.is_empty() { vec![Check::new(action, "*")] } else { checks }
        }
        "CreateEventBus" => vec![Check::new(action, bus(call, fields.text("Name"))).with_request_tags()],
        "DeleteEventBus" | "DescribeEventBus" => vec![Check::new(action, bus(call, fields.text("Name")))],
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let mut check = Check::new(action, in_our_partition(text("ResourceARN"))).with_request_tags();
            for key in fields.texts("TagKeys") {
                check = check.key("aws:TagKeys", key);
            }
            vec![check]
        }
        _ => vec![Check::new(action, "*")],
    }
}

/// A bus given by name or ARN, or the default one.
fn bus(call: &Call<'_>, given: Option<&str>) -> String {
    match given.unwrap_or("default") {
        arn if arn.starts_with("arn:") => in_our_partition(arn),
        name => call.caller.arn("events", &format!("event-bus/{name}")),
    }
}

/// A rule of the bus that the request names.
fn rule(call: &Call<'_>, name: &str) -> String {
    let bus = bus(call, call.fields.text("EventBusName"));
    let (owner, bus) = bus.split_once(":event-bus/").unwrap_or((&bus, "default"));
    match bus {
        "default" => format!("{owner}:rule/{name}"),
        bus => format!("{owner}:rule/{bus}/{name}"),
    }
}
