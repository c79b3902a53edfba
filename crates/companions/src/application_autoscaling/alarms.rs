//! Alarms that trigger policies: those that tracking a target makes, and those that an operator puts. Their states are
//! the rows that deployments watch too.

use gantry_api::alarm::{AlarmRow, AlarmState, is_name, key};
use gantry_api::{Caller, Fault};
use gantry_domain::Timestamp;
use gantry_domain::autoscaling::alarm::{Alarm, Comparison, State};
use gantry_domain::metrics::{Metric, Statistic};
use gantry_store::Txn;
use serde::{Deserialize, Serialize};

use super::change::encode;
use super::rows::{AlarmDefinition, AlarmId, AlarmMetric, ServiceId};
use super::{AutoScaling, fault};

/// Alarms of an account in a region.
const ALARMS_MAX: usize = 5000;
/// Policies of an alarm.
const ACTIONS_MAX: usize = 5;
/// Minutes that an alarm may look back: what is kept of a metric.
const MINUTES_MAX: u32 = 60;

/// An alarm with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedDefinition {
    /// Its name.
    pub name: String,
    /// What it looks at and triggers.
    #[serde(flatten)]
    pub alarm: AlarmDefinition,
}

impl AutoScaling {
    /// Makes or changes an alarm.
    ///
    /// # Errors
    /// The refusal of what no alarm can be, or of the store.
    pub async fn put_alarm(&self, caller: &Caller, put: NamedDefinition) -> Result<(), Fault> {
        let NamedDefinition { name, alarm } = put;
        if !is_name(&name) {
            return Err(fault::invalid("An alarm's name has 1 to 255 characters, none of them a control character."));
        }
        if alarm.actions.len() > ACTIONS_MAX {
            return Err(fault::limit("actions of an alarm"));
        }
        if let Some(metric) = &alarm.metric {
            evaluated(metric, Statistic::Average)?;
        }
        let id = AlarmId { account: caller.account.clone(), region: caller.region.clone(), name };
        let txn = {
            let picture = self.inner.view.read();
            let known = picture.alarms.contains_key(&id);
            if !known && picture.alarms_of(&id.account, &id.region).count() >= ALARMS_MAX {
                return Err(fault::limit("alarms"));
            }
            Txn::new().put(id.key(), encode(&alarm)?)
        };
        self.commit(txn).await.map(|_| ())
    }

    /// Removes an alarm; its state goes with it.
    ///
    /// # Errors
    /// The refusal of a name that no alarm has, or of the store.
    pub async fn delete_alarm(&self, caller: &Caller, name: &str) -> Result<(), Fault> {
        let id = AlarmId { account: caller.account.clone(), region: caller.region.clone(), name: name.to_owned() };
        if !self.inner.view.read().alarms.contains_key(&id) {
            return Err(fault::no_resource(name));
        }
        let txn = Txn::new().delete(id.key()).delete(key(&id.account, &id.region, &id.name));
        self.commit(txn).await.map(|_| ())
    }

    /// Writes how an alarm stands, when that is not what it says already.
    pub(super) async fn write_state(
        &self,
        (account, region, name): (&str, &str, &str),
        state: State,
        alarm: &Alarm,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let (state, reason) = match state {
            State::Ok => (AlarmState::Ok, None),
            State::InsufficientData => (AlarmState::InsufficientData, None),
            State::Alarm(value) => {
                let reason = format!(
                    "{} is {value:.2}, {} {} for {} periods",
                    alarm.metric.as_str(),
                    alarm.comparison.as_str(),
                    alarm.threshold,
                    alarm.periods
                );
                (AlarmState::Alarm, Some(reason))
            }
        };
        let evaluation_seconds = alarm.period_minutes.saturating_mul(60).saturating_mul(alarm.periods);
        let before = self.inner.services.alarm(account, region, name);
        if before.is_some_and(|before| before.state == state && before.evaluation_seconds == evaluation_seconds) {
            return Ok(());
        }
        let row = AlarmRow { state, reason, updated_ms: now.as_millis(), evaluation_seconds };
        self.commit(Txn::new().put(key(account, region, name), encode(&row)?)).await.map(|_| ())
    }
}

/// The service whose metric an alarm looks at.
pub(super) fn service_of(alarm: &AlarmId, metric: &AlarmMetric) -> Option<ServiceId> {
    ServiceId::of(&alarm.account, &alarm.region, &format!("service/{}/{}", metric.cluster, metric.service))
}

/// The alarm as the domain evaluates it.
pub(super) fn evaluated(metric: &AlarmMetric, statistic: Statistic) -> Result<Alarm, Fault> {
    let name = &metric.metric;
    let of = Metric::parse(name).ok_or_else(|| fault::invalid(format!("There is no metric {name}.")))?;
    let comparison = Comparison::parse(&metric.comparison);
    let comparison =
        comparison.ok_or_else(|| fault::invalid(format!("There is no comparison {}.", metric.comparison)))?;
    if metric.period == 0 || !metric.period.is_multiple_of(60) || metric.evaluation_periods == 0 {
        return Err(fault::invalid("The period is a multiple of 60 seconds, and at least one is evaluated."));
    }
    let period_minutes = metric.period / 60;
    if period_minutes.saturating_mul(metric.evaluation_periods) > MINUTES_MAX {
        return Err(fault::invalid("An alarm looks back for at most an hour."));
    }
    if !metric.threshold.is_finite() {
        return Err(fault::invalid("The threshold is not a number."));
    }
    Ok(Alarm {
        metric: of,
        statistic,
        comparison,
        threshold: metric.threshold,
        period_minutes,
        periods: metric.evaluation_periods,
    })
}
