//! Measured use of CPU and memory: one-minute points of a service or a cluster, by the formulas of the real service's
//! metrics, in a window of bounded size.
//!
//! Readings of tasks come about every ten seconds. Within a minute the readings of a task are averaged; a point adds up
//! the tasks. What is reserved of a task is what 100 % stands for.

use std::collections::{BTreeMap, VecDeque};

use crate::Timestamp;

/// How many points are kept: a little over an hour, so that fifteen alarms' minutes are always there.
pub const POINTS_KEPT: usize = 64;
const MINUTE_MS: i64 = 60_000;

/// One reading of a task, with what it has reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    /// CPU units in use (1024 = one vCPU).
    pub cpu_units: f64,
    /// MiB in use.
    pub memory_mib: f64,
    /// CPU units that are 100 %.
    pub cpu_reserved: f64,
    /// MiB that are 100 %.
    pub memory_reserved: f64,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// CPUUtilization.
    Cpu,
    /// MemoryUtilization.
    Memory,
}

impl Metric {
    /// The name with CloudWatch.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "CPUUtilization",
            Self::Memory => "MemoryUtilization",
        }
    }

    /// From the name with CloudWatch.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Cpu, Self::Memory].into_iter().find(|metric| metric.as_str() == name)
    }
}

/// How points are aggregated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Statistic {
    /// Over all tasks.
    #[default]
    Average,
    /// Of the task that has least.
    Minimum,
    /// Of the task that has most.
    Maximum,
}

/// Percent, over the tasks of one minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent {
    /// 100 × what all use / what all have reserved.
    pub average: f64,
    /// Of the task that uses least of its own.
    pub minimum: f64,
    /// Of the task that uses most of its own.
    pub maximum: f64,
}

impl Percent {
    /// One of the three.
    pub fn get(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Average => self.average,
            Statistic::Minimum => self.minimum,
            Statistic::Maximum => self.maximum,
        }
    }
}

/// One minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When it began.
    pub at: Timestamp,
    /// None where no task has CPU reserved: there is nothing that could be 100 %.
    pub cpu: Option<Percent>,
    /// None where no task has memory reserved.
    pub memory: Option<Percent>,
    /// How many tasks were measured.
    pub samples: u32,
    /// CPU units in use by all.
    pub cpu_units: f64,
    /// MiB in use by all.
    pub memory_mib: f64,
}

impl Point {
    /// One of the two.
    pub fn get(&self, metric: Metric) -> Option<Percent> {
        match metric {
            Metric::Cpu => self.cpu,
            Metric::Memory => self.memory,
        }
    }
}

/// The readings of one task within a minute.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    readings: f64,
    last: Reading,
    cpu: f64,
    memory: f64,
}

/// Use of one service or cluster. `K` names its tasks; memory is bounded by the tasks that were measured in the minute
/// that is still open, and by [`POINTS_KEPT`].
#[derive(Debug, Clone)]
pub struct Window<K> {
    points: VecDeque<Point>,
    minute: i64,
    open: BTreeMap<K, Sum>,
}

impl<K> Default for Window<K> {
    fn default() -> Self {
        Self { points: VecDeque::new(), minute: 0, open: BTreeMap::new() }
    }
}

impl<K: Ord> Window<K> {
    /// Takes in a reading. One from before the minute that is open comes too late.
    pub fn add(&mut self, task: K, reading: Reading, now: Timestamp) {
        self.close(now);
        let minute = now.as_millis().div_euclid(MINUTE_MS);
        if minute < self.minute {
            return;
        }
        self.minute = minute;
        let sum = self.open.entry(task).or_default();
        sum.readings += 1.0;
        sum.cpu += reading.cpu_units;
        sum.memory += reading.memory_mib;
        sum.last = reading;
    }

    /// Makes a point of a minute that is over.
    pub fn close(&mut self, now: Timestamp) {
        let minute = now.as_millis().div_euclid(MINUTE_MS);
        if minute <= self.minute || self.open.is_empty() {
            return;
        }
        let tasks = std::mem::take(&mut self.open);
        self.points.push_back(point(Timestamp::from_millis(self.minute * MINUTE_MS), tasks.into_values()));
        while self.points.len() > POINTS_KEPT {
            self.points.pop_front();
        }
    }

    /// The points whose minutes are over, the oldest first.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.points.iter()
    }

    /// The minute that is open, as far as it has come; none when nothing was measured in it.
    pub fn current(&self) -> Option<Point> {
        let at = Timestamp::from_millis(self.minute * MINUTE_MS);
        (!self.open.is_empty()).then(|| point(at, self.open.values().copied()))
    }

    /// Whether nothing of the last hour is known.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let kept = i64::try_from(POINTS_KEPT).unwrap_or(i64::MAX);
        now.as_millis().div_euclid(MINUTE_MS) - self.minute > kept
    }
}

