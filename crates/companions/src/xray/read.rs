//! `GetTraceSummaries` and `BatchGetTraces`.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::xray::{
    AnnotationValue, AvailabilityZoneDetail, BatchGetTracesRequest, BatchGetTracesResult, GetTraceSummariesRequest,
    GetTraceSummariesResult, Http, InstanceIdDetail, ResourceARNDetail, Segment as ShownSegment, ServiceId,
    TimeRangeType, Trace as ShownTrace, TraceSummary, TraceUser, ValueWithServiceIds,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::Pager;
use gantry_domain::trace::expression::Expression;
use gantry_domain::trace::segment::{Annotation, Segment, trace_id};
use gantry_domain::trace::{Service, Summary, start, summary};

use super::traces::Trace;
use super::{Inner, fault, scope_of};

/// Summaries of one page.
const PAGE_SUMMARIES: usize = 100;
/// Traces of one request, as the real service has it.
const TRACES_MAX: usize = 5;
/// Seconds that a question may span.
const SPAN_MAX: f64 = 24.0 * 3600.0;

pub(super) async fn batch_get_traces(
    inner: &Arc<Inner>,
    caller: &Caller,
    input: BatchGetTracesRequest,
) -> Result<BatchGetTracesResult, Fault> {
    let ids = input.trace_ids.unwrap_or_default();
    if ids.len() > TRACES_MAX {
        return Err(fault::invalid(format!("A request has at most {TRACES_MAX} trace ids.")));
    }
    let scope = scope_of(caller);
    let traces = inner.traces.read();
    let (mut found, mut unprocessed) = (Vec::new(), Vec::new());
    for id in ids {
        let Some(known) = trace_id(&id) else {
            unprocessed.push(id);
            continue;
        };
        // As in the real service: an id that nothing is known of is no mistake, and not listed.
        found.extend(traces.get(&scope, &known).map(|trace| shown(known.clone(), trace)));
    }
    Ok(BatchGetTracesResult { traces: Some(found), unprocessed_trace_ids: Some(unprocessed), next_token: None })
}

fn shown(id: String, trace: &Trace) -> ShownTrace {
    let segments = trace
        .values()
        .map(|kept| ShownSegment { id: Some(kept.segment.id.clone()), document: Some(kept.document.clone()) });
    ShownTrace {
        id: Some(id),
        duration: summary(&of(trace)).map(|summary| summary.duration),
        limit_exceeded: Some(false),
        segments: Some(segments.collect()),
    }
}

fn of(trace: &Trace) -> Vec<&Segment> {
    trace.values().map(|kept| &kept.segment).collect()
}

pub(super) async fn get_trace_summaries(
    inner: &Arc<Inner>,
    caller: &Caller,
    input: GetTraceSummariesRequest,
) -> Result<GetTraceSummariesResult, Fault> {
    let range = range(input.start_time, input.end_time)?;
    let expression = input.filter_expression.as_deref().filter(|text| !text.trim().is_empty());
    let expression: Option<Expression> = expression
        .map(str::parse)
        .transpose()
        .map_err(|error: gantry_domain::trace::expression::ExpressionError| fault::invalid(error.to_string()))?;
    let by_segments = matches!(input.time_range_type, Some(TimeRangeType::Event | TimeRangeType::Service));
    let scope = scope_of(caller);
    let question = format!("GetTraceSummaries {scope:?} {range:?} {by_segments} {:?}", input.filter_expression);
    let pager = Pager::new(&question, PAGE_SUMMARIES);
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::invalid("Invalid NextToken"))?;
    let traces = inner.traces.read();
    let mut looked_at = 0;
    let matching = traces.after(&scope, after.as_deref()).filter_map(|(id, trace)| {
        looked_at += 1;
        let segments = of(trace);
        let is_in = match by_segments {
            true => segments.iter().any(|segment| within(segment.end.unwrap_or(segment.start), range)),
            false => start(&segments).is_some_and(|start| within(start, range)),
        };
        // Most traces are of another time: what is told of one is put together when it is asked for.
        let summary = is_in.then(|| summary(&segments))??;
        let is_meant = expression.as_ref().is_none_or(|meant| meant.matches(id, &segments, &summary));
        is_meant.then(|| (id.clone(), told(id, &segments, summary, caller)))
    });
    let page = pager.page(matching, |(id, _)| id.clone());
    Ok(GetTraceSummariesResult {
        trace_summaries: Some(page.items.into_iter().map(|(_, summary)| summary).collect()),
        approximate_time: Some(Timestamp::from_millis(inner.now())),
        traces_processed_count: Some(looked_at),
        next_token: page.next_token,
    })
}

