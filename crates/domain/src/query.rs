//! The cluster query language: `memberOf` constraints and the `filter` of ListContainerInstances.
//!
//! ```text
//! expr       := and ( ("or" | "||") and )*
//! and        := unary ( ("and" | "&&") unary )*
//! unary      := ("not" | "!") unary | "(" expr ")" | comparison
//! comparison := subject ("exists" | "!exists" | "not_exists")
//!             | subject ("in" | "!in" | "not_in") "[" value ("," value)* "]"
//!             | subject ("==" | "!=" | ">" | ">=" | "<" | "<=" | "=~" | "!~", or their words) value
//! subject    := "attribute:" NAME | "task:group" | "agentConnected" | "agentVersion" | "ec2InstanceId"
//!             | "registeredAt" | "runningTasksCount"
//! ```
//!
//! A comparison with an absent attribute is false, `!=` too. Patterns match the whole value. Parsing never panics and is
//! bounded: so are the length of a text ([`PLACEMENT_EXPRESSION_LENGTH_MAX`]), nesting, and the size of patterns.

mod evaluate;
mod lexer;

use regex::Regex;

use crate::{limits::PLACEMENT_EXPRESSION_LENGTH_MAX, time::Timestamp};
use lexer::{Lexer, Token};

/// Parentheses and negations within each other. Each costs stack; nobody nests this deep by hand.
const DEPTH_MAX: usize = 64;
/// Bytes a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A parsed expression.
#[derive(Debug, Clone)]
pub enum Expression {
    /// Any is true.
    Or(Vec<Expression>),
    /// All are true.
    And(Vec<Expression>),
    /// It is false.
    Not(Box<Expression>),
    /// About one subject.
    Compare(Subject, Test),
}

/// What a comparison is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the language's")]
pub enum Subject {
    AgentConnected,
    AgentVersion,
    Ec2InstanceId,
    RegisteredAt,
    RunningTasksCount,
    TaskGroup,
    Attribute(String),
}

/// What is asked of the subject.
#[derive(Debug, Clone)]
pub enum Test {
    /// There is one.
    Exists,
    /// There is none.
    Absent,
    /// One of these values.
    In(Vec<String>),
    /// There is a value and it is none of these.
    NotIn(Vec<String>),
    /// In this order with a value.
    Order(Order, Literal),
    /// The whole value matches.
    Matches(Regex),
    /// There is a value and it does not match.
    NotMatches(Regex),
}

/// A comparison of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Order {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A value, read as its subject's type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Literal {
    Text(String),
    Number(i64),
    Moment(Timestamp),
    Version(Vec<u64>),
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than the language allows.
    #[error("longer than {PLACEMENT_EXPRESSION_LENGTH_MAX} characters")]
    TooLong,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// Something else was expected here.
    #[error("expected {expected} but found {found}")]
    Unexpected {
        /// What could stand here.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// The subject does not exist.
    #[error("unknown subject {0}")]
    Subject(String),
    /// The subject cannot be asked that.
    #[error("operator {operator} is not valid for {subject}")]
    Operator {
        /// The operator.
        operator: String,
        /// The subject.
        subject: String,
    },
    /// The value is not of the subject's type.
    #[error("{value} is not a valid value for {subject}")]
    Value {
        /// The value.
        value: String,
        /// The subject.
        subject: String,
    },
    /// The pattern is not a regular expression, or too big.
    #[error("{0} is not a valid pattern")]
    Pattern(String),
}

