//! When a scheduled action is due: `at(2026-11-26T08:00:00)`, and the rates and cron expressions of
//! [`crate::event_schedule`]; all in UTC.

use crate::Timestamp;
use crate::event_schedule;

/// A schedule that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Once.
    At(Timestamp),
    /// Again and again.
    Again(event_schedule::Schedule),
}

/// The text is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an at, rate or cron expression")]
pub struct BadSchedule;

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// [`BadSchedule`] when it is not in the grammar.
    pub fn parse(text: &str) -> Result<Self, BadSchedule> {
        let moment = text.strip_prefix("at(").and_then(|rest| rest.strip_suffix(')'));
        if let Some(moment) = moment {
            let plain = moment.len() == 19 && !moment.ends_with(['Z', 'z']);
            let moment = plain.then(|| crate::iso8601::parse(&format!("{moment}Z"))).flatten();
            return moment.map(Self::At).ok_or(BadSchedule);
        }
        event_schedule::Schedule::parse(text).map(Self::Again).map_err(|_| BadSchedule)
    }

    /// The first moment after `after` at which it is due; a rate counts from `after`. None when there is no more.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(moment) => (*moment > after).then_some(*moment),
            Self::Again(schedule) => schedule.next(after),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_moment_is_due_once_and_the_others_again_and_again() {
        // 2026-11-26T08:00:00Z.
        let begin = Timestamp::from_seconds(1_795_680_000);
        let at = Schedule::parse("at(2026-11-26T08:00:00)").unwrap();
        assert_eq!(at, Schedule::At(begin));
        assert_eq!(at.next(begin.plus_seconds(-1)), Some(begin));
        assert_eq!(at.next(begin), None);
        let rate = Schedule::parse("rate(5 minutes)").unwrap();
        assert_eq!(rate.next(begin), Some(begin.plus_seconds(300)));
        let noon = Schedule::parse("cron(0 12 * * ? *)").unwrap();
        assert_eq!(noon.next(begin), Some(begin.plus_seconds(4 * 3600)));
        assert_eq!(noon.next(begin.plus_seconds(4 * 3600)), Some(begin.plus_seconds(28 * 3600)));
    }

    #[test]
    fn other_texts_are_refused() {
        let table = [
            "",
            "at()",
            "at(2026-11-26)",
            "at(2026-11-26T08:00:00Z)",
            "at(2026-13-26T08:00:00)",
            "at(2026-11-26T08:00:00",
            "rate(0 minutes)",
            "rate(5)",
            "cron(0 12 * *)",
        ];
        for text in table {
            assert_eq!(Schedule::parse(text), Err(BadSchedule), "{text}");
        }
    }
}
