//! Log streams: create, delete, describe.

use std::collections::BTreeMap;
use std::ops::Bound;

use gantry_api::logs::{
    CreateLogStreamRequest, DeleteLogStreamRequest, DescribeLogStreamsRequest, DescribeLogStreamsResponse, LogStream,
    OrderBy,
};
use gantry_api::{Caller, Empty, Fault};
use gantry_domain::paging::Pager;
use gantry_store::{Txn, TxnError};

use super::events::{StreamId, Summary};
use super::rows::{self, Group, Scope, Stream, StreamRow};
use super::{Inner, fault, groups};

/// Streams a page has unless the request says otherwise.
const PAGE_STREAMS: i32 = 50;

/// How often a creation is tried again when its group was changed meanwhile.
const CONFLICTS_MAX: usize = 16;

pub(super) async fn create(inner: &Inner, caller: &Caller, input: CreateLogStreamRequest) -> Result<Empty, Fault> {
    let scope = Scope::of(caller);
    let group_name = input.log_group_name.unwrap_or_default();
    let name = input.log_stream_name.unwrap_or_default();
    let row = StreamRow { id: rows::new_id()?, created_at: inner.now() };
    for _ in 0..CONFLICTS_MAX {
        let group = rows::group(&inner.store, &scope, &group_name).await?;
        let key = scope.stream(group.row.id, &name);
        // The group as it was read: one of the same name that came meanwhile has another id.
        let txn = Txn::new().require(&group.key, group.revision).require_absent(&key);
        match inner.store.txn(txn.put(&key, rows::encode(&row)?)).await {
            Ok(_) => return Ok(Empty {}),
            Err(TxnError::Conflict { key: conflict }) if conflict == key => return Err(fault::stream_exists()),
            Err(TxnError::Conflict { .. }) => {}
            Err(TxnError::Store(error)) => return Err(fault::store(error)),
        }
    }
    Err(fault::aborted())
}

pub(super) async fn delete(inner: &Inner, caller: &Caller, input: DeleteLogStreamRequest) -> Result<Empty, Fault> {
    let scope = Scope::of(caller);
    let group = rows::group(&inner.store, &scope, &input.log_group_name.unwrap_or_default()).await?;
    let stream = rows::stream(&inner.store, &scope, &group, &input.log_stream_name.unwrap_or_default()).await?;
    let txn = Txn::new().require(&stream.key, stream.revision).delete(&stream.key);
    match inner.store.txn(txn).await {
        Ok(_) => {}
        Err(TxnError::Conflict { .. }) => return Err(fault::stream_not_found()),
        Err(TxnError::Store(error)) => return Err(fault::store(error)),
    }
    inner.events.delete_stream(id_of(&group, &stream)).await.map_err(fault::unavailable)?;
    Ok(Empty {})
}

