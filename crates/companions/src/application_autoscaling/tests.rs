//! Auto scaling through its operations, with a service that does as it is told and metrics that the test says.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use gantry_api::alarm::{AlarmState, key};
use gantry_api::application_autoscaling::*;
use gantry_domain::metrics::Percent;
use gantry_store::{Memory, Txn};
use parking_lot::Mutex;

use super::evaluate::Seen;
use super::*;

const BEGIN: i64 = 1_700_000_040_000;

#[derive(Default)]
struct State {
    now: i64,
    observed: Option<Observed>,
    points: Vec<Point>,
    told: Vec<u32>,
    refuses: bool,
}

#[derive(Clone)]
struct Fake {
    state: Arc<Mutex<State>>,
    store: Store,
    alarms: Arc<View<Alarms>>,
}

#[derive(Default)]
struct Alarms(BTreeMap<String, AlarmRow>);

impl gantry_store::Model for Alarms {
    fn apply(&mut self, event: &gantry_store::Event) {
        match event {
            gantry_store::Event::Put(kv) => {
                self.0.insert(event.key().to_owned(), serde_json::from_slice(&kv.value).unwrap());
            }
            gantry_store::Event::Delete { .. } => {
                self.0.remove(event.key());
            }
        }
    }
}

impl Services for Fake {
    fn look(&self, id: &ServiceId) -> Option<Observed> {
        self.state.lock().observed.filter(|_| id.service == "web")
    }
    fn points(&self, _: &ServiceId) -> Vec<Point> {
        self.state.lock().points.clone()
    }
    fn set_desired<'a>(&'a self, _: &'a ServiceId, count: u32) -> Telling<'a> {
        let mut state = self.state.lock();
        let refuses = state.refuses;
        if !refuses {
            state.told.push(count);
            state.observed = state.observed.map(|observed| Observed { desired: count, ..observed });
        }
        Box::pin(async move { if refuses { Err(Fault::new("X", 400, "no")) } else { Ok(()) } })
    }
    fn alarm(&self, account: &str, region: &str, name: &str) -> Option<AlarmRow> {
        self.alarms.read().0.get(&key(account, region, name)).cloned()
    }
}

struct World {
    fake: Fake,
    scaling: AutoScaling,
    seen: Seen,
}

fn caller() -> Caller {
    Caller::root("000000000000", "us-east-1")
}

fn id() -> (Option<ServiceNamespace>, Option<String>, Option<ScalableDimension>) {
    let dimension = ScalableDimension::EcsServiceDesiredCount;
    (Some(ServiceNamespace::Ecs), Some("service/default/web".into()), Some(dimension))
}

impl World {
    async fn new(desired: u32) -> Self {
        let store = Memory::store();
        let observed = Observed { desired, running: desired, deploying: false };
        let state = State { now: BEGIN, observed: Some(observed), ..State::default() };
        let alarms = Arc::new(View::start(&store, "/ecs/").await.unwrap());
        let fake = Fake { state: Arc::new(Mutex::new(state)), store, alarms };
        Self::on(fake).await
    }

