//! Conditions on messages that are JSON: `{ $.user.id = 7 && ($.ok IS FALSE || $.tags[0] = "a*") }`.

use serde_json::Value as Document;

use super::PatternError;
use super::value::{Cursor, Operator, Value};

/// Deepest nesting of parentheses. A pattern has at most 1024 characters.
const DEPTH_MAX: usize = 512;

/// See the module.
#[derive(Debug)]
pub(in crate::logs) struct Json(Condition);

#[derive(Debug)]
enum Condition {
    /// One must hold.
    Any(Vec<Condition>),
    /// All must hold.
    All(Vec<Condition>),
    Test(Vec<Step>, Test),
}

/// One step from a document to a part of it.
#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

#[derive(Debug)]
enum Test {
    Compare(Operator, Value),
    IsNull,
    Is(bool),
    NotExists,
}

impl Json {
    /// Parses what is between the braces.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut cursor = Cursor(text);
        let condition = parse_any(&mut cursor, DEPTH_MAX)?;
        cursor.skip_space();
        if cursor.0.is_empty() { Ok(Self(condition)) } else { Err(PatternError::Syntax) }
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let message = message.trim_start();
        message.starts_with(['{', '[']) && serde_json::from_str(message).is_ok_and(|document| self.0.holds(&document))
    }
}

impl Condition {
    fn holds(&self, document: &Document) -> bool {
        match self {
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(document)),
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(document)),
            Condition::Test(path, test) => test.holds(select(document, path)),
        }
    }
}

impl Test {
    fn holds(&self, found: Option<&Document>) -> bool {
        match (self, found) {
            (Test::NotExists, found) => found.is_none(),
            (Test::IsNull, found) => found == Some(&Document::Null),
            (Test::Is(wanted), found) => found == Some(&Document::Bool(*wanted)),
            (Test::Compare(operator, value), Some(Document::String(text))) => value.compare_text(*operator, text),
            (Test::Compare(operator, value), Some(Document::Number(number))) => {
                number.as_f64().is_some_and(|number| value.compare_number(*operator, number))
            }
            (Test::Compare(operator, value), Some(Document::Bool(found))) => {
                value.compare_text(*operator, if *found { "true" } else { "false" })
            }
            // What is absent, null, a list or an object never compares.
            (Test::Compare(..), _) => false,
        }
    }
}

fn select<'a>(document: &'a Document, path: &[Step]) -> Option<&'a Document> {
    path.iter().try_fold(document, |document, step| match step {
        Step::Member(name) => document.get(name),
        Step::Element(index) => document.get(index),
    })
}

fn parse_any(cursor: &mut Cursor<'_>, depth: usize) -> Result<Condition, PatternError> {
    let mut conditions = vec![parse_all(cursor, depth)?];
    while cursor.take("||") {
        conditions.push(parse_all(cursor, depth)?);
    }
    Ok(Condition::Any(conditions))
}

fn parse_all(cursor: &mut Cursor<'_>, depth: usize) -> Result<Condition, PatternError> {
    let mut conditions = vec![parse_one(cursor, depth)?];
    while cursor.take("&&") {
        conditions.push(parse_one(cursor, depth)?);
    }
    Ok(Condition::All(conditions))
}

fn parse_one(cursor: &mut Cursor<'_>, depth: usize) -> Result<Condition, PatternError> {
    if cursor.take("(") {
        let inner = parse_any(cursor, depth.checked_sub(1).ok_or(PatternError::Syntax)?)?;
        return if cursor.take(")") { Ok(inner) } else { Err(PatternError::Syntax) };
    }
    let path = parse_path(cursor)?;
    Ok(Condition::Test(path, parse_test(cursor)?))
}

fn parse_test(cursor: &mut Cursor<'_>) -> Result<Test, PatternError> {
    if cursor.take_word("IS") {
        let words = [("NULL", Test::IsNull), ("TRUE", Test::Is(true)), ("FALSE", Test::Is(false))];
        let test = words.into_iter().find(|(word, _)| cursor.take_word(word));
        return test.map(|(_, test)| test).ok_or(PatternError::Syntax);
    }
    if cursor.take_word("NOT") {
        return if cursor.take_word("EXISTS") { Ok(Test::NotExists) } else { Err(PatternError::Syntax) };
    }
    let operator = cursor.take_operator()?;
    let value = cursor.take_value(")&|=<>!\"")?;
    value.check(operator)?;
    Ok(Test::Compare(operator, value))
}

/// `$.key`, `$.key[0]`, `$.["odd key"]`, `$['odd key']`.
fn parse_path(cursor: &mut Cursor<'_>) -> Result<Vec<Step>, PatternError> {
    if !cursor.take("$") {
        return Err(PatternError::Syntax);
    }
    let mut path = Vec::new();
    loop {
        if let Some(rest) = cursor.0.strip_prefix('[').or_else(|| cursor.0.strip_prefix(".[")) {
            cursor.0 = rest;
            path.push(parse_bracket(cursor)?);
        } else if let Some(rest) = cursor.0.strip_prefix('.') {
            cursor.0 = rest;
            let name = cursor.take_while(|c| !c.is_whitespace() && !"=!<>.[]()&|\"".contains(c));
            if name.is_empty() {
                return Err(PatternError::Syntax);
            }
            path.push(Step::Member(name.to_owned()));
        } else {
            break;
        }
    }
    if path.is_empty() { Err(PatternError::Syntax) } else { Ok(path) }
}

fn parse_bracket(cursor: &mut Cursor<'_>) -> Result<Step, PatternError> {
    let step = match cursor.0.chars().next() {
        Some(quote @ ('"' | '\'')) => Step::Member(cursor.take_quoted(quote)?),
        _ => Step::Element(cursor.take_while(|c| c.is_ascii_digit()).parse().map_err(|_| PatternError::Syntax)?),
    };
    if cursor.take("]") { Ok(step) } else { Err(PatternError::Syntax) }
}
