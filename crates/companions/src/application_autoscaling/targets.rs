//! Scalable targets: registering, describing, deregistering.

use std::collections::BTreeMap;

use gantry_api::application_autoscaling::{
    DeregisterScalableTargetRequest, DeregisterScalableTargetResponse, DescribeScalableTargetsRequest,
    DescribeScalableTargetsResponse, RegisterScalableTargetRequest, RegisterScalableTargetResponse, ScalableDimension,
    ScalableTarget, ServiceNamespace, SuspendedState,
};
use gantry_api::{Caller, Fault};

use super::change::Change;
use super::rows::{ServiceId, Target};
use super::{AutoScaling, fault, paging, tags, wire_time};

/// Targets of an account in a region.
const TARGETS_MAX: usize = 3000;
const PAGE_SIZE_MAX: usize = 50;

/// The service that a request is about: every request names it by the same three members.
macro_rules! service_of {
    ($caller:expr, $input:expr) => {
        $crate::application_autoscaling::targets::service(
            $caller,
            $input.service_namespace.as_ref(),
            $input.resource_id.as_deref(),
            $input.scalable_dimension.as_ref(),
        )
    };
}
pub(super) use service_of;

/// See [`service_of`].
pub(super) fn service(
    caller: &Caller,
    namespace: Option<&ServiceNamespace>,
    resource_id: Option<&str>,
    dimension: Option<&ScalableDimension>,
) -> Result<ServiceId, Fault> {
    if namespace != Some(&ServiceNamespace::Ecs) || dimension != Some(&ScalableDimension::EcsServiceDesiredCount) {
        return Err(fault::unsupported_resource());
    }
    let resource_id = resource_id.unwrap_or_default();
    ServiceId::of(&caller.account, &caller.region, resource_id).ok_or_else(fault::unsupported_resource)
}

impl AutoScaling {
    pub(super) async fn register(
        &self,
        caller: &Caller,
        input: RegisterScalableTargetRequest,
    ) -> Result<RegisterScalableTargetResponse, Fault> {
        let id = service_of!(caller, input)?;
        if self.inner.services.look(&id).is_none() {
            return Err(fault::no_service(&id));
        }
        let tags = tags::checked(&BTreeMap::new(), input.tags.clone().unwrap_or_default())?;
        let now = self.now().as_millis();
        let new_id = format!("0ec5{}", uuid::Uuid::new_v4().simple());
        let target_id = self
            .change(&id, |picture, before| {
                let mut target = match before {
                    Some(before) if !tags.is_empty() && tags != before.tags => {
                        return Err(fault::invalid(
                            "Tags can only be given when a scalable target is registered first.",
                        ));
                    }
                    Some(before) => before.clone(),
                    None => {
                        if picture.targets_of(&id.account, &id.region).count() >= TARGETS_MAX {
                            return Err(fault::limit("scalable targets"));
                        }
                        if input.min_capacity.is_none() || input.max_capacity.is_none() {
                            return Err(fault::invalid(
                                "MinCapacity and MaxCapacity are required to register a scalable target.",
                            ));
                        }
                        new_target(&id, new_id.clone(), now, tags.clone())
                    }
                };
                target.min = capacity(input.min_capacity, target.min)?;
                target.max = capacity(input.max_capacity, target.max)?;
                if target.max < target.min {
                    return Err(fault::invalid("Maximum capacity cannot be less than minimum capacity"));
                }
                if let Some(suspended) = &input.suspended_state {
                    merge(&mut target.suspended, suspended);
                }
                let target_id = target.id.clone();
                Ok((Change::Put(target.into()), target_id))
            })
            .await?;
        Ok(RegisterScalableTargetResponse { scalable_target_arn: Some(arn(&id, &target_id)) })
    }

    /// What was decided for the target goes with it; its alarms too.
    pub(super) async fn deregister(
        &self,
        caller: &Caller,
        input: DeregisterScalableTargetRequest,
    ) -> Result<DeregisterScalableTargetResponse, Fault> {
        let id = service_of!(caller, input)?;
        self.change(&id, |_, before| {
            before.ok_or_else(|| fault::no_target(&id))?;
            Ok((Change::Delete, ()))
        })
        .await?;
        Ok(DeregisterScalableTargetResponse {})
    }

