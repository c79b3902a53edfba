//! CloudWatch Logs: groups, streams, events.
//!
//! Groups and streams are rows of the store ([`rows`]), events are files ([`events`]). Nothing is cached between them:
//! a request reads the rows it needs, which costs microseconds, and memory does not grow with what is stored.
//! Not here: StartLiveTail.

mod events;
mod fault;
mod groups;
mod insights;
mod pattern;
mod put;
mod read;
mod retention;
mod rows;
mod streams;
mod tags;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use gantry_api::logs::{
    CreateLogGroupRequest, CreateLogStreamRequest, DeleteLogGroupRequest, DeleteLogStreamRequest,
    DeleteRetentionPolicyRequest, DescribeLogGroupsRequest, DescribeLogGroupsResponse, DescribeLogStreamsRequest,
    DescribeLogStreamsResponse, DescribeQueriesRequest, DescribeQueriesResponse, FilterLogEventsRequest,
    FilterLogEventsResponse, GetLogEventsRequest, GetLogEventsResponse, GetQueryResultsRequest,
    GetQueryResultsResponse, ListLogGroupsRequest, ListLogGroupsResponse, ListTagsForResourceRequest,
    ListTagsForResourceResponse, ListTagsLogGroupRequest, ListTagsLogGroupResponse, PutLogEventsRequest,
    PutLogEventsResponse, PutRetentionPolicyRequest, StartQueryRequest, StartQueryResponse, StopQueryRequest,
    StopQueryResponse, TagLogGroupRequest, TagResourceRequest, UntagLogGroupRequest, UntagResourceRequest,
};
use gantry_api::{Caller, Empty, Fault, logs};
use gantry_domain::Timestamp;
use gantry_store::Store;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::background::Background;
use events::Events;
use insights::Queries;
use tags::Target;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The service. Clones share it.
#[derive(Clone)]
pub struct Logs {
    inner: Arc<Inner>,
    /// Deletes expired events; ends with the last clone.
    _retention: Arc<Background>,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system said no.
    #[error("cannot open the log events in {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}

struct Inner {
    store: Store,
    events: Events,
    clock: Clock,
    retention_changed: Arc<Notify>,
    /// Bytes of each group as of the last time somebody added them up; the real service's lag, too.
    stored_bytes: Mutex<HashMap<u64, u64>>,
    queries: Queries,
}

impl Logs {
    /// Opens the service: groups and streams are rows of `store` below `/logs/`, events are files below `directory`,
    /// which is created when absent. After a crash this repairs the files.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub async fn open(store: Store, directory: PathBuf, clock: Clock) -> Result<Self, OpenError> {
        let path = directory.clone();
        let opened = tokio::task::spawn_blocking(move || Events::open(&directory)).await;
        let opened = opened.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let events = opened.map_err(|source| OpenError::Io { path, source })?;
        let (retention_changed, stored_bytes, queries) =
            (Arc::new(Notify::new()), Mutex::default(), Queries::default());
        let inner = Arc::new(Inner { store, events, clock, retention_changed, stored_bytes, queries });
        let retention = Background::run(retention::run(Arc::downgrade(&inner)));
        Ok(Self { inner, _retention: Arc::new(retention) })
    }

    /// Deletes expired events now instead of within the hour.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub async fn enforce_retention(&self) -> Result<(), Fault> {
        retention::enforce(&self.inner).await
    }

    /// Finishes what is queued and syncs it, so that the next start has nothing to repair. Later calls are refused.
    pub async fn close(&self) {
        let inner = self.inner.clone();
        if tokio::task::spawn_blocking(move || inner.events.close()).await.is_err() {
            tracing::error!("closing the log events ended with a panic");
        }
    }
}

impl Inner {
    /// Milliseconds since the epoch.
    fn now(&self) -> u64 {
        u64::try_from((self.clock)().as_millis()).unwrap_or(0)
    }

    fn stored_bytes(&self, group: u64) -> u64 {
        self.stored_bytes.lock().get(&group).copied().unwrap_or(0)
    }

    fn set_stored_bytes(&self, group: u64, bytes: u64) {
        self.stored_bytes.lock().insert(group, bytes);
    }

    fn forget_stored_bytes(&self, group: u64) {
        self.stored_bytes.lock().remove(&group);
    }
}

/// Milliseconds of so many days.
const fn day_ms(days: u32) -> u64 {
    days as u64 * 24 * 60 * 60 * 1000
}