impl std::str::FromStr for Expression {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        if text.chars().count() > PLACEMENT_EXPRESSION_LENGTH_MAX {
            return Err(QueryError::TooLong);
        }
        let mut parser = Parser { lexer: Lexer::new(text), depth: 0 };
        let expression = parser.or()?;
        match parser.lexer.next() {
            None => Ok(expression),
            Some(token) => Err(unexpected("the end", Some(&token))),
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    depth: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Expression, QueryError> {
        let mut parts = vec![self.and()?];
        while self.lexer.accept(&["or", "||"]) {
            parts.push(self.and()?);
        }
        Ok(single_or(parts, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, QueryError> {
        let mut parts = vec![self.unary()?];
        while self.lexer.accept(&["and", "&&"]) {
            parts.push(self.unary()?);
        }
        Ok(single_or(parts, Expression::And))
    }

    fn unary(&mut self) -> Result<Expression, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::TooDeep);
        }
        let expression = if self.lexer.accept(&["not", "!"]) {
            Expression::Not(Box::new(self.unary()?))
        } else if self.lexer.accept(&["("]) {
            let inner = self.or()?;
            self.expect(")", "a closing parenthesis")?;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn comparison(&mut self) -> Result<Expression, QueryError> {
        let subject_text = self.word("a subject")?;
        let subject = Subject::parse(&subject_text)?;
        let operator = match self.lexer.next() {
            Some(Token::Symbol(symbol)) => symbol.to_owned(),
            Some(Token::Word(word)) => word,
            other => return Err(unexpected("an operator", other.as_ref())),
        };
        let test = self.test(&subject, &subject_text, &operator)?;
        Ok(Expression::Compare(subject, test))
    }

    fn test(&mut self, subject: &Subject, subject_text: &str, operator: &str) -> Result<Test, QueryError> {
        let refused = || QueryError::Operator { operator: operator.to_owned(), subject: subject_text.to_owned() };
        let test = match operator {
            "exists" => Test::Exists,
            "!exists" | "not_exists" => Test::Absent,
            "in" => Test::In(self.list()?),
            "!in" | "not_in" => Test::NotIn(self.list()?),
            "=~" | "matches" => Test::Matches(self.pattern()?),
            "!~" | "not_matches" => Test::NotMatches(self.pattern()?),
            other => {
                let order = Order::parse(other).ok_or_else(|| unexpected_text("an operator", other))?;
                let value = self.value()?;
                Test::Order(order, subject.literal(&value, subject_text)?)
            }
        };
        if subject.allows(&test) { Ok(test) } else { Err(refused()) }
    }

    fn list(&mut self) -> Result<Vec<String>, QueryError> {
        self.expect("[", "a list in brackets")?;
        let mut values = vec![self.value()?];
        while self.lexer.accept(&[","]) {
            values.push(self.value()?);
        }
        self.expect("]", "a closing bracket")?;
        Ok(values)
    }

    fn pattern(&mut self) -> Result<Regex, QueryError> {
        let Some(text) = self.lexer.next_raw() else { return Err(unexpected("a pattern", None)) };
        regex::RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map_err(|_| QueryError::Pattern(text))
    }

    fn value(&mut self) -> Result<String, QueryError> {
        match self.lexer.next() {
            Some(Token::Word(text) | Token::Quoted(text)) => Ok(text),
            other => Err(unexpected("a value", other.as_ref())),
        }
    }

    fn word(&mut self, expected: &'static str) -> Result<String, QueryError> {
        match self.lexer.next() {
            Some(Token::Word(text)) => Ok(text),
            other => Err(unexpected(expected, other.as_ref())),
        }
    }

    fn expect(&mut self, symbol: &'static str, expected: &'static str) -> Result<(), QueryError> {
        if self.lexer.accept(&[symbol]) { Ok(()) } else { Err(unexpected(expected, self.lexer.next().as_ref())) }
    }
}

impl Subject {
    fn parse(text: &str) -> Result<Self, QueryError> {
        let unknown = || QueryError::Subject(text.to_owned());
        match text {
            "agentConnected" => Ok(Self::AgentConnected),
            "agentVersion" => Ok(Self::AgentVersion),
            "ec2InstanceId" => Ok(Self::Ec2InstanceId),
            "registeredAt" => Ok(Self::RegisteredAt),
            "runningTasksCount" => Ok(Self::RunningTasksCount),
            "task:group" => Ok(Self::TaskGroup),
            _ => {
                let name = text.strip_prefix("attribute:").filter(|name| !name.is_empty()).ok_or_else(unknown)?;
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/\\".contains(&byte);
                if name.bytes().all(allowed) { Ok(Self::Attribute(name.to_owned())) } else { Err(unknown()) }
            }
        }
    }

    fn allows(&self, test: &Test) -> bool {
        let ordering =
            matches!(test, Test::Order(Order::Greater | Order::GreaterOrEqual | Order::Less | Order::LessOrEqual, _));
        match self {
            Self::Attribute(_) => true,
            Self::AgentConnected | Self::Ec2InstanceId | Self::TaskGroup => {
                !ordering && !matches!(test, Test::Exists | Test::Absent)
            }
            Self::AgentVersion | Self::RegisteredAt | Self::RunningTasksCount => matches!(test, Test::Order(..)),
        }
    }

    fn literal(&self, text: &str, subject: &str) -> Result<Literal, QueryError> {
        let literal = match self {
            Self::RunningTasksCount => text.parse().ok().map(Literal::Number),
            Self::RegisteredAt => crate::iso8601::parse(text).map(Literal::Moment),
            Self::AgentVersion => evaluate::version(text).map(Literal::Version),
            _ => Some(Literal::Text(text.to_owned())),
        };
        literal.ok_or_else(|| QueryError::Value { value: text.to_owned(), subject: subject.to_owned() })
    }
}

impl Order {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "==" | "equals" => Self::Equal,
            "!=" | "not_equals" => Self::NotEqual,
            ">" | "greater_than" => Self::Greater,
            ">=" | "greater_than_equal" => Self::GreaterOrEqual,
            "<" | "less_than" => Self::Less,
            "<=" | "less_than_equal" => Self::LessOrEqual,
            _ => return None,
        })
    }
}

fn single_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

fn unexpected(expected: &'static str, found: Option<&Token>) -> QueryError {
    let found = match found {
        Some(Token::Word(text) | Token::Quoted(text)) => text.clone(),
        Some(Token::Symbol(symbol)) => (*symbol).to_owned(),
        None => "the end".to_owned(),
    };
    QueryError::Unexpected { expected, found }
}

fn unexpected_text(expected: &'static str, found: &str) -> QueryError {
    QueryError::Unexpected { expected, found: found.to_owned() }
}

#[cfg(test)]
mod tests;
