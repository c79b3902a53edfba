//! What is kept: one row per scalable target, with everything that belongs to it, and one per alarm that Gantry itself
//! evaluates.

use std::collections::BTreeMap;

use gantry_api::application_autoscaling::{
    ScalableTargetAction, StepScalingPolicyConfiguration, SuspendedState, TargetTrackingScalingPolicyConfiguration,
};
use gantry_domain::autoscaling::Scaled;
use gantry_domain::{Timestamp, autoscaling};
use serde::{Deserialize, Serialize};

/// Everything is below this.
pub(super) const PREFIX: &str = "/application-autoscaling/";
/// Activities kept of a target.
pub(super) const ACTIVITIES_KEPT: usize = 100;

/// A service of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceId {
    /// Account.
    pub account: String,
    /// Region.
    pub region: String,
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub service: String,
}

impl ServiceId {
    /// `service/CLUSTER/SERVICE`.
    pub fn resource_id(&self) -> String {
        format!("service/{}/{}", self.cluster, self.service)
    }

    pub(super) fn key(&self) -> String {
        format!("{PREFIX}{}/{}/targets/{}/{}", self.account, self.region, self.cluster, self.service)
    }

    pub(super) fn of(account: &str, region: &str, resource_id: &str) -> Option<Self> {
        let (cluster, service) = resource_id.strip_prefix("service/")?.split_once('/')?;
        let is_name = |name: &str| {
            (1..=255).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        (is_name(cluster) && is_name(service)).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            cluster: cluster.to_owned(),
            service: service.to_owned(),
        })
    }

    fn parse(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(PREFIX)?.split('/');
        let (account, region) = (parts.next()?, parts.next()?);
        (parts.next()? == "targets").then_some(())?;
        let (cluster, service) = (parts.next()?, parts.next()?);
        Self::of(account, region, &format!("service/{cluster}/{service}"))
    }
}

/// An alarm of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AlarmId {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) name: String,
}

impl AlarmId {
    pub(super) fn key(&self) -> String {
        let name = self.name.replace('%', "%25").replace('/', "%2F");
        format!("{PREFIX}{}/{}/alarms/{name}", self.account, self.region)
    }

    fn parse(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(PREFIX)?.split('/');
        let (account, region) = (parts.next()?, parts.next()?);
        (parts.next()? == "alarms").then_some(())?;
        let name = parts.next()?.replace("%2F", "/").replace("%25", "%");
        Some(Self { account: account.to_owned(), region: region.to_owned(), name })
    }
}

/// What a key names.
pub(super) enum Key {
    Target(ServiceId),
    Alarm(AlarmId),
}

impl Key {
    pub(super) fn parse(key: &str) -> Option<Self> {
        ServiceId::parse(key).map(Self::Target).or_else(|| AlarmId::parse(key).map(Self::Alarm))
    }
}

/// A scalable target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) id: String,
    pub(super) created_ms: i64,
    pub(super) role_arn: String,
    pub(super) min: u32,
    pub(super) max: u32,
    #[serde(default)]
    pub(super) suspended: SuspendedState,
    /// By name.
    #[serde(default)]
    pub(super) policies: BTreeMap<String, Policy>,
    /// By name.
    #[serde(default)]
    pub(super) scheduled: BTreeMap<String, Scheduled>,
    /// The newest first.
    #[serde(default)]
    pub(super) activities: Vec<Activity>,
    #[serde(default)]
    pub(super) history: History,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

impl Target {
    pub(super) fn bounds(&self) -> autoscaling::Bounds {
        autoscaling::Bounds { min: self.min, max: self.max }
    }

    /// Remembers an activity, and forgets the oldest.
    pub(super) fn record(&mut self, activity: Activity) {
        self.activities.insert(0, activity);
        self.activities.truncate(ACTIVITIES_KEPT);
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// A part of its ARN.
    pub(super) uuid: String,
    pub(super) created_ms: i64,
    pub(super) kind: Kind,
}

/// What it goes by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A target, with the names of its two alarms: high and low.
    Tracking { configuration: TargetTrackingScalingPolicyConfiguration, high: String, low: String },
    /// Steps; its alarms name it.
    Step(StepScalingPolicyConfiguration),
}

/// A scheduled action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Scheduled {
    pub(super) uuid: String,
    pub(super) created_ms: i64,
    pub(super) schedule: String,
    pub(super) timezone: Option<String>,
    pub(super) start_ms: Option<i64>,
    pub(super) end_ms: Option<i64>,
    pub(super) action: ScalableTargetAction,
    /// Up to here it was looked at.
    pub(super) looked_ms: i64,
}

/// How an activity stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    /// Decided; the service may not have been told.
    Pending,
    /// The service has been told.
    InProgress,
    /// It has so many tasks.
    Successful,
    /// Somebody else told it something else meanwhile.
    Overridden,
    /// The service refused.
    Failed,
    /// Nothing was done, for a reason that is told on request.
    NotScaled,
}

/// One step, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Activity {
    pub(super) id: String,
    pub(super) start_ms: i64,
    pub(super) end_ms: Option<i64>,
    pub(super) status: Status,
    pub(super) to: u32,
    pub(super) cause: String,
    pub(super) message: String,
    /// Code and the capacities at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_scaled: Option<(String, u32, u32, u32)>,
}

/// Cooldowns under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct History {
    out: Option<Step>,
    inward: Option<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    at_ms: i64,
    from: u32,
    to: u32,
    cooldown_seconds: u32,
}

impl From<Scaled> for Step {
    fn from(scaled: Scaled) -> Self {
        let Scaled { at, from, to, cooldown_seconds } = scaled;
        Self { at_ms: at.as_millis(), from, to, cooldown_seconds }
    }
}

impl From<Step> for Scaled {
    fn from(step: Step) -> Self {
        let Step { at_ms, from, to, cooldown_seconds } = step;
        Self { at: Timestamp::from_millis(at_ms), from, to, cooldown_seconds }
    }
}

impl From<autoscaling::History> for History {
    fn from(history: autoscaling::History) -> Self {
        Self { out: history.out.map(Step::from), inward: history.inward.map(Step::from) }
    }
}

impl From<History> for autoscaling::History {
    fn from(history: History) -> Self {
        Self { out: history.out.map(Scaled::from), inward: history.inward.map(Scaled::from) }
    }
}

/// An alarm that triggers policies. Without a metric its state is for others to set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmDefinition {
    /// What is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<AlarmMetric>,
    /// ARNs of the policies that it triggers.
    pub actions: Vec<String>,
}

/// What an alarm looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmMetric {
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub service: String,
    /// `CPUUtilization` or `MemoryUtilization`.
    pub metric: String,
    /// With what it is compared.
    pub threshold: f64,
    /// `GreaterThanThreshold` and so on.
    pub comparison: String,
    /// Seconds, a multiple of 60.
    pub period: u32,
    /// So many periods have to breach.
    pub evaluation_periods: u32,
}
