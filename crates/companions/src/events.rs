//! EventBridge: buses, rules, targets, and the way of an event to them.
//!
//! ```text
//! intake     takes events, writes them to the log and, for every rule that matches, a delivery per target, durably
//! queues     what waits for each target, bounded, in memory beside its rows
//! deliver    one worker per target that has something waiting: tries, tries again, gives up
//! schedules  rules that are due by the clock
//! log        the newest events of each account and region, for `gantry events`
//! ```
//!
//! What must hold: an event that was taken ([`EventSink::tell`], PutEvents) is written before that is answered; a
//! delivery goes only when its target has taken it, or when its rule's retry policy gives it up, which is logged. So a
//! target gets every event at least once. A target that is down holds up no other and keeps a bounded number of
//! deliveries; the oldest go first.
//!
//! Configuration is a picture in memory ([`picture`]); events are never held there. Not here: event buses of other
//! accounts, partner events, archives (the log can be sent again: [`replay`]), and targets of services that Gantry does not have.

mod buses;
mod change;
pub mod deliver;
mod fault;
mod intake;
mod log;
mod names;
mod picture;
mod put;
mod queues;
mod replay;
mod rows;
mod rules;
mod schedules;
mod tags;
mod target_kind;
mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::event::{Event, EventSink, Telling};
use gantry_api::events::{
    CreateEventBusRequest, CreateEventBusResponse, DeleteEventBusRequest, DeleteRuleRequest, DescribeEventBusRequest,
    DescribeEventBusResponse, DescribeRuleRequest, DescribeRuleResponse, DisableRuleRequest, EnableRuleRequest,
    ListEventBusesRequest, ListEventBusesResponse, ListRuleNamesByTargetRequest, ListRuleNamesByTargetResponse,
    ListRulesRequest, ListRulesResponse, ListTagsForResourceRequest, ListTagsForResourceResponse,
    ListTargetsByRuleRequest, ListTargetsByRuleResponse, PutEventsRequest, PutEventsResponse, PutRuleRequest,
    PutRuleResponse, PutTargetsRequest, PutTargetsResponse, RemoveTargetsRequest, RemoveTargetsResponse,
    TagResourceRequest, TagResourceResponse, TestEventPatternRequest, TestEventPatternResponse, UntagResourceRequest,
    UntagResourceResponse,
};
use gantry_api::{Caller, Empty, Fault, events};
use gantry_domain::Timestamp;
use gantry_store::{Store, StoreError, View};
use tokio::sync::Mutex;

use intake::Intake;
use picture::Picture;
use queues::Queues;

pub use log::LoggedEvent;
pub use replay::{ReplayRequest, ReplayedPage};

/// Events kept per account and region.
pub const EVENTS_KEPT: u64 = 10_000;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The service. Clones share it.
#[derive(Clone)]
pub struct EventBridge {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    view: View<Picture>,
    clock: Clock,
    /// Changes go one after the other, so that they do not plan in vain.
    turn: Mutex<()>,
    queues: Arc<Queues>,
    intake: Intake,
}

impl EventBridge {
    /// Opens the service over `store`; its log keeps `kept` events of each account and region. Starts its writer;
    /// [`EventBridge::deliver`] and [`EventBridge::follow_schedules`] do the rest of the work.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Store, clock: Clock, kept: u64) -> Result<Self, StoreError> {
        let view = View::start(&store, rows::PREFIX).await?;
        let queues = Arc::new(Queues::load(&store).await?);
        let intake = Intake::start(store.clone(), view.clone(), Arc::clone(&queues), Arc::clone(&clock), kept);
        let inner = Inner { store, view, clock, turn: Mutex::new(()), queues, intake };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Up to `limit` events of an account and region after position `after`, oldest first; without `after`, the
    /// newest.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(
        &self,
        account: &str,
        region: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<LoggedEvent>, StoreError> {
        log::page(&self.inner.store, account, region, after, limit).await
    }

    /// Sends events of the log to the targets of a rule again, one page of them.
    ///
    /// # Errors
    /// A fault for a rule that is not there or has no pattern, for a name or time that cannot be, and for a store that
    /// fails.
    pub async fn replay(&self, caller: &Caller, asked: &ReplayRequest) -> Result<ReplayedPage, Fault> {
        replay::page(&self.inner, caller, asked).await
    }

    /// The tags of a rule or event bus; none when there is no such.
    pub fn resource_tags(&self, arn: &str) -> BTreeMap<String, String> {
        tags::of(&self.inner, arn)
    }

    /// Writes what waits and ends the writer. Events that come later are lost.
    pub async fn close(&self) {
        self.inner.intake.close().await;
    }
}

impl EventSink for EventBridge {
    fn emit(&self, event: Event) {
        self.inner.intake.emit(event);
    }

    fn tell(&self, events: Vec<Event>) -> Telling<'_> {
        Box::pin(self.inner.intake.take(rows::DEFAULT_BUS.to_owned(), events))
    }
}

impl std::fmt::Debug for EventBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventBridge").finish_non_exhaustive()
    }
}

/// Carries out each operation with the function of the same name in its family's module.
macro_rules! operations {
    ($($module:ident::$name:ident($input:ty) -> $output:ty;)*) => {
        impl events::Events for EventBridge {
            $(async fn $name(&self, caller: &Caller, input: $input) -> Result<$output, Fault> {
                $module::$name(&self.inner, caller, input).await
            })*
        }
    };
}

operations! {
    buses::create_event_bus(CreateEventBusRequest) -> CreateEventBusResponse;
    buses::delete_event_bus(DeleteEventBusRequest) -> Empty;
    buses::describe_event_bus(DescribeEventBusRequest) -> DescribeEventBusResponse;
    buses::list_event_buses(ListEventBusesRequest) -> ListEventBusesResponse;
    put::put_events(PutEventsRequest) -> PutEventsResponse;
    put::test_event_pattern(TestEventPatternRequest) -> TestEventPatternResponse;
    rules::delete_rule(DeleteRuleRequest) -> Empty;
    rules::describe_rule(DescribeRuleRequest) -> DescribeRuleResponse;
    rules::disable_rule(DisableRuleRequest) -> Empty;
    rules::enable_rule(EnableRuleRequest) -> Empty;
    rules::list_rules(ListRulesRequest) -> ListRulesResponse;
    rules::put_rule(PutRuleRequest) -> PutRuleResponse;
    tags::list_tags_for_resource(ListTagsForResourceRequest) -> ListTagsForResourceResponse;
    tags::tag_resource(TagResourceRequest) -> TagResourceResponse;
    tags::untag_resource(UntagResourceRequest) -> UntagResourceResponse;
    targets::list_rule_names_by_target(ListRuleNamesByTargetRequest) -> ListRuleNamesByTargetResponse;
    targets::list_targets_by_rule(ListTargetsByRuleRequest) -> ListTargetsByRuleResponse;
    targets::put_targets(PutTargetsRequest) -> PutTargetsResponse;
    targets::remove_targets(RemoveTargetsRequest) -> RemoveTargetsResponse;
}
