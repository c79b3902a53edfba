//! CloudWatch Logs Insights, in part: `fields`, `display`, `filter`, `stats`, `sort`, `limit`, `parse`, `dedup` of its
//! own query language. SQL and PPL are refused.
//!
//! Queries run in the background over the events newest first, in bounded memory. Queries and their results live in
//! memory: a restart forgets them, and so does a newer query when there are [`QUERIES_MAX`].

mod aggregate;
mod expression;
mod lex;
mod parse;
mod run;
mod value;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gantry_api::logs::fault as wire;
use gantry_api::logs::{
    DescribeQueriesRequest, DescribeQueriesResponse, GetQueryResultsRequest, GetQueryResultsResponse, QueryInfo,
    QueryLanguage, QueryStatistics, QueryStatus, ResultField, StartQueryRequest, StartQueryResponse, StopQueryRequest,
    StopQueryResponse,
};
use gantry_api::{Caller, Fault};
use gantry_domain::paging::Pager;
use parking_lot::Mutex;

use super::events::{Found, Order, Position, Selection};
use super::rows::{Group, Scope};
use super::streams::{choose, id_of};
use super::{Inner, day_ms, fault, groups, read};
use run::{ROWS_MAX, Row, Run};
use value::{Record, Value};

/// Queries that are remembered.
const QUERIES_MAX: usize = 256;
/// Queries that may run at once; the service's own limit for an account.
const RUNNING_MAX: usize = 30;
/// Groups that one query may look at.
const GROUPS_MAX: usize = 50;
/// After this long a query ends as it stands.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Events and bytes that are taken from the store at once.
const PAGE_EVENTS: usize = 10_000;
const PAGE_BYTES: usize = 4 << 20;
const READ_BYTES: u64 = 32 << 20;

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct QueryError(String);

impl QueryError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The queries of this process.
#[derive(Debug, Default)]
pub(super) struct Queries {
    known: Mutex<BTreeMap<String, Query>>,
}

#[derive(Debug, Clone)]
struct Query {
    scope: Scope,
    /// Milliseconds since the epoch.
    created_at: u64,
    ended_at: Option<u64>,
    text: String,
    group: String,
    principal: String,
    status: QueryStatus,
    rows: Arc<Vec<Row>>,
    statistics: QueryStatistics,
}

pub(super) async fn start(
    inner: &Arc<Inner>,
    caller: &Caller,
    input: StartQueryRequest,
) -> Result<StartQueryResponse, Fault> {
    if input.query_language.as_ref().is_some_and(|language| *language != QueryLanguage::Cwli) {
        return Err(fault::invalid("Gantry runs queries of the language CWLI only."));
    }
    let scope = Scope::of(caller);
    let text = input.query_string.unwrap_or_default();
    let commands = parse::parse(&text).map_err(|error| wire::malformed_query_exception(error.to_string()))?;
    let names = input.log_group_name.into_iter().chain(input.log_group_names.unwrap_or_default());
    let identifiers = input.log_group_identifiers.unwrap_or_default();
    let mut wanted = Vec::new();
    for name in names {
        wanted.push(groups::named(inner, &scope, Some(name), None).await?);
    }
    for identifier in identifiers {
        wanted.push(groups::named(inner, &scope, None, Some(identifier)).await?);
    }
    if wanted.is_empty() || wanted.len() > GROUPS_MAX {
        return Err(fault::invalid(format!("A query needs 1 to {GROUPS_MAX} log groups.")));
    }
    let query = Query {
        scope: scope.clone(),
        created_at: inner.now(),
        ended_at: None,
        text,
        group: wanted[0].name.clone(),
        principal: caller.principal_arn.clone(),
        status: QueryStatus::Running,
        rows: Arc::default(),
        statistics: QueryStatistics::default(),
    };
    let id = inner.queries.insert(query)?;
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(ROWS_MAX);
    let task = Task {
        inner: Arc::downgrade(inner),
        id: id.clone(),
        scope,
        groups: wanted,
        times: (seconds(input.start_time), seconds(input.end_time).saturating_add(1000)),
        run: Run::new(commands, limit),
        scanned: (0, 0),
    };
    tokio::spawn(task.run());
    Ok(StartQueryResponse { query_id: Some(id) })
}

