//! Segment documents of X-Ray: a service's part in a request, as JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Bytes of a document.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
const NAME_CHARS_MAX: usize = 200;
/// Subsegments in subsegments; deeper ones are kept in the document and not looked at.
pub(super) const DEPTH_MAX: usize = 16;

/// Why a document is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Not a JSON object.
    #[error("ParseError")]
    Parse,
    /// More bytes than a document may have.
    #[error("SegmentTooLarge")]
    TooLarge,
    /// No trace id, or one that is none.
    #[error("InvalidTraceId")]
    TraceId,
    /// No id, or one that is none.
    #[error("InvalidSegmentId")]
    Id,
    /// No name, or one that is too long.
    #[error("InvalidName")]
    Name,
    /// No start.
    #[error("MissingStartTime")]
    Start,
    /// Neither an end nor in progress.
    #[error("MissingEndTime")]
    End,
}

/// The value of an annotation.
#[derive(Debug, Clone, PartialEq)]
pub enum Annotation {
    /// A number.
    Number(f64),
    /// A truth.
    Boolean(bool),
    /// A text.
    Text(String),
}

/// What is known of a segment; the document itself is kept beside it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Segment {
    /// 16 hexadecimal digits.
    pub id: String,
    /// `1-…-…`.
    pub trace_id: String,
    /// The segment or subsegment that called.
    pub parent_id: Option<String>,
    /// The service.
    pub name: String,
    /// For example `AWS::ECS::Container`.
    pub origin: Option<String>,
    /// Seconds since the epoch.
    pub start: f64,
    /// None while it is in progress.
    pub end: Option<f64>,
    /// A server error.
    pub fault: bool,
    /// A client error.
    pub error: bool,
    /// Too many requests.
    pub throttle: bool,
    /// Whose request.
    pub user: Option<String>,
    /// Of its request and answer.
    pub http: Http,
    /// Of the segment and its subsegments.
    pub annotations: BTreeMap<String, Annotation>,
    /// Its own ARN, when it says one.
    pub resource_arn: Option<String>,
    /// The machine.
    pub instance_id: Option<String>,
    /// Where that is.
    pub availability_zone: Option<String>,
    /// Ids of its subsegments.
    pub subsegments: BTreeSet<String>,
}

/// The request that a segment served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// URL.
    pub url: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Who asked.
    pub client_ip: Option<String>,
    /// The answer.
    pub status: Option<i64>,
}

impl Segment {
    /// How long it took; none while it is in progress.
    pub fn duration(&self) -> Option<f64> {
        self.end.map(|end| (end - self.start).max(0.0))
    }
}

/// Reads a document. The id is returned beside an error, when there is one.
///
/// # Errors
/// The first rule broken.
pub fn parse(document: &str) -> Result<Segment, (Option<String>, SegmentError)> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err((None, SegmentError::TooLarge));
    }
    let value: Value = serde_json::from_str(document).map_err(|_| (None, SegmentError::Parse))?;
    if !value.is_object() {
        return Err((None, SegmentError::Parse));
    }
    let id = text(&value, "id");
    read(&value).map_err(|error| (id, error))
}

fn read(value: &Value) -> Result<Segment, SegmentError> {
    let id = text(value, "id").filter(|id| is_hex(id, 16)).ok_or(SegmentError::Id)?;
    let trace_id = text(value, "trace_id").and_then(|id| trace_id(&id)).ok_or(SegmentError::TraceId)?;
    let name = text(value, "name").filter(|name| (1..=NAME_CHARS_MAX).contains(&name.chars().count()));
    let name = name.ok_or(SegmentError::Name)?;
    let start = value["start_time"].as_f64().filter(|start| *start > 0.0).ok_or(SegmentError::Start)?;
    let end = value["end_time"].as_f64();
    if end.is_none() && value["in_progress"] != Value::Bool(true) {
        return Err(SegmentError::End);
    }
    let is = |name: &str| value[name] == Value::Bool(true);
    let (request, response) = (&value["http"]["request"], &value["http"]["response"]);
    let mut segment = Segment {
        id,
        trace_id,
        parent_id: text(value, "parent_id"),
        name,
        origin: text(value, "origin"),
        start,
        end,
        fault: is("fault"),
        error: is("error"),
        throttle: is("throttle"),
        user: text(value, "user"),
        http: Http {
            url: text(request, "url"),
            method: text(request, "method"),
            user_agent: text(request, "user_agent"),
            client_ip: text(request, "client_ip"),
            status: response["status"].as_i64(),
        },
        annotations: BTreeMap::new(),
        resource_arn: text(value, "resource_arn").or_else(|| text(&value["aws"]["ecs"], "container_arn")),
        instance_id: text(&value["aws"]["ec2"], "instance_id"),
        availability_zone: text(&value["aws"]["ec2"], "availability_zone"),
        subsegments: BTreeSet::new(),
    };
    look_into(value, &mut segment, DEPTH_MAX);
    Ok(segment)
}

