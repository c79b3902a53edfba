//! Sends events of the log to the targets of a rule again, marked with the name of the replay: what EventBridge does
//! with an archive, with the log that is kept anyway.

use gantry_api::event::Event;
use gantry_api::{Caller, Fault};
use serde::{Deserialize, Serialize};

use super::intake::REPLAYED_AT_ONCE;
use super::picture::Rule;
use super::queues::TARGET_MAX;
use super::rows::{DEFAULT_BUS, RuleKey, Scope, TargetKey};
use super::{Inner, fault, log};

/// Longest name of a replay.
const NAME_MAX: usize = 64;

/// Which events are sent again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// A rule of the default bus, whose events the log has.
    pub rule: String,
    /// What the events carry as `replay-name`.
    pub name: String,
    /// From this moment on, in milliseconds since the epoch.
    pub from_ms: i64,
    /// Before this moment.
    pub to_ms: i64,
    /// Where an earlier page ended.
    pub after: u64,
}

/// What became of one page of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayedPage {
    /// Events that match the rule's pattern: they are on their way to its targets, unless it has just been changed.
    pub sent: usize,
    /// Where the next page begins; none at the end.
    pub after: Option<u64>,
    /// Too much waits for a target: nothing was done, ask again later.
    pub busy: bool,
}

pub(super) async fn page(inner: &Inner, caller: &Caller, asked: &ReplayRequest) -> Result<ReplayedPage, Fault> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=NAME_MAX).contains(&asked.name.len()) || !asked.name.bytes().all(named) {
        return Err(fault::not_valid(
            "ReplayName",
            format!("it has 1 to {NAME_MAX} letters, digits, '.', '-' and '_'"),
        ));
    }
    if asked.from_ms >= asked.to_ms {
        return Err(fault::not_valid("EventEndTime", "it is not after EventStartTime"));
    }
    let scope = Scope::of(caller);
    let key = RuleKey { scope, bus: DEFAULT_BUS.to_owned(), rule: asked.rule.clone() };
    let rule = inner.view.read().rules.get(&key).cloned();
    let rule = rule.ok_or_else(|| fault::no_rule(&asked.rule, DEFAULT_BUS))?;
    let Some(pattern) = &rule.pattern else {
        return Err(fault::not_valid("Rule", "it has a schedule and no event pattern"));
    };
    if is_busy(inner, &rule) {
        return Ok(ReplayedPage { sent: 0, after: Some(asked.after), busy: true });
    }
    let (account, region) = (&caller.account, &caller.region);
    let found = log::page(&inner.store, account, region, Some(asked.after), REPLAYED_AT_ONCE).await;
    let found = found.map_err(fault::store)?;
    let after = found.last().map(|last| last.position);
    let is_meant = |event: &Event| {
        (asked.from_ms..asked.to_ms).contains(&event.time_ms) && pattern.matches(&super::intake::delivered(event))
    };
    let events: Vec<_> = found.into_iter().map(|logged| logged.event).filter(is_meant).collect();
    let sent = events.len();
    let told = inner.intake.take_again(key, asked.name.clone(), events).await;
    told.map_err(|error| Fault::new("InternalException", 500, error.to_string()))?;
    Ok(ReplayedPage { sent, after, busy: false })
}

/// Whether the next page could push out what waits for a target already.
fn is_busy(inner: &Inner, rule: &Rule) -> bool {
    let waiting = |target: &String| {
        let key = TargetKey { rule: rule.key.clone(), target: target.clone() };
        inner.queues.waiting(&key)
    };
    rule.inputs.keys().any(|target| waiting(target) > TARGET_MAX - REPLAYED_AT_ONCE * 2)
}
