//! Filter expressions of X-Ray: `service("shop") { fault } AND annotation.paid = true`.
//!
//! Not here: edges, groups, and the search inside of metadata.

use super::segment::{Annotation, Segment};
use super::summary::Summary;

mod parse;

/// Characters of an expression.
const CHARS_MAX: usize = 2000;

/// The text is no expression, or has a keyword that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter expression: {0}")]
pub struct ExpressionError(pub String);

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Flag(Flag),
    Number(Number, Comparison, f64),
    Text(Text, Comparison, String),
    /// There is such an annotation, or it compares like this.
    Annotation(String, Option<(Comparison, Annotation)>),
    /// A service took part, and what it did is this.
    Service(Option<String>, Option<Box<Node>>),
    /// The trace's id.
    Id(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Ok,
    Error,
    Throttle,
    Fault,
    Partial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    ResponseTime,
    Duration,
    Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Url,
    Method,
    UserAgent,
    ClientIp,
    User,
    Name,
    Kind,
    Instance,
    Zone,
    Resource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
    BeginsWith,
    EndsWith,
}

impl std::str::FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        if text.chars().count() > CHARS_MAX {
            return Err(ExpressionError(format!("longer than {CHARS_MAX} characters")));
        }
        parse::expression(text).map(Self)
    }
}

/// What an expression looks at: a trace, or a service's part in it.
#[derive(Clone, Copy)]
struct Scope<'a> {
    trace_id: &'a str,
    segments: &'a [&'a Segment],
    /// Of the whole trace; none inside of a service.
    summary: Option<&'a Summary>,
}

impl Expression {
    /// Whether a trace is meant.
    pub fn matches(&self, trace_id: &str, segments: &[&Segment], summary: &Summary) -> bool {
        matches(&self.0, Scope { trace_id, segments, summary: Some(summary) })
    }
}

fn matches(node: &Node, scope: Scope<'_>) -> bool {
    let any = |is: &dyn Fn(&Segment) -> bool| scope.segments.iter().any(|segment| is(segment));
    match node {
        Node::And(left, right) => matches(left, scope) && matches(right, scope),
        Node::Or(left, right) => matches(left, scope) || matches(right, scope),
        Node::Not(inner) => !matches(inner, scope),
        Node::Flag(Flag::Ok) => !any(&|segment| segment.fault || segment.error || segment.throttle),
        Node::Flag(Flag::Error) => any(&|segment| segment.error),
        Node::Flag(Flag::Throttle) => any(&|segment| segment.throttle),
        Node::Flag(Flag::Fault) => any(&|segment| segment.fault),
        Node::Flag(Flag::Partial) => match scope.summary {
            Some(summary) => summary.partial,
            None => any(&|segment| segment.end.is_none()),
        },
        Node::Number(Number::Status, comparison, wanted) => {
            any(&|segment| segment.http.status.is_some_and(|status| comparison.holds(status as f64, *wanted)))
        }
        Node::Number(number, comparison, wanted) => match (scope.summary, number) {
            (Some(summary), Number::Duration) => comparison.holds(summary.duration, *wanted),
            (Some(summary), _) => summary.response_time.is_some_and(|time| comparison.holds(time, *wanted)),
            (None, _) => any(&|segment| segment.duration().is_some_and(|time| comparison.holds(time, *wanted))),
        },
        Node::Text(text, comparison, wanted) => {
            any(&|segment| text.of(segment).is_some_and(|found| comparison.holds_text(found, wanted)))
        }
        Node::Annotation(name, wanted) => any(&|segment| match (segment.annotations.get(name), wanted) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(found), Some((comparison, wanted))) => comparison.holds_annotation(found, wanted),
        }),
        Node::Service(name, inner) => scope.segments.iter().any(|segment| {
            name.as_ref().is_none_or(|name| segment.name == *name)
                && inner.as_ref().is_none_or(|inner| {
                    matches(inner, Scope { segments: std::slice::from_ref(segment), summary: None, ..scope })
                })
        }),
        Node::Id(id) => scope.trace_id == id,
    }
}

