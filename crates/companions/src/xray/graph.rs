//! `GetServiceGraph`: which service called which, out of the traces of a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::xray::{
    Edge, EdgeStatistics, ErrorStatistics, FaultStatistics, GetServiceGraphRequest, GetServiceGraphResult,
    Service as ShownService, ServiceStatistics,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::trace::Service;
use gantry_domain::trace::segment::Segment;

use super::read::{range, within};
use super::traces::Trace;
use super::{Inner, fault, scope_of};

/// What is counted of a service, or of the calls from one to another.
#[derive(Debug, Default, Clone)]
struct Counted {
    start: f64,
    end: f64,
    ok: i64,
    throttled: i64,
    errors: i64,
    faults: i64,
    seconds: f64,
}

#[derive(Debug, Default)]
struct Node {
    counted: Counted,
    is_root: bool,
    calls: BTreeMap<Service, Counted>,
}

pub(super) async fn get_service_graph(
    inner: &Arc<Inner>,
    caller: &Caller,
    input: GetServiceGraphRequest,
) -> Result<GetServiceGraphResult, Fault> {
    if input.group_arn.is_some() || input.group_name.is_some_and(|name| name != "Default") {
        return Err(fault::invalid("There are no groups but Default."));
    }
    let times = range(input.start_time, input.end_time)?;
    let mut nodes: BTreeMap<Service, Node> = BTreeMap::new();
    for (_, trace) in inner.traces.read().after(&scope_of(caller), None) {
        add(&mut nodes, trace, times);
    }
    let numbers: BTreeMap<Service, i32> = nodes.keys().cloned().zip(0..).collect();
    let services = nodes.into_iter().map(|(service, node)| shown(service, node, &numbers, caller)).collect();
    Ok(GetServiceGraphResult {
        start_time: input.start_time,
        end_time: input.end_time,
        services: Some(services),
        contains_old_group_versions: Some(false),
        next_token: None,
    })
}

fn add(nodes: &mut BTreeMap<Service, Node>, trace: &Trace, times: (f64, f64)) {
    let mut owners: BTreeMap<&str, &Segment> = BTreeMap::new();
    for kept in trace.values() {
        owners.insert(&kept.segment.id, &kept.segment);
        owners.extend(kept.segment.subsegments.iter().map(|id| (id.as_str(), &kept.segment)));
    }
    for kept in trace.values().filter(|kept| within(kept.segment.start, times)) {
        let segment = &kept.segment;
        let node = nodes.entry(Service::of(segment)).or_default();
        node.counted.add(segment);
        match &segment.parent_id {
            None => node.is_root = true,
            Some(parent) => {
                if let Some(owner) = owners.get(parent.as_str()) {
                    let calling = nodes.entry(Service::of(owner)).or_default();
                    calling.calls.entry(Service::of(segment)).or_default().add(segment);
                }
            }
        }
    }
}

impl Counted {
    fn add(&mut self, segment: &Segment) {
        let end = segment.end.unwrap_or(segment.start);
        self.start = if self.start == 0.0 { segment.start } else { self.start.min(segment.start) };
        self.end = self.end.max(end);
        self.seconds += segment.duration().unwrap_or(0.0);
        let count = match (segment.fault, segment.throttle, segment.error) {
            (true, _, _) => &mut self.faults,
            (_, true, _) => &mut self.throttled,
            (_, _, true) => &mut self.errors,
            _ => &mut self.ok,
        };
        *count += 1;
    }

    fn errors(&self) -> ErrorStatistics {
        ErrorStatistics {
            throttle_count: Some(self.throttled),
            other_count: Some(self.errors),
            total_count: Some(self.throttled + self.errors),
        }
    }

    fn faults(&self) -> FaultStatistics {
        FaultStatistics { other_count: Some(self.faults), total_count: Some(self.faults) }
    }

    fn total(&self) -> i64 {
        self.ok + self.throttled + self.errors + self.faults
    }
}

fn shown(service: Service, node: Node, numbers: &BTreeMap<Service, i32>, caller: &Caller) -> ShownService {
    let edge = |(called, counted): (Service, Counted)| Edge {
        reference_id: numbers.get(&called).copied(),
        start_time: Some(Timestamp(counted.start)),
        end_time: Some(Timestamp(counted.end)),
        summary_statistics: Some(EdgeStatistics {
            ok_count: Some(counted.ok),
            error_statistics: Some(counted.errors()),
            fault_statistics: Some(counted.faults()),
            total_count: Some(counted.total()),
            total_response_time: Some(counted.seconds),
        }),
        ..Edge::default()
    };
    let counted = &node.counted;
    ShownService {
        reference_id: numbers.get(&service).copied(),
        root: Some(node.is_root),
        account_id: Some(caller.account.clone()),
        state: Some("active".to_owned()),
        start_time: Some(Timestamp(counted.start)),
        end_time: Some(Timestamp(counted.end)),
        summary_statistics: Some(ServiceStatistics {
            ok_count: Some(counted.ok),
            error_statistics: Some(counted.errors()),
            fault_statistics: Some(counted.faults()),
            total_count: Some(counted.total()),
            total_response_time: Some(counted.seconds),
        }),
        edges: Some(node.calls.into_iter().map(edge).collect()),
        r#type: service.kind,
        names: Some(vec![service.name.clone()]),
        name: Some(service.name),
        ..ShownService::default()
    }
}
