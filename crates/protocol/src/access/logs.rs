//! What each call of CloudWatch Logs is authorized against.

use super::checks::{Call, Check, in_our_partition};

/// Operations that name no group.
const NO_GROUP: &[&str] = &["DescribeQueries", "GetQueryResults", "StopQuery", "TestMetricFilter"];

/// The checks of a call.
pub(super) fn checks(call: &Call<'_>) -> Vec<Check> {
    let (operation, fields) = (call.operation, call.fields);
    let action = format!("logs:{operation}");
    if NO_GROUP.contains(&operation) {
        return vec![Check::new(action, "*")];
    }
    if matches!(operation, "DescribeLogGroups" | "ListLogGroups") {
        return vec![
            Check::new(action, call.caller.arn("logs", "log-group:*"))
                .or(call.caller.arn("logs", "log-group::log-stream:*"))
                .or("*"),
        ];
    }
    let single = ["logGroupName", "logGroupIdentifier", "resourceArn"];
    let mut groups: Vec<&str> = single.into_iter().filter_map(|member| fields.text(member)).collect();
    groups.extend(fields.texts("logGroupNames"));
    groups.extend(fields.texts("logGroupIdentifiers"));
    if groups.is_empty() {
        return vec![Check::new(action, "*")];
    }
    let of_stream = matches!(operation, "CreateLogStream" | "DeleteLogStream" | "GetLogEvents" | "PutLogEvents");
    let stream = fields.text("logStreamName").filter(|_| of_stream);
    let check = |given: &str| {
        let group = group_arn(call, given);
        let check = match stream {
            Some(stream) => Check::new(&*action, format!("{group}:log-stream:{stream}")),
            // Policies are written with `:*` and without.
            None => Check::new(&*action, format!("{group}:*")).or(&*group),
        };
        check.with_request_tags()
    };
    groups.into_iter().map(check).collect()
}

/// A group given by name or ARN, without `:*`.
fn group_arn(call: &Call<'_>, given: &str) -> String {
    match given.strip_suffix(":*").unwrap_or(given) {
        arn if arn.starts_with("arn:") => in_our_partition(arn),
        name => call.caller.arn("logs", &format!("log-group:{name}")),
    }
}
