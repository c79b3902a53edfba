//! The names of operators.

use crate::policy::error::Problem;

/// How a value of the request is compared with one of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Comparison {
    Text,
    TextIgnoreCase,
    Pattern,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

/// The value of the request, beside that of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    pub(super) fn holds<T: PartialOrd>(self, value: T, expected: T) -> bool {
        match self {
            Self::Equal => value == expected,
            Self::Less => value < expected,
            Self::LessOrEqual => value <= expected,
            Self::Greater => value > expected,
            Self::GreaterOrEqual => value >= expected,
        }
    }
}

/// Which of several values must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Quantifier {
    None,
    All,
    Any,
}

/// An operator with its prefix and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Operator {
    pub(super) comparison: Comparison,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
    pub(super) quantifier: Quantifier,
}

impl Operator {
    pub(in crate::policy) fn parse(text: &str) -> Result<Self, Problem> {
        let (quantifier, rest) = match text.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            _ => (Quantifier::None, text),
        };
        let (if_exists, name) = match rest.strip_suffix("IfExists") {
            Some(name) => (true, name),
            None => (false, rest),
        };
        let unknown = || Problem::Operator(text.to_owned());
        let (comparison, negated) = comparison(name).ok_or_else(unknown)?;
        if comparison == Comparison::Null && (if_exists || quantifier != Quantifier::None) {
            return Err(unknown());
        }
        Ok(Self { comparison, negated, if_exists, quantifier })
    }
}

fn comparison(name: &str) -> Option<(Comparison, bool)> {
    Some(match name {
        "StringEquals" => (Comparison::Text, false),
        "StringNotEquals" => (Comparison::Text, true),
        "StringEqualsIgnoreCase" => (Comparison::TextIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Comparison::TextIgnoreCase, true),
        "StringLike" => (Comparison::Pattern, false),
        "StringNotLike" => (Comparison::Pattern, true),
        "NumericEquals" => (Comparison::Number(Order::Equal), false),
        "NumericNotEquals" => (Comparison::Number(Order::Equal), true),
        "NumericLessThan" => (Comparison::Number(Order::Less), false),
        "NumericLessThanEquals" => (Comparison::Number(Order::LessOrEqual), false),
        "NumericGreaterThan" => (Comparison::Number(Order::Greater), false),
        "NumericGreaterThanEquals" => (Comparison::Number(Order::GreaterOrEqual), false),
        "DateEquals" => (Comparison::Date(Order::Equal), false),
        "DateNotEquals" => (Comparison::Date(Order::Equal), true),
        "DateLessThan" => (Comparison::Date(Order::Less), false),
        "DateLessThanEquals" => (Comparison::Date(Order::LessOrEqual), false),
        "DateGreaterThan" => (Comparison::Date(Order::Greater), false),
        "DateGreaterThanEquals" => (Comparison::Date(Order::GreaterOrEqual), false),
        "Bool" => (Comparison::Bool, false),
        "BinaryEquals" => (Comparison::Binary, false),
        "IpAddress" => (Comparison::Address, false),
        "NotIpAddress" => (Comparison::Address, true),
        "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
        "Null" => (Comparison::Null, false),
        _ => return None,
    })
}
