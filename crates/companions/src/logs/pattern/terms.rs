//! Patterns of terms: `ERROR timeout`, `?ERROR ?WARN`, `ERROR -"health check"`, `%ab+c%`.

use regex::Regex;

use super::PatternError;
use super::value::Cursor;

/// Most regular expressions in one pattern.
const REGEXES_MAX: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::logs) struct Terms {
    /// All must be in the message.
    required: Vec<Term>,
    /// One must be in the message, when none is required.
    any: Vec<Term>,
    /// None may be in the message.
    excluded: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Terms {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut terms = Self::default();
        let mut cursor = Cursor(text);
        let mut regexes = 0;
        loop {
            cursor.skip_space();
            if cursor.0.is_empty() {
                return Ok(terms);
            }
            let list = if cursor.take("-") {
                &mut terms.excluded
            } else if cursor.take("?") {
                &mut terms.any
            } else {
                &mut terms.required
            };
            let term = take_term(&mut cursor)?;
            regexes += usize::from(matches!(term, Term::Regex(_)));
            if regexes > REGEXES_MAX {
                return Err(PatternError::Syntax);
            }
            list.push(term);
        }
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let has = |term: &Term| term.is_in(message);
        let wanted = match self.required.is_empty() && !self.any.is_empty() {
            true => self.any.iter().any(has),
            false => self.required.iter().all(has),
        };
        wanted && !self.excluded.iter().any(has)
    }
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Term::Text(text) => message.contains(text.as_str()),
            Term::Regex(regex) => regex.is_match(message),
        }
    }
}

fn take_term(cursor: &mut Cursor<'_>) -> Result<Term, PatternError> {
    match cursor.0.chars().next() {
        Some('"') => cursor.take_quoted('"').map(Term::Text),
        Some('%') => cursor.take_regex().map(Term::Regex),
        _ => {
            let word = cursor.take_while(|c| !c.is_whitespace());
            if word.is_empty() {
                return Err(PatternError::Syntax);
            }
            if !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(PatternError::Term(word.to_owned()));
            }
            Ok(Term::Text(word.to_owned()))
        }
    }
}
