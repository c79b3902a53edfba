//! Runs a query over records, one after another, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use super::aggregate::{Accumulator, Aggregate};
use super::parse::{Column, Command, Direction};
use super::value::{Record, Value};

/// Most rows a query has, and the number it has when it does not say.
pub(super) const ROWS_MAX: usize = 10_000;
/// Most groups of a `stats`, and keys of a `dedup`; further ones are left out.
const GROUPS_MAX: usize = 50_000;

/// One row of the results: names and values.
pub(super) type Row = Vec<(String, String)>;

/// A query under way. Records come newest first.
pub(super) struct Run {
    stages: Vec<Stage>,
    rows: Vec<Record>,
    rows_max: usize,
    columns: Columns,
    /// Records that passed all filters.
    pub(super) matched: u64,
}

enum Stage {
    /// A command that takes one record and gives at most one.
    Each(Command),
    Limit {
        left: usize,
    },
    Dedup {
        columns: Vec<Column>,
        seen: BTreeSet<Vec<Option<String>>>,
    },
    Sort {
        keys: Vec<(super::expression::Expression, Direction)>,
        kept: Vec<Record>,
        kept_max: usize,
    },
    Stats {
        columns: Vec<(Aggregate, String)>,
        by: Vec<Column>,
        groups: Groups,
    },
}

type Groups = BTreeMap<Vec<Option<String>>, (Vec<Value>, Vec<Accumulator>)>;

/// What the results show.
struct Columns {
    names: Vec<String>,
    with_pointer: bool,
}

impl Run {
    /// Begins a query; it has at most `limit` rows.
    pub(super) fn new(commands: Vec<Command>, limit: usize) -> Self {
        let columns = Columns::of(&commands);
        let rows_max = limit.min(ROWS_MAX);
        let stages = commands.into_iter().map(|command| Stage::new(command, rows_max)).collect();
        Self { stages, rows: Vec::new(), rows_max, columns, matched: 0 }
    }

    /// Takes in an event; false when no further one can change the results.
    pub(super) fn add(&mut self, record: Record) -> bool {
        self.pass(0, record);
        let ended = self.stages.iter().find_map(|stage| match stage {
            Stage::Sort { .. } | Stage::Stats { .. } => Some(false),
            Stage::Limit { left: 0 } => Some(true),
            _ => None,
        });
        !ended.unwrap_or(self.rows.len() >= self.rows_max)
    }

    /// The results.
    pub(super) fn finish(mut self) -> Vec<Row> {
        for at in 0..self.stages.len() {
            for record in self.stages[at].flush() {
                self.pass(at + 1, record);
            }
        }
        let columns = self.columns;
        self.rows.into_iter().map(|record| columns.show(&record)).collect()
    }

    fn pass(&mut self, from: usize, mut record: Record) {
        for at in from..self.stages.len() {
            // What reaches the first command that gathers, or the end, has passed the filters.
            let gathers = matches!(self.stages[at], Stage::Sort { .. } | Stage::Stats { .. });
            if gathers
                && !self.stages[..at].iter().any(|stage| matches!(stage, Stage::Sort { .. } | Stage::Stats { .. }))
            {
                self.matched += 1;
            }
            match self.stages[at].take(record) {
                Some(passed) => record = passed,
                None => return,
            }
        }
        if !self.stages.iter().any(|stage| matches!(stage, Stage::Sort { .. } | Stage::Stats { .. })) {
            self.matched += 1;
        }
        if self.rows.len() < self.rows_max {
            self.rows.push(record);
        }
    }
}

impl Stage {
    fn new(command: Command, rows_max: usize) -> Self {
        match command {
            Command::Limit(left) => Stage::Limit { left },
            Command::Dedup(columns) => Stage::Dedup { columns, seen: BTreeSet::new() },
            Command::Sort(keys) => Stage::Sort { keys, kept: Vec::new(), kept_max: rows_max.max(1) },
            Command::Stats { columns, by } => Stage::Stats { columns, by, groups: Groups::new() },
            each => Stage::Each(each),
        }
    }

    /// Takes in a record; gives back what goes on at once.
    fn take(&mut self, record: Record) -> Option<Record> {
        match self {
            Stage::Each(command) => apply(command, record),
            Stage::Limit { left } => {
                *left = left.checked_sub(1)?;
                Some(record)
            }
            Stage::Dedup { columns, seen } => {
                let key = columns.iter().map(|column| column.expression.evaluate(&record).text()).collect();
                (seen.len() < GROUPS_MAX && seen.insert(key)).then_some(record)
            }
            Stage::Sort { keys, kept, kept_max } => {
                kept.push(record);
                if kept.len() >= *kept_max * 2 {
                    sort(kept, keys);
                    kept.truncate(*kept_max);
                }
                None
            }
            Stage::Stats { columns, by, groups } => {
                group(columns, by, groups, &record);
                None
            }
        }
    }