impl Text {
    fn of(self, segment: &Segment) -> Option<&str> {
        let text = match self {
            Self::Url => &segment.http.url,
            Self::Method => &segment.http.method,
            Self::UserAgent => &segment.http.user_agent,
            Self::ClientIp => &segment.http.client_ip,
            Self::User => &segment.user,
            Self::Name => return Some(&segment.name),
            Self::Kind => &segment.origin,
            Self::Instance => &segment.instance_id,
            Self::Zone => &segment.availability_zone,
            Self::Resource => &segment.resource_arn,
        };
        text.as_deref()
    }
}

impl Comparison {
    fn holds(self, found: f64, wanted: f64) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::NotEqual => found != wanted,
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
            Self::Contains | Self::BeginsWith | Self::EndsWith => false,
        }
    }

    fn holds_text(self, found: &str, wanted: &str) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::NotEqual => found != wanted,
            Self::Contains => found.contains(wanted),
            Self::BeginsWith => found.starts_with(wanted),
            Self::EndsWith => found.ends_with(wanted),
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => false,
        }
    }

    fn holds_annotation(self, found: &Annotation, wanted: &Annotation) -> bool {
        match (found, wanted) {
            (Annotation::Number(found), Annotation::Number(wanted)) => self.holds(*found, *wanted),
            (Annotation::Text(found), Annotation::Text(wanted)) => self.holds_text(found, wanted),
            (Annotation::Boolean(found), Annotation::Boolean(wanted)) => match self {
                Self::Equal => found == wanted,
                Self::NotEqual => found != wanted,
                _ => false,
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::segment::parse;
    use super::super::summary::summary;
    use super::*;

    const TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";

    fn segment(rest: &str) -> Segment {
        parse(&format!(r#"{{"trace_id":"{TRACE}","start_time":10,{rest}}}"#)).unwrap()
    }

    #[test]
    fn an_expression_means_the_traces_that_are_so() {
        let front = segment(
            r#""id":"70de5b6f19ff9a0a","name":"front","end_time":12,"user":"ann","annotations":{"paid":true,"sum":3,"a b":"x"},
            "http":{"request":{"url":"http://shop/api/cart","method":"POST"},"response":{"status":200}}"#,
        );
        let back = segment(
            r#""id":"53995c3f42cd8ad8","name":"back","end_time":11,"parent_id":"70de5b6f19ff9a0a","fault":true,
            "origin":"AWS::ECS::Container","http":{"response":{"status":503}}"#,
        );
        let segments = [&front, &back];
        let whole = summary(&segments).unwrap();
        for (text, expected) in [
            ("fault", true),
            ("error", false),
            ("ok", false),
            ("!fault OR !error", true),
            ("NOT fault", false),
            ("responsetime > 1.5 AND responsetime <= 2", true),
            ("duration < 1", false),
            ("http.status = 503", true),
            ("http.status != 200 AND http.method = \"POST\"", true),
            ("http.url CONTAINS \"api/\"", true),
            ("http.url BEGINSWITH \"https\"", false),
            ("http.url ENDSWITH 'cart'", true),
            ("user = \"ann\"", true),
            ("annotation.paid = true", true),
            ("annotation.paid = false", false),
            ("annotation.sum >= 3", true),
            ("annotation[a b] = \"x\"", true),
            ("annotation.none", false),
            ("annotation.sum", true),
            ("service(\"back\")", true),
            ("service(\"back\") { fault = true }", true),
            ("service(\"front\") { fault }", false),
            ("service() { responsetime < 1.5 }", true),
            ("service(\"none\")", false),
            ("(error OR fault) AND service(\"front\")", true),
            ("error OR fault AND service(\"none\")", false),
            ("id(\"1-5759e988-bd862e3fe1be46a994272793\")", true),
            ("partial", false),
        ] {
            let expression: Expression = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(expression.matches(TRACE, &segments, &whole), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = format!("{}fault{}", "(".repeat(300), ")".repeat(300));
        for text in [
            "",
            "fault AND",
            "(fault",
            "fault)",
            "nonsense",
            "http.status = \"a\"",
            "user > 3",
            "user = ann",
            "= 3",
            "annotation. = 3",
            "annotation[a",
            "service(\"a\" { fault }",
            "edge(\"a\", \"b\")",
            "\"a",
            "http.status CONTAINS 3",
            &deep,
        ] {
            assert!(text.parse::<Expression>().is_err(), "{text}");
        }
    }
}
