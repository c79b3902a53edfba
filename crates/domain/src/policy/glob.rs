//! Patterns with `*` (any run of characters) and `?` (one character).

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// These characters.
    Text(String),
    /// `?`
    One,
    /// `*`
    Many,
}

/// A pattern ready to be matched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    /// `*` and `?` in `pattern` are wildcards.
    pub(super) fn parse(pattern: &str) -> Self {
        let mut glob = Self::default();
        glob.push_pattern(pattern);
        glob
    }

    /// Adds `pattern`, whose `*` and `?` are wildcards.
    pub(super) fn push_pattern(&mut self, pattern: &str) {
        for character in pattern.chars() {
            match character {
                '*' => self.push(Token::Many),
                '?' => self.push(Token::One),
                other => self.push_text(other.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// Adds `text` as it is.
    pub(super) fn push_text(&mut self, text: &str) {
        match self.tokens.last_mut() {
            Some(Token::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.tokens.push(Token::Text(text.to_owned())),
        }
    }

    fn push(&mut self, token: Token) {
        // A second `*` in a row says nothing new.
        if token != Token::Many || self.tokens.last() != Some(&Token::Many) {
            self.tokens.push(token);
        }
    }

    /// The same pattern for text in lower case.
    pub(super) fn to_lowercase(&self) -> Self {
        let lower = |token: &Token| match token {
            Token::Text(text) => Token::Text(text.to_lowercase()),
            other => other.clone(),
        };
        Self { tokens: self.tokens.iter().map(lower).collect() }
    }

    /// Whether all of `text` matches.
    ///
    /// Between two `*` the first place that fits is as good as any later one, so nothing is ever tried twice: the time
    /// is linear in the text for each run of `?`, and there is no backtracking.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut segments = self.tokens.split(|token| *token == Token::Many);
        let Some(rest) = segments.next().and_then(|first| after(first, text)) else { return false };
        let Some(last) = segments.next_back() else { return rest.is_empty() };
        let mut rest = rest;
        for segment in segments {
            match find(segment, rest) {
                Some(next) => rest = next,
                None => return false,
            }
        }
        ends_with(last, rest)
    }
}

/// What follows `segment` at the beginning of `text`.
fn after<'t>(segment: &[Token], text: &'t str) -> Option<&'t str> {
    segment.iter().try_fold(text, |rest, token| match token {
        Token::Text(expected) => rest.strip_prefix(expected.as_str()),
        Token::One | Token::Many => skip_one(rest),
    })
}

/// What follows the first occurrence of `segment` in `text`.
fn find<'t>(segment: &[Token], text: &'t str) -> Option<&'t str> {
    let Some(Token::Text(first)) = segment.first() else {
        let mut from = text;
        loop {
            if let Some(rest) = after(segment, from) {
                return Some(rest);
            }
            from = skip_one(from)?;
        }
    };
    let mut from = text;
    loop {
        from = &from[from.find(first.as_str())?..];
        if let Some(rest) = after(segment, from) {
            return Some(rest);
        }
        from = skip_one(from)?;
    }
}

fn ends_with(segment: &[Token], text: &str) -> bool {
    let before = segment.iter().rev().try_fold(text, |rest, token| match token {
        Token::Text(expected) => rest.strip_suffix(expected.as_str()),
        Token::One | Token::Many => {
            let mut characters = rest.chars();
            characters.next_back().map(|_| characters.as_str())
        }
    });
    before.is_some()
}

fn skip_one(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next().map(|_| characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_runs_and_single_characters() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b:c", true),
            ("**", "a", true),
            ("?", "", false),
            ("?", "é", true),
            ("?", "ab", false),
            ("a?c", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("*ab*", "xxaxabx", true),
            ("*a?c*", "aac abd abc", true),
            ("*a?c*", "aa abd abd", false),
            ("a*b*c", "a-c-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*?", "", false),
            ("*?", "x", true),
            ("?*?", "x", false),
            ("?*?", "xy", true),
            ("*?b?*", "aba", true),
            ("abc", "ABC", false),
        ] {
            assert_eq!(Glob::parse(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_wildcards_do_not_multiply() {
        let pattern = "*a".repeat(2_000) + "b";
        assert!(!Glob::parse(&pattern).matches(&"a".repeat(20_000)));
    }
}
