//! What was done, and what was not although a policy asked for it.

use gantry_api::application_autoscaling::{
    DescribeScalingActivitiesRequest, DescribeScalingActivitiesResponse, NotScaledReason, ScalableDimension,
    ScalingActivity, ScalingActivityStatusCode, ServiceNamespace,
};
use gantry_api::{Caller, Fault};

use super::rows::{Activity, ServiceId, Status};
use super::targets::check_namespace;
use super::{AutoScaling, fault, paging, wire_time};

const PAGE_SIZE_MAX: usize = 50;

impl AutoScaling {
    pub(super) fn describe_activities(
        &self,
        caller: &Caller,
        input: &DescribeScalingActivitiesRequest,
    ) -> Result<DescribeScalingActivitiesResponse, Fault> {
        check_namespace(input.service_namespace.as_ref())?;
        if input.resource_id.is_none() && input.scalable_dimension.is_some() {
            return Err(fault::invalid("ResourceId is required with ScalableDimension."));
        }
        let all = input.include_not_scaled_activities == Some(true);
        let picture = self.inner.view.read();
        let own = picture.targets_of(&caller.account, &caller.region);
        let asked = |id: &ServiceId| input.resource_id.as_ref().is_none_or(|asked| *asked == id.resource_id());
        let mut found: Vec<(ServiceId, Activity)> = own
            .filter(|(id, _)| asked(id))
            .flat_map(|(id, kept)| kept.row.activities.iter().map(move |activity| (id.clone(), activity.clone())))
            .filter(|(_, activity)| all || activity.status != Status::NotScaled)
            .collect();
        drop(picture);
        // The newest first; the key that continues the list sorts as they do.
        let key = |activity: &Activity| format!("{:020} {}", i64::MAX - activity.start_ms, activity.id);
        found.sort_by_key(|(_, activity)| key(activity));
        let question = format!("activities {:?} {all}", input.resource_id);
        let (page, next_token) = paging::page(
            &question,
            (input.max_results, PAGE_SIZE_MAX),
            input.next_token.as_deref(),
            found,
            |(_, activity)| key(activity),
        )?;
        let activities = page.iter().map(|(id, activity)| wire(id, activity)).collect();
        Ok(DescribeScalingActivitiesResponse { scaling_activities: Some(activities), next_token })
    }
}

fn wire(id: &ServiceId, activity: &Activity) -> ScalingActivity {
    let status = match activity.status {
        Status::Pending => ScalingActivityStatusCode::Pending,
        Status::InProgress => ScalingActivityStatusCode::InProgress,
        Status::Successful => ScalingActivityStatusCode::Successful,
        Status::Overridden => ScalingActivityStatusCode::Overridden,
        Status::Failed => ScalingActivityStatusCode::Failed,
        Status::NotScaled => ScalingActivityStatusCode::Unfulfilled,
    };
    let number = |count: u32| i32::try_from(count).ok();
    let reason = activity.not_scaled.as_ref().map(|(code, min, max, current)| NotScaledReason {
        code: Some(code.clone()),
        min_capacity: number(*min).filter(|_| code == "AlreadyAtMinCapacity"),
        max_capacity: number(*max).filter(|_| code == "AlreadyAtMaxCapacity"),
        current_capacity: number(*current),
    });
    ScalingActivity {
        activity_id: Some(activity.id.clone()),
        service_namespace: Some(ServiceNamespace::Ecs),
        resource_id: Some(id.resource_id()),
        scalable_dimension: Some(ScalableDimension::EcsServiceDesiredCount),
        description: Some(match activity.status {
            Status::NotScaled => "Attempting to scale due to alarm triggered".to_owned(),
            _ => format!("Setting desired count to {}.", activity.to),
        }),
        cause: Some(activity.cause.clone()),
        start_time: Some(wire_time(activity.start_ms)),
        end_time: activity.end_ms.map(wire_time),
        status_code: Some(status),
        status_message: Some(activity.message.clone()),
        not_scaled_reasons: reason.map(|reason| vec![reason]),
        ..ScalingActivity::default()
    }
}