    async fn on(fake: Fake) -> Self {
        let now = Arc::clone(&fake.state);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(now.lock().now));
        let services: Arc<dyn Services> = Arc::new(fake.clone());
        let scaling = AutoScaling::open(fake.store.clone(), services, clock, Periods::default()).await.unwrap();
        Self { fake, scaling, seen: Seen::default() }
    }

    /// Another server on the same store.
    async fn restart(self) -> Self {
        Self::on(self.fake).await
    }

    async fn register(&self, min: i32, max: i32) {
        let (service_namespace, resource_id, scalable_dimension) = id();
        let input = RegisterScalableTargetRequest {
            service_namespace,
            resource_id,
            scalable_dimension,
            min_capacity: Some(min),
            max_capacity: Some(max),
            ..Default::default()
        };
        self.scaling.register_scalable_target(&caller(), input).await.unwrap();
    }

    async fn put(&self, name: &str, policy: PutScalingPolicyRequest) -> Result<PutScalingPolicyResponse, Fault> {
        let (service_namespace, resource_id, scalable_dimension) = id();
        let policy_name = Some(name.to_owned());
        let input =
            PutScalingPolicyRequest { policy_name, service_namespace, resource_id, scalable_dimension, ..policy };
        self.scaling.put_scaling_policy(&caller(), input).await
    }

    /// A minute passes with this CPU utilization; the service gets what it was told.
    async fn minute(&mut self, average: Option<f64>) {
        {
            let mut state = self.fake.state.lock();
            let at = Timestamp::from_millis(state.now);
            state.now += 60_000;
            let cpu = average.map(|average| Percent { average, minimum: average, maximum: average });
            let memory = None;
            if cpu.is_some() {
                state.points.push(Point { at, cpu, memory, samples: 1, cpu_units: 0.0, memory_mib: 0.0 });
            }
        }
        self.pass().await;
        let mut state = self.fake.state.lock();
        state.observed = state.observed.map(|observed| Observed { running: observed.desired, ..observed });
    }

    /// Two seconds after the minute's end.
    async fn pass(&mut self) {
        self.fake.state.lock().now += 2_500;
        self.scaling.pass(&mut self.seen).await;
        self.fake.state.lock().now -= 2_500;
    }

    fn told(&self) -> Vec<u32> {
        self.fake.state.lock().told.clone()
    }

    async fn activities(&self, all: bool) -> Vec<ScalingActivity> {
        let input = DescribeScalingActivitiesRequest {
            service_namespace: Some(ServiceNamespace::Ecs),
            include_not_scaled_activities: Some(all),
            ..Default::default()
        };
        self.scaling.describe_scaling_activities(&caller(), input).await.unwrap().scaling_activities.unwrap()
    }

    /// Sets an alarm's state as an operator does.
    async fn set_alarm(&self, name: &str, state: AlarmState) {
        let row = AlarmRow { state, reason: None, updated_ms: 0, evaluation_seconds: 0 };
        let txn = Txn::new().put(key("000000000000", "us-east-1", name), serde_json::to_vec(&row).unwrap());
        let revision = self.fake.store.txn(txn).await.unwrap();
        self.fake.alarms.wait_for(revision).await.unwrap();
    }

    async fn alarm(&self, name: &str) -> Option<AlarmState> {
        self.fake.alarms.wait_for(self.fake.store.revision()).await.unwrap();
        self.fake.alarm("000000000000", "us-east-1", name).map(|row| row.state)
    }
}

