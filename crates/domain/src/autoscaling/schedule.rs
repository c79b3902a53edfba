//! When a scheduled action is due: `at(2026-11-26T08:00:00)`, and the rates and cron expressions of
//! [`crate::event_schedule`]; in UTC, or as clocks of a time zone show it.

use chrono::{DateTime, TimeZone};

use crate::Timestamp;
use crate::event_schedule;

/// Clocks are put forward by less than this; a place that changes sides of the date line skips a day.
const SKIPPED_HOURS_MAX: i64 = 24;

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

/// A time zone of the IANA database, which is part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(chrono_tz::Tz);

impl Zone {
    /// The zone of this name, for example `Europe/Berlin`.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// What clocks there show at a moment, written as if it were UTC.
    fn shown(self, at: Timestamp) -> Timestamp {
        let utc = DateTime::from_timestamp_millis(at.as_millis()).unwrap_or_default();
        Timestamp::from_millis(utc.with_timezone(&self.0).naive_local().and_utc().timestamp_millis())
    }

    /// When clocks there show this, the first time if they do twice. What they skip when they are put forward is later by
    /// as many whole hours as it takes: the action is due then, not a day later.
    fn moment(self, shown: Timestamp) -> Option<Timestamp> {
        let find = |shown: Timestamp| {
            let moment = DateTime::from_timestamp_millis(shown.as_millis())?;
            self.0.from_local_datetime(&moment.naive_utc()).earliest()
        };
        let found = (0..=SKIPPED_HOURS_MAX).find_map(|hours| find(shown.plus_seconds(3600 * hours)))?;
        Some(Timestamp::from_millis(found.timestamp_millis()))
    }
}

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

    /// The same by the clocks of a time zone. An hour that they show twice counts once.
    pub fn next_in(&self, zone: Zone, after: Timestamp) -> Option<Timestamp> {
        if let Self::Again(event_schedule::Schedule::Rate { .. }) = self {
            return self.next(after);
        }
        let mut shown = zone.shown(after);
        // Clocks that were put back show what is over already.
        if let Self::At(moment) = self {
            shown = shown.min(moment.plus_millis(-1));
        }
        loop {
            shown = self.next(shown)?;
            let due = zone.moment(shown)?;
            if due > after {
                return Some(due);
            }
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
    fn clocks_of_a_time_zone_are_put_forward_and_back() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        assert_eq!(Zone::parse("Europe/Atlantis"), None);
        let at = |text: &str| crate::iso8601::parse(text).unwrap();
        let check = |schedule: &str, after: &str, due: &str| {
            assert_eq!(
                Schedule::parse(schedule).unwrap().next_in(berlin, at(after)),
                Some(at(due)),
                "{schedule} {after}"
            );
        };
        check("cron(0 8 * * ? *)", "2026-01-10T00:00:00Z", "2026-01-10T07:00:00Z");
        check("cron(0 8 * * ? *)", "2026-07-10T00:00:00Z", "2026-07-10T06:00:00Z");
        check("at(2026-07-10T08:00:00)", "2026-07-10T00:00:00Z", "2026-07-10T06:00:00Z");
        // 02:30 is skipped on the last Sunday of March, and comes twice on that of October.
        check("cron(30 2 * * ? *)", "2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z");
        check("cron(30 2 * * ? *)", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z");
        check("cron(30 2 * * ? *)", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
        check("cron(45 2 * * ? *)", "2026-10-25T01:10:00Z", "2026-10-26T01:45:00Z");
        check("rate(1 hour)", "2026-10-25T01:10:00Z", "2026-10-25T02:10:00Z");
        let once = Schedule::parse("at(2026-07-10T08:00:00)").unwrap();
        assert_eq!(once.next_in(berlin, at("2026-07-10T06:00:00Z")), None);
    }

    #[test]
    fn clocks_that_skip_two_hours_end_no_schedule() {
        let troll = Zone::parse("Antarctica/Troll").unwrap();
        let at = |text: &str| crate::iso8601::parse(text).unwrap();
        // 01:00 to 03:00 is skipped on the last Sunday of March.
        let next = |schedule: &str, after: &str| Schedule::parse(schedule).unwrap().next_in(troll, at(after));
        assert_eq!(next("cron(30 1 * * ? *)", "2026-03-29T00:00:00Z"), Some(at("2026-03-29T01:30:00Z")));
        assert_eq!(next("cron(30 1 * * ? *)", "2026-03-29T01:30:00Z"), Some(at("2026-03-29T23:30:00Z")));
        assert_eq!(next("at(2026-03-29T01:30:00)", "2026-03-29T00:00:00Z"), Some(at("2026-03-29T01:30:00Z")));
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
