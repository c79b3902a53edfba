//! From words to commands.

use regex::Regex;

use super::QueryError;
use super::aggregate::Aggregate;
use super::expression::{Comparison, Expression};
use super::lex::{Kind, Token, lex};
use super::value::Value;

/// Deepest nesting of an expression.
const DEPTH_MAX: usize = 100;

/// One command of a query.
#[derive(Debug, Clone)]
pub(super) enum Command {
    Fields(Vec<Column>),
    Display(Vec<Column>),
    Filter(Expression),
    Stats { columns: Vec<(Aggregate, String)>, by: Vec<Column> },
    Sort(Vec<(Expression, Direction)>),
    Limit(usize),
    Parse { source: Expression, pattern: Regex, names: Vec<String> },
    Dedup(Vec<Column>),
}

/// An expression and the name of what it comes to.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) expression: Expression,
    pub(super) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// Parses a query.
pub(super) fn parse(query: &str) -> Result<Vec<Command>, QueryError> {
    let tokens = lex(query)?;
    let mut parser = Parser { query, tokens: &tokens, at: 0, depth: 0 };
    let mut commands = Vec::new();
    parser.take("|");
    loop {
        commands.push(parser.command()?);
        if parser.at == tokens.len() {
            return Ok(commands);
        }
        parser.expect("|")?;
    }
}