fn point(at: Timestamp, tasks: impl Iterator<Item = Sum>) -> Point {
    let tasks: Vec<Reading> = tasks
        .map(|sum| Reading {
            cpu_units: sum.cpu / sum.readings.max(1.0),
            memory_mib: sum.memory / sum.readings.max(1.0),
            ..sum.last
        })
        .collect();
    let total = |of: fn(&Reading) -> f64| tasks.iter().map(of).sum::<f64>();
    Point {
        at,
        cpu: percent(tasks.iter().map(|task| (task.cpu_units, task.cpu_reserved))),
        memory: percent(tasks.iter().map(|task| (task.memory_mib, task.memory_reserved))),
        samples: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        cpu_units: total(|task| task.cpu_units),
        memory_mib: total(|task| task.memory_mib),
    }
}

fn percent(tasks: impl Iterator<Item = (f64, f64)>) -> Option<Percent> {
    let (mut used, mut reserved, mut minimum, mut maximum) = (0.0, 0.0, f64::INFINITY, 0.0_f64);
    for (of_task, of_its_own) in tasks.filter(|(_, reserved)| *reserved > 0.0) {
        used += of_task;
        reserved += of_its_own;
        let own = 100.0 * of_task / of_its_own;
        minimum = minimum.min(own);
        maximum = maximum.max(own);
    }
    (reserved > 0.0).then(|| Percent { average: 100.0 * used / reserved, minimum, maximum })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reading(cpu_units: f64, cpu_reserved: f64) -> Reading {
        Reading { cpu_units, memory_mib: 32.0, cpu_reserved, memory_reserved: 64.0 }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_040 + seconds)
    }

    #[test]
    fn a_point_is_the_average_over_a_minute_of_each_task_and_the_sum_over_tasks() {
        let mut window = Window::default();
        for second in (0..60).step_by(10) {
            window.add(1, reading(if second < 30 { 0.0 } else { 200.0 }, 100.0), at(second));
            window.add(2, reading(30.0, 300.0), at(second));
        }
        assert_eq!(window.points().count(), 0);
        assert_eq!(window.current().unwrap().samples, 2);
        window.close(at(60));
        let point = *window.points().next().unwrap();
        assert_eq!((point.at, point.samples), (at(0), 2));
        // (100 + 30) of 400; the tasks alone have 100 % and 10 %.
        assert_eq!(point.cpu, Some(Percent { average: 32.5, minimum: 10.0, maximum: 100.0 }));
        assert_eq!(point.memory, Some(Percent { average: 50.0, minimum: 50.0, maximum: 50.0 }));
        assert_eq!(window.current(), None);
    }

    #[test]
    fn use_may_be_above_what_is_reserved_and_is_no_percentage_of_nothing() {
        let mut window = Window::default();
        window.add(1, reading(1024.0, 256.0), at(0));
        window.close(at(61));
        assert_eq!(window.points().next().unwrap().cpu.unwrap().average, 400.0);
        let mut window = Window::default();
        window.add(1, reading(1024.0, 0.0), at(0));
        window.close(at(61));
        let point = window.points().next().unwrap();
        assert_eq!((point.cpu, point.cpu_units, point.samples), (None, 1024.0, 1));
    }

    #[test]
    fn a_minute_without_readings_has_no_point() {
        let mut window = Window::default();
        window.add(1, reading(1.0, 1.0), at(0));
        window.add(1, reading(1.0, 1.0), at(180));
        window.close(at(300));
        let minutes: Vec<Timestamp> = window.points().map(|point| point.at).collect();
        assert_eq!(minutes, [at(0), at(180)]);
        window.close(at(400));
        assert_eq!(window.points().count(), 2);
    }

    #[test]
    fn a_late_reading_changes_nothing_and_the_window_is_bounded() {
        let mut window = Window::default();
        window.add(1, reading(1.0, 1.0), at(60));
        window.add(2, reading(1.0, 1.0), at(30));
        assert_eq!(window.current().unwrap().samples, 1);
        for minute in 0..200 {
            window.add(1, reading(1.0, 1.0), at(120 + 60 * minute));
        }
        assert_eq!(window.points().count(), POINTS_KEPT);
        assert!(!window.is_stale(at(120 + 60 * 200)));
        assert!(window.is_stale(at(120 + 60 * 300)));
    }
}
