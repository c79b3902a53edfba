//! Conditions on messages of space-delimited fields: `[ip, user, ..., status>=400 && status<500, bytes]`.

use super::PatternError;
use super::value::{Cursor, Operator, Value};

/// See the module.
#[derive(Debug)]
pub(in crate::logs) struct Fields(Vec<Field>);

#[derive(Debug)]
enum Field {
    /// Any number of fields.
    Rest,
    /// One field; any of these must hold, each if all of its tests do. Without any, the field is only named.
    One(Vec<Vec<Test>>),
}

#[derive(Debug)]
struct Test(Operator, Value);

impl Fields {
    /// Parses what is between the brackets.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut cursor = Cursor(text);
        let mut fields = Vec::new();
        loop {
            fields.push(parse_field(&mut cursor)?);
            cursor.skip_space();
            if cursor.0.is_empty() {
                return Ok(Self(fields));
            }
            if !cursor.take(",") {
                return Err(PatternError::Syntax);
            }
        }
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        fit(&self.0, &split(message))
    }
}

impl Field {
    fn holds(&self, field: &str) -> bool {
        match self {
            Field::Rest => true,
            Field::One(any) => any.is_empty() || any.iter().any(|all| all.iter().all(|test| test.holds(field))),
        }
    }
}

impl Test {
    fn holds(&self, field: &str) -> bool {
        self.1.compare_text(self.0, field)
    }
}

/// Whether the fields fit one to one, the ellipses taking up any number. Remembers only the last ellipsis: if a later
/// one was reached, an earlier one need never take more.
fn fit(pattern: &[Field], fields: &[&str]) -> bool {
    let (mut at, mut field) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match pattern.get(at) {
            Some(Field::Rest) => {
                at += 1;
                retry = Some((at, field));
            }
            Some(one) if fields.get(field).is_some_and(|field| one.holds(field)) => (at, field) = (at + 1, field + 1),
            None if field == fields.len() => return true,
            _ => {
                let Some((after, taken)) = retry.filter(|(_, taken)| *taken < fields.len()) else { return false };
                (at, field) = (after, taken + 1);
                retry = Some((after, taken + 1));
            }
        }
    }
}

/// Splits a message at spaces; what is in double quotes or brackets is one field.
fn split(message: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let closing = match first {
            '"' => Some('"'),
            '[' => Some(']'),
            _ => None,
        };
        let (field, after) = closing
            .and_then(|closing| rest[1..].split_once(closing))
            .or_else(|| rest.split_once(char::is_whitespace))
            .unwrap_or((rest, ""));
        fields.push(field);
        rest = after.trim_start();
    }
    fields
}

fn parse_field(cursor: &mut Cursor<'_>) -> Result<Field, PatternError> {
    if cursor.take("...") {
        return Ok(Field::Rest);
    }
    let mut any = Vec::new();
    let mut all = Vec::new();
    loop {
        let parenthesis = cursor.take("(");
        cursor.skip_space();
        let name = cursor.take_while(|c| c.is_alphanumeric() || "_-$.".contains(c));
        if name.is_empty() {
            return Err(PatternError::Syntax);
        }
        cursor.skip_space();
        if (cursor.0.is_empty() || cursor.0.starts_with(',')) && any.is_empty() && all.is_empty() && !parenthesis {
            return Ok(Field::One(Vec::new()));
        }
        let operator = cursor.take_operator()?;
        let value = cursor.take_value(",&|()=<>!")?;
        value.check(operator)?;
        all.push(Test(operator, value));
        if parenthesis && !cursor.take(")") {
            return Err(PatternError::Syntax);
        }
        if cursor.take("&&") {
            continue;
        }
        any.push(std::mem::take(&mut all));
        if !cursor.take("||") {
            return Ok(Field::One(any));
        }
    }
}