struct Parser<'a> {
    query: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn command(&mut self) -> Result<Command, QueryError> {
        let name = self.word()?.to_ascii_lowercase();
        match name.as_str() {
            "fields" => self.columns().map(Command::Fields),
            "display" => self.columns().map(Command::Display),
            "filter" => self.expression().map(Command::Filter),
            "stats" => self.stats(),
            "sort" => self.sort(),
            "limit" | "head" | "tail" => self.limit(),
            "parse" => self.parse_command(),
            "dedup" => self.columns().map(Command::Dedup),
            _ => Err(QueryError::new(format!("unexpected symbol found {name}"))),
        }
    }

    fn columns(&mut self) -> Result<Vec<Column>, QueryError> {
        self.list(Self::column)
    }

    fn column(&mut self) -> Result<Column, QueryError> {
        let start = self.at;
        let expression = self.expression()?;
        let name = match &expression {
            Expression::Field(name) => name.clone(),
            _ => self.source(start),
        };
        Ok(Column { expression, name: self.alias()?.unwrap_or(name) })
    }

    fn stats(&mut self) -> Result<Command, QueryError> {
        let columns = self.list(Self::aggregate)?;
        let by = if self.take_word("by") { self.columns()? } else { Vec::new() };
        Ok(Command::Stats { columns, by })
    }

    fn aggregate(&mut self) -> Result<(Aggregate, String), QueryError> {
        let start = self.at;
        let function = self.word()?;
        self.expect("(")?;
        let mut arguments = Vec::new();
        if !self.take("*") && !self.peek(")") {
            arguments = self.list(Self::expression)?;
        }
        self.expect(")")?;
        let name = self.source(start);
        Ok((Aggregate::new(&function, arguments)?, self.alias()?.unwrap_or(name)))
    }

    fn sort(&mut self) -> Result<Command, QueryError> {
        let keys = self.list(|parser| {
            let expression = parser.expression()?;
            let direction = match parser.take_word("desc") {
                true => Direction::Descending,
                false => Direction::Ascending,
            };
            parser.take_word("asc");
            Ok((expression, direction))
        })?;
        Ok(Command::Sort(keys))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a small whole number")]
    fn limit(&mut self) -> Result<Command, QueryError> {
        match self.next() {
            Some(Kind::Number(number)) if number.fract() == 0.0 && (1.0..=100_000.0).contains(&number) => {
                Ok(Command::Limit(number as usize))
            }
            _ => Err(QueryError::new("limit must be a number between 1 and 100000")),
        }
    }

    /// `parse FIELD "… * …" as a, b`, `parse "…" as a` (of the message), `parse FIELD /…(?<a>…)…/`.
    fn parse_command(&mut self) -> Result<Command, QueryError> {
        let source = match self.tokens.get(self.at).map(|token| &token.kind) {
            Some(Kind::Text(_) | Kind::Regex(_)) => Expression::Field("@message".to_owned()),
            _ => Expression::Field(self.word()?),
        };
        match self.next() {
            Some(Kind::Text(glob)) => {
                if !self.take_word("as") {
                    return Err(QueryError::new("parse needs names: as a, b"));
                }
                let names = self.list(Self::word)?;
                let pattern = glob_regex(&glob)?;
                if pattern.captures_len() != names.len() + 1 {
                    return Err(QueryError::new("parse needs as many names as the pattern has *"));
                }
                Ok(Command::Parse { source, pattern, names })
            }
            Some(Kind::Regex(regex)) => {
                let pattern = compile(&regex)?;
                let names = pattern.capture_names().flatten().map(str::to_owned).collect();
                Ok(Command::Parse { source, pattern, names })
            }
            _ => Err(QueryError::new("parse needs a pattern")),
        }
    }

    fn expression(&mut self) -> Result<Expression, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::new("the query is nested too deeply"));
        }
        let mut left = self.conjunction()?;
        while self.take_word("or") {
            left = Expression::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expression, QueryError> {
        let mut left = self.negation()?;
        while self.take_word("and") {
            left = Expression::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expression, QueryError> {
        let mut negations = 0;
        while self.take_word("not") {
            negations += 1;
        }
        let inner = self.comparison()?;
        Ok(if negations % 2 == 1 { Expression::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Result<Expression, QueryError> {
        let left = self.sum()?;
        if self.take_word("not") {
            let inner = self.membership(left)?;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.peek_word("in") || self.peek_word("like") || self.peek("=~") {
            return self.membership(left);
        }
        let comparisons = [
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("=", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let Some((_, comparison)) = comparisons.into_iter().find(|(symbol, _)| self.take(symbol)) else {
            return Ok(left);
        };
        Ok(Expression::Compare(comparison, Box::new(left), Box::new(self.sum()?)))
    }

    /// `in [..]`, `like "x"`, `like /x/`, `=~ /x/`.
    fn membership(&mut self, left: Expression) -> Result<Expression, QueryError> {
        if self.take_word("in") {
            self.expect("[")?;
            let list = self.list(Self::sum)?;
            self.expect("]")?;
            return Ok(Expression::In(Box::new(left), list));
        }
        if !self.take_word("like") {
            self.expect("=~")?;
        }
        match self.next() {
            Some(Kind::Text(text)) => Ok(Expression::Contains(Box::new(left), text)),
            Some(Kind::Regex(regex)) => Ok(Expression::Matches(Box::new(left), compile(&regex)?)),
            _ => Err(QueryError::new("like needs a text or a regular expression")),
        }
    }

    fn sum(&mut self) -> Result<Expression, QueryError> {
        self.binary(&['+', '-'], |parser| parser.binary(&['*', '/', '%'], |parser| parser.binary(&['^'], Self::unary)))
    }

    fn binary(
        &mut self,
        operators: &[char],
        mut operand: impl FnMut(&mut Self) -> Result<Expression, QueryError>,
    ) -> Result<Expression, QueryError> {
        let mut left = operand(self)?;
        loop {
            let operator = operators.iter().find(|operator| self.take(operator.encode_utf8(&mut [0; 4])));
            let Some(operator) = operator else { return Ok(left) };
            left = Expression::Arithmetic(*operator, Box::new(left), Box::new(operand(self)?));
        }
    }

    fn unary(&mut self) -> Result<Expression, QueryError> {
        if self.take("-") {
            let zero = Expression::Literal(Value::Number(0.0));
            return Ok(Expression::Arithmetic('-', Box::new(zero), Box::new(self.primary()?)));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expression, QueryError> {
        if self.take("(") {
            let inner = self.expression()?;
            self.expect(")")?;
            return Ok(inner);
        }
        match self.next() {
            Some(Kind::Number(number) | Kind::Duration(number)) => Ok(Expression::Literal(Value::Number(number))),
            Some(Kind::Text(text)) => Ok(Expression::Literal(Value::Text(text))),
            Some(Kind::Word(name)) if self.peek("(") => {
                self.expect("(")?;
                let arguments = if self.peek(")") { Vec::new() } else { self.list(Self::expression)? };
                self.expect(")")?;
                Expression::call(&name, arguments)
            }
            Some(Kind::Word(name)) => Ok(match name.as_str() {
                "true" => Expression::Literal(Value::Bool(true)),
                "false" => Expression::Literal(Value::Bool(false)),
                _ => Expression::Field(name),
            }),
            _ => Err(self.unexpected()),
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, QueryError>) -> Result<Vec<T>, QueryError> {
        let mut items = vec![item(self)?];
        while self.take(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn alias(&mut self) -> Result<Option<String>, QueryError> {
        if self.take_word("as") { self.word().map(Some) } else { Ok(None) }
    }

    /// The query's text from a word on to the last one taken.
    fn source(&self, start: usize) -> String {
        let from = self.tokens.get(start).map_or(0, |token| token.start);
        let to = self.tokens.get(self.at.saturating_sub(1)).map_or(from, |token| token.end);
        self.query.get(from..to).unwrap_or_default().to_owned()
    }

    fn next(&mut self) -> Option<Kind> {
        let kind = self.tokens.get(self.at).map(|token| token.kind.clone());
        self.at += usize::from(kind.is_some());
        kind
    }

    fn word(&mut self) -> Result<String, QueryError> {
        match self.tokens.get(self.at).map(|token| &token.kind) {
            Some(Kind::Word(word)) => {
                self.at += 1;
                Ok(word.clone())
            }
            _ => {
                self.at += 1;
                Err(self.unexpected())
            }
        }
    }

    fn peek(&self, symbol: &str) -> bool {
        matches!(self.tokens.get(self.at).map(|token| &token.kind), Some(Kind::Symbol(found)) if *found == symbol)
    }

    fn peek_word(&self, word: &str) -> bool {
        let kind = self.tokens.get(self.at).map(|token| &token.kind);
        matches!(kind, Some(Kind::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn take(&mut self, symbol: &str) -> bool {
        let taken = self.peek(symbol);
        self.at += usize::from(taken);
        taken
    }

    fn take_word(&mut self, word: &str) -> bool {
        let taken = self.peek_word(word);
        self.at += usize::from(taken);
        taken
    }

    fn expect(&mut self, symbol: &str) -> Result<(), QueryError> {
        if self.take(symbol) {
            return Ok(());
        }
        self.at += 1;
        Err(self.unexpected())
    }

    /// The word just taken does not belong there.
    fn unexpected(&self) -> QueryError {
        match self.tokens.get(self.at.saturating_sub(1)) {
            Some(token) if self.at <= self.tokens.len() => {
                QueryError::new(format!("unexpected symbol found {}", &self.query[token.start..token.end]))
            }
            _ => QueryError::new("unexpected end of the query"),
        }
    }
}

/// `*` takes as little as possible, the last one up to the end.
fn glob_regex(glob: &str) -> Result<Regex, QueryError> {
    let parts: Vec<String> = glob.split('*').map(regex::escape).collect();
    let joined = parts.join("(.*?)");
    compile(&if glob.ends_with('*') { format!("(?s){joined}$") } else { format!("(?s){joined}") })
}

fn compile(text: &str) -> Result<Regex, QueryError> {
    Regex::new(text).map_err(|_| QueryError::new(format!("invalid regular expression {text}")))
}
