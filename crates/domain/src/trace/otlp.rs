//! Segments as spans of OpenTelemetry, in the JSON encoding of OTLP: ids are hexadecimal digits, 64-bit numbers texts,
//! enumerations numbers.
//!
//! Names of attributes are OpenTelemetry's where it has one; annotations keep their own. What it has no word for is there
//! under the name that the document has, after `aws.` or `aws.xray.`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::segment::{DEPTH_MAX, is_hex, trace_id};
use crate::arn::Scope;

const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const STATUS_ERROR: u8 = 2;
/// How a document says that a part failed.
const FAILURES: [&str; 3] = ["fault", "error", "throttle"];

/// What an exporter posts: the spans of segment documents, each with the account and region that it came to. Of a
/// segment that is in progress there is nothing yet.
pub fn export<'a>(documents: impl IntoIterator<Item = (&'a Scope, &'a str)>) -> Value {
    let spans: Vec<Value> =
        documents.into_iter().filter_map(|(scope, document)| resource_spans(scope, document)).collect();
    json!({ "resourceSpans": spans })
}

fn resource_spans(scope: &Scope, document: &str) -> Option<Value> {
    let segment: Value = serde_json::from_str(document).ok()?;
    let trace = trace_id(segment["trace_id"].as_str()?)?;
    let trace: String = trace.split('-').skip(1).collect();
    let end = nanoseconds(&segment["end_time"])?;
    let mut spans = Vec::new();
    add(&mut spans, &segment, &Place { trace: &trace, parent: segment["parent_id"].as_str(), end, depth: 0 });
    let mut resource = Attributes::default();
    // A subsegment that came alone is named after what it calls, and does not say whose it is.
    if !is_subsegment(&segment) {
        resource.text("service.name", &segment["name"]);
    }
    resource.text("service.version", &segment["service"]["version"]);
    resource.text("cloud.account.id", &json!(scope.account));
    resource.text("cloud.region", &json!(scope.region));
    match segment["origin"].as_str() {
        Some(origin) if origin.starts_with("AWS::ECS::") => resource.text("cloud.platform", &json!("aws_ecs")),
        Some(origin) if origin.starts_with("AWS::EC2::") => resource.text("cloud.platform", &json!("aws_ec2")),
        _ => {}
    }
    resource.text("aws.xray.origin", &segment["origin"]);
    Some(json!({
        "resource": {"attributes": resource.list()},
        "scopeSpans": [{"scope": {"name": "gantry.xray"}, "spans": spans}],
    }))
}

/// Where a part of a segment stands.
struct Place<'a> {
    trace: &'a str,
    parent: Option<&'a str>,
    /// Of what it is in, for a part that says none.
    end: u64,
    depth: usize,
}

/// Adds the span of a segment or subsegment, and those of what is in it.
fn add(spans: &mut Vec<Value>, part: &Value, place: &Place<'_>) {
    let id = part["id"].as_str().filter(|id| is_hex(id, 16));
    let (Some(id), Some(name), Some(start)) = (id, part["name"].as_str(), nanoseconds(&part["start_time"])) else {
        return;
    };
    // A span does not end before it begins, whatever the clocks said.
    let end = nanoseconds(&part["end_time"]).unwrap_or(place.end).max(start);
    let mut span = json!({
        "traceId": place.trace,
        "spanId": id.to_ascii_lowercase(),
        "name": name,
        "kind": kind(part, place.depth),
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes(part).list(),
    });
    if let Some(parent) = place.parent.filter(|parent| is_hex(parent, 16)) {
        span["parentSpanId"] = parent.to_ascii_lowercase().into();
    }
    let exceptions = part["cause"]["exceptions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if FAILURES.iter().any(|failure| part[*failure] == true) {
        span["status"] = json!({"code": STATUS_ERROR});
        if let Some(message) = exceptions.first().and_then(|exception| exception["message"].as_str()) {
            span["status"]["message"] = message.into();
        }
    }
    if !exceptions.is_empty() {
        span["events"] = exceptions.iter().map(|exception| event(exception, end)).collect();
    }
    spans.push(span);
    if place.depth < DEPTH_MAX {
        let inside = Place { parent: Some(id), end, depth: place.depth + 1, ..*place };
        for inner in part["subsegments"].as_array().into_iter().flatten() {
            add(spans, inner, &inside);
        }
    }
}

/// A segment serves a request; what it calls has a namespace; other parts are its own steps.
fn kind(part: &Value, depth: usize) -> u8 {
    match part["namespace"].as_str() {
        Some("remote" | "aws") => CLIENT,
        _ if depth > 0 || is_subsegment(part) => INTERNAL,
        _ => SERVER,
    }
}

/// Whether a document is one that came alone.
fn is_subsegment(document: &Value) -> bool {
    document["type"] == "subsegment"
}

