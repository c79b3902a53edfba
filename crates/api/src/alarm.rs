//! The row of an alarm, as the store keeps it below `/ecs/ACCOUNT/REGION/alarms/NAME`.
//!
//! There is no CloudWatch: a row is written by whoever knows the state of an alarm (an operator with `gantry alarm
//! set`, or a companion that evaluates its own), and read by the deployments that watch alarms of that name. Writer and
//! reader are in crates that do not know each other, so the format stands here.

use serde::{Deserialize, Serialize};

/// Alarms of one account in one region.
pub const ALARMS_MAX: usize = 5000;

/// Characters of an alarm's name.
pub const ALARM_NAME_LENGTH_MAX: usize = 255;

/// Characters of a `stateReason`.
pub const ALARM_REASON_LENGTH_MAX: usize = 1023;

/// How an alarm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlarmState {
    /// All is well.
    Ok,
    /// The alarm fires.
    Alarm,
    /// Nobody knows.
    InsufficientData,
}

impl AlarmState {
    /// Every state.
    pub const ALL: [AlarmState; 3] = [AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlarmState::Ok => "OK",
            AlarmState::Alarm => "ALARM",
            AlarmState::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// One alarm; its name is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmRow {
    /// How it stands.
    pub state: AlarmState,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the state was last set, in milliseconds since 1970.
    pub updated_ms: i64,
    /// Over how many seconds it looks back (period times evaluation periods); 0 when nobody said. A deployment that
    /// watches the alarm and names no bake time waits so long.
    #[serde(default)]
    pub evaluation_seconds: u32,
}

/// The key of an alarm's row. Slashes and percent signs of the name are escaped.
pub fn key(account: &str, region: &str, name: &str) -> String {
    format!("/ecs/{account}/{region}/alarms/{}", name.replace('%', "%25").replace('/', "%2F"))
}

/// Whether CloudWatch would take this for an alarm's name: not empty, not too long, no control characters.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= ALARM_NAME_LENGTH_MAX && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_state_reads_back_and_a_row_keeps_its_shape() {
        for state in AlarmState::ALL {
            assert_eq!(AlarmState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{}\"", state.as_str()));
        }
        assert_eq!(AlarmState::parse("ok"), None);
        let old: AlarmRow = serde_json::from_str(r#"{"state":"OK","updated_ms":7}"#).unwrap();
        let row = AlarmRow { state: AlarmState::Ok, reason: None, updated_ms: 7, evaluation_seconds: 0 };
        assert_eq!(old, row);
    }

    #[test]
    fn names_are_escaped_and_bounded() {
        assert_eq!(key("1", "r", "a/b%"), "/ecs/1/r/alarms/a%2Fb%25");
        assert!(is_name("TargetTracking-service/default/web-AlarmHigh"));
        assert!(!is_name("") && !is_name("a\nb") && !is_name(&"x".repeat(256)));
    }
}
