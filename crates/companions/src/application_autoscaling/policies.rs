//! Scaling policies: target tracking with its two alarms, and steps.

use gantry_api::application_autoscaling::{
    AdjustmentType, Alarm, DeleteScalingPolicyRequest, DeleteScalingPolicyResponse, DescribeScalingPoliciesRequest,
    DescribeScalingPoliciesResponse, MetricType, PolicyType, PutScalingPolicyRequest, PutScalingPolicyResponse,
    ScalableDimension, ScalingPolicy, ServiceNamespace, StepScalingPolicyConfiguration,
    TargetTrackingScalingPolicyConfiguration,
};
use gantry_api::{Caller, Fault};
use gantry_domain::autoscaling::step::{self, Adjustment, Step};
use gantry_domain::metrics::Metric;

use super::change::Change;
use super::rows::{AlarmDefinition, AlarmId, Kind, Policy, ServiceId};
use super::targets::{check_namespace, service_of};
use super::{AutoScaling, fault, paging, wire_time};

/// Policies of a target.
const POLICIES_MAX: usize = 50;
/// Steps of a policy.
const STEPS_MAX: usize = 20;
const PAGE_SIZE_MAX: usize = 10;

impl AutoScaling {
    pub(super) async fn put_policy(
        &self,
        caller: &Caller,
        input: PutScalingPolicyRequest,
    ) -> Result<PutScalingPolicyResponse, Fault> {
        let id = service_of!(caller, input)?;
        let name = input.policy_name.clone().unwrap_or_default();
        let (uuid, high, low) = (new_uuid(), new_uuid(), new_uuid());
        let now = self.now().as_millis();
        let policy = self
            .change(&id, |_, before| {
                let mut target = before.ok_or_else(|| fault::not_registered(&id))?.clone();
                let known = target.policies.get(&name);
                if known.is_none() && target.policies.len() >= POLICIES_MAX {
                    return Err(fault::limit("scaling policies"));
                }
                let kind = kind(&id, &input, known.map(|known| &known.kind), (&high, &low))?;
                let policy = match known {
                    Some(known) => Policy { kind, ..known.clone() },
                    None => Policy { uuid: uuid.clone(), created_ms: now, kind },
                };
                target.policies.insert(name.clone(), policy.clone());
                Ok((Change::Put(target.into()), policy))
            })
            .await?;
        Ok(PutScalingPolicyResponse {
            policy_arn: Some(arn(&id, &policy, &name)),
            alarms: Some(self.alarms_of(&id, &policy, &name)),
        })
    }

    pub(super) async fn delete_policy(
        &self,
        caller: &Caller,
        input: DeleteScalingPolicyRequest,
    ) -> Result<DeleteScalingPolicyResponse, Fault> {
        let id = service_of!(caller, input)?;
        let name = input.policy_name.unwrap_or_default();
        self.change(&id, |_, before| {
            let mut target = before.ok_or_else(|| fault::no_policy(&id))?.clone();
            target.policies.remove(&name).ok_or_else(|| fault::no_policy(&id))?;
            Ok((Change::Put(target.into()), ()))
        })
        .await?;
        Ok(DeleteScalingPolicyResponse {})
    }