pub(super) fn results(
    inner: &Inner,
    caller: &Caller,
    input: GetQueryResultsRequest,
) -> Result<GetQueryResultsResponse, Fault> {
    let id = input.query_id.unwrap_or_default();
    let query = inner.queries.get(&Scope::of(caller), &id)?;
    let max = input.max_items.and_then(|max| usize::try_from(max).ok()).filter(|max| *max > 0).unwrap_or(ROWS_MAX);
    let question = format!("GetQueryResults {id}");
    let pager = Pager::new(&question, max);
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let from = after.and_then(|after| after.parse::<usize>().ok()).map_or(0, |after| after + 1);
    let page = pager.page(query.rows.iter().enumerate().skip(from), |(index, _)| index.to_string());
    Ok(GetQueryResultsResponse {
        query_language: Some(QueryLanguage::Cwli),
        results: Some(page.items.into_iter().map(|(_, row)| fields(row)).collect()),
        statistics: Some(query.statistics),
        status: Some(query.status),
        next_token: page.next_token,
        encryption_key: None,
    })
}

pub(super) fn stop(inner: &Inner, caller: &Caller, input: StopQueryRequest) -> Result<StopQueryResponse, Fault> {
    let id = input.query_id.unwrap_or_default();
    let query = inner.queries.get(&Scope::of(caller), &id)?;
    if query.status != QueryStatus::Running {
        return Err(fault::invalid("The specified query has ended already."));
    }
    let now = inner.now();
    inner.queries.update(&id, |query| {
        query.status = QueryStatus::Cancelled;
        query.ended_at = Some(now);
    });
    Ok(StopQueryResponse { success: Some(true) })
}

pub(super) fn describe(
    inner: &Inner,
    caller: &Caller,
    input: DescribeQueriesRequest,
) -> Result<DescribeQueriesResponse, Fault> {
    let scope = Scope::of(caller);
    let max = input.max_results.and_then(|max| usize::try_from(max).ok()).unwrap_or(1000);
    let question = format!("DescribeQueries {:?} {:?} {:?}", input.log_group_name, input.status, input.query_language);
    let pager = Pager::new(&question, max);
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let wanted = |query: &Query| {
        query.scope == scope
            && input.log_group_name.as_ref().is_none_or(|name| *name == query.group)
            && input.status.as_ref().is_none_or(|status| *status == query.status)
            && input.query_language.as_ref().is_none_or(|language| *language == QueryLanguage::Cwli)
    };
    // The newest first: keys that count down.
    let key = |id: &str, query: &Query| format!("{:020}/{id}", u64::MAX - query.created_at);
    let known = inner.queries.known.lock();
    let mut found: Vec<(String, &String, &Query)> =
        known.iter().filter(|(_, query)| wanted(query)).map(|(id, query)| (key(id, query), id, query)).collect();
    found.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    let rest = found.into_iter().filter(|(key, ..)| after.as_ref().is_none_or(|after| key > after));
    let page = pager.page(rest, |(key, ..)| key.clone());
    let queries = page.items.into_iter().map(|(_, id, query)| info(id, query)).collect();
    Ok(DescribeQueriesResponse { queries: Some(queries), next_token: page.next_token })
}

impl Queries {
    fn insert(&self, query: Query) -> Result<String, Fault> {
        let mut known = self.known.lock();
        if known.values().filter(|query| query.status == QueryStatus::Running).count() >= RUNNING_MAX {
            return Err(wire::limit_exceeded_exception("Too many queries are running. Try again later."));
        }
        if known.len() >= QUERIES_MAX {
            let ended = known.iter().filter(|(_, query)| query.status != QueryStatus::Running);
            let oldest = ended.min_by_key(|(_, query)| query.created_at).map(|(id, _)| id.clone());
            oldest.map(|oldest| known.remove(&oldest));
        }
        let id = uuid::Uuid::new_v4().to_string();
        known.insert(id.clone(), query);
        Ok(id)
    }

    fn get(&self, scope: &Scope, id: &str) -> Result<Query, Fault> {
        let query = self.known.lock().get(id).filter(|query| query.scope == *scope).cloned();
        query.ok_or_else(|| wire::resource_not_found_exception(format!("Query id {id} is not found.")))
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut Query)) {
        if let Some(query) = self.known.lock().get_mut(id) {
            change(query);
        }
    }

    fn is_running(&self, id: &str) -> bool {
        self.known.lock().get(id).is_some_and(|query| query.status == QueryStatus::Running)
    }
}

/// A query under way.
struct Task {
    inner: Weak<Inner>,
    id: String,
    scope: Scope,
    groups: Vec<Group>,
    /// Milliseconds: from, and until (excluded).
    times: (u64, u64),
    run: Run,
    /// Events and bytes.
    scanned: (u64, u64),
}

