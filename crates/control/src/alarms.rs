//! States of alarms: set from outside, watched by deployments that name them (`deploymentConfiguration.alarms`).
//!
//! There is no CloudWatch that evaluates metrics. An operator's tools say how an alarm stands; what evaluates alarms of
//! its own writes the same rows ([`gantry_api::alarm`]).

use gantry_api::{
    Caller, Fault,
    alarm::{ALARM_REASON_LENGTH_MAX, ALARMS_MAX, AlarmRow, AlarmState, is_name},
};
use gantry_store::Txn;
use serde::{Deserialize, Serialize};

use crate::{
    Control,
    control::{self, Plan},
    keys,
    records::encode,
};

/// An alarm with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAlarm {
    /// Its name.
    pub name: String,
    /// How it stands.
    #[serde(flatten)]
    pub alarm: AlarmRow,
}

/// Sets the state of an alarm, which is made when it is not there.
///
/// # Errors
/// A fault for a name, state or reason that cannot be, for too many alarms, and for a store that fails.
pub async fn set(
    control: &Control,
    caller: &Caller,
    name: &str,
    state: &str,
    reason: Option<String>,
) -> Result<(), Fault> {
    let scope = control::scope(caller);
    if !is_name(name) {
        return Err(validation("An alarm's name has 1 to 255 characters, none of them a control character."));
    }
    let state = AlarmState::parse(state)
        .ok_or_else(|| validation("The state of an alarm is OK, ALARM or INSUFFICIENT_DATA."))?;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > ALARM_REASON_LENGTH_MAX) {
        return Err(validation("The reason of an alarm's state has 1023 characters at most."));
    }
    let now = control.now().as_millis();
    control
        .transact(|view| {
            let alarms = view.namespace(&scope).map(|space| space.alarms());
            let before = alarms.and_then(|alarms| alarms.get(name));
            if before.is_none() && alarms.map_or(0, |alarms| alarms.len()) >= ALARMS_MAX {
                return Err(Fault::new("LimitExceeded", 400, "The maximum number of alarms was reached."));
            }
            let evaluation_seconds = before.map_or(0, |row| row.evaluation_seconds);
            let row = AlarmRow { state, reason: reason.clone(), updated_ms: now, evaluation_seconds };
            let path = keys::alarm(&scope, name);
            let txn = Txn::new().require(path.clone(), before.map_or(0, |row| row.revision));
            Ok(Plan::Commit(txn.put(path, encode(&row)), ()))
        })
        .await
}

/// At most `limit` alarms whose names come after `after`.
pub fn list(control: &Control, caller: &Caller, after: Option<&str>, limit: usize) -> Vec<NamedAlarm> {
    let view = control.read();
    let Some(space) = view.namespace(&control::scope(caller)) else { return Vec::new() };
    let later = space.alarms().iter().filter(|(name, _)| after.is_none_or(|after| name.as_str() > after));
    later.take(limit).map(|(name, row)| NamedAlarm { name: name.clone(), alarm: row.record.clone() }).collect()
}

fn validation(message: &str) -> Fault {
    Fault::new("ValidationException", 400, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use gantry_store::Memory;

    use super::*;
    use crate::{Settings, SystemClock};

    #[tokio::test]
    async fn an_alarm_keeps_its_state_and_belongs_to_its_account() {
        let control = Control::open(Memory::store(), Arc::new(SystemClock), Settings::default()).await.unwrap();
        let caller = Caller::root("000000000000", "us-east-1");
        set(&control, &caller, "high", "ALARM", Some("too hot".to_owned())).await.unwrap();
        set(&control, &caller, "a/b", "OK", None).await.unwrap();
        set(&control, &caller, "high", "INSUFFICIENT_DATA", None).await.unwrap();
        let all = list(&control, &caller, None, 10);
        let states: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.alarm.state)).collect();
        assert_eq!(states, [("a/b", AlarmState::Ok), ("high", AlarmState::InsufficientData)]);
        assert_eq!(list(&control, &caller, Some("a/b"), 10), all[1..]);
        assert!(list(&control, &Caller::root("111111111111", "us-east-1"), None, 10).is_empty());
        for (name, state) in [("", "OK"), ("x", "BAD"), ("x\n", "OK")] {
            assert_eq!(set(&control, &caller, name, state, None).await.unwrap_err().code, "ValidationException");
        }
    }
}