    pub(super) fn describe_policies(
        &self,
        caller: &Caller,
        input: &DescribeScalingPoliciesRequest,
    ) -> Result<DescribeScalingPoliciesResponse, Fault> {
        check_namespace(input.service_namespace.as_ref())?;
        let picture = self.inner.view.read();
        let own = picture.targets_of(&caller.account, &caller.region);
        let asked = |id: &ServiceId| input.resource_id.as_ref().is_none_or(|asked| *asked == id.resource_id());
        let named =
            |name: &String| input.policy_names.as_ref().is_none_or(|names| names.is_empty() || names.contains(name));
        let all = own.filter(|(id, _)| asked(id)).flat_map(|(id, kept)| {
            kept.row.policies.iter().filter(|(name, _)| named(name)).map(move |(name, policy)| (id, name, policy))
        });
        let question = format!("policies {:?} {:?}", input.resource_id, input.policy_names);
        let (page, next_token) = paging::page(
            &question,
            (input.max_results, PAGE_SIZE_MAX),
            input.next_token.as_deref(),
            all,
            |(id, name, _)| format!("{} {name}", id.resource_id()),
        )?;
        let page: Vec<_> =
            page.into_iter().map(|(id, name, policy)| (id.clone(), name.clone(), policy.clone())).collect();
        drop(picture);
        let policies = page.iter().map(|(id, name, policy)| self.wire(id, name, policy)).collect();
        Ok(DescribeScalingPoliciesResponse { scaling_policies: Some(policies), next_token })
    }

    fn wire(&self, id: &ServiceId, name: &str, policy: &Policy) -> ScalingPolicy {
        let (policy_type, tracking, steps) = match &policy.kind {
            Kind::Tracking { configuration, .. } => {
                (PolicyType::TargetTrackingScaling, Some(configuration.clone()), None)
            }
            Kind::Step(configuration) => (PolicyType::StepScaling, None, Some(configuration.clone())),
        };
        ScalingPolicy {
            policy_arn: Some(arn(id, policy, name)),
            policy_name: Some(name.to_owned()),
            service_namespace: Some(ServiceNamespace::Ecs),
            resource_id: Some(id.resource_id()),
            scalable_dimension: Some(ScalableDimension::EcsServiceDesiredCount),
            policy_type: Some(policy_type),
            target_tracking_scaling_policy_configuration: tracking,
            step_scaling_policy_configuration: steps,
            alarms: Some(self.alarms_of(id, policy, name)),
            creation_time: Some(wire_time(policy.created_ms)),
            ..ScalingPolicy::default()
        }
    }

