//! The six fields of a cron expression, and the next moment that has them all.

use std::collections::BTreeSet;

use crate::{Timestamp, iso8601};

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const YEARS: (i64, i64) = (1970, 2199);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: BTreeSet<i64>,
    hours: BTreeSet<i64>,
    days: Days,
    months: BTreeSet<i64>,
    years: BTreeSet<i64>,
}

/// Which days of a month; days of the week count from 1, a Sunday.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth(BTreeSet<i64>),
    /// So many days before the last.
    BeforeLast(i64),
    /// The working day nearest to a day, in the same month.
    Nearest(i64),
    LastWorkingDay,
    OfWeek(BTreeSet<i64>),
    LastOfWeek(i64),
    /// The so-manyth of the month.
    NthOfWeek(i64, i64),
}

impl Cron {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, of_month, months, of_week, years] = fields.as_slice() else { return None };
        let days = match (*of_month, *of_week) {
            ("?", "?") => return None,
            (of_month, "?") => days_of_month(of_month)?,
            ("?", of_week) => days_of_week(of_week)?,
            _ => return None,
        };
        let cron = Self {
            minutes: set(minutes, (0, 59), &[])?,
            hours: set(hours, (0, 23), &[])?,
            days,
            months: set(months, (1, 12), &MONTHS)?,
            years: set(years, YEARS, &[])?,
        };
        // The thirtieth of February is refused, not waited for.
        cron.next(Timestamp::from_seconds(iso8601::days_of(YEARS.0, 1, 1) * 86_400 - 1)).map(|_| cron)
    }

    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after_minute = after.as_millis().div_euclid(60_000);
        let (first_day, minute_of_day) = (after_minute.div_euclid(1440), after_minute.rem_euclid(1440));
        let (first_year, first_month, _) = iso8601::date_of(first_day);
        for &year in self.years.range(first_year..) {
            let from_month = if year == first_year { first_month } else { 1 };
            for &month in self.months.range(from_month..=12) {
                let first = iso8601::days_of(year, month, 1);
                for day in self.days.of(year, month) {
                    let day = first + day - 1;
                    if day < first_day {
                        continue;
                    }
                    let from = if day == first_day { minute_of_day + 1 } else { 0 };
                    if let Some(minute) = self.minute_of_day(from) {
                        return Some(Timestamp::from_seconds((day * 1440 + minute) * 60));
                    }
                }
            }
        }
        None
    }

    fn minute_of_day(&self, from: i64) -> Option<i64> {
        let in_hour = |hour: i64| {
            let from = (from - hour * 60).max(0);
            self.minutes.range(from..).next().map(|minute| hour * 60 + minute)
        };
        self.hours.range(from.div_euclid(60)..).find_map(|hour| in_hour(*hour))
    }
}

impl Days {
    /// The days of a month, in order.
    fn of(&self, year: i64, month: i64) -> Vec<i64> {
        let first = iso8601::days_of(year, month, 1);
        let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let last = iso8601::days_of(next_year, next_month, 1) - first;
        // The epoch was a Thursday, the fifth day of the week.
        let weekday = |day: i64| (first + day - 1 + 4).rem_euclid(7) + 1;
        let nearest = |day: i64| match weekday(day) {
            7 if day > 1 => day - 1,
            7 => day + 2,
            1 if day < last => day + 1,
            1 => day - 2,
            _ => day,
        };
        match self {
            Self::OfMonth(days) => days.iter().copied().filter(|day| *day <= last).collect(),
            Self::BeforeLast(before) => Some(last - before).into_iter().filter(|day| *day >= 1).collect(),
            Self::Nearest(day) => Some(*day).filter(|day| *day <= last).map(nearest).into_iter().collect(),
            Self::LastWorkingDay => vec![nearest(last)],
            Self::OfWeek(days) => (1..=last).filter(|day| days.contains(&weekday(*day))).collect(),
            Self::LastOfWeek(wanted) => (last - 6..=last).filter(|day| weekday(*day) == *wanted).collect(),
            Self::NthOfWeek(wanted, nth) => {
                let week = (nth - 1) * 7 + 1;
                (week..week + 7).filter(|day| *day <= last && weekday(*day) == *wanted).collect()
            }
        }
    }
}

fn days_of_month(text: &str) -> Option<Days> {
    match text {
        "L" => Some(Days::BeforeLast(0)),
        "LW" => Some(Days::LastWorkingDay),
        _ => {
            if let Some(before) = text.strip_prefix("L-") {
                return number(before, (1, 30), &[]).map(Days::BeforeLast);
            }
            if let Some(day) = text.strip_suffix('W') {
                return number(day, (1, 31), &[]).map(Days::Nearest);
            }
            set(text, (1, 31), &[]).map(Days::OfMonth)
        }
    }
}

fn days_of_week(text: &str) -> Option<Days> {
    if text == "L" {
        return Some(Days::OfWeek(BTreeSet::from([7])));
    }
    if let Some(day) = text.strip_suffix('L') {
        return number(day, (1, 7), &WEEKDAYS).map(Days::LastOfWeek);
    }
    if let Some((day, nth)) = text.split_once('#') {
        return Some(Days::NthOfWeek(number(day, (1, 7), &WEEKDAYS)?, number(nth, (1, 5), &[])?));
    }
    set(text, (1, 7), &WEEKDAYS).map(Days::OfWeek)
}

/// `*`, `5`, `1-5`, `*/15`, `3/5`, `10-30/5`, and lists of these.
fn set(text: &str, (low, high): (i64, i64), names: &[&str]) -> Option<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, number(step, (1, high), &[])?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (number(from, (low, high), names)?, number(to, (low, high), names)?),
            None => {
                let from = number(range, (low, high), names)?;
                (from, if part.contains('/') { high } else { from })
            }
        };
        if from > to {
            // From Friday to Monday.
            if step != 1 {
                return None;
            }
            found.extend((from..=high).chain(low..=to));
            continue;
        }
        found.extend((from..=to).step_by(usize::try_from(step).ok()?));
    }
    Some(found)
}

fn number(text: &str, (low, high): (i64, i64), names: &[&str]) -> Option<i64> {
    if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return i64::try_from(index + 1).ok();
    }
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && (low..=high).contains(number))
}
