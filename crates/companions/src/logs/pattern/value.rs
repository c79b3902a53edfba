//! Values that patterns compare with, and how they are read.

use regex::Regex;

use super::PatternError;

/// Characters that a regular expression of a pattern may have besides letters and digits.
const REGEX_CHARACTERS: &str = "_#=@/;,-:^$?[]{}|\\*+. '\"<>!&~`";

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The right side of a comparison.
#[derive(Debug)]
pub(super) enum Value {
    /// Without quotes: a number if it reads like one, with `*` for any text.
    Bare {
        text: String,
        number: Option<f64>,
    },
    /// In quotes: text, with `*` for any text.
    Quoted(String),
    Regex(Regex),
}

impl Operator {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Operator::Equal => ordering.is_eq(),
            Operator::NotEqual => ordering.is_ne(),
            Operator::Less => ordering.is_lt(),
            Operator::LessOrEqual => ordering.is_le(),
            Operator::Greater => ordering.is_gt(),
            Operator::GreaterOrEqual => ordering.is_ge(),
        }
    }

    fn is_ordering(self) -> bool {
        !matches!(self, Operator::Equal | Operator::NotEqual)
    }
}

impl Value {
    pub(super) fn bare(text: &str) -> Self {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        Value::Bare { text: text.to_owned(), number }
    }

    /// Refuses what cannot be compared so: only numbers have an order.
    pub(super) fn check(&self, operator: Operator) -> Result<(), PatternError> {
        match self {
            Value::Bare { number: Some(_), .. } => Ok(()),
            _ if operator.is_ordering() => Err(PatternError::Syntax),
            _ => Ok(()),
        }
    }

    /// Compares a number.
    pub(super) fn compare_number(&self, operator: Operator, found: f64) -> bool {
        match self {
            Value::Bare { number: Some(number), .. } => {
                found.partial_cmp(number).is_some_and(|ordering| operator.holds(ordering))
            }
            _ => operator == Operator::NotEqual,
        }
    }

    /// Compares a text, which may read like a number.
    pub(super) fn compare_text(&self, operator: Operator, found: &str) -> bool {
        match self {
            Value::Bare { number: Some(_), .. } if found.parse::<f64>().is_ok() => {
                found.parse().is_ok_and(|found| self.compare_number(operator, found))
            }
            Value::Bare { text, .. } | Value::Quoted(text) => match operator {
                Operator::Equal => matches_wildcard(text, found),
                Operator::NotEqual => !matches_wildcard(text, found),
                _ => false,
            },
            Value::Regex(regex) => match operator {
                Operator::Equal => regex.is_match(found),
                Operator::NotEqual => !regex.is_match(found),
                _ => false,
            },
        }
    }
}

/// Compiles the text between two `%`.
pub(super) fn regex(text: &str) -> Result<Regex, PatternError> {
    let allowed = |c: char| c.is_alphanumeric() || REGEX_CHARACTERS.contains(c);
    if text.is_empty() || !text.chars().all(allowed) {
        return Err(PatternError::Syntax);
    }
    Regex::new(text).map_err(|_| PatternError::Syntax)
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
pub(in crate::logs) fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Reads a text piece by piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a str);

impl<'a> Cursor<'a> {
    pub(super) fn skip_space(&mut self) {
        self.0 = self.0.trim_start();
    }

    /// Takes `token` if it comes next, after spaces.
    pub(super) fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Takes `word` if it comes next as a whole word.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let mut ahead = *self;
        let taken = ahead.take(word) && !ahead.0.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if taken {
            *self = ahead;
        }
        taken
    }

    /// Takes characters while they are wanted.
    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// Takes a text in `quote`s, in which a backslash takes the next character as it is.
    pub(super) fn take_quoted(&mut self, quote: char) -> Result<String, PatternError> {
        let mut characters = self.0.char_indices();
        if characters.next().is_none_or(|(_, first)| first != quote) {
            return Err(PatternError::Syntax);
        }
        let mut text = String::new();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => text.push(characters.next().ok_or(PatternError::Syntax)?.1),
                _ if c == quote => {
                    self.0 = &self.0[at + c.len_utf8()..];
                    return Ok(text);
                }
                _ => text.push(c),
            }
        }
        Err(PatternError::Syntax)
    }

    /// Takes a regular expression between `%`.
    pub(super) fn take_regex(&mut self) -> Result<Regex, PatternError> {
        let rest = self.0.strip_prefix('%').ok_or(PatternError::Syntax)?;
        let (text, rest) = rest.split_once('%').ok_or(PatternError::Syntax)?;
        self.0 = rest;
        regex(text)
    }

    pub(super) fn take_operator(&mut self) -> Result<Operator, PatternError> {
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        operators
            .into_iter()
            .find(|(token, _)| self.take(token))
            .map(|(_, operator)| operator)
            .ok_or(PatternError::Syntax)
    }

    /// Takes a value; without quotes it goes up to a space or one of `ends`.
    pub(super) fn take_value(&mut self, ends: &str) -> Result<Value, PatternError> {
        self.skip_space();
        match self.0.chars().next() {
            Some('"') => self.take_quoted('"').map(Value::Quoted),
            Some('%') => self.take_regex().map(Value::Regex),
            _ => {
                let text = self.take_while(|c| !c.is_whitespace() && !ends.contains(c));
                if text.is_empty() { Err(PatternError::Syntax) } else { Ok(Value::bare(text)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, matches) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "a", true),
            ("*c", "abc", true),
            ("a*c", "abcbc", true),
            ("a*a", "a", false),
            ("*", "", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
            ("", "x", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches_wildcard(pattern, text), matches, "{pattern} {text}");
        }
    }
}
