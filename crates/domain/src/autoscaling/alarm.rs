//! How an alarm on a metric stands: it fires when each of its last periods is over the threshold, and knows nothing when
//! none of them has a point.

use crate::Timestamp;
use crate::metrics::{Metric, Point, Statistic};

/// When a value is on the wrong side of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    GreaterThan,
    /// `>=`
    GreaterThanOrEqual,
    /// `<`
    LessThan,
    /// `<=`
    LessThanOrEqual,
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Self; 4] = [Self::GreaterThan, Self::GreaterThanOrEqual, Self::LessThan, Self::LessThanOrEqual];

    /// The name with CloudWatch.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GreaterThan => "GreaterThanThreshold",
            Self::GreaterThanOrEqual => "GreaterThanOrEqualToThreshold",
            Self::LessThan => "LessThanThreshold",
            Self::LessThanOrEqual => "LessThanOrEqualToThreshold",
        }
    }

    /// From the name with CloudWatch.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::GreaterThan => value > threshold,
            Self::GreaterThanOrEqual => value >= threshold,
            Self::LessThan => value < threshold,
            Self::LessThanOrEqual => value <= threshold,
        }
    }
}

/// What an alarm looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// Of a service.
    pub metric: Metric,
    /// Over its tasks.
    pub statistic: Statistic,
    /// When it breaches.
    pub comparison: Comparison,
    /// What it is compared with.
    pub threshold: f64,
    /// Minutes of one period, at least one.
    pub period_minutes: u32,
    /// So many periods, each of which has to breach.
    pub periods: u32,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    /// Not all periods breach.
    Ok,
    /// All do; the value of the last one.
    Alarm(f64),
    /// No period has a point.
    InsufficientData,
}

const MINUTE_MS: i64 = 60_000;

/// How the alarm stands at `now`, by the points of the minutes that are over.
pub fn state(alarm: &Alarm, points: &[Point], now: Timestamp) -> State {
    let this_minute = now.as_millis().div_euclid(MINUTE_MS);
    let length = i64::from(alarm.period_minutes.max(1));
    // The newest first.
    let values: Vec<Option<f64>> = (0..i64::from(alarm.periods.max(1)))
        .map(|back| {
            let (from, to) = (this_minute - (back + 1) * length, this_minute - back * length);
            let inside = |point: &&Point| (from..to).contains(&point.at.as_millis().div_euclid(MINUTE_MS));
            let values: Vec<f64> = points
                .iter()
                .filter(inside)
                .filter_map(|point| point.get(alarm.metric))
                .map(|percent| percent.get(alarm.statistic))
                .collect();
            aggregate(&values, alarm.statistic)
        })
        .collect();
    if values.iter().all(Option::is_none) {
        return State::InsufficientData;
    }
    let breaches = |value: &Option<f64>| value.is_some_and(|value| alarm.comparison.breaches(value, alarm.threshold));
    match values.first() {
        Some(Some(latest)) if values.iter().all(breaches) => State::Alarm(*latest),
        _ => State::Ok,
    }
}

fn aggregate(values: &[f64], statistic: Statistic) -> Option<f64> {
    let first = *values.first()?;
    Some(match statistic {
        Statistic::Average => values.iter().sum::<f64>() / values.len() as f64,
        Statistic::Minimum => values.iter().copied().fold(first, f64::min),
        Statistic::Maximum => values.iter().copied().fold(first, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Percent;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_040 + 30);

    /// Points of the minutes before this one, the newest first; none leaves a gap.
    fn points(values: &[Option<f64>]) -> Vec<Point> {
        let point = |(back, value): (usize, &Option<f64>)| {
            let average = (*value)?;
            Some(Point {
                at: Timestamp::from_seconds(1_700_000_040 - 60 * (back as i64 + 1)),
                cpu: Some(Percent { average, minimum: average - 10.0, maximum: average + 10.0 }),
                memory: None,
                samples: 1,
                cpu_units: 0.0,
                memory_mib: 0.0,
            })
        };
        values.iter().enumerate().filter_map(point).collect()
    }

    fn alarm(comparison: Comparison, periods: u32) -> Alarm {
        Alarm {
            metric: Metric::Cpu,
            statistic: Statistic::Average,
            comparison,
            threshold: 50.0,
            period_minutes: 1,
            periods,
        }
    }

    #[test]
    fn every_period_has_to_breach() {
        use Comparison::*;
        let table: [(Comparison, u32, &[Option<f64>], State); 9] = [
            (GreaterThan, 3, &[Some(60.0), Some(51.0), Some(90.0)], State::Alarm(60.0)),
            (GreaterThan, 3, &[Some(60.0), Some(50.0), Some(90.0)], State::Ok),
            (GreaterThan, 3, &[Some(60.0), None, Some(90.0)], State::Ok),
            (GreaterThan, 3, &[None, Some(60.0), Some(90.0)], State::Ok),
            (GreaterThan, 3, &[], State::InsufficientData),
            (GreaterThan, 1, &[None, Some(60.0)], State::InsufficientData),
            (GreaterThanOrEqual, 1, &[Some(50.0)], State::Alarm(50.0)),
            (LessThan, 2, &[Some(10.0), Some(49.0), Some(80.0)], State::Alarm(10.0)),
            (LessThanOrEqual, 1, &[Some(50.5)], State::Ok),
        ];
        for (comparison, periods, values, expected) in table {
            assert_eq!(state(&alarm(comparison, periods), &points(values), NOW), expected, "{values:?}");
        }
    }

    #[test]
    fn a_long_period_aggregates_its_minutes() {
        let values = [Some(80.0), Some(40.0), Some(70.0), Some(60.0)];
        let long = Alarm { period_minutes: 2, ..alarm(Comparison::GreaterThan, 2) };
        assert_eq!(state(&long, &points(&values), NOW), State::Alarm(60.0));
        let least = Alarm { statistic: Statistic::Minimum, ..long };
        assert_eq!(state(&least, &points(&values), NOW), State::Ok);
        let most = Alarm { statistic: Statistic::Maximum, ..long };
        assert_eq!(state(&most, &points(&values), NOW), State::Alarm(90.0));
        let memory = Alarm { metric: Metric::Memory, ..long };
        assert_eq!(state(&memory, &points(&values), NOW), State::InsufficientData);
    }
}
