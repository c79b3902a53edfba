//! Words, quoted texts and symbols of an expression.

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word: subject, keyword or value.
    Word(String),
    /// A text in quotes, without them.
    Quoted(String),
    /// An operator or a bracket.
    Symbol(&'static str),
}

/// Longer symbols first: `!=` must not be read as `!` and `=`.
const SYMBOLS: [&str; 18] =
    ["!exists", "!in", "==", "!=", ">=", "<=", "=~", "!~", "&&", "||", ">", "<", "!", "(", ")", "[", "]", ","];

pub(super) struct Lexer<'a> {
    rest: &'a str,
    length: usize,
    /// Where the last token that was read begins.
    last_at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, length: text.len(), last_at: 0 }
    }

    /// Where the last token that was read begins, in bytes; the end when there was none left.
    pub(super) fn last_at(&self) -> usize {
        self.last_at
    }

    fn skip_white_space(&mut self) {
        self.rest = self.rest.trim_start();
        self.last_at = self.length - self.rest.len();
    }

    /// The next token; an unclosed quote runs to the end and is refused by being no word.
    pub(super) fn next(&mut self) -> Option<Token> {
        self.skip_white_space();
        let first = self.rest.chars().next()?;
        if first == '\'' || first == '"' {
            return Some(self.quoted(first));
        }
        if let Some(symbol) = self.symbol() {
            self.rest = &self.rest[symbol.len()..];
            return Some(Token::Symbol(symbol));
        }
        let end = self.rest.find(ends_word).unwrap_or(self.rest.len());
        // A lone `=`, `&` or `|` would not move on otherwise.
        let end = if end == 0 { first.len_utf8() } else { end };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Token::Word(word.to_owned()))
    }

    /// A pattern: in quotes, or everything up to white space or the parenthesis that closes the expression around it.
    pub(super) fn next_raw(&mut self) -> Option<String> {
        self.skip_white_space();
        let first = self.rest.chars().next()?;
        if first == '\'' || first == '"' {
            return match self.quoted(first) {
                Token::Quoted(text) => Some(text),
                _ => None,
            };
        }
        let mut open = 0_usize;
        let end = self.rest.find(|letter: char| match letter {
            '(' => {
                open += 1;
                false
            }
            ')' if open == 0 => true,
            ')' => {
                open -= 1;
                false
            }
            other => other.is_whitespace(),
        });
        let (pattern, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Some(pattern.to_owned()).filter(|pattern| !pattern.is_empty())
    }

    /// Takes the next token if it is one of these words or symbols.
    pub(super) fn accept(&mut self, wanted: &[&str]) -> bool {
        let before = self.rest;
        let found = match self.next() {
            Some(Token::Word(word)) => wanted.contains(&word.as_str()),
            Some(Token::Symbol(symbol)) => wanted.contains(&symbol),
            _ => false,
        };
        if !found {
            self.rest = before;
        }
        found
    }

    fn quoted(&mut self, quote: char) -> Token {
        let inner = &self.rest[quote.len_utf8()..];
        match inner.split_once(quote) {
            Some((text, rest)) => {
                self.rest = rest;
                Token::Quoted(text.to_owned())
            }
            None => {
                self.rest = "";
                Token::Symbol("\"")
            }
        }
    }

    fn symbol(&self) -> Option<&'static str> {
        let symbol = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol))?;
        // `!inside` is `!` and a word, not `!in`.
        let is_word = symbol.ends_with(|letter: char| letter.is_ascii_alphabetic());
        let after = self.rest[symbol.len()..].chars().next();
        if is_word && after.is_some_and(|letter| !ends_word(letter)) { Some("!") } else { Some(symbol) }
    }
}

fn ends_word(letter: char) -> bool {
    letter.is_whitespace() || "'\"()[],=!<>&|".contains(letter)
}
