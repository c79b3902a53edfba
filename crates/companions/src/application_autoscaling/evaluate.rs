//! The work: what is due, what alarms say, what was decided and not yet done.
//!
//! A pass takes each target by itself: it carries out what a restart left undone, looks at what became of earlier steps,
//! runs scheduled actions that are due, and once a minute, or when an alarm begins to fire, lets the policies decide.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_api::Fault;
use gantry_api::alarm::AlarmState;
use gantry_api::application_autoscaling::{MetricAggregationType, StepScalingPolicyConfiguration};
use gantry_domain::Timestamp;
use gantry_domain::autoscaling::alarm::{Alarm, Comparison, State, state};
use gantry_domain::autoscaling::{
    self, Ask, COOLDOWN_SECONDS_DEFAULT, Decision, Observed, Suspended, decide, step, tracking_ask,
};
use gantry_domain::metrics::Statistic;

use super::change::Change;
use super::rows::{Activity, AlarmDefinition, AlarmId, Kind, Policy, ServiceId, Status, Target};
use super::{AutoScaling, alarms, policies, scheduled};

/// How often what is due is looked for.
const TICK: Duration = Duration::from_secs(2);
/// The minute is looked at when agents have had the time to report its last seconds.
const MINUTE_DELAY_MS: i64 = 2_000;
const MINUTE_MS: i64 = 60_000;
/// A schedule that was missed for longer than this counts from now on again.
const LATE_MS: i64 = 60_000;

/// How many minutes the alarms of target tracking look back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// Minutes above the target before a service grows.
    pub high: u32,
    /// Minutes below nine tenths of it before a service shrinks.
    pub low: u32,
}

impl Default for Periods {
    fn default() -> Self {
        Self { high: 3, low: 15 }
    }
}

/// What a pass remembers for the next.
#[derive(Debug, Default)]
pub(super) struct Seen {
    minute: i64,
    firing: BTreeSet<AlarmId>,
}