    /// The alarms that trigger a policy.
    fn alarms_of(&self, id: &ServiceId, policy: &Policy, name: &str) -> Vec<Alarm> {
        let names = match &policy.kind {
            Kind::Tracking { high, low, .. } => vec![high.clone(), low.clone()],
            Kind::Step(_) => {
                let arn = arn(id, policy, name);
                let picture = self.inner.view.read();
                let all = picture.alarms_of(&id.account, &id.region);
                let own = |(_, alarm): &(&AlarmId, &AlarmDefinition)| alarm.actions.contains(&arn);
                all.filter(own).map(|(alarm, _)| alarm.name.clone()).collect()
            }
        };
        let wire = |name: String| Alarm {
            alarm_arn: Some(format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", id.region, id.account)),
            alarm_name: Some(name),
        };
        names.into_iter().map(wire).collect()
    }
}

fn new_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The ARN of a policy.
pub(super) fn arn(id: &ServiceId, policy: &Policy, name: &str) -> String {
    let ServiceId { account, region, .. } = id;
    let resource = id.resource_id();
    format!(
        "arn:aws:autoscaling:{region}:{account}:scalingPolicy:{}:resource/ecs/{resource}:policyName/{name}",
        policy.uuid
    )
}

/// What the request makes of the policy. A type that is not named is that of the policy, or of the configuration given.
fn kind(
    id: &ServiceId,
    input: &PutScalingPolicyRequest,
    before: Option<&Kind>,
    (high, low): (&str, &str),
) -> Result<Kind, Fault> {
    let tracking = &input.target_tracking_scaling_policy_configuration;
    match (&input.policy_type, tracking, &input.step_scaling_policy_configuration) {
        (Some(PolicyType::PredictiveScaling), ..) => Err(fault::unsupported("PolicyType PredictiveScaling")),
        _ if input.predictive_scaling_policy_configuration.is_some() => {
            Err(fault::unsupported("PolicyType PredictiveScaling"))
        }
        (Some(PolicyType::TargetTrackingScaling), Some(configuration), None) => {
            let configuration = check_tracking(configuration)?;
            let name = |kind: &str, uuid: &str| format!("TargetTracking-{}-{kind}-{uuid}", id.resource_id());
            let (high, low) = match before {
                Some(Kind::Tracking { high, low, .. }) => (high.clone(), low.clone()),
                _ => (name("AlarmHigh", high), name("AlarmLow", low)),
            };
            Ok(Kind::Tracking { configuration, high, low })
        }
        (Some(PolicyType::StepScaling) | None, None, Some(configuration)) => {
            steps(configuration)?;
            Ok(Kind::Step(configuration.clone()))
        }
        _ => Err(fault::invalid("The policy type and the given configuration do not belong together.")),
    }
}

fn check_tracking(
    configuration: &TargetTrackingScalingPolicyConfiguration,
) -> Result<TargetTrackingScalingPolicyConfiguration, Fault> {
    if configuration.customized_metric_specification.is_some() {
        return Err(fault::unsupported("CustomizedMetricSpecification"));
    }
    metric(configuration)?;
    let target = configuration.target_value.unwrap_or_default();
    if !target.is_finite() || target <= 0.0 {
        return Err(fault::invalid("TargetValue must be greater than 0."));
    }
    let cooldowns = [configuration.scale_in_cooldown, configuration.scale_out_cooldown];
    if cooldowns.iter().flatten().any(|seconds| *seconds < 0) {
        return Err(fault::invalid("A cooldown cannot be a negative number."));
    }
    Ok(configuration.clone())
}

/// The metric that a policy tracks.
pub(super) fn metric(configuration: &TargetTrackingScalingPolicyConfiguration) -> Result<Metric, Fault> {
    let specification = configuration.predefined_metric_specification.as_ref();
    match specification.and_then(|specification| specification.predefined_metric_type.as_ref()) {
        Some(MetricType::ECSServiceAverageCPUUtilization) => Ok(Metric::Cpu),
        Some(MetricType::ECSServiceAverageMemoryUtilization) => Ok(Metric::Memory),
        Some(other) => Err(fault::unsupported(&format!("PredefinedMetricType {}", other.as_str()))),
        None => Err(fault::invalid("A metric specification is required.")),
    }
}

/// The steps of a policy and what their adjustments mean.
pub(super) fn steps(configuration: &StepScalingPolicyConfiguration) -> Result<(Vec<Step>, Adjustment), Fault> {
    let given = configuration.step_adjustments.as_deref().unwrap_or_default();
    if given.len() > STEPS_MAX {
        return Err(fault::limit("step adjustments"));
    }
    let steps: Vec<Step> = given
        .iter()
        .map(|step| Step {
            lower: step.metric_interval_lower_bound,
            upper: step.metric_interval_upper_bound,
            adjustment: step.scaling_adjustment.unwrap_or_default(),
        })
        .collect();
    step::check(&steps).map_err(|error| fault::invalid(format!("StepAdjustments are not valid: {error}.")))?;
    let least = configuration.min_adjustment_magnitude;
    let percent = configuration.adjustment_type == Some(AdjustmentType::PercentChangeInCapacity);
    if least.is_some() && !percent {
        return Err(fault::invalid("MinAdjustmentMagnitude is for AdjustmentType PercentChangeInCapacity."));
    }
    if configuration.cooldown.is_some_and(|seconds| seconds < 0) {
        return Err(fault::invalid("A cooldown cannot be a negative number."));
    }
    let adjustment = match &configuration.adjustment_type {
        Some(AdjustmentType::ChangeInCapacity) => Adjustment::Change,
        Some(AdjustmentType::ExactCapacity) => Adjustment::Exact,
        Some(AdjustmentType::PercentChangeInCapacity) => {
            Adjustment::Percent { least: least.and_then(|least| u32::try_from(least).ok()).unwrap_or(0) }
        }
        _ => return Err(fault::invalid("AdjustmentType is required.")),
    };
    Ok((steps, adjustment))
}
