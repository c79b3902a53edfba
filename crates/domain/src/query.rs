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

use regex::bytes::{Regex, RegexBuilder};

use crate::{limits::PLACEMENT_EXPRESSION_LENGTH_MAX, time::Timestamp};
use lexer::{Lexer, Token};

/// Parentheses and negations within each other. Each costs stack; nobody nests this deep by hand.
const DEPTH_MAX: usize = 64;
/// Bytes a compiled pattern may take. An expression has room for a hundred patterns.
const PATTERN_BYTES_MAX: usize = 64 << 10;

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

/// Why a text is no expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {at}")]
pub struct QueryError {
    /// What is wrong.
    pub problem: Problem,
    /// The character at which it shows, counted from 1.
    pub at: usize,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
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

impl Expression {
    /// `attribute:NAME == VALUE`.
    pub fn attribute_is(name: &str, value: &str) -> Self {
        let test = Test::Order(Order::Equal, Literal::Text(value.to_owned()));
        Self::Compare(Subject::Attribute(name.to_owned()), test)
    }
}

impl std::str::FromStr for Expression {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        if text.chars().count() > PLACEMENT_EXPRESSION_LENGTH_MAX {
            return Err(QueryError { problem: Problem::TooLong, at: PLACEMENT_EXPRESSION_LENGTH_MAX + 1 });
        }
        let mut parser = Parser { lexer: Lexer::new(text), depth: 0 };
        let parsed = parser.or().and_then(|expression| match parser.lexer.next() {
            None => Ok(expression),
            Some(token) => Err(unexpected("the end", Some(&token))),
        });
        parsed.map_err(|problem| QueryError { problem, at: text[..parser.lexer.last_at()].chars().count() + 1 })
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    depth: usize,
}

type Parsed<T> = Result<T, Problem>;

impl Parser<'_> {
    fn or(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.and()?];
        while self.lexer.accept(&["or", "||"]) {
            parts.push(self.and()?);
        }
        Ok(single_or(parts, Expression::Or))
    }

    fn and(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.unary()?];
        while self.lexer.accept(&["and", "&&"]) {
            parts.push(self.unary()?);
        }
        Ok(single_or(parts, Expression::And))
    }

    fn unary(&mut self) -> Parsed<Expression> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Problem::TooDeep);
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

    fn comparison(&mut self) -> Parsed<Expression> {
        let name = match self.lexer.next() {
            Some(Token::Word(text)) => text,
            other => return Err(unexpected("a subject", other.as_ref())),
        };
        let subject = Subject::parse(&name).ok_or_else(|| Problem::Subject(name.clone()))?;
        let operator = match self.lexer.next() {
            Some(Token::Symbol(symbol)) => symbol.to_owned(),
            Some(Token::Word(word)) => word,
            other => return Err(unexpected("an operator", other.as_ref())),
        };
        let Some(kind) = Kind::of(&operator) else {
            return Err(Problem::Unexpected { expected: "an operator", found: operator });
        };
        if !subject.allows(kind) {
            return Err(Problem::Operator { operator, subject: name });
        }
        let test = self.test(kind, &subject, &name)?;
        Ok(Expression::Compare(subject, test))
    }

    fn test(&mut self, kind: Kind, subject: &Subject, name: &str) -> Parsed<Test> {
        Ok(match kind {
            Kind::Exists => Test::Exists,
            Kind::Absent => Test::Absent,
            Kind::In => Test::In(self.list(subject, name)?),
            Kind::NotIn => Test::NotIn(self.list(subject, name)?),
            Kind::Matches => Test::Matches(self.pattern()?),
            Kind::NotMatches => Test::NotMatches(self.pattern()?),
            Kind::Order(order) => Test::Order(order, self.literal(subject, name)?),
        })
    }

    fn list(&mut self, subject: &Subject, name: &str) -> Parsed<Vec<String>> {
        self.expect("[", "a list in brackets")?;
        let mut values = vec![self.text(subject, name)?];
        while self.lexer.accept(&[","]) {
            values.push(self.text(subject, name)?);
        }
        self.expect("]", "a closing bracket")?;
        Ok(values)
    }

    /// A value of a list; every subject that can be in one is a text.
    fn text(&mut self, subject: &Subject, name: &str) -> Parsed<String> {
        match self.literal(subject, name)? {
            Literal::Text(text) => Ok(text),
            _ => Err(Problem::Operator { operator: "in".to_owned(), subject: name.to_owned() }),
        }
    }

    fn literal(&mut self, subject: &Subject, name: &str) -> Parsed<Literal> {
        let value = match self.lexer.next() {
            Some(Token::Word(text) | Token::Quoted(text)) => text,
            other => return Err(unexpected("a value", other.as_ref())),
        };
        let literal = subject.literal(&value);
        literal.ok_or_else(|| Problem::Value { value, subject: name.to_owned() })
    }

    fn pattern(&mut self) -> Parsed<Regex> {
        let Some(text) = self.lexer.next_raw() else { return Err(unexpected("a pattern", None)) };
        // By itself first: `a)|(b` is only a pattern once something stands around it.
        let compiled = compile(&text).and_then(|_| compile(&format!("^(?:{text})$")));
        compiled.map_err(|_| Problem::Pattern(text))
    }

    fn expect(&mut self, symbol: &'static str, expected: &'static str) -> Parsed<()> {
        if self.lexer.accept(&[symbol]) { Ok(()) } else { Err(unexpected(expected, self.lexer.next().as_ref())) }
    }
}

