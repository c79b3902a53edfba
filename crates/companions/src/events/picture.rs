//! Buses and rules in memory, with patterns, schedules and inputs already understood.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::events::Target;
use gantry_domain::event_input::EventInput;
use gantry_domain::event_pattern::EventPattern;
use gantry_domain::event_schedule::Schedule;
use gantry_store::{Event, Model, Revision};
use serde_json::Value;

use super::rows::{self, BusRow, RuleKey, RuleRow, Scope};
use super::target_kind;

/// Everything that is configured.
#[derive(Default)]
pub(super) struct Picture {
    pub(super) buses: BTreeMap<(Scope, String), Kept<BusRow>>,
    pub(super) rules: BTreeMap<RuleKey, Arc<Rule>>,
}

/// A row and the transaction that put it.
#[derive(Debug, Clone)]
pub(super) struct Kept<T> {
    pub(super) row: T,
    pub(super) revision: Revision,
}

/// A rule that was understood.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) key: RuleKey,
    pub(super) row: RuleRow,
    pub(super) revision: Revision,
    pub(super) pattern: Option<EventPattern>,
    pub(super) schedule: Option<Schedule>,
    /// What each target is given, by id.
    pub(super) inputs: BTreeMap<String, EventInput>,
}

impl Rule {
    fn new(key: RuleKey, row: RuleRow, revision: Revision) -> Self {
        let understood = |text: &String| EventPattern::parse(text).ok();
        let input = |(id, target): (&String, &Target)| Some((id.clone(), target_kind::input(target).ok()?));
        Self {
            pattern: row.pattern.as_ref().and_then(understood),
            schedule: row.schedule.as_ref().and_then(|text| Schedule::parse(text).ok()),
            inputs: row.targets.iter().filter_map(input).collect(),
            key,
            row,
            revision,
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.row.state != "DISABLED"
    }

    /// Whether an event, as targets see it, matches the pattern. A rule without one is for no event.
    pub(super) fn is_for(&self, told: &Value) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.matches(told))
    }
}

impl Model for Picture {
    fn apply(&mut self, event: &Event) {
        let Some((scope, kind, rest)) = parse(event.key()) else { return };
        match (kind, rest.split_once('/')) {
            ("buses", None) => match decode::<BusRow>(event) {
                Some(kept) => drop(self.buses.insert((scope, rest.to_owned()), kept)),
                None => drop(self.buses.remove(&(scope, rest.to_owned()))),
            },
            ("rules", Some((bus, rule))) => {
                let key = scope.rule(bus, rule);
                match decode::<RuleRow>(event) {
                    Some(Kept { row, revision }) => {
                        self.rules.insert(key.clone(), Arc::new(Rule::new(key, row, revision)));
                    }
                    None => drop(self.rules.remove(&key)),
                }
            }
            _ => tracing::warn!(key = event.key(), "a row of EventBridge has an unknown key"),
        }
    }
}

impl Picture {
    /// The rules of a bus, by name.
    pub(super) fn rules_of<'a>(&'a self, scope: &Scope, bus: &'a str) -> impl Iterator<Item = &'a Arc<Rule>> {
        let first = scope.rule(bus, "");
        let scope = scope.clone();
        let of_bus = move |(key, _): &(&RuleKey, &Arc<Rule>)| key.scope == scope && key.bus == bus;
        self.rules.range(first..).take_while(of_bus).map(|(_, rule)| rule)
    }

    /// Whether there is such a bus. The default one is always there.
    pub(super) fn has_bus(&self, scope: &Scope, bus: &str) -> bool {
        bus == rows::DEFAULT_BUS || self.buses.contains_key(&(scope.clone(), bus.to_owned()))
    }
}

fn parse(key: &str) -> Option<(Scope, &str, &str)> {
    let (account, rest) = key.strip_prefix(rows::PREFIX)?.split_once('/')?;
    let (region, rest) = rest.split_once('/')?;
    let (kind, rest) = rest.split_once('/')?;
    Some((Scope { account: account.to_owned(), region: region.to_owned() }, kind, rest))
}

fn decode<T: for<'de> serde::Deserialize<'de>>(event: &Event) -> Option<Kept<T>> {
    let Event::Put(kv) = event else { return None };
    match serde_json::from_slice(&kv.value) {
        Ok(row) => Some(Kept { row, revision: kv.mod_revision }),
        Err(error) => {
            tracing::error!(key = event.key(), %error, "a row of EventBridge cannot be read");
            None
        }
    }
}
