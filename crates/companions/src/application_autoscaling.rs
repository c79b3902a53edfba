//! Application Auto Scaling for ECS services: targets, policies, scheduled actions, and what follows from them.
//!
//! Requests change rows ([`change`]); once a minute, and when something is due, [`evaluate`] looks at every target,
//! lets [`gantry_domain::autoscaling`] decide, and tells the service. A decision is durable before the service is told,
//! so that a restart between the two carries it out. The service itself is behind [`Services`]: this crate does not
//! know ECS.

mod activities;
mod alarms;
mod change;
mod evaluate;
mod fault;
mod paging;
mod picture;
mod policies;
mod rows;
mod scheduled;
mod tags;
mod targets;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use gantry_api::alarm::AlarmRow;
use gantry_api::application_autoscaling::{
    ApplicationAutoscaling, DeleteScalingPolicyRequest, DeleteScalingPolicyResponse, DeleteScheduledActionRequest,
    DeleteScheduledActionResponse, DeregisterScalableTargetRequest, DeregisterScalableTargetResponse,
    DescribeScalableTargetsRequest, DescribeScalableTargetsResponse, DescribeScalingActivitiesRequest,
    DescribeScalingActivitiesResponse, DescribeScalingPoliciesRequest, DescribeScalingPoliciesResponse,
    DescribeScheduledActionsRequest, DescribeScheduledActionsResponse, ListTagsForResourceRequest,
    ListTagsForResourceResponse, PutScalingPolicyRequest, PutScalingPolicyResponse, PutScheduledActionRequest,
    PutScheduledActionResponse, RegisterScalableTargetRequest, RegisterScalableTargetResponse, TagResourceRequest,
    TagResourceResponse, UntagResourceRequest, UntagResourceResponse,
};
use gantry_api::{Caller, Fault};
use gantry_domain::{Timestamp, autoscaling::Observed, metrics::Point};
use gantry_store::{Store, StoreError, View};

pub use alarms::NamedDefinition;
pub use evaluate::Periods;
pub use rows::{AlarmDefinition, AlarmMetric, ServiceId};

use picture::Picture;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A change of a service under way.
pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// The services that are scaled.
pub trait Services: Send + Sync {
    /// The service as it is; none when it is not there, or not one that can be scaled.
    fn look(&self, id: &ServiceId) -> Option<Observed>;
    /// The minutes of its metrics that are over, the oldest first.
    fn points(&self, id: &ServiceId) -> Vec<Point>;
    /// Sets its desired count.
    fn set_desired<'a>(&'a self, id: &'a ServiceId, count: u32) -> Telling<'a>;
    /// How an alarm stands, whoever says so.
    fn alarm(&self, account: &str, region: &str, name: &str) -> Option<AlarmRow>;
}

/// The service. Clones share it.
#[derive(Clone)]
pub struct AutoScaling {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    view: View<Picture>,
    services: Arc<dyn Services>,
    clock: Clock,
    periods: Periods,
}

impl AutoScaling {
    /// Loads what is kept. Nothing is scaled until [`AutoScaling::work`] runs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(
        store: Store,
        services: Arc<dyn Services>,
        clock: Clock,
        periods: Periods,
    ) -> Result<Self, StoreError> {
        let view = View::start(&store, rows::PREFIX).await?;
        Ok(Self { inner: Arc::new(Inner { store, view, services, clock, periods }) })
    }

    fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }
}

/// A moment on the wire.
fn wire_time(millis: i64) -> gantry_api::Timestamp {
    gantry_api::Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl ApplicationAutoscaling for AutoScaling {
    async fn register_scalable_target(
        &self,
        caller: &Caller,
        input: RegisterScalableTargetRequest,
    ) -> Result<RegisterScalableTargetResponse, Fault> {
        self.register(caller, input).await
    }

    async fn deregister_scalable_target(
        &self,
        caller: &Caller,
        input: DeregisterScalableTargetRequest,
    ) -> Result<DeregisterScalableTargetResponse, Fault> {
        self.deregister(caller, input).await
    }

    async fn describe_scalable_targets(
        &self,
        caller: &Caller,
        input: DescribeScalableTargetsRequest,
    ) -> Result<DescribeScalableTargetsResponse, Fault> {
        self.describe_targets(caller, &input)
    }

    async fn put_scaling_policy(
        &self,
        caller: &Caller,
        input: PutScalingPolicyRequest,
    ) -> Result<PutScalingPolicyResponse, Fault> {
        self.put_policy(caller, input).await
    }

    async fn delete_scaling_policy(
        &self,
        caller: &Caller,
        input: DeleteScalingPolicyRequest,
    ) -> Result<DeleteScalingPolicyResponse, Fault> {
        self.delete_policy(caller, input).await
    }

    async fn describe_scaling_policies(
        &self,
        caller: &Caller,
        input: DescribeScalingPoliciesRequest,
    ) -> Result<DescribeScalingPoliciesResponse, Fault> {
        self.describe_policies(caller, &input)
    }

    async fn put_scheduled_action(
        &self,
        caller: &Caller,
        input: PutScheduledActionRequest,
    ) -> Result<PutScheduledActionResponse, Fault> {
        self.put_scheduled(caller, input).await
    }

    async fn delete_scheduled_action(
        &self,
        caller: &Caller,
        input: DeleteScheduledActionRequest,
    ) -> Result<DeleteScheduledActionResponse, Fault> {
        self.delete_scheduled(caller, input).await
    }

    async fn describe_scheduled_actions(
        &self,
        caller: &Caller,
        input: DescribeScheduledActionsRequest,
    ) -> Result<DescribeScheduledActionsResponse, Fault> {
        self.describe_scheduled(caller, &input)
    }

    async fn describe_scaling_activities(
        &self,
        caller: &Caller,
        input: DescribeScalingActivitiesRequest,
    ) -> Result<DescribeScalingActivitiesResponse, Fault> {
        self.describe_activities(caller, &input)
    }

    async fn list_tags_for_resource(
        &self,
        caller: &Caller,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        self.list_tags(caller, &input)
    }

    async fn tag_resource(&self, caller: &Caller, input: TagResourceRequest) -> Result<TagResourceResponse, Fault> {
        self.tag(caller, input).await
    }

    async fn untag_resource(
        &self,
        caller: &Caller,
        input: UntagResourceRequest,
    ) -> Result<UntagResourceResponse, Fault> {
        self.untag(caller, input).await
    }
}
