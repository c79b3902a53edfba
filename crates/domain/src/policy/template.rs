//! Texts with policy variables: `${aws:username}`, `${aws:PrincipalTag/team, 'none'}`, and `${*}`, `${?}`, `${$}` for
//! the characters themselves.

use std::borrow::Cow;

use super::{error::Problem, evaluate::Asked, glob::Glob};

/// What a text of a policy may contain besides characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    /// `${…}` is a variable. Since version 2012-10-17; before, it is text.
    pub(super) variables: bool,
    /// `*` and `?` are wildcards.
    pub(super) wildcards: bool,
}

/// A text whose variables are filled in for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Template {
    /// Without variables.
    Fixed(Glob),
    /// With some.
    Open(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Taken as a pattern.
    Pattern(String),
    /// Taken as it is.
    Text(String),
    Variable {
        key: String,
        default: Option<String>,
    },
}

impl Template {
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Self, Problem> {
        let plain = |text: &str| {
            if syntax.wildcards { Piece::Pattern(text.to_owned()) } else { Piece::Text(text.to_owned()) }
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${").filter(|_| syntax.variables) {
            pieces.push(plain(&rest[..at]));
            let inside = &rest[at + 2..];
            let end = end_of_variable(inside).ok_or_else(|| Problem::Variable(text.to_owned()))?;
            pieces.push(variable(&inside[..end]).ok_or_else(|| Problem::Variable(text.to_owned()))?);
            rest = &inside[end + 1..];
        }
        pieces.push(plain(rest));
        if pieces.iter().any(|piece| matches!(piece, Piece::Variable { .. })) {
            return Ok(Self::Open(pieces));
        }
        let mut glob = Glob::default();
        pieces.iter().for_each(|piece| piece.push_to(&mut glob));
        Ok(Self::Fixed(glob))
    }

    /// Whether the value depends on the request.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// The pattern for this request; none when a variable has no single value and no default.
    pub(super) fn resolve(&self, asked: &Asked<'_>) -> Option<Cow<'_, Glob>> {
        let pieces = match self {
            Self::Fixed(glob) => return Some(Cow::Borrowed(glob)),
            Self::Open(pieces) => pieces,
        };
        let mut glob = Glob::default();
        for piece in pieces {
            match piece {
                Piece::Variable { key, default } => {
                    let found = asked.value(key);
                    let value = found.as_ref().and_then(|found| found.single()).or(default.as_deref())?;
                    glob.push_text(value);
                }
                other => other.push_to(&mut glob),
            }
        }
        Some(Cow::Owned(glob))
    }

    /// Whether `text` matches in this request.
    pub(super) fn matches(&self, text: &str, asked: &Asked<'_>) -> bool {
        self.resolve(asked).is_some_and(|glob| glob.matches(text))
    }
}

impl Piece {
    fn push_to(&self, glob: &mut Glob) {
        match self {
            Self::Pattern(text) => glob.push_pattern(text),
            Self::Text(text) => glob.push_text(text),
            Self::Variable { .. } => {}
        }
    }
}

/// Where the `}` of a variable is; one within a quoted default does not count.
pub(super) fn end_of_variable(inside: &str) -> Option<usize> {
    let mut quoted = false;
    inside.char_indices().find_map(|(at, character)| {
        quoted ^= character == '\'';
        (character == '}' && !quoted).then_some(at)
    })
}

fn variable(inside: &str) -> Option<Piece> {
    if matches!(inside, "*" | "?" | "$") {
        return Some(Piece::Text(inside.to_owned()));
    }
    let (key, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((key, default)) => (key, Some(default.trim().strip_prefix('\'')?.strip_suffix('\'')?.to_owned())),
    };
    let key = key.trim();
    let valid = key.contains(':') && !key.contains(['{', '$', '*', '?', '\'']);
    valid.then(|| Piece::Variable { key: key.to_lowercase(), default })
}
