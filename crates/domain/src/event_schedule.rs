//! Schedules of rules: `rate(5 minutes)` and `cron(0 12 * * ? *)`, in UTC.
//!
//! A schedule says when it is due next after a moment. The fields of a cron expression are minutes, hours, day of the
//! month, month, day of the week (1 is Sunday) and year; one of the two days is `?`.

mod cron;
#[cfg(test)]
mod tests;

use crate::Timestamp;
use cron::Cron;

/// When a rule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Every so many seconds after the rule was made.
    Rate {
        /// Whole minutes.
        seconds: i64,
    },
    /// At the minutes that the expression names.
    Cron(Box<CronSchedule>),
}

/// A cron expression that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronSchedule(Cron);

/// The text is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a rate or cron expression")]
pub struct BadSchedule;

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// [`BadSchedule`] when it is not in the grammar, or never due.
    pub fn parse(text: &str) -> Result<Self, BadSchedule> {
        let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(rate) = inside("rate") {
            return rate_seconds(rate).map(|seconds| Self::Rate { seconds }).ok_or(BadSchedule);
        }
        let cron = inside("cron").and_then(Cron::parse).ok_or(BadSchedule)?;
        Ok(Self::Cron(Box::new(CronSchedule(cron))))
    }

    /// The first moment after `after` at which it is due; a rate counts from `after`. None when there is no more.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Rate { seconds } => Some(after.plus_seconds(*seconds)),
            Self::Cron(cron) => cron.0.next(after),
        }
    }
}

/// `1 minute`, `5 minutes`: the word has to agree with the number.
fn rate_seconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_once(' ')?;
    let plain = !number.starts_with('0') && number.len() <= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = if plain { number.parse().ok()? } else { return None };
    let singular = unit.strip_suffix('s').unwrap_or(unit);
    if (number == 1) != (singular == unit) {
        return None;
    }
    let seconds = match singular {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    Some(number * seconds)
}
