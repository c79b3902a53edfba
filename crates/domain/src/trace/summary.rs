//! A trace as a whole, out of its segments.

use std::collections::BTreeSet;

use super::segment::{Http, Segment};

/// A service that took part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The name its segments have.
    pub name: String,
    /// Their origin.
    pub kind: Option<String>,
}

impl Service {
    /// Whose segment it is.
    pub fn of(segment: &Segment) -> Self {
        Self { name: segment.name.clone(), kind: segment.origin.clone() }
    }
}

/// What is told of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Seconds since the epoch.
    pub start: f64,
    /// From the first start to the last end.
    pub duration: f64,
    /// Of its root.
    pub response_time: Option<f64>,
    /// Any segment has it.
    pub fault: bool,
    /// Any segment has it.
    pub error: bool,
    /// Any segment has it.
    pub throttle: bool,
    /// Something is in progress, or its root is not there.
    pub partial: bool,
    /// Of its root.
    pub http: Http,
    /// Where it began.
    pub entry: Option<Service>,
    /// All that took part.
    pub services: BTreeSet<Service>,
}

/// The segment that a trace began with: one without parent, or the earliest.
fn root<'a>(segments: &[&'a Segment]) -> Option<&'a Segment> {
    let first = |among: &mut dyn Iterator<Item = &'a Segment>| {
        among.min_by(|left, right| left.start.total_cmp(&right.start).then_with(|| left.id.cmp(&right.id)))
    };
    first(&mut segments.iter().copied().filter(|segment| segment.parent_id.is_none()))
        .or_else(|| first(&mut segments.iter().copied()))
}

/// When a trace of these segments began, seconds since the epoch; none of one without any.
pub fn start(segments: &[&Segment]) -> Option<f64> {
    segments.iter().map(|segment| segment.start).reduce(f64::min)
}

/// What is told of a trace of these segments; none of one without any.
pub fn summary(segments: &[&Segment]) -> Option<Summary> {
    let root = root(segments)?;
    let start = start(segments)?;
    let end = segments.iter().map(|segment| segment.end.unwrap_or(segment.start)).fold(start, f64::max);
    let any = |is: fn(&Segment) -> bool| segments.iter().any(|segment| is(segment));
    Some(Summary {
        start,
        duration: end - start,
        response_time: root.duration(),
        fault: any(|segment| segment.fault),
        error: any(|segment| segment.error),
        throttle: any(|segment| segment.throttle),
        partial: any(|segment| segment.end.is_none()) || root.parent_id.is_some(),
        http: root.http.clone(),
        entry: Some(Service::of(root)),
        services: segments.iter().map(|segment| Service::of(segment)).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_trace_begins_with_the_segment_that_nobody_called() {
        let front =
            Segment { id: "b".into(), name: "front".into(), start: 10.0, end: Some(12.0), ..Segment::default() };
        let back = Segment {
            id: "a".into(),
            name: "back".into(),
            parent_id: Some("x".into()),
            start: 9.5,
            end: Some(13.0),
            fault: true,
            ..Segment::default()
        };
        let whole = summary(&[&back, &front]).unwrap();
        assert_eq!((whole.start, whole.duration, whole.response_time), (9.5, 3.5, Some(2.0)));
        assert_eq!((whole.fault, whole.error, whole.partial), (true, false, false));
        assert_eq!(whole.entry.unwrap().name, "front");
        assert_eq!(whole.services.len(), 2);
        assert!(summary(&[&back]).unwrap().partial, "its root is not there yet");
        assert_eq!(summary(&[]), None);
    }
}