fn event(exception: &Value, at: u64) -> Value {
    let mut attributes = Attributes::default();
    attributes.text("exception.type", &exception["type"]);
    attributes.text("exception.message", &exception["message"]);
    let frames = exception["stack"].as_array().into_iter().flatten();
    let line = |frame: &Value| {
        let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        format!("\tat {} ({}:{})", text("label"), text("path"), frame["line"].as_u64().unwrap_or(0))
    };
    let stack: Vec<String> = frames.map(line).collect();
    if !stack.is_empty() {
        attributes.text("exception.stacktrace", &json!(stack.join("\n")));
    }
    json!({"name": "exception", "timeUnixNano": at.to_string(), "attributes": attributes.list()})
}

fn attributes(part: &Value) -> Attributes {
    let mut attributes = Attributes::default();
    let (request, response) = (&part["http"]["request"], &part["http"]["response"]);
    for (name, value) in [
        ("http.request.method", &request["method"]),
        ("url.full", &request["url"]),
        ("user_agent.original", &request["user_agent"]),
        ("client.address", &request["client_ip"]),
        ("http.response.status_code", &response["status"]),
        ("http.response.body.size", &response["content_length"]),
        ("db.system.name", &part["sql"]["database_type"]),
        ("db.query.text", &part["sql"]["sanitized_query"]),
        ("enduser.id", &part["user"]),
    ] {
        attributes.scalar(name, value);
    }
    for failure in FAILURES.iter().filter(|failure| part[**failure] == true) {
        attributes.scalar(&format!("aws.xray.{failure}"), &Value::Bool(true));
    }
    for (name, value) in part["annotations"].as_object().into_iter().flatten() {
        attributes.scalar(name, value);
    }
    for (name, value) in part["aws"].as_object().into_iter().flatten() {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(member, value)| attributes.scalar(&format!("aws.{name}.{member}"), value));
            }
            value => attributes.scalar(&format!("aws.{name}"), value),
        }
    }
    for (name, value) in part["metadata"].as_object().into_iter().flatten() {
        attributes.text(&format!("aws.xray.metadata.{name}"), &json!(value.to_string()));
    }
    attributes
}

/// Attributes by their names; of two with one name the first counts.
#[derive(Default)]
struct Attributes(BTreeMap<String, Value>);

impl Attributes {
    /// A text that is there.
    fn text(&mut self, name: &str, value: &Value) {
        if value.is_string() {
            self.scalar(name, value);
        }
    }

    /// A text, number or truth that is there.
    fn scalar(&mut self, name: &str, value: &Value) {
        let value = match value {
            Value::String(text) => json!({"stringValue": text}),
            Value::Bool(truth) => json!({"boolValue": truth}),
            Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
            Value::Number(number) => json!({"doubleValue": number}),
            Value::Null | Value::Array(_) | Value::Object(_) => return,
        };
        self.0.entry(name.to_owned()).or_insert(value);
    }

    /// As OTLP has them.
    fn list(self) -> Value {
        self.0.into_iter().map(|(name, value)| json!({"key": name, "value": value})).collect()
    }
}

/// Nanoseconds since the epoch of a document's seconds.
fn nanoseconds(seconds: &Value) -> Option<u64> {
    let since_epoch = Duration::try_from_secs_f64(seconds.as_f64()?).ok()?;
    u64::try_from(since_epoch.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exported(document: &Value) -> Value {
        export([(&Scope::new("000000000000", "us-east-1"), &*document.to_string())])
    }

    #[test]
    fn a_segment_and_its_parts_are_spans_of_one_trace() {
        let document = serde_json::from_str(include_str!("otlp/segment.json")).unwrap();
        let spans: Value = serde_json::from_str(include_str!("otlp/spans.json")).unwrap();
        let exported = exported(&document);
        assert_eq!(exported, spans, "{exported:#}");
    }

    #[test]
    fn a_subsegment_that_came_alone_is_of_no_service() {
        let all = exported(&json!({
            "name": "table", "id": "70de5b6f19ff9a0a", "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
            "type": "subsegment", "parent_id": "aaaaaaaaaaaaaaaa", "start_time": 1, "end_time": 2,
        }));
        assert!(!all.to_string().contains("service.name"), "{all}");
        let span = &all["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!((&span["kind"], &span["name"]), (&json!(INTERNAL), &json!("table")));
    }

    #[test]
    fn of_a_segment_in_progress_there_is_no_span() {
        let trace = "1-5759e988-bd862e3fe1be46a994272793";
        let document =
            json!({"name": "a", "id": "70de5b6f19ff9a0a", "trace_id": trace, "start_time": 1, "in_progress": true});
        for document in [document, json!("nonsense"), json!({"trace_id": 1})] {
            assert_eq!(exported(&document), json!({"resourceSpans": []}));
        }
    }
}