    /// What was gathered.
    fn flush(&mut self) -> Vec<Record> {
        match self {
            Stage::Sort { keys, kept, kept_max } => {
                let mut sorted = std::mem::take(kept);
                sort(&mut sorted, keys);
                sorted.truncate(*kept_max);
                sorted
            }
            Stage::Stats { columns, by, groups } => {
                if groups.is_empty() && by.is_empty() {
                    // Of nothing, counts are still 0.
                    groups.insert(Vec::new(), (Vec::new(), vec![Accumulator::default(); columns.len()]));
                }
                std::mem::take(groups).into_values().map(|group| summary(columns, by, group)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn apply(command: &Command, mut record: Record) -> Option<Record> {
    match command {
        Command::Filter(condition) => return condition.evaluate(&record).is_true().then_some(record),
        Command::Fields(columns) | Command::Display(columns) => {
            for column in columns {
                let value = column.expression.evaluate(&record);
                record.set(&column.name, value);
            }
        }
        Command::Parse { source, pattern, names } => {
            let text = source.evaluate(&record).text().unwrap_or_default();
            let captures = pattern.captures(&text);
            for (index, name) in names.iter().enumerate() {
                let found =
                    captures.as_ref().and_then(|captures| captures.name(name).or_else(|| captures.get(index + 1)));
                record.set(name, found.map_or(Value::Null, |found| Value::Text(found.as_str().to_owned())));
            }
        }
        Command::Limit(_) | Command::Dedup(_) | Command::Sort(_) | Command::Stats { .. } => {}
    }
    Some(record)
}

fn sort(records: &mut [Record], keys: &[(super::expression::Expression, Direction)]) {
    // The sort is stable: equal records stay newest first.
    records.sort_by_cached_key(|record| SortKey {
        values: keys.iter().map(|(key, direction)| (key.evaluate(record), *direction)).collect(),
    });
}

#[derive(PartialEq)]
struct SortKey {
    values: Vec<(Value, Direction)>,
}

impl Eq for SortKey {}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let pairs = self.values.iter().zip(&other.values);
        let mut orders = pairs.map(|((left, direction), (right, _))| match direction {
            Direction::Ascending => left.sort_order(right),
            Direction::Descending => right.sort_order(left),
        });
        orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    }
}

fn group(columns: &[(Aggregate, String)], by: &[Column], groups: &mut Groups, record: &Record) {
    let values: Vec<Value> = by.iter().map(|column| column.expression.evaluate(record)).collect();
    let key: Vec<Option<String>> = values.iter().map(Value::text).collect();
    if !groups.contains_key(&key) && groups.len() >= GROUPS_MAX {
        return;
    }
    let (_, seen) = groups.entry(key).or_insert_with(|| (values, vec![Accumulator::default(); columns.len()]));
    for ((aggregate, _), seen) in columns.iter().zip(seen) {
        aggregate.add(seen, record);
    }
}

fn summary(columns: &[(Aggregate, String)], by: &[Column], (values, seen): (Vec<Value>, Vec<Accumulator>)) -> Record {
    let mut record = Record::default();
    for (column, value) in by.iter().zip(values) {
        record.set(&column.name, value);
    }
    for ((aggregate, name), seen) in columns.iter().zip(&seen) {
        record.set(name, aggregate.result(seen));
    }
    record
}

impl Columns {
    fn of(commands: &[Command]) -> Self {
        let mut columns = Self { names: Vec::new(), with_pointer: true };
        for command in commands {
            match command {
                Command::Fields(fields) => columns.extend(fields),
                Command::Display(fields) => {
                    columns.names.clear();
                    columns.extend(fields);
                }
                Command::Stats { columns: aggregates, by } => {
                    columns.names.clear();
                    columns.extend(by);
                    columns.names.extend(aggregates.iter().map(|(_, name)| name.clone()));
                    columns.with_pointer = false;
                }
                _ => {}
            }
        }
        if columns.names.is_empty() {
            columns.names = vec!["@timestamp".to_owned(), "@message".to_owned()];
        }
        columns
    }

    fn extend(&mut self, fields: &[Column]) {
        for field in fields {
            if !self.names.contains(&field.name) {
                self.names.push(field.name.clone());
            }
        }
    }

    fn show(&self, record: &Record) -> Row {
        let pointer = self.with_pointer.then(|| "@ptr".to_owned());
        let names = self.names.iter().cloned().chain(pointer);
        names.filter_map(|name| record.get(&name).text().map(|text| (name, text))).collect()
    }
}