/// Bytes, not characters: classes such as `\w` and `(?i)` mean ASCII, as they do in Java, and take little room.
fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build()
}

/// What an operator asks, in either of its spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exists,
    Absent,
    In,
    NotIn,
    Matches,
    NotMatches,
    Order(Order),
}

impl Kind {
    fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            "exists" => Self::Exists,
            "!exists" | "not_exists" => Self::Absent,
            "in" => Self::In,
            "!in" | "not_in" => Self::NotIn,
            "=~" | "matches" => Self::Matches,
            "!~" | "not_matches" => Self::NotMatches,
            "==" | "equals" => Self::Order(Order::Equal),
            "!=" | "not_equals" => Self::Order(Order::NotEqual),
            ">" | "greater_than" => Self::Order(Order::Greater),
            ">=" | "greater_than_equal" => Self::Order(Order::GreaterOrEqual),
            "<" | "less_than" => Self::Order(Order::Less),
            "<=" | "less_than_equal" => Self::Order(Order::LessOrEqual),
            _ => return None,
        })
    }
}

impl Subject {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "agentConnected" => Self::AgentConnected,
            "agentVersion" => Self::AgentVersion,
            "ec2InstanceId" => Self::Ec2InstanceId,
            "registeredAt" => Self::RegisteredAt,
            "runningTasksCount" => Self::RunningTasksCount,
            "task:group" => Self::TaskGroup,
            _ => {
                let name = text.strip_prefix("attribute:").filter(|name| !name.is_empty())?;
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/\\".contains(&byte);
                return name.bytes().all(allowed).then(|| Self::Attribute(name.to_owned()));
            }
        })
    }

    fn allows(&self, kind: Kind) -> bool {
        let equality = matches!(kind, Kind::Order(Order::Equal | Order::NotEqual));
        match self {
            Self::Attribute(_) => true,
            Self::AgentConnected | Self::Ec2InstanceId | Self::TaskGroup => {
                equality || matches!(kind, Kind::In | Kind::NotIn | Kind::Matches | Kind::NotMatches)
            }
            Self::AgentVersion | Self::RegisteredAt | Self::RunningTasksCount => matches!(kind, Kind::Order(_)),
        }
    }

    /// The value as the subject's type; none when it is not of that type.
    fn literal(&self, text: &str) -> Option<Literal> {
        match self {
            Self::RunningTasksCount => text.parse().ok().map(Literal::Number),
            Self::RegisteredAt => crate::iso8601::parse(text).map(Literal::Moment),
            Self::AgentVersion => evaluate::version(text).map(Literal::Version),
            Self::AgentConnected => matches!(text, "true" | "false").then(|| Literal::Text(text.to_owned())),
            Self::Ec2InstanceId | Self::TaskGroup | Self::Attribute(_) => Some(Literal::Text(text.to_owned())),
        }
    }
}

fn single_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

fn unexpected(expected: &'static str, found: Option<&Token>) -> Problem {
    let found = match found {
        Some(Token::Word(text) | Token::Quoted(text)) => text.clone(),
        Some(Token::Symbol(symbol)) => (*symbol).to_owned(),
        None => "the end".to_owned(),
    };
    Problem::Unexpected { expected, found }
}

#[cfg(test)]
mod tests;
