//! When a scheduled action is due: `at(2026-11-26T08:00:00)` and `rate(5 minutes)`, in UTC.

use crate::Timestamp;

/// A schedule that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Once.
    At(Timestamp),
    /// Again and again.
    Rate {
        /// Whole minutes, in seconds.
        seconds: i64,
    },
}

/// The text is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an at or rate expression")]
pub struct BadSchedule;

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// [`BadSchedule`] when it is not in the grammar.
    pub fn parse(text: &str) -> Result<Self, BadSchedule> {
        let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(moment) = inside("at") {
            let plain = moment.len() == 19 && !moment.ends_with(['Z', 'z']);
            let moment = plain.then(|| crate::iso8601::parse(&format!("{moment}Z"))).flatten();
            return moment.map(Self::At).ok_or(BadSchedule);
        }
        let seconds = inside("rate").and_then(rate_seconds).ok_or(BadSchedule)?;
        Ok(Self::Rate { seconds })
    }

    /// The first moment after `after` at which it is due; a rate counts from `after`. None when there is no more.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(moment) => (*moment > after).then_some(*moment),
            Self::Rate { seconds } => Some(after.plus_seconds(*seconds)),
        }
    }
}

/// `1 minute`, `5 minutes`: either word goes with either number.
fn rate_seconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_once(' ')?;
    let plain = !number.starts_with('0') && number.len() <= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = if plain { number.parse().ok()? } else { return None };
    let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    Some(number * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_due_once_and_a_rate_for_ever() {
        let begin = Timestamp::from_seconds(1_795_680_000);
        let at = Schedule::parse("at(2026-11-26T08:00:00)");
        assert_eq!(at, Ok(Schedule::At(begin)));
        assert_eq!(at.ok().and_then(|at| at.next(begin.plus_seconds(-1))), Some(begin));
        assert_eq!(at.ok().and_then(|at| at.next(begin)), None);
        let rate = Schedule::parse("rate(5 minutes)");
        assert_eq!(rate.ok().and_then(|rate| rate.next(begin)), Some(begin.plus_seconds(300)));
        assert_eq!(Schedule::parse("rate(1 day)"), Ok(Schedule::Rate { seconds: 86_400 }));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "at()",
            "at(2026-11-26)",
            "at(2026-11-26T08:00:00Z)",
            "at(2026-13-26T08:00:00)",
            "rate(0 minutes)",
            "rate(5)",
            "rate(5 weeks)",
            "rate(-1 minute)",
            "at(2026-11-26T08:00:00",
            "cron(0 12 * * ? *)",
        ] {
            assert_eq!(Schedule::parse(text), Err(BadSchedule), "{text}");
        }
    }
}
