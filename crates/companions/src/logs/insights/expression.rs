//! Expressions: fields, comparisons, arithmetic, functions.

use std::cmp::Ordering;

use regex::Regex;

use super::QueryError;
use super::value::{Record, Value};

/// A parsed expression.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Field(String),
    Literal(Value),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    /// The text is in the value.
    Contains(Box<Expression>, String),
    Matches(Box<Expression>, Regex),
    Arithmetic(char, Box<Expression>, Box<Expression>),
    Call(Function, Vec<Expression>),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The functions, each with how many arguments it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Ceil,
    Floor,
    Sqrt,
    Log,
    Greatest,
    Least,
    IsPresent,
    Coalesce,
    IsEmpty,
    IsBlank,
    Concat,
    Trim,
    TrimStart,
    TrimEnd,
    Length,
    Upper,
    Lower,
    Substring,
    Replace,
    Contains,
    Bin,
    FromMillis,
    ToMillis,
}

const FUNCTIONS: &[(&str, Function, usize, usize)] = &[
    ("abs", Function::Abs, 1, 1),
    ("ceil", Function::Ceil, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("sqrt", Function::Sqrt, 1, 1),
    ("log", Function::Log, 1, 1),
    ("greatest", Function::Greatest, 1, 64),
    ("least", Function::Least, 1, 64),
    ("ispresent", Function::IsPresent, 1, 1),
    ("coalesce", Function::Coalesce, 1, 64),
    ("isempty", Function::IsEmpty, 1, 1),
    ("isblank", Function::IsBlank, 1, 1),
    ("concat", Function::Concat, 1, 64),
    ("trim", Function::Trim, 1, 1),
    ("ltrim", Function::TrimStart, 1, 1),
    ("rtrim", Function::TrimEnd, 1, 1),
    ("strlen", Function::Length, 1, 1),
    ("toupper", Function::Upper, 1, 1),
    ("tolower", Function::Lower, 1, 1),
    ("substr", Function::Substring, 2, 3),
    ("replace", Function::Replace, 3, 3),
    ("strcontains", Function::Contains, 2, 2),
    ("bin", Function::Bin, 1, 1),
    ("datefloor", Function::Bin, 2, 2),
    ("frommillis", Function::FromMillis, 1, 1),
    ("tomillis", Function::ToMillis, 1, 1),
];

impl Expression {
    /// The call of a function.
    pub(super) fn call(name: &str, arguments: Vec<Expression>) -> Result<Self, QueryError> {
        let found = FUNCTIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        let (_, function, min, max) = found.ok_or_else(|| QueryError::new(format!("Invalid function name: {name}")))?;
        if !(*min..=*max).contains(&arguments.len()) {
            return Err(QueryError::new(format!("Invalid arguments for function: {name}")));
        }
        Ok(Expression::Call(*function, arguments))
    }

    pub(super) fn evaluate(&self, record: &Record) -> Value {
        match self {
            Expression::Field(name) => record.get(name),
            Expression::Literal(value) => value.clone(),
            Expression::And(left, right) => {
                Value::Bool(left.evaluate(record).is_true() && right.evaluate(record).is_true())
            }
            Expression::Or(left, right) => {
                Value::Bool(left.evaluate(record).is_true() || right.evaluate(record).is_true())
            }
            Expression::Not(inner) => Value::Bool(!inner.evaluate(record).is_true()),
            Expression::Compare(comparison, left, right) => {
                Value::Bool(comparison.holds(left.evaluate(record).compare(&right.evaluate(record))))
            }
            Expression::In(inner, list) => {
                let value = inner.evaluate(record);
                let equal = |other: &Expression| value.compare(&other.evaluate(record)) == Some(Ordering::Equal);
                Value::Bool(list.iter().any(equal))
            }
            Expression::Contains(inner, text) => {
                Value::Bool(inner.evaluate(record).text().is_some_and(|value| value.contains(text)))
            }
            Expression::Matches(inner, regex) => {
                Value::Bool(inner.evaluate(record).text().is_some_and(|value| regex.is_match(&value)))
            }
            Expression::Arithmetic(operator, left, right) => {
                arithmetic(*operator, &left.evaluate(record), &right.evaluate(record))
            }
            Expression::Call(function, arguments) => {
                let values: Vec<Value> = arguments.iter().map(|argument| argument.evaluate(record)).collect();
                function.apply(&values, record)
            }
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Option<Ordering>) -> bool {
        match (self, ordering) {
            (Comparison::NotEqual, ordering) => ordering != Some(Ordering::Equal),
            (_, None) => false,
            (Comparison::Equal, Some(ordering)) => ordering.is_eq(),
            (Comparison::Less, Some(ordering)) => ordering.is_lt(),
            (Comparison::LessOrEqual, Some(ordering)) => ordering.is_le(),
            (Comparison::Greater, Some(ordering)) => ordering.is_gt(),
            (Comparison::GreaterOrEqual, Some(ordering)) => ordering.is_ge(),
        }
    }
}

impl Function {
    fn apply(self, values: &[Value], record: &Record) -> Value {
        let first = values.first().unwrap_or(&Value::Null);
        match self {
            Function::Abs => numeric(first, f64::abs),
            Function::Ceil => numeric(first, f64::ceil),
            Function::Floor => numeric(first, f64::floor),
            Function::Sqrt => numeric(first, f64::sqrt),
            Function::Log => numeric(first, f64::ln),
            Function::Greatest => pick(values, f64::max),
            Function::Least => pick(values, f64::min),
            Function::IsPresent => Value::Bool(*first != Value::Null),
            Function::Coalesce => values.iter().find(|value| **value != Value::Null).cloned().unwrap_or(Value::Null),
            Function::IsEmpty => Value::Bool(first.text().is_none_or(|text| text.is_empty())),
            Function::IsBlank => Value::Bool(first.text().is_none_or(|text| text.trim().is_empty())),
            Function::Concat => Value::Text(values.iter().filter_map(Value::text).collect()),
            Function::Trim => textual(first, |text| text.trim().to_owned()),
            Function::TrimStart => textual(first, |text| text.trim_start().to_owned()),
            Function::TrimEnd => textual(first, |text| text.trim_end().to_owned()),
            Function::Upper => textual(first, str::to_uppercase),
            Function::Lower => textual(first, str::to_lowercase),
            Function::Length => first.text().map_or(Value::Null, |text| count(text.chars().count())),
            Function::Substring => substring(values),
            Function::Replace => {
                match (first.text(), values.get(1).and_then(Value::text), values.get(2).and_then(Value::text)) {
                    (Some(text), Some(from), Some(to)) => Value::Text(text.replace(&from, &to)),
                    _ => Value::Null,
                }
            }
            Function::Contains => match (first.text(), values.get(1).and_then(Value::text)) {
                (Some(text), Some(part)) => Value::Bool(text.contains(&part)),
                _ => Value::Bool(false),
            },
            Function::Bin => bin(values, record),
            Function::FromMillis => first.number().map_or(Value::Null, Value::Time),
            Function::ToMillis => first.number().map_or(Value::Null, Value::Number),
        }
    }
}

/// `bin(5m)` rounds the event's time, `datefloor(time, 5m)` any.
fn bin(values: &[Value], record: &Record) -> Value {
    let (time, width) = match values {
        [width] => (record.get("@timestamp"), width),
        [time, width] => (time.clone(), width),
        _ => return Value::Null,
    };
    match (time.number(), width.number()) {
        (Some(time), Some(width)) if width > 0.0 => Value::Time((time / width).floor() * width),
        _ => Value::Null,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating by intent")]
fn substring(values: &[Value]) -> Value {
    let Some(text) = values.first().and_then(Value::text) else { return Value::Null };
    let from = values.get(1).and_then(Value::number).unwrap_or(0.0).max(0.0) as usize;
    let len = values.get(2).and_then(Value::number).map_or(usize::MAX, |len| len.max(0.0) as usize);
    Value::Text(text.chars().skip(from).take(len).collect())
}

fn numeric(value: &Value, change: impl Fn(f64) -> f64) -> Value {
    value.number().map(change).filter(|number| number.is_finite()).map_or(Value::Null, Value::Number)
}

fn textual(value: &Value, change: impl Fn(&str) -> String) -> Value {
    value.text().map_or(Value::Null, |text| Value::Text(change(&text)))
}

fn pick(values: &[Value], better: impl Fn(f64, f64) -> f64) -> Value {
    values.iter().filter_map(Value::number).reduce(better).map_or(Value::Null, Value::Number)
}

fn arithmetic(operator: char, left: &Value, right: &Value) -> Value {
    let (Some(left), Some(right)) = (left.number(), right.number()) else { return Value::Null };
    let number = match operator {
        '+' => left + right,
        '-' => left - right,
        '*' => left * right,
        '/' => left / right,
        '%' => left % right,
        _ => left.powf(right),
    };
    if number.is_finite() { Value::Number(number) } else { Value::Null }
}

/// A count as a value.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn count(number: usize) -> Value {
    Value::Number(number as f64)
}
