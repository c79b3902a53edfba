//! What each call of Application Auto Scaling is authorized against.

use super::checks::{Call, Check, in_our_partition};

/// The checks of a call. Which target a request is for is told by its service, not by the target's id: policies name
/// every target, or go by the condition keys.
pub(super) fn checks(call: &Call<'_>) -> Vec<Check> {
    let (operation, fields) = (call.operation, call.fields);
    let action = format!("application-autoscaling:{operation}");
    match operation {
        "ListTagsForResource" | "TagResource" | "UntagResource" => {
            let given = in_our_partition(fields.text("ResourceARN").unwrap_or("*"));
            let mut check = Check::new(action, given).with_request_tags();
            for key in fields.texts("TagKeys") {
                check = check.key("aws:TagKeys", key);
            }
            vec![check]
        }
        operation if operation.starts_with("Describe") => vec![Check::new(action, "*")],
        _ => {
            let mut check =
                Check::new(action, call.caller.arn("application-autoscaling", "scalable-target/*")).with_request_tags();
            let keys = [
                ("ServiceNamespace", "application-autoscaling:service-namespace"),
                ("ScalableDimension", "application-autoscaling:scalable-dimension"),
            ];
            for (member, key) in keys {
                if let Some(value) = fields.text(member) {
                    check = check.key(key, value);
                }
            }
            vec![check]
        }
    }
}