impl AutoScaling {
    /// Works for ever.
    pub async fn work(self) {
        let mut seen = Seen { minute: self.minute(), ..Seen::default() };
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.pass(&mut seen).await;
        }
    }

    fn minute(&self) -> i64 {
        (self.now().as_millis() - MINUTE_DELAY_MS).div_euclid(MINUTE_MS)
    }

    /// Looks at everything once.
    pub(super) async fn pass(&self, seen: &mut Seen) {
        let minute = self.minute();
        let whole = minute != seen.minute;
        seen.minute = minute;
        if whole {
            self.evaluate_alarms().await;
        }
        let fired = self.fired(seen);
        let targets: Vec<ServiceId> = self.inner.view.read().targets.keys().cloned().collect();
        for id in targets {
            let triggered = fired.iter().any(|alarm| self.triggers(alarm, &id));
            if let Err(fault) = self.look_at(&id, whole || triggered).await {
                tracing::warn!(service = id.resource_id(), %fault, "service was not scaled");
            }
        }
    }

    /// The alarms of operators that have begun to fire since the last pass.
    fn fired(&self, seen: &mut Seen) -> BTreeSet<AlarmId> {
        let all: Vec<AlarmId> = self.inner.view.read().alarms.keys().cloned().collect();
        let firing: BTreeSet<AlarmId> = all.into_iter().filter(|alarm| self.fires(alarm)).collect();
        let fired = firing.difference(&seen.firing).cloned().collect();
        seen.firing = firing;
        fired
    }

    fn fires(&self, alarm: &AlarmId) -> bool {
        let row = self.inner.services.alarm(&alarm.account, &alarm.region, &alarm.name);
        row.is_some_and(|row| row.state == AlarmState::Alarm)
    }

    fn triggers(&self, alarm: &AlarmId, id: &ServiceId) -> bool {
        let picture = self.inner.view.read();
        let (Some(alarm), Some(target)) = (picture.alarms.get(alarm), picture.targets.get(id)) else { return false };
        let mut own = target.row.policies.iter();
        own.any(|(name, policy)| alarm.row.actions.contains(&policies::arn(id, policy, name)))
    }

    /// Writes how the alarms of operators stand that look at a metric.
    async fn evaluate_alarms(&self) {
        let all: Vec<(AlarmId, AlarmDefinition)> = {
            let picture = self.inner.view.read();
            picture.alarms.iter().map(|(id, kept)| (id.clone(), kept.row.clone())).collect()
        };
        let now = self.now();
        for (id, definition) in all {
            let Some(metric) = &definition.metric else { continue };
            let Some(service) = alarms::service_of(&id, metric) else { continue };
            let Ok(alarm) = alarms::evaluated(metric, self.statistic(&service, &definition)) else { continue };
            let stands = state(&alarm, &self.inner.services.points(&service), now);
            if let Err(fault) = self.write_state((&id.account, &id.region, &id.name), stands, &alarm, now).await {
                tracing::warn!(alarm = id.name, %fault, "the state of an alarm was not written");
            }
        }
    }

    /// MetricAggregationType of the first policy that the alarm triggers.
    fn statistic(&self, id: &ServiceId, alarm: &AlarmDefinition) -> Statistic {
        let picture = self.inner.view.read();
        let Some(target) = picture.targets.get(id) else { return Statistic::Average };
        let mut own = target.row.policies.iter();
        let steps = own.find_map(|(name, policy)| match &policy.kind {
            Kind::Step(steps) if alarm.actions.contains(&policies::arn(id, policy, name)) => Some(steps),
            _ => None,
        });
        match steps.and_then(|steps| steps.metric_aggregation_type.as_ref()) {
            Some(MetricAggregationType::Minimum) => Statistic::Minimum,
            Some(MetricAggregationType::Maximum) => Statistic::Maximum,
            _ => Statistic::Average,
        }
    }

    async fn look_at(&self, id: &ServiceId, decide_now: bool) -> Result<(), Fault> {
        // A service that is gone keeps its target, as with AWS: nothing happens until there is one of that name again.
        let Some(observed) = self.inner.services.look(id) else { return Ok(()) };
        let now = self.now();
        self.settle(id, observed, now).await?;
        self.run_schedules(id, observed, now).await?;
        if decide_now {
            // A schedule may just have changed it.
            let Some(observed) = self.inner.services.look(id) else { return Ok(()) };
            self.run_policies(id, observed, now).await?;
        }
        self.carry_out(id).await
    }

    /// What became of earlier steps.
    async fn settle(&self, id: &ServiceId, observed: Observed, now: Timestamp) -> Result<(), Fault> {
        self.change(id, |_, before| {
            let Some(before) = before else { return Ok((Change::Keep, ())) };
            if !before.activities.iter().any(|activity| activity.status == Status::InProgress) {
                return Ok((Change::Keep, ()));
            }
            let mut target = before.clone();
            for activity in target.activities.iter_mut().filter(|activity| activity.status == Status::InProgress) {
                if observed.desired != activity.to {
                    activity.status = Status::Overridden;
                } else if observed.running == activity.to {
                    activity.status = Status::Successful;
                    activity.message = format!(
                        "Successfully set desired count to {}. Change successfully fulfilled by ecs.",
                        activity.to
                    );
                } else {
                    continue;
                }
                activity.end_ms = Some(now.as_millis());
            }
            Ok((if target == *before { Change::Keep } else { Change::Put(target.into()) }, ()))
        })
        .await
    }

    /// Tells the service what was decided.
    async fn carry_out(&self, id: &ServiceId) -> Result<(), Fault> {
        let pending = {
            let picture = self.inner.view.read();
            let target = picture.targets.get(id);
            let newest = target.and_then(|kept| kept.row.activities.iter().find(|one| one.status == Status::Pending));
            newest.map(|activity| (activity.id.clone(), activity.to))
        };
        let Some((activity_id, to)) = pending else { return Ok(()) };
        let told = self.inner.services.set_desired(id, to).await;
        let now = self.now();
        self.change(id, |_, before| {
            let Some(before) = before else { return Ok((Change::Keep, ())) };
            let mut target = before.clone();
            for activity in target.activities.iter_mut().filter(|one| one.status == Status::Pending) {
                match &told {
                    // An older one was overtaken by the newest.
                    _ if activity.id != activity_id => activity.status = Status::Overridden,
                    Ok(()) => {
                        activity.status = Status::InProgress;
                        activity.message = format!(
                            "Successfully set desired count to {to}. Waiting for change to be fulfilled by ecs."
                        );
                        continue;
                    }
                    Err(fault) => {
                        activity.status = Status::Failed;
                        activity.message = format!("Failed to set desired count to {to}. Reason: {}", fault.message);
                    }
                }
                activity.end_ms = Some(now.as_millis());
            }
            Ok((Change::Put(target.into()), ()))
        })
        .await
    }

    async fn run_schedules(&self, id: &ServiceId, observed: Observed, now: Timestamp) -> Result<(), Fault> {
        self.change(id, |_, before| {
            let Some(before) = before else { return Ok((Change::Keep, ())) };
            let due: Vec<(String, Timestamp)> = before
                .scheduled
                .iter()
                .filter_map(|(name, action)| Some((name.clone(), scheduled::due(action)?)))
                .filter(|(_, due)| *due <= now)
                .collect();
            if due.is_empty() {
                return Ok((Change::Keep, ()));
            }
            let mut target = before.clone();
            for (name, due) in &due {
                run_schedule(&mut target, (name, *due), observed, now);
            }
            Ok((Change::Put(target.into()), ()))
        })
        .await
    }

    async fn run_policies(&self, id: &ServiceId, observed: Observed, now: Timestamp) -> Result<(), Fault> {
        let Some(target) = self.inner.view.read().targets.get(id).map(|kept| kept.row.clone()) else { return Ok(()) };
        let points = self.inner.services.points(id);
        let mut asking = Vec::new();
        for (name, policy) in &target.policies {
            let (asks, alarm) = match &policy.kind {
                Kind::Tracking { configuration, high, low } => {
                    let Ok(metric) = policies::metric(configuration) else { continue };
                    let goal = configuration.target_value.unwrap_or_default();
                    let alarm = |comparison, threshold, periods| Alarm {
                        metric,
                        statistic: Statistic::Average,
                        comparison,
                        threshold,
                        period_minutes: 1,
                        periods,
                    };
                    let above = alarm(Comparison::GreaterThan, goal, self.inner.periods.high);
                    let below = alarm(Comparison::LessThan, goal * 0.9, self.inner.periods.low);
                    let (up, down) = (state(&above, &points, now), state(&below, &points, now));
                    self.write_state((&id.account, &id.region, high), up, &above, now).await?;
                    self.write_state((&id.account, &id.region, low), down, &below, now).await?;
                    let may_shrink = configuration.disable_scale_in != Some(true);
                    // The tasks that run may be fewer or more than are wanted; a high alarm asks for no fewer, a low
                    // one for no more.
                    let wanted = |value| tracking_ask(value, goal, observed.running);
                    let (ask, alarm) = match (up, down) {
                        (State::Alarm(value), _) => (Ask::Capacity(wanted(value).max(observed.desired)), high),
                        (_, State::Alarm(value)) if may_shrink => {
                            (Ask::Capacity(wanted(value).min(observed.desired)), low)
                        }
                        _ => (Ask::Nothing, high),
                    };
                    let asks = autoscaling::Policy {
                        ask,
                        must_agree: may_shrink,
                        out_cooldown_seconds: cooldown(configuration.scale_out_cooldown),
                        in_cooldown_seconds: cooldown(configuration.scale_in_cooldown),
                    };
                    (asks, alarm.clone())
                }
                Kind::Step(configuration) => {
                    let Some((ask, alarm)) = self.step(id, (name, policy, configuration), &target, observed, now)
                    else {
                        continue;
                    };
                    let cooldown = cooldown(configuration.cooldown);
                    let asks = autoscaling::Policy {
                        ask,
                        must_agree: false,
                        out_cooldown_seconds: cooldown,
                        in_cooldown_seconds: cooldown,
                    };
                    (asks, alarm)
                }
            };
            asking.push((name.clone(), alarm, asks));
        }
        self.take_decision(id, observed, &asking, now).await
    }

    /// What the steps of a policy ask for, when an alarm that triggers it fires.
    fn step(
        &self,
        id: &ServiceId,
        (name, policy, configuration): (&str, &Policy, &StepScalingPolicyConfiguration),
        target: &Target,
        observed: Observed,
        now: Timestamp,
    ) -> Option<(Ask, String)> {
        let arn = policies::arn(id, policy, name);
        let (steps, adjustment) = policies::steps(configuration).ok()?;
        let history = autoscaling::History::from(target.history);
        let firing: Vec<(AlarmId, AlarmDefinition)> = {
            let picture = self.inner.view.read();
            let own = picture.alarms_of(&id.account, &id.region).filter(|(_, alarm)| alarm.actions.contains(&arn));
            own.map(|(id, alarm)| (id.clone(), alarm.clone())).collect()
        };
        firing.into_iter().filter(|(alarm, _)| self.fires(alarm)).find_map(|(alarm, definition)| {
            // An alarm without a metric is exactly at its threshold.
            let distance = match &definition.metric {
                None => 0.0,
                Some(metric) => {
                    let evaluated = alarms::evaluated(metric, self.statistic(id, &definition)).ok()?;
                    let points = self.inner.services.points(&alarms::service_of(&alarm, metric)?);
                    match state(&evaluated, &points, now) {
                        State::Alarm(value) => value - evaluated.threshold,
                        State::Ok | State::InsufficientData => 0.0,
                    }
                }
            };
            let base = history.base(observed.desired, now);
            let wanted = step::adjust(&steps, adjustment, distance, observed.desired)?;
            // What grows begins where the step that cools down began.
            let wanted =
                if wanted > observed.desired { step::adjust(&steps, adjustment, distance, base)? } else { wanted };
            Some((Ask::Capacity(wanted), alarm.name))
        })
    }

    async fn take_decision(
        &self,
        id: &ServiceId,
        observed: Observed,
        asking: &[(String, String, autoscaling::Policy)],
        now: Timestamp,
    ) -> Result<(), Fault> {
        let asks: Vec<autoscaling::Policy> = asking.iter().map(|(_, _, asks)| *asks).collect();
        self.change(id, |_, before| {
            let Some(before) = before else { return Ok((Change::Keep, ())) };
            let suspended = Suspended {
                scale_in: before.suspended.dynamic_scaling_in_suspended == Some(true),
                scale_out: before.suspended.dynamic_scaling_out_suspended == Some(true),
            };
            let history = before.history.into();
            let decision = decide(observed, before.bounds(), suspended, &asks, &history, now);
            let cause = |index: usize| {
                let (policy, alarm, _) = asking.get(index)?;
                Some(format!("monitor alarm {alarm} in state ALARM triggered policy {policy}"))
            };
            let mut target = before.clone();
            match decision {
                Decision::Nothing => return Ok((Change::Keep, ())),
                Decision::Scale { policy, to, history, .. } => {
                    target.history = history.into();
                    target.record(activity(to, cause(policy).unwrap_or_default(), now));
                }
                Decision::NotScaled(policy, why) => {
                    let cause = cause(policy).unwrap_or_default();
                    let told = |one: &Activity| {
                        let code = one.not_scaled.as_ref().map(|(code, ..)| code.as_str());
                        one.status == Status::NotScaled && one.cause == cause && code == Some(why.as_str())
                    };
                    // Said once, until something else happens.
                    if target.activities.first().is_some_and(told) {
                        return Ok((Change::Keep, ()));
                    }
                    let capacities = (why.as_str().to_owned(), target.min, target.max, observed.desired);
                    target.record(Activity {
                        status: Status::NotScaled,
                        end_ms: Some(now.as_millis()),
                        message: "The policy was triggered, and nothing had to be changed.".to_owned(),
                        not_scaled: Some(capacities),
                        ..activity(observed.desired, cause, now)
                    });
                }
            }
            Ok((Change::Put(target.into()), ()))
        })
        .await
    }
}

