//! What is kept, and where:
//!
//! ```text
//! /eventbridge/ACCOUNT/REGION/buses/NAME                          a bus other than `default`
//! /eventbridge/ACCOUNT/REGION/rules/BUS/NAME                      a rule with its targets
//! /event-schedules/ACCOUNT/REGION/BUS/NAME                        when a rule is due next
//! /event-deliveries/ACCOUNT/REGION/BUS/RULE/TARGET/POSITION       an event on its way to a target
//! /events/ACCOUNT/REGION/log/POSITION, …/head                     the log ([`super::log`])
//! ```
//!
//! Names of buses, rules and targets have no slash. What changes with every event is apart from the configuration, so
//! that the picture of the configuration does not follow it.

use std::collections::BTreeMap;

use gantry_api::Caller;
use gantry_api::events::Target;
use serde::{Deserialize, Serialize};

/// The configuration is below this.
pub(super) const PREFIX: &str = "/eventbridge/";
/// What is on its way is below this.
pub(super) const DELIVERIES: &str = "/event-deliveries/";
/// When rules are due is below this.
pub(super) const SCHEDULES: &str = "/event-schedules/";
/// The bus that everybody has, and where services tell their events.
pub(super) const DEFAULT_BUS: &str = "default";

/// An event bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BusRow {
    pub(super) created_at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RuleRow {
    pub(super) created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schedule: Option<String>,
    /// `ENABLED`, `DISABLED`, or the third of the model.
    pub(super) state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role_arn: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    /// By id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) targets: BTreeMap<String, Target>,
}

/// When a rule is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScheduleRow {
    /// The expression that this follows from.
    pub(super) expression: String,
    pub(super) due_ms: i64,
}

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeliveryRow {
    pub(super) event_id: String,
    /// When it was matched.
    pub(super) at_ms: i64,
    #[serde(default)]
    pub(super) attempts: u32,
    /// What the target is given.
    pub(super) input: String,
}

/// Account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    pub(super) account: String,
    pub(super) region: String,
}

/// Names a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RuleKey {
    pub(super) scope: Scope,
    pub(super) bus: String,
    pub(super) rule: String,
}

/// Names a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TargetKey {
    pub(super) rule: RuleKey,
    pub(super) target: String,
}

impl Scope {
    pub(super) fn of(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone() }
    }

    fn below(&self, prefix: &str) -> String {
        format!("{prefix}{}/{}/", self.account, self.region)
    }

    pub(super) fn bus(&self, name: &str) -> String {
        format!("{}buses/{name}", self.below(PREFIX))
    }

    /// `arn:aws:events:REGION:ACCOUNT:event-bus/NAME`
    pub(super) fn bus_arn(&self, name: &str) -> String {
        format!("arn:aws:events:{}:{}:event-bus/{name}", self.region, self.account)
    }

    pub(super) fn rule(&self, bus: &str, rule: &str) -> RuleKey {
        RuleKey { scope: self.clone(), bus: bus.to_owned(), rule: rule.to_owned() }
    }
}

impl RuleKey {
    pub(super) fn path(&self) -> String {
        format!("{}rules/{}", self.scope.below(PREFIX), self.of_bus())
    }

    pub(super) fn schedule(&self) -> String {
        self.scope.below(SCHEDULES) + &self.of_bus()
    }

    /// Everything on its way to targets of the rule.
    pub(super) fn deliveries(&self) -> String {
        format!("{}{}/", self.scope.below(DELIVERIES), self.of_bus())
    }

    fn of_bus(&self) -> String {
        format!("{}/{}", self.bus, self.rule)
    }

    /// `…:rule/NAME`, or `…:rule/BUS/NAME` on another bus than the default one.
    pub(super) fn arn(&self) -> String {
        let Scope { account, region } = &self.scope;
        let bus = if self.bus == DEFAULT_BUS { String::new() } else { format!("{}/", self.bus) };
        format!("arn:aws:events:{region}:{account}:rule/{bus}{}", self.rule)
    }

    /// Reads a schedule's key.
    pub(super) fn of_schedule(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(SCHEDULES)?.split('/');
        let scope = Scope { account: parts.next()?.to_owned(), region: parts.next()?.to_owned() };
        Some(scope.rule(parts.next()?, parts.next()?))
    }
}

impl TargetKey {
    /// Everything on its way to the target.
    pub(super) fn deliveries(&self) -> String {
        format!("{}{}/", self.rule.deliveries(), self.target)
    }

    pub(super) fn delivery(&self, position: u64) -> String {
        format!("{}{position:016x}", self.deliveries())
    }

    /// Reads a delivery's key.
    pub(super) fn of_delivery(key: &str) -> Option<(Self, u64)> {
        let mut parts = key.strip_prefix(DELIVERIES)?.split('/');
        let scope = Scope { account: parts.next()?.to_owned(), region: parts.next()?.to_owned() };
        let (bus, rule) = (parts.next()?, parts.next()?);
        let (target, position) = (parts.next()?.to_owned(), u64::from_str_radix(parts.next()?, 16).ok()?);
        Some((Self { rule: scope.rule(bus, rule), target }, position))
    }
}