impl logs::Logs for Logs {
    async fn create_log_group(&self, caller: &Caller, input: CreateLogGroupRequest) -> Result<Empty, Fault> {
        groups::create(&self.inner, caller, input).await
    }

    async fn delete_log_group(&self, caller: &Caller, input: DeleteLogGroupRequest) -> Result<Empty, Fault> {
        groups::delete(&self.inner, caller, input).await
    }

    async fn describe_log_groups(
        &self,
        caller: &Caller,
        input: DescribeLogGroupsRequest,
    ) -> Result<DescribeLogGroupsResponse, Fault> {
        groups::describe(&self.inner, caller, input).await
    }

    async fn list_log_groups(
        &self,
        caller: &Caller,
        input: ListLogGroupsRequest,
    ) -> Result<ListLogGroupsResponse, Fault> {
        groups::list(&self.inner, caller, input).await
    }

    async fn put_retention_policy(&self, caller: &Caller, input: PutRetentionPolicyRequest) -> Result<Empty, Fault> {
        groups::put_retention(&self.inner, caller, input).await
    }

    async fn delete_retention_policy(
        &self,
        caller: &Caller,
        input: DeleteRetentionPolicyRequest,
    ) -> Result<Empty, Fault> {
        groups::set_retention(&self.inner, caller, input.log_group_name, None).await
    }

    async fn create_log_stream(&self, caller: &Caller, input: CreateLogStreamRequest) -> Result<Empty, Fault> {
        streams::create(&self.inner, caller, input).await
    }

    async fn delete_log_stream(&self, caller: &Caller, input: DeleteLogStreamRequest) -> Result<Empty, Fault> {
        streams::delete(&self.inner, caller, input).await
    }

    async fn describe_log_streams(
        &self,
        caller: &Caller,
        input: DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, Fault> {
        streams::describe(&self.inner, caller, input).await
    }

    async fn put_log_events(&self, caller: &Caller, input: PutLogEventsRequest) -> Result<PutLogEventsResponse, Fault> {
        put::put(&self.inner, caller, input).await
    }

    async fn get_log_events(&self, caller: &Caller, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, Fault> {
        read::get(&self.inner, caller, input).await
    }

    async fn filter_log_events(
        &self,
        caller: &Caller,
        input: FilterLogEventsRequest,
    ) -> Result<FilterLogEventsResponse, Fault> {
        read::filter(&self.inner, caller, input).await
    }

    async fn list_tags_for_resource(
        &self,
        caller: &Caller,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        tags::list_by_arn(&self.inner, caller, input).await
    }

    async fn list_tags_log_group(
        &self,
        caller: &Caller,
        input: ListTagsLogGroupRequest,
    ) -> Result<ListTagsLogGroupResponse, Fault> {
        tags::list_by_name(&self.inner, caller, input).await
    }

    async fn tag_resource(&self, caller: &Caller, input: TagResourceRequest) -> Result<Empty, Fault> {
        tags::tag(&self.inner, caller, Target::Arn(input.resource_arn), input.tags).await
    }

    async fn tag_log_group(&self, caller: &Caller, input: TagLogGroupRequest) -> Result<Empty, Fault> {
        tags::tag(&self.inner, caller, Target::Name(input.log_group_name), input.tags).await
    }

    async fn untag_resource(&self, caller: &Caller, input: UntagResourceRequest) -> Result<Empty, Fault> {
        tags::untag(&self.inner, caller, Target::Arn(input.resource_arn), input.tag_keys).await
    }

    async fn untag_log_group(&self, caller: &Caller, input: UntagLogGroupRequest) -> Result<Empty, Fault> {
        tags::untag(&self.inner, caller, Target::Name(input.log_group_name), input.tags).await
    }

    async fn start_query(&self, caller: &Caller, input: StartQueryRequest) -> Result<StartQueryResponse, Fault> {
        insights::start(&self.inner, caller, input).await
    }

    async fn get_query_results(
        &self,
        caller: &Caller,
        input: GetQueryResultsRequest,
    ) -> Result<GetQueryResultsResponse, Fault> {
        insights::results(&self.inner, caller, input)
    }

    async fn stop_query(&self, caller: &Caller, input: StopQueryRequest) -> Result<StopQueryResponse, Fault> {
        insights::stop(&self.inner, caller, input)
    }

    async fn describe_queries(
        &self,
        caller: &Caller,
        input: DescribeQueriesRequest,
    ) -> Result<DescribeQueriesResponse, Fault> {
        insights::describe(&self.inner, caller, input)
    }
}
