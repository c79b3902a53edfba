//! The words of a query.

use super::QueryError;

/// A word and where it stands in the query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A name, a keyword or a field, also in backticks.
    Word(String),
    Number(f64),
    /// A number with a unit: `5m`; in milliseconds.
    Duration(f64),
    Text(String),
    Regex(String),
    Symbol(&'static str),
}

const SYMBOLS: &[&str] =
    &["=~", "!=", "<=", ">=", "|", "(", ")", "[", "]", ",", "=", "<", ">", "+", "-", "*", "/", "%", "^"];

/// Units of durations, the longer names first.
const UNITS: &[(&str, f64)] =
    &[("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0), ("w", 604_800_000.0)];

/// Splits a query into words. Lines that begin with `#` are comments.
pub(super) fn lex(query: &str) -> Result<Vec<Token>, QueryError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    // Where the command under way begins.
    let mut command = 0;
    while at < query.len() {
        let rest = &query[at..];
        let Some(first) = rest.chars().next() else { break };
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if first == '#'
            && query[..at].trim_end_matches([' ', '\t']).chars().next_back().is_none_or(|c| c == '\n')
        {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (kind, len) = next(rest, first, expects_regex(&tokens, command))?;
            tokens.push(Token { kind, start: at, end: at + len });
            at += len;
            if tokens.last().is_some_and(|last| last.kind == Kind::Symbol("|")) {
                command = tokens.len();
            }
        }
    }
    Ok(tokens)
}

/// A slash begins a regular expression after `like` and `=~`, and in `parse FIELD /…/`.
fn expects_regex(tokens: &[Token], command: usize) -> bool {
    let word = |token: &Token, name: &str| matches!(&token.kind, Kind::Word(word) if word.eq_ignore_ascii_case(name));
    let in_parse = tokens.get(command).is_some_and(|token| word(token, "parse"));
    let after_like = tokens.last().is_some_and(|last| word(last, "like") || last.kind == Kind::Symbol("=~"));
    after_like || (in_parse && (1..=2).contains(&(tokens.len() - command)))
}

fn next(rest: &str, first: char, regex: bool) -> Result<(Kind, usize), QueryError> {
    match first {
        '"' | '\'' => quoted(rest, first).map(|(text, len)| (Kind::Text(text), len)),
        '`' => quoted(rest, first).map(|(text, len)| (Kind::Word(text), len)),
        '/' if regex => regex_literal(rest),
        _ if first.is_ascii_digit() => Ok(number(rest)),
        _ if is_word(first) => {
            let len = rest.find(|c| !is_word(c) && c != '.').unwrap_or(rest.len());
            Ok((Kind::Word(rest[..len].to_owned()), len))
        }
        _ => {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            let symbol = symbol.ok_or_else(|| QueryError::new(format!("unexpected symbol found {first}")))?;
            Ok((Kind::Symbol(symbol), symbol.len()))
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '@'
}

fn quoted(rest: &str, quote: char) -> Result<(String, usize), QueryError> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, next)) if next == quote || next == '\\' => text.push(next),
                Some((_, next)) => text.extend(['\\', next]),
                None => break,
            },
            _ if c == quote => return Ok((text, at + 1)),
            _ => text.push(c),
        }
    }
    Err(QueryError::new(format!("unclosed {quote}")))
}

fn regex_literal(rest: &str) -> Result<(Kind, usize), QueryError> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '/' if !escaped => return Ok((Kind::Regex(rest[1..at].replace("\\/", "/")), at + 1)),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Err(QueryError::new("unclosed /"))
}

fn number(rest: &str) -> (Kind, usize) {
    let mut len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    while rest[..len].parse::<f64>().is_err() {
        len -= 1;
    }
    let number: f64 = rest[..len].parse().unwrap_or_default();
    let unit_len = rest[len..].find(|c| !is_word(c)).unwrap_or(rest.len() - len);
    let unit = &rest[len..len + unit_len];
    match UNITS.iter().find(|(name, _)| is_unit(unit, name)) {
        Some((_, millis)) => (Kind::Duration(number * millis), len + unit_len),
        None => (Kind::Number(number), len),
    }
}

/// `m`, `min`, `mins`, `minute`, `minutes` and the like.
fn is_unit(unit: &str, name: &str) -> bool {
    let long: &[&str] = match name {
        "ms" => &["millisecond", "milliseconds", "msec"],
        "s" => &["second", "seconds", "sec", "secs"],
        "m" => &["minute", "minutes", "min", "mins"],
        "h" => &["hour", "hours", "hr", "hrs"],
        "d" => &["day", "days"],
        _ => &["week", "weeks"],
    };
    unit == name || long.contains(&unit)
}
