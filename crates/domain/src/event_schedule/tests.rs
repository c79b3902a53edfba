#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::iso8601;

fn next(schedule: &str, after: &str) -> String {
    let after = iso8601::parse(after).unwrap();
    Schedule::parse(schedule).unwrap().next(after).map(iso8601::format).unwrap_or_default()
}

#[test]
fn schedules_are_due_when_they_say() {
    // 2026-01-01 is a Thursday.
    let cases = [
        ("rate(1 minute)", "2026-01-01T00:00:30", "2026-01-01T00:01:30Z"),
        ("rate(2 hours)", "2026-01-01T00:00:00", "2026-01-01T02:00:00Z"),
        ("rate(7 days)", "2026-01-01T00:00:00", "2026-01-08T00:00:00Z"),
        ("cron(0 12 * * ? *)", "2026-01-01T11:59:59", "2026-01-01T12:00:00Z"),
        ("cron(0 12 * * ? *)", "2026-01-01T12:00:00", "2026-01-02T12:00:00Z"),
        ("cron(*/15 * * * ? *)", "2026-01-01T00:14:59", "2026-01-01T00:15:00Z"),
        ("cron(5/20 * * * ? *)", "2026-01-01T00:25:00", "2026-01-01T00:45:00Z"),
        ("cron(0 18 ? * MON-FRI *)", "2026-01-02T18:00:00", "2026-01-05T18:00:00Z"),
        ("cron(0 0 ? * FRI-MON *)", "2026-01-05T12:00:00", "2026-01-09T00:00:00Z"),
        ("cron(0/5 8-17 ? * 2-6 *)", "2026-01-01T17:55:00", "2026-01-02T08:00:00Z"),
        ("cron(0 10 1 * ? *)", "2026-01-01T10:00:00", "2026-02-01T10:00:00Z"),
        ("cron(0 10 L * ? *)", "2026-02-01T10:00:00", "2026-02-28T10:00:00Z"),
        ("cron(0 10 L-3 * ? *)", "2026-02-01T10:00:00", "2026-02-25T10:00:00Z"),
        ("cron(0 10 LW * ? *)", "2026-01-01T10:00:00", "2026-01-30T10:00:00Z"),
        ("cron(0 10 3W * ? *)", "2026-01-01T11:00:00", "2026-01-02T10:00:00Z"),
        ("cron(0 9 ? * 2#1 *)", "2026-01-01T00:00:00", "2026-01-05T09:00:00Z"),
        ("cron(0 9 ? * 6L *)", "2026-01-01T00:00:00", "2026-01-30T09:00:00Z"),
        ("cron(0 9 ? * L *)", "2026-01-01T00:00:00", "2026-01-03T09:00:00Z"),
        ("cron(15 10 ? JAN,JUL 6L 2027-2030)", "2026-01-01T00:00:00", "2027-01-29T10:15:00Z"),
        ("cron(0 0 29 2 ? *)", "2026-01-01T00:00:00", "2028-02-29T00:00:00Z"),
        ("cron(0 0 1 1 ? 2020)", "2026-01-01T00:00:00", ""),
    ];
    for (schedule, after, expected) in cases {
        assert_eq!(next(schedule, after), expected, "{schedule} after {after}");
    }
}

#[test]
fn what_is_no_schedule_is_refused() {
    for text in [
        "",
        "rate(1 minutes)",
        "rate(5 minute)",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "rate(1 week)",
        "rate(5)",
        "rate(5 minutes",
        "cron()",
        "cron(0 12 * * * *)",
        "cron(0 12 ? * ? *)",
        "cron(0 12 * * ?)",
        "cron(60 0 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 0 0 * ? *)",
        "cron(0 0 30 2 ? *)",
        "cron(0 0 ? * 8 *)",
        "cron(0 0 ? * MON#6 *)",
        "cron(0 0 * FOO ? *)",
        "cron(*/0 0 * * ? *)",
        "cron(0 0 * * ? 1969)",
        "at(2026-01-01T00:00:00)",
    ] {
        assert_eq!(Schedule::parse(text), Err(BadSchedule), "{text}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics(text in "(cron|rate)\\([0-9*?/,#LW A-Z-]{0,30}\\)") {
        let _ = Schedule::parse(&text);
    }

    #[test]
    fn the_next_moment_is_later_and_the_first(minute in 0..60i64, hour in 0..24i64, at in 0..4_000_000_000i64) {
        let schedule = Schedule::parse(&format!("cron({minute} {hour} * * ? *)")).unwrap();
        let after = Timestamp::from_seconds(at);
        let next = schedule.next(after).unwrap();
        prop_assert!(next > after && next.millis_since(after) <= 86_400_000);
        prop_assert_eq!(next.as_millis() / 1000 % 86_400, hour * 3600 + minute * 60);
    }
}