impl Task {
    async fn run(mut self) {
        let outcome = tokio::time::timeout(TIMEOUT, self.scan()).await;
        let status = match outcome {
            Ok(Ok(())) => QueryStatus::Complete,
            Ok(Err(fault)) => {
                tracing::warn!(%fault, query = self.id, "a query of log events failed");
                QueryStatus::Failed
            }
            Err(_) => QueryStatus::Timeout,
        };
        let Some(inner) = self.inner.upgrade() else { return };
        let (matched, scanned, groups) = (self.run.matched, self.scanned, self.groups.len());
        let rows = self.run.finish();
        let now = inner.now();
        inner.queries.update(&self.id, |query| {
            query.statistics = statistics(matched, scanned, groups, rows.len());
            if query.status == QueryStatus::Running {
                query.status = status;
                query.ended_at = Some(now);
                query.rows = Arc::new(rows);
            }
        });
    }

    async fn scan(&mut self) -> Result<(), Fault> {
        let Some(inner) = self.inner.upgrade() else { return Ok(()) };
        let (mut streams, mut names) = (Vec::new(), BTreeMap::new());
        let mut from = self.times.0;
        for group in &self.groups {
            for stream in choose(&inner, &self.scope, group, None, None).await? {
                streams.push(id_of(group, &stream));
                names.insert(stream.row.id, (group.name.clone(), stream.name));
            }
            // Of several groups the one that keeps its events longest decides; nothing more is there anyway.
            let kept = group.row.retention_days.map_or(0, |days| inner.now().saturating_sub(day_ms(days)));
            from = if self.groups.len() == 1 { from.max(kept) } else { from };
        }
        let mut selection = Selection {
            streams,
            from: Position::at(from),
            until: Position::at(self.times.1),
            order: Order::NewestFirst,
            events_max: PAGE_EVENTS,
            bytes_max: PAGE_BYTES,
            read_max: READ_BYTES,
        };
        while inner.queries.is_running(&self.id) {
            let page = inner.events.select(selection.clone(), |_| true).await.map_err(fault::unavailable)?;
            for found in page.events {
                self.scanned.0 += 1;
                self.scanned.1 += found.message.len() as u64;
                if !self.run.add(record(&self.scope, &names, found)) {
                    return Ok(());
                }
            }
            let Some(rest) = page.rest else { return Ok(()) };
            selection.until = rest;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds stay below 2^53")]
fn record(scope: &Scope, names: &BTreeMap<u64, (String, String)>, found: Found) -> Record {
    let (group, stream) = names.get(&found.position.stream).cloned().unwrap_or_default();
    let document = match found.message.trim_start().starts_with('{') {
        true => serde_json::from_str(&found.message).ok(),
        false => None,
    };
    let fields = vec![
        ("@ptr".to_owned(), Value::Text(read::number(found.position))),
        ("@timestamp".to_owned(), Value::Time(found.position.timestamp as f64)),
        ("@ingestionTime".to_owned(), Value::Time(found.ingestion as f64)),
        ("@logStream".to_owned(), Value::Text(stream)),
        ("@log".to_owned(), Value::Text(format!("{}:{group}", scope.account))),
        ("@message".to_owned(), Value::Text(found.message)),
    ];
    Record { fields, document }
}

fn fields(row: &Row) -> Vec<ResultField> {
    let field =
        |(name, value): &(String, String)| ResultField { field: Some(name.clone()), value: Some(value.clone()) };
    row.iter().map(field).collect()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn statistics(matched: u64, (records, bytes): (u64, u64), groups: usize, rows: usize) -> QueryStatistics {
    QueryStatistics {
        records_matched: Some(matched as f64),
        records_scanned: Some(records as f64),
        bytes_scanned: Some(bytes as f64),
        log_groups_scanned: Some(groups as f64),
        estimated_records_skipped: Some(0.0),
        estimated_bytes_skipped: Some(0.0),
        result_count: Some(rows as f64),
    }
}

fn info(id: &str, query: &Query) -> QueryInfo {
    let duration = query.ended_at.map(|ended| ended.saturating_sub(query.created_at));
    QueryInfo {
        query_language: Some(QueryLanguage::Cwli),
        query_id: Some(id.to_owned()),
        query_string: Some(query.text.clone()),
        status: Some(query.status.clone()),
        create_time: i64::try_from(query.created_at).ok(),
        log_group_name: Some(query.group.clone()),
        query_duration: duration.and_then(|duration| i64::try_from(duration).ok()),
        bytes_scanned: query.statistics.bytes_scanned,
        user_identity: Some(query.principal.clone()),
    }
}

/// Seconds of the wire to milliseconds. Milliseconds are taken, too, as the service does: they are too large to be
/// seconds of any near time.
fn seconds(time: Option<i64>) -> u64 {
    const LARGEST: u64 = 100_000_000_000;
    let time = time.and_then(|time| u64::try_from(time).ok()).unwrap_or_default();
    if time < LARGEST { time * 1000 } else { time }
}

#[cfg(test)]
mod tests;