fn tracking(target: f64) -> PutScalingPolicyRequest {
    PutScalingPolicyRequest {
        policy_type: Some(PolicyType::TargetTrackingScaling),
        target_tracking_scaling_policy_configuration: Some(TargetTrackingScalingPolicyConfiguration {
            target_value: Some(target),
            predefined_metric_specification: Some(PredefinedMetricSpecification {
                predefined_metric_type: Some(MetricType::ECSServiceAverageCPUUtilization),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn steps(adjustment: i32, cooldown: i32) -> PutScalingPolicyRequest {
    PutScalingPolicyRequest {
        policy_type: Some(PolicyType::StepScaling),
        step_scaling_policy_configuration: Some(StepScalingPolicyConfiguration {
            adjustment_type: Some(AdjustmentType::ChangeInCapacity),
            cooldown: Some(cooldown),
            step_adjustments: Some(vec![StepAdjustment {
                metric_interval_lower_bound: Some(0.0),
                scaling_adjustment: Some(adjustment),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_service_grows_after_three_minutes_and_shrinks_after_fifteen() {
    let mut world = World::new(2).await;
    world.register(1, 10).await;
    let put = world.put("cpu", tracking(50.0)).await.unwrap();
    let alarms: Vec<String> = put.alarms.unwrap().into_iter().map(|alarm| alarm.alarm_name.unwrap()).collect();
    assert!(alarms[0].starts_with("TargetTracking-service/default/web-AlarmHigh-"));
    assert!(alarms[1].starts_with("TargetTracking-service/default/web-AlarmLow-"));
    for _ in 0..2 {
        world.minute(Some(100.0)).await;
    }
    assert_eq!(world.told(), Vec::<u32>::new());
    world.minute(Some(100.0)).await;
    assert_eq!(world.told(), [4]);
    assert_eq!(world.alarm(&alarms[0]).await, Some(AlarmState::Alarm));
    assert_eq!(world.alarm(&alarms[1]).await, Some(AlarmState::Ok));
    let activity = world.activities(false).await.remove(0);
    assert_eq!(activity.description.as_deref(), Some("Setting desired count to 4."));
    assert_eq!(activity.cause, Some(format!("monitor alarm {} in state ALARM triggered policy cpu", alarms[0])));
    assert_eq!(activity.status_code, Some(ScalingActivityStatusCode::InProgress));
    for _ in 0..14 {
        world.minute(Some(20.0)).await;
    }
    assert_eq!(world.told(), [4]);
    let activity = world.activities(false).await.remove(0);
    let done = "Successfully set desired count to 4. Change successfully fulfilled by ecs.";
    assert_eq!(
        (activity.status_code, activity.status_message.as_deref()),
        (Some(ScalingActivityStatusCode::Successful), Some(done))
    );
    world.minute(Some(20.0)).await;
    assert_eq!(world.told(), [4, 2]);
    // Missing data is no reason for anything.
    for _ in 0..20 {
        world.minute(None).await;
    }
    assert_eq!(world.told(), [4, 2]);
    assert_eq!(world.alarm(&alarms[0]).await, Some(AlarmState::InsufficientData));
}

#[tokio::test]
async fn a_decision_outlives_the_server_that_took_it() {
    let mut world = World::new(2).await;
    world.register(1, 10).await;
    world.put("cpu", tracking(50.0)).await.unwrap();
    world.fake.state.lock().refuses = true;
    for _ in 0..3 {
        world.minute(Some(100.0)).await;
    }
    let failed = world.activities(false).await.remove(0);
    assert_eq!(failed.status_code, Some(ScalingActivityStatusCode::Failed));
    assert_eq!(failed.status_message.as_deref(), Some("Failed to set desired count to 4. Reason: no"));

    // What was decided and not yet told is told by the next server.
    let target = ServiceId::of("000000000000", "us-east-1", "service/default/web").unwrap();
    world
        .scaling
        .change(&target, |_, before| {
            let mut target = before.unwrap().clone();
            target.activities[0].status = rows::Status::Pending;
            Ok((change::Change::Put(target.into()), ()))
        })
        .await
        .unwrap();
    world.fake.state.lock().refuses = false;
    let mut world = world.restart().await;
    world.pass().await;
    assert_eq!(world.told(), [4]);
}

#[tokio::test]
async fn a_step_policy_acts_when_its_alarm_fires_and_then_cools_down() {
    let mut world = World::new(2).await;
    world.register(1, 5).await;
    let arn = world.put("step", steps(2, 300)).await.unwrap().policy_arn.unwrap();
    let alarm = AlarmDefinition { metric: None, actions: vec![arn] };
    world.scaling.put_alarm(&caller(), NamedDefinition { name: "queue".into(), alarm }).await.unwrap();
    world.pass().await;
    assert_eq!(world.told(), Vec::<u32>::new());
    world.set_alarm("queue", AlarmState::Alarm).await;
    world.pass().await;
    assert_eq!(world.told(), [4], "at once, not with the next minute");
    for _ in 0..4 {
        world.minute(None).await;
    }
    assert_eq!(world.told(), [4]);
    world.minute(None).await;
    assert_eq!(world.told(), [4, 5], "it still fires, and the maximum is 5");
    for _ in 0..6 {
        world.minute(None).await;
    }
    let newest = world.activities(true).await.remove(0);
    let reason = newest.not_scaled_reasons.unwrap().remove(0);
    assert_eq!((reason.code.as_deref(), reason.max_capacity), (Some("AlreadyAtMaxCapacity"), Some(5)));
    assert_eq!(world.activities(false).await.len(), 2);
}

#[tokio::test]
async fn an_alarm_on_a_metric_is_evaluated_and_triggers_steps() {
    let mut world = World::new(2).await;
    world.register(1, 9).await;
    let arn = world.put("step", steps(3, 0)).await.unwrap().policy_arn.unwrap();
    let metric = AlarmMetric {
        cluster: "default".into(),
        service: "web".into(),
        metric: "CPUUtilization".into(),
        threshold: 70.0,
        comparison: "GreaterThanThreshold".into(),
        period: 60,
        evaluation_periods: 2,
    };
    let alarm = AlarmDefinition { metric: Some(metric.clone()), actions: vec![arn] };
    world.scaling.put_alarm(&caller(), NamedDefinition { name: "hot".into(), alarm }).await.unwrap();
    world.minute(Some(90.0)).await;
    assert_eq!(world.alarm("hot").await, Some(AlarmState::Ok));
    world.minute(Some(90.0)).await;
    assert_eq!((world.alarm("hot").await, world.told()), (Some(AlarmState::Alarm), vec![5]));
    world.scaling.delete_alarm(&caller(), "hot").await.unwrap();
    assert_eq!(world.alarm("hot").await, None);
    for bad in [
        AlarmMetric { metric: "Disk".into(), ..metric.clone() },
        AlarmMetric { comparison: "above".into(), ..metric.clone() },
        AlarmMetric { period: 90, ..metric.clone() },
        AlarmMetric { evaluation_periods: 61, ..metric },
    ] {
        let alarm = AlarmDefinition { metric: Some(bad), actions: vec![] };
        let put = NamedDefinition { name: "x".into(), alarm };
        assert_eq!(world.scaling.put_alarm(&caller(), put).await.unwrap_err().code, "ValidationException");
    }
}

#[tokio::test]
async fn a_scheduled_action_moves_the_bounds_and_the_service_into_them() {
    let mut world = World::new(2).await;
    world.register(1, 5).await;
    let (service_namespace, resource_id, scalable_dimension) = id();
    let put = PutScheduledActionRequest {
        service_namespace,
        resource_id,
        scalable_dimension,
        scheduled_action_name: Some("morning".into()),
        schedule: Some("rate(10 minutes)".into()),
        scalable_target_action: Some(ScalableTargetAction { min_capacity: Some(7), max_capacity: Some(9) }),
        ..Default::default()
    };
    world.scaling.put_scheduled_action(&caller(), put.clone()).await.unwrap();
    for _ in 0..9 {
        world.minute(None).await;
    }
    assert_eq!(world.told(), Vec::<u32>::new());
    world.minute(None).await;
    assert_eq!(world.told(), [7]);
    let cause = world.activities(false).await.remove(0).cause.unwrap();
    assert!(cause.contains("scheduled action name morning was triggered"), "{cause}");
    assert!(cause.contains("minimum capacity was set to 7 and maximum capacity was set to 9"), "{cause}");
    let zone = |name: &str| PutScheduledActionRequest { timezone: Some(name.into()), ..put.clone() };
    world.scaling.put_scheduled_action(&caller(), zone("Europe/Berlin")).await.unwrap();
    let fault = world.scaling.put_scheduled_action(&caller(), zone("Europe/Atlantis")).await.unwrap_err();
    assert_eq!(fault.message, "Invalid timezone: Europe/Atlantis");
    let wrong = PutScheduledActionRequest { schedule: Some("rate(0 minutes)".into()), ..put };
    assert_eq!(world.scaling.put_scheduled_action(&caller(), wrong).await.unwrap_err().code, "ValidationException");
}

#[tokio::test]
async fn a_suspended_target_is_left_alone() {
    let mut world = World::new(2).await;
    world.register(1, 10).await;
    world.put("cpu", tracking(50.0)).await.unwrap();
    let (service_namespace, resource_id, scalable_dimension) = id();
    let suspended_state = Some(SuspendedState { dynamic_scaling_out_suspended: Some(true), ..Default::default() });
    let input = RegisterScalableTargetRequest {
        service_namespace,
        resource_id,
        scalable_dimension,
        suspended_state,
        ..Default::default()
    };
    world.scaling.register_scalable_target(&caller(), input).await.unwrap();
    for _ in 0..5 {
        world.minute(Some(100.0)).await;
    }
    assert_eq!(world.told(), Vec::<u32>::new());
    let targets =
        DescribeScalableTargetsRequest { service_namespace: Some(ServiceNamespace::Ecs), ..Default::default() };
    let target =
        world.scaling.describe_scalable_targets(&caller(), targets).await.unwrap().scalable_targets.unwrap().remove(0);
    let state = target.suspended_state.unwrap();
    assert_eq!((state.dynamic_scaling_out_suspended, state.dynamic_scaling_in_suspended), (Some(true), Some(false)));
    assert_eq!((target.min_capacity, target.max_capacity), (Some(1), Some(10)));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let world = World::new(2).await;
    let missing = "No scalable target registered for service namespace: ecs, resource ID: service/default/web, scalable \
                   dimension: ecs:service:DesiredCount";
    let fault = world.put("cpu", tracking(50.0)).await.unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), ("ObjectNotFoundException", missing));
    let (service_namespace, resource_id, scalable_dimension) = id();
    let register =
        RegisterScalableTargetRequest { service_namespace, resource_id, scalable_dimension, ..Default::default() };
    let refused = async |input: RegisterScalableTargetRequest| {
        let fault = world.scaling.register_scalable_target(&caller(), input).await.unwrap_err();
        assert_eq!(fault.code, "ValidationException");
        fault.message
    };
    let bounds = |min, max| RegisterScalableTargetRequest { min_capacity: min, max_capacity: max, ..register.clone() };
    assert!(refused(bounds(None, Some(1))).await.contains("required"));
    assert_eq!(refused(bounds(Some(3), Some(1))).await, "Maximum capacity cannot be less than minimum capacity");
    let other =
        RegisterScalableTargetRequest { resource_id: Some("service/default/none".into()), ..bounds(Some(1), Some(2)) };
    assert_eq!(refused(other).await, "ECS service doesn't exist: service/default/none");
    let other = RegisterScalableTargetRequest { resource_id: Some("table/x".into()), ..bounds(Some(1), Some(2)) };
    assert_eq!(refused(other).await, "Unsupported service namespace, resource type or scalable dimension");
    world.register(1, 2).await;
    let predictive = PutScalingPolicyRequest { policy_type: Some(PolicyType::PredictiveScaling), ..Default::default() };
    let fault = world.put("p", predictive).await.unwrap_err();
    assert_eq!(fault.message, "Gantry does not support PolicyType PredictiveScaling yet.");
    assert!(world.put("p", tracking(0.0)).await.unwrap_err().message.contains("TargetValue"));
    let mut gap = steps(1, 0);
    gap.step_scaling_policy_configuration.as_mut().unwrap().step_adjustments = Some(vec![]);
    assert!(world.put("p", gap).await.unwrap_err().message.contains("at least one step is required"));
}

#[tokio::test]
async fn policies_go_with_their_alarms_and_targets_with_everything() {
    let mut world = World::new(2).await;
    world.register(1, 10).await;
    let put = world.put("cpu", tracking(50.0)).await.unwrap();
    let alarm = put.alarms.unwrap().remove(0).alarm_name.unwrap();
    // The same name again is the same policy with other values.
    let again = world.put("cpu", tracking(60.0)).await.unwrap();
    assert_eq!((&again.policy_arn, again.alarms.unwrap().remove(0).alarm_name), (&put.policy_arn, Some(alarm.clone())));
    world.minute(Some(10.0)).await;
    assert_eq!(world.alarm(&alarm).await, Some(AlarmState::Ok));
    let (service_namespace, resource_id, scalable_dimension) = id();
    let delete = DeleteScalingPolicyRequest {
        policy_name: Some("cpu".into()),
        service_namespace: service_namespace.clone(),
        resource_id: resource_id.clone(),
        scalable_dimension: scalable_dimension.clone(),
    };
    world.scaling.delete_scaling_policy(&caller(), delete.clone()).await.unwrap();
    assert_eq!(world.alarm(&alarm).await, None);
    assert_eq!(
        world.scaling.delete_scaling_policy(&caller(), delete).await.unwrap_err().code,
        "ObjectNotFoundException"
    );
    let deregister = DeregisterScalableTargetRequest { service_namespace, resource_id, scalable_dimension };
    world.scaling.deregister_scalable_target(&caller(), deregister.clone()).await.unwrap();
    let fault = world.scaling.deregister_scalable_target(&caller(), deregister).await.unwrap_err();
    assert_eq!(fault.code, "ObjectNotFoundException");
}

#[tokio::test]
async fn tags_belong_to_the_arn() {
    let world = World::new(2).await;
    world.register(1, 10).await;
    let targets =
        DescribeScalableTargetsRequest { service_namespace: Some(ServiceNamespace::Ecs), ..Default::default() };
    let target =
        world.scaling.describe_scalable_targets(&caller(), targets).await.unwrap().scalable_targets.unwrap().remove(0);
    let resource_arn = target.scalable_target_arn;
    let tag = |tags: &[(&str, &str)]| TagResourceRequest {
        resource_arn: resource_arn.clone(),
        tags: Some(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
    };
    world.scaling.tag_resource(&caller(), tag(&[("a", "1"), ("b", "2")])).await.unwrap();
    let untag = UntagResourceRequest { resource_arn: resource_arn.clone(), tag_keys: Some(vec!["a".into()]) };
    world.scaling.untag_resource(&caller(), untag).await.unwrap();
    let list = ListTagsForResourceRequest { resource_arn: resource_arn.clone() };
    let tags = world.scaling.list_tags_for_resource(&caller(), list).await.unwrap().tags.unwrap();
    assert_eq!(tags, BTreeMap::from([("b".to_owned(), "2".to_owned())]));
    assert_eq!(world.scaling.resource_tags(resource_arn.as_deref().unwrap()), tags);
    assert_eq!(
        world.scaling.tag_resource(&caller(), tag(&[("aws:x", "1")])).await.unwrap_err().code,
        "ValidationException"
    );
    let other = TagResourceRequest { resource_arn: Some("arn:x".into()), ..tag(&[("a", "1")]) };
    assert_eq!(world.scaling.tag_resource(&caller(), other).await.unwrap_err().code, "ResourceNotFoundException");
}