/// Start and end of a question, seconds since the epoch.
pub(super) fn range(start: Option<Timestamp>, end: Option<Timestamp>) -> Result<(f64, f64), Fault> {
    let seconds = |at: Option<Timestamp>| at.map_or(0.0, |at| at.0);
    let (start, end) = (seconds(start), seconds(end));
    if end < start {
        return Err(fault::invalid("EndTime must be after StartTime."));
    }
    if end - start > SPAN_MAX {
        return Err(fault::invalid("The time range cannot be longer than 24 hours."));
    }
    Ok((start, end))
}

pub(super) fn within(at: f64, (start, end): (f64, f64)) -> bool {
    (start..=end).contains(&at)
}

fn told(id: &str, segments: &[&Segment], summary: Summary, caller: &Caller) -> TraceSummary {
    let service = |service: &Service| service_id(service, caller);
    let each = |of: fn(&Segment) -> &Option<String>| {
        let texts: std::collections::BTreeSet<&String> = segments.iter().filter_map(|one| of(one).as_ref()).collect();
        texts.into_iter().cloned().collect::<Vec<String>>()
    };
    let http = Http {
        http_url: summary.http.url.clone(),
        http_status: summary.http.status.and_then(|status| i32::try_from(status).ok()),
        http_method: summary.http.method.clone(),
        user_agent: summary.http.user_agent.clone(),
        client_ip: summary.http.client_ip.clone(),
    };
    TraceSummary {
        id: Some(id.to_owned()),
        start_time: Some(Timestamp(summary.start)),
        duration: Some(summary.duration),
        response_time: summary.response_time,
        has_fault: Some(summary.fault),
        has_error: Some(summary.error),
        has_throttle: Some(summary.throttle),
        is_partial: Some(summary.partial),
        http: Some(http),
        annotations: Some(annotations(segments, caller)),
        users: Some(users(segments, caller)),
        service_ids: Some(summary.services.iter().map(service).collect()),
        entry_point: summary.entry.as_ref().map(service),
        resource_arns: Some(
            each(|one| &one.resource_arn).into_iter().map(|arn| ResourceARNDetail { arn: Some(arn) }).collect(),
        ),
        instance_ids: Some(
            each(|one| &one.instance_id).into_iter().map(|id| InstanceIdDetail { id: Some(id) }).collect(),
        ),
        availability_zones: Some(
            each(|one| &one.availability_zone)
                .into_iter()
                .map(|name| AvailabilityZoneDetail { name: Some(name) })
                .collect(),
        ),
        revision: i32::try_from(segments.len()).ok(),
        ..TraceSummary::default()
    }
}

pub(super) fn service_id(service: &Service, caller: &Caller) -> ServiceId {
    ServiceId {
        name: Some(service.name.clone()),
        names: Some(vec![service.name.clone()]),
        account_id: Some(caller.account.clone()),
        r#type: service.kind.clone(),
    }
}

fn annotations(segments: &[&Segment], caller: &Caller) -> BTreeMap<String, Vec<ValueWithServiceIds>> {
    let mut all: BTreeMap<String, Vec<ValueWithServiceIds>> = BTreeMap::new();
    for segment in segments {
        for (name, value) in &segment.annotations {
            let mut shown = AnnotationValue::default();
            match value {
                Annotation::Number(number) => shown.number_value = Some(*number),
                Annotation::Boolean(truth) => shown.boolean_value = Some(*truth),
                Annotation::Text(text) => shown.string_value = Some(text.clone()),
            }
            all.entry(name.clone()).or_default().push(ValueWithServiceIds {
                annotation_value: Some(shown),
                service_ids: Some(vec![service_id(&Service::of(segment), caller)]),
            });
        }
    }
    all
}

fn users(segments: &[&Segment], caller: &Caller) -> Vec<TraceUser> {
    let with_user = segments.iter().filter(|segment| segment.user.is_some());
    let user = |segment: &&&Segment| TraceUser {
        user_name: segment.user.clone(),
        service_ids: Some(vec![service_id(&Service::of(segment), caller)]),
    };
    with_user.map(|segment| user(&segment)).collect()
}