    pub(super) fn describe_targets(
        &self,
        caller: &Caller,
        input: &DescribeScalableTargetsRequest,
    ) -> Result<DescribeScalableTargetsResponse, Fault> {
        check_namespace(input.service_namespace.as_ref())?;
        let picture = self.inner.view.read();
        let wanted = |id: &ServiceId| {
            input.resource_ids.as_ref().is_none_or(|ids| ids.is_empty() || ids.contains(&id.resource_id()))
        };
        let all = picture.targets_of(&caller.account, &caller.region).filter(|(id, _)| wanted(id));
        let question = format!("targets {:?}", input.resource_ids);
        let (page, next_token) = paging::page(
            &question,
            (input.max_results, PAGE_SIZE_MAX),
            input.next_token.as_deref(),
            all,
            |(id, _)| id.resource_id(),
        )?;
        let targets = page.into_iter().map(|(id, kept)| wire(id, &kept.row)).collect();
        Ok(DescribeScalableTargetsResponse { scalable_targets: Some(targets), next_token })
    }
}

/// Only ECS has anything here.
pub(super) fn check_namespace(namespace: Option<&ServiceNamespace>) -> Result<(), Fault> {
    if namespace == Some(&ServiceNamespace::Ecs) { Ok(()) } else { Err(fault::unsupported_resource()) }
}

fn new_target(id: &ServiceId, target_id: String, now: i64, tags: BTreeMap<String, String>) -> Target {
    Target {
        id: target_id,
        created_ms: now,
        role_arn: format!(
            "arn:aws:iam::{}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/\
             AWSServiceRoleForApplicationAutoScaling_ECSService",
            id.account
        ),
        min: 0,
        max: 0,
        suspended: SuspendedState {
            dynamic_scaling_in_suspended: Some(false),
            dynamic_scaling_out_suspended: Some(false),
            scheduled_scaling_suspended: Some(false),
        },
        policies: BTreeMap::new(),
        scheduled: BTreeMap::new(),
        activities: Vec::new(),
        history: Default::default(),
        tags,
    }
}

pub(super) fn capacity(asked: Option<i32>, current: u32) -> Result<u32, Fault> {
    match asked {
        None => Ok(current),
        Some(count) => u32::try_from(count).map_err(|_| fault::invalid("Capacity cannot be a negative number.")),
    }
}

fn merge(state: &mut SuspendedState, asked: &SuspendedState) {
    let keep = |slot: &mut Option<bool>, asked: Option<bool>| *slot = asked.or(*slot);
    keep(&mut state.dynamic_scaling_in_suspended, asked.dynamic_scaling_in_suspended);
    keep(&mut state.dynamic_scaling_out_suspended, asked.dynamic_scaling_out_suspended);
    keep(&mut state.scheduled_scaling_suspended, asked.scheduled_scaling_suspended);
}

/// The ARN of a target.
pub(super) fn arn(id: &ServiceId, target_id: &str) -> String {
    format!("arn:aws:application-autoscaling:{}:{}:scalable-target/{target_id}", id.region, id.account)
}

fn wire(id: &ServiceId, target: &Target) -> ScalableTarget {
    ScalableTarget {
        service_namespace: Some(ServiceNamespace::Ecs),
        resource_id: Some(id.resource_id()),
        scalable_dimension: Some(ScalableDimension::EcsServiceDesiredCount),
        min_capacity: i32::try_from(target.min).ok(),
        max_capacity: i32::try_from(target.max).ok(),
        role_arn: Some(target.role_arn.clone()),
        creation_time: Some(wire_time(target.created_ms)),
        suspended_state: Some(target.suspended.clone()),
        scalable_target_arn: Some(arn(id, &target.id)),
        ..ScalableTarget::default()
    }
}
