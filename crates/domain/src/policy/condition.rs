//! Conditions: operators, their values, and when they hold.
//!
//! ```text
//! one condition per operator and key; all of a statement must hold
//! one value in the request:   operator: any policy value fits;  negated operator: none does
//! ForAllValues:               every value of the request;  true when there is none
//! ForAnyValue:                some value of the request;   false when there is none
//! no value in the request:    false; true for negated operators and for …IfExists
//! ```
//!
//! Several values without `ForAllValues:` or `ForAnyValue:` are taken as `ForAnyValue:`. A value of the request that is
//! not of the operator's type fits nothing.

mod operator;
mod value;

pub(super) use operator::Operator;
use operator::Quantifier;
pub(super) use value::Value;

use super::{context::Found, error::Problem, evaluate::Asked};

/// One operator on one key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    operator: Operator,
    /// In lower case.
    key: String,
    values: Vec<Value>,
}

impl Condition {
    pub(super) fn parse(operator: Operator, key: &str, values: &[&str], variables: bool) -> Result<Self, Problem> {
        if !key.split_once(':').is_some_and(|(prefix, name)| !prefix.is_empty() && !name.is_empty()) {
            return Err(Problem::ConditionKey(key.to_owned()));
        }
        let values = values.iter().map(|text| Value::parse(operator.comparison, text, variables));
        Ok(Self { operator, key: key.to_lowercase(), values: values.collect::<Result<_, _>>()? })
    }

    pub(super) fn holds(&self, asked: &Asked<'_>) -> bool {
        let found = asked.value(&self.key).filter(|found| found.iter().next().is_some());
        let Operator { comparison, negated, if_exists, quantifier } = self.operator;
        if comparison == operator::Comparison::Null {
            return self.values.iter().any(|value| *value == Value::Absent(found.is_none()));
        }
        let fits = |value: &str| self.values.iter().any(|expected| expected.fits(comparison, value, asked)) != negated;
        match (quantifier, &found) {
            (Quantifier::All, found) => found.iter().flat_map(Found::iter).all(fits),
            (Quantifier::Any | Quantifier::None, Some(found)) => found.iter().any(fits),
            (Quantifier::Any, None) => if_exists,
            (Quantifier::None, None) => if_exists || negated,
        }
    }
}
