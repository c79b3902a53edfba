//! The functions of `stats`.

use std::collections::BTreeSet;

use super::QueryError;
use super::expression::{Expression, count};
use super::value::{Record, Value};

/// Most different values that `count_distinct` tells apart, and values that `pct` keeps, per group.
const KEPT_MAX: usize = 100_000;

/// A function of `stats` with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    function: Function,
    argument: Option<Expression>,
    /// Of `pct`.
    percent: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Count,
    CountDistinct,
    Sum,
    Average,
    Min,
    Max,
    Percentile,
    Deviation,
    Earliest,
    Latest,
    SortsFirst,
    SortsLast,
}

/// What an aggregate has seen so far of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct Accumulator {
    count: usize,
    sum: f64,
    squares: f64,
    min: Option<f64>,
    max: Option<f64>,
    distinct: BTreeSet<String>,
    numbers: Vec<f64>,
    /// The best value so far and what it was chosen by.
    chosen: Option<(Value, Value)>,
}

impl Aggregate {
    pub(super) fn new(name: &str, arguments: Vec<Expression>) -> Result<Self, QueryError> {
        let functions = [
            ("count", Function::Count),
            ("count_distinct", Function::CountDistinct),
            ("sum", Function::Sum),
            ("avg", Function::Average),
            ("min", Function::Min),
            ("max", Function::Max),
            ("pct", Function::Percentile),
            ("stddev", Function::Deviation),
            ("earliest", Function::Earliest),
            ("latest", Function::Latest),
            ("sortsfirst", Function::SortsFirst),
            ("sortslast", Function::SortsLast),
        ];
        let found = functions.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, function) = found.ok_or_else(|| QueryError::new(format!("Invalid function name: {name}")))?;
        let invalid = || QueryError::new(format!("Invalid arguments for function: {name}"));
        let wanted = match function {
            Function::Count => 0..=1,
            Function::Percentile => 2..=2,
            _ => 1..=1,
        };
        if !wanted.contains(&arguments.len()) {
            return Err(invalid());
        }
        let percent = match arguments.get(1) {
            Some(Expression::Literal(Value::Number(percent))) if (0.0..=100.0).contains(percent) => *percent,
            Some(_) => return Err(invalid()),
            None => 0.0,
        };
        Ok(Self { function, argument: arguments.into_iter().next(), percent })
    }

    /// Takes in a record.
    pub(super) fn add(&self, seen: &mut Accumulator, record: &Record) {
        let value = self.argument.as_ref().map_or(Value::Bool(true), |argument| argument.evaluate(record));
        if value == Value::Null {
            return;
        }
        match self.function {
            Function::Count => seen.count += 1,
            Function::CountDistinct => {
                if seen.distinct.len() < KEPT_MAX {
                    seen.distinct.extend(value.text());
                }
            }
            Function::Earliest => seen.choose(value, record.get("@timestamp"), |new, old| new.is_lt() && old),
            Function::Latest => seen.choose(value, record.get("@timestamp"), |new, old| new.is_gt() && old),
            Function::SortsFirst => seen.choose(value.clone(), value, |new, old| new.is_lt() && old),
            Function::SortsLast => seen.choose(value.clone(), value, |new, old| new.is_gt() && old),
            _ => {
                if let Some(number) = value.number() {
                    seen.add_number(number, self.function == Function::Percentile);
                }
            }
        }
    }

    /// What the group comes to.
    pub(super) fn result(&self, seen: &Accumulator) -> Value {
        let number = |number: Option<f64>| number.map_or(Value::Null, Value::Number);
        let any = seen.count > 0;
        let Value::Number(total) = count(seen.count) else { return Value::Null };
        match self.function {
            Function::Count => count(seen.count),
            Function::CountDistinct => count(seen.distinct.len()),
            Function::Sum => number(any.then_some(seen.sum)),
            Function::Average => number(any.then(|| seen.sum / total)),
            Function::Min => number(seen.min),
            Function::Max => number(seen.max),
            Function::Deviation => {
                let mean = seen.sum / total;
                number(any.then(|| (seen.squares / total - mean * mean).max(0.0).sqrt()))
            }
            Function::Percentile => number(percentile(&seen.numbers, self.percent)),
            Function::Earliest | Function::Latest | Function::SortsFirst | Function::SortsLast => {
                seen.chosen.as_ref().map_or(Value::Null, |(value, _)| value.clone())
            }
        }
    }
}

impl Accumulator {
    fn add_number(&mut self, number: f64, keep: bool) {
        self.count += 1;
        self.sum += number;
        self.squares += number * number;
        self.min = Some(self.min.map_or(number, |min| min.min(number)));
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
        if keep && self.numbers.len() < KEPT_MAX {
            self.numbers.push(number);
        }
    }

    fn choose(&mut self, value: Value, by: Value, better: impl Fn(std::cmp::Ordering, bool) -> bool) {
        let replace = self.chosen.as_ref().is_none_or(|(_, best)| better(by.sort_order(best), true));
        if replace {
            self.chosen = Some((value, by));
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into a bounded list"
)]
fn percentile(numbers: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}