pub(super) async fn describe(
    inner: &Inner,
    caller: &Caller,
    input: DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, Fault> {
    let scope = Scope::of(caller);
    let by_time = input.order_by == Some(OrderBy::LastEventTime);
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(fault::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let group = groups::named(inner, &scope, input.log_group_name, input.log_group_identifier).await?;
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    let descending = input.descending.unwrap_or(false);
    let limit = usize::try_from(input.limit.unwrap_or(PAGE_STREAMS)).unwrap_or(1);
    let question = format!("DescribeLogStreams {} {prefix:?} {by_time} {descending}", group.row.id);
    let pager = Pager::new(&question, limit);
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let listing = Listing { inner, scope: &scope, group: &group, prefix: &prefix, limit };
    let streams = match (by_time, descending) {
        (false, false) => listing.ascending(after.as_deref()).await?,
        (false, true) => listing.sorted(after, descending, |stream, _| stream.name.clone(), false).await?,
        (true, _) => listing.sorted(after, descending, time_key, true).await?,
    };
    let page = pager.page(streams, |(stream, summary)| match by_time {
        true => time_key(stream, summary),
        false => stream.name.clone(),
    });
    let streams = page.items.iter().map(|(stream, summary)| describe_one(&scope, &group, stream, summary)).collect();
    Ok(DescribeLogStreamsResponse { log_streams: Some(streams), next_token: page.next_token })
}

/// The streams of a group that a request names, or all of them, with their names.
pub(super) async fn choose(
    inner: &Inner,
    scope: &Scope,
    group: &Group,
    names: Option<Vec<String>>,
    prefix: Option<&str>,
) -> Result<Vec<Stream>, Fault> {
    let mut streams = Vec::new();
    if let Some(names) = names {
        for name in names {
            streams.push(rows::stream(&inner.store, scope, group, &name).await?);
        }
        return Ok(streams);
    }
    rows::walk(&inner.store, &scope.streams(group.row.id), prefix.unwrap_or_default(), None, |stream| {
        streams.push(stream);
        true
    })
    .await?;
    Ok(streams)
}

/// The number that the events of a stream are kept under.
pub(super) fn id_of(group: &Group, stream: &Stream) -> StreamId {
    StreamId { group: group.row.id, stream: stream.row.id }
}

/// Sorts by the time of the last event, then by name. A stream without events comes first.
fn time_key(stream: &Stream, summary: &Summary) -> String {
    format!("{:020}/{}", summary.last_timestamp.unwrap_or_default(), stream.name)
}

struct Listing<'a> {
    inner: &'a Inner,
    scope: &'a Scope,
    group: &'a Group,
    prefix: &'a str,
    limit: usize,
}

impl Listing<'_> {
    /// A page, and one more, in the order the store has them in.
    async fn ascending(&self, after: Option<&str>) -> Result<Vec<(Stream, Summary)>, Fault> {
        let mut streams = Vec::new();
        let prefix = self.scope.streams(self.group.row.id);
        rows::walk(&self.inner.store, &prefix, self.prefix, after, |stream| {
            streams.push(stream);
            streams.len() <= self.limit
        })
        .await?;
        self.summarized(streams).await
    }

    /// A page, and one more, in another order. Looks at every stream of the group and keeps no more than that page.
    async fn sorted(
        &self,
        after: Option<String>,
        descending: bool,
        key: impl Fn(&Stream, &Summary) -> String,
        needs_summary: bool,
    ) -> Result<Vec<(Stream, Summary)>, Fault> {
        let streams = choose(self.inner, self.scope, self.group, None, Some(self.prefix)).await?;
        let streams = match needs_summary {
            true => self.summarized(streams).await?,
            false => streams.into_iter().map(|stream| (stream, Summary::default())).collect(),
        };
        let sorted: BTreeMap<String, (Stream, Summary)> =
            streams.into_iter().map(|(stream, summary)| (key(&stream, &summary), (stream, summary))).collect();
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let take = self.limit + 1;
        let page: Vec<(Stream, Summary)> = match descending {
            true => sorted.range((Bound::Unbounded, after)).rev().take(take).map(|(_, found)| found.clone()).collect(),
            false => sorted.range((after, Bound::Unbounded)).take(take).map(|(_, found)| found.clone()).collect(),
        };
        match needs_summary {
            true => Ok(page),
            false => self.summarized(page.into_iter().map(|(stream, _)| stream).collect()).await,
        }
    }

    async fn summarized(&self, streams: Vec<Stream>) -> Result<Vec<(Stream, Summary)>, Fault> {
        let ids = streams.iter().map(|stream| id_of(self.group, stream)).collect();
        let summaries = self.inner.events.summaries(ids).await.map_err(fault::unavailable)?;
        Ok(streams.into_iter().zip(summaries).collect())
    }
}

fn describe_one(scope: &Scope, group: &Group, stream: &Stream, summary: &Summary) -> LogStream {
    let millis = |time: Option<u64>| time.and_then(|time| i64::try_from(time).ok());
    LogStream {
        arn: Some(format!("{}:log-stream:{}", scope.group_arn(&group.name), stream.name)),
        creation_time: millis(Some(stream.row.created_at)),
        first_event_timestamp: millis(summary.first_timestamp),
        last_event_timestamp: millis(summary.last_timestamp),
        last_ingestion_time: millis(summary.last_ingestion),
        log_stream_name: Some(stream.name.clone()),
        // The real service says 0 since 2019: only groups have a size.
        stored_bytes: Some(0),
        upload_sequence_token: Some(sequence_token(stream.row.id)),
    }
}

/// What stands where older clients look for the token of their next request. Nobody reads it.
pub(super) fn sequence_token(stream: u64) -> String {
    format!("49{stream:054}")
}