/// Annotations and ids of a part and of the parts in it.
fn look_into(part: &Value, segment: &mut Segment, depth: usize) {
    for (name, value) in part["annotations"].as_object().into_iter().flatten() {
        let annotation = match value {
            Value::Bool(truth) => Annotation::Boolean(*truth),
            Value::String(text) => Annotation::Text(text.clone()),
            value => match value.as_f64() {
                Some(number) => Annotation::Number(number),
                None => continue,
            },
        };
        segment.annotations.insert(name.clone(), annotation);
    }
    if depth == 0 {
        return;
    }
    for inner in part["subsegments"].as_array().into_iter().flatten() {
        segment.subsegments.extend(text(inner, "id"));
        look_into(inner, segment, depth - 1);
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}

/// `1-<8>-<24>`; 32 digits of W3C are brought into this form.
pub fn trace_id(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        ["1", epoch, random] if is_hex(epoch, 8) && is_hex(random, 24) => Some(text.to_ascii_lowercase()),
        [whole] if is_hex(whole, 32) => {
            let (epoch, random) = whole.split_at_checked(8)?;
            Some(format!("1-{epoch}-{random}").to_ascii_lowercase())
        }
        _ => None,
    }
}

pub(super) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn a_document_is_read_with_what_is_in_it() {
        let document = format!(
            r#"{{"name":"shop","id":"70de5b6f19ff9a0a","start_time":1.5,"end_time":2.0,"trace_id":"{TRACE}",
            "origin":"AWS::ECS::Container","user":"ann","fault":true,"annotations":{{"paid":true,"sum":3}},
            "http":{{"request":{{"method":"GET","url":"http://x/a"}},"response":{{"status":500}}}},
            "subsegments":[{{"id":"53995c3f42cd8ad8","annotations":{{"table":"t"}},"subsegments":[{{"id":"aaaaaaaaaaaaaaaa"}}]}}]}}"#
        );
        let segment = parse(&document).unwrap();
        assert_eq!((segment.name.as_str(), segment.duration(), segment.fault), ("shop", Some(0.5), true));
        assert_eq!((segment.http.status, segment.http.method.as_deref()), (Some(500), Some("GET")));
        assert_eq!(segment.annotations["table"], Annotation::Text("t".into()));
        assert_eq!(segment.annotations["sum"], Annotation::Number(3.0));
        assert_eq!(segment.subsegments.len(), 2);
    }

    #[test]
    fn a_document_is_refused_for_the_rule_it_breaks() {
        let id = "70de5b6f19ff9a0a";
        let good = format!(r#""name":"a","id":"{id}","trace_id":"{TRACE}","start_time":1"#);
        for (document, error) in [
            ("nonsense".to_owned(), SegmentError::Parse),
            ("[]".to_owned(), SegmentError::Parse),
            (format!("{{{good}}}"), SegmentError::End),
            (format!("{{{}}}", good.replace("1-5759", "2-5759")), SegmentError::TraceId),
            (format!("{{{}}}", good.replace(id, "xyz")), SegmentError::Id),
            (format!("{{{}}}", good.replace("\"a\"", "\"\"")), SegmentError::Name),
            (format!("{{{}}}", good.replace("start_time", "start")), SegmentError::Start),
            (" ".repeat(DOCUMENT_BYTES_MAX + 1), SegmentError::TooLarge),
        ] {
            assert_eq!(parse(&document).unwrap_err().1, error, "{document:.80}");
        }
        assert!(parse(&format!(r#"{{{good},"in_progress":true}}"#)).is_ok());
        assert_eq!(trace_id("5759e988bd862e3fe1be46a994272793").as_deref(), Some(TRACE));
    }
}