fn cooldown(seconds: Option<i32>) -> u32 {
    seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(COOLDOWN_SECONDS_DEFAULT)
}

fn activity(to: u32, cause: String, now: Timestamp) -> Activity {
    Activity {
        id: uuid::Uuid::new_v4().to_string(),
        start_ms: now.as_millis(),
        end_ms: None,
        status: Status::Pending,
        to,
        cause,
        message: format!("Setting desired count to {to}."),
        not_scaled: None,
    }
}

/// Writes the limits of a scheduled action, and moves the service inside them.
fn run_schedule(target: &mut Target, (name, due): (&str, Timestamp), observed: Observed, now: Timestamp) {
    let Some(action) = target.scheduled.get_mut(name) else { return };
    let late = now.millis_since(due) > LATE_MS;
    action.looked_ms = if late { now.as_millis() } else { due.as_millis() };
    if target.suspended.scheduled_scaling_suspended == Some(true) {
        return;
    }
    let limit = |asked: Option<i32>, current: u32| asked.and_then(|count| u32::try_from(count).ok()).unwrap_or(current);
    let (min, max) = (limit(action.action.min_capacity, target.min), limit(action.action.max_capacity, target.max));
    // Of two limits of which one alone is changed, the one that was changed counts.
    target.min = if action.action.min_capacity.is_some() { min } else { min.min(max) };
    target.max = max.max(target.min);
    let to = target.bounds().clamp(observed.desired);
    let cause = format!(
        "scheduled action name {name} was triggered; minimum capacity was set to {} and maximum capacity was set to {}",
        target.min, target.max
    );
    if to != observed.desired {
        target.record(activity(to, cause, now));
    }
}
