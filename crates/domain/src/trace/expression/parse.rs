//! Reading filter expressions: AND before OR, NOT before both.

use super::super::segment::Annotation;
use super::{Comparison, ExpressionError, Flag, Node, Number, Text};

/// Parentheses, negations and services inside of each other.
const DEPTH_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A keyword, or a number or truth as it is written.
    Word(String),
    Quoted(String),
    /// `annotation[…]`: what is in the brackets.
    Bracketed(String),
    /// One or two characters.
    Sign(&'static str),
}

pub(super) fn expression(text: &str) -> Result<Node, ExpressionError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let node = parser.alternatives(DEPTH_MAX)?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(ExpressionError(format!("{token:?} is not expected"))),
    }
}

const SIGNS: [&str; 12] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", "{", "}", "!", ","];

fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let unclosed = |what: &str| ExpressionError(format!("{what} is not closed"));
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if matches!(first, '"' | '\'') {
            let (quoted, after) = rest[1..].split_once(first).ok_or_else(|| unclosed("a quotation mark"))?;
            tokens.push(Token::Quoted(quoted.to_owned()));
            rest = after;
        } else if first == '[' {
            let (inner, after) = rest[1..].split_once(']').ok_or_else(|| unclosed("a bracket"))?;
            tokens.push(Token::Bracketed(inner.trim_matches(['"', '\'']).to_owned()));
            rest = after;
        } else {
            let is_end = |one: char| one.is_whitespace() || "!=<>(){},\"'[".contains(one);
            let end = rest.find(is_end).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    /// Takes a word in any case, or a sign, when it comes next.
    fn takes(&mut self, wanted: &str) -> bool {
        let is = match self.peek() {
            Some(Token::Word(word)) => word.eq_ignore_ascii_case(wanted),
            Some(Token::Sign(sign)) => *sign == wanted,
            _ => false,
        };
        self.at += usize::from(is);
        is
    }

    fn needs(&mut self, wanted: &str) -> Result<(), ExpressionError> {
        if self.takes(wanted) { Ok(()) } else { Err(ExpressionError(format!("{wanted} is missing"))) }
    }

    fn alternatives(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let mut node = self.conjunction(depth)?;
        while self.takes("OR") {
            node = Node::Or(Box::new(node), Box::new(self.conjunction(depth)?));
        }
        Ok(node)
    }

    fn conjunction(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let mut node = self.one(depth)?;
        while self.takes("AND") {
            node = Node::And(Box::new(node), Box::new(self.one(depth)?));
        }
        Ok(node)
    }

    fn one(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let depth = depth.checked_sub(1).ok_or_else(|| ExpressionError("too many levels".to_owned()))?;
        if self.takes("!") || self.takes("NOT") {
            return Ok(Node::Not(Box::new(self.one(depth)?)));
        }
        if self.takes("(") {
            let node = self.alternatives(depth)?;
            self.needs(")")?;
            return Ok(node);
        }
        match self.next() {
            Some(Token::Word(word)) => self.keyword(&word, depth),
            Some(token) => Err(ExpressionError(format!("{token:?} is not expected"))),
            None => Err(ExpressionError("it ends early".to_owned())),
        }
    }

    fn keyword(&mut self, word: &str, depth: usize) -> Result<Node, ExpressionError> {
        let lower = word.to_ascii_lowercase();
        if let Some(name) = annotation(word) {
            let name = match (name, self.peek()) {
                ("", Some(Token::Bracketed(name))) => {
                    let name = name.clone();
                    self.at += 1;
                    name
                }
                ("", _) => return Err(ExpressionError("an annotation has no name".to_owned())),
                (name, _) => name.to_owned(),
            };
            return Ok(Node::Annotation(name, self.compared()?));
        }
        if let Some(flag) = flag(&lower) {
            return self.flag(flag);
        }
        if let Some(number) = number(&lower) {
            return match self.compared()? {
                Some((comparison, Annotation::Number(wanted))) if !comparison.is_of_texts() => {
                    Ok(Node::Number(number, comparison, wanted))
                }
                _ => Err(ExpressionError(format!("{word} is compared with a number"))),
            };
        }
        if let Some(text) = text(&lower) {
            return match self.compared()? {
                Some((comparison, Annotation::Text(wanted))) if !comparison.is_of_numbers() => {
                    Ok(Node::Text(text, comparison, wanted))
                }
                _ => Err(ExpressionError(format!("{word} is compared with a text"))),
            };
        }
        match lower.as_str() {
            "service" => self.service(depth),
            "id" => {
                let id = self.argument()?.ok_or_else(|| ExpressionError("id needs a trace's id".to_owned()))?;
                Ok(Node::Id(id))
            }
            _ => Err(ExpressionError(format!("{word} is not known"))),
        }
    }

    fn flag(&mut self, flag: Flag) -> Result<Node, ExpressionError> {
        match self.compared()? {
            None | Some((Comparison::Equal, Annotation::Boolean(true))) => Ok(Node::Flag(flag)),
            Some((Comparison::NotEqual, Annotation::Boolean(false))) => Ok(Node::Flag(flag)),
            Some((Comparison::Equal | Comparison::NotEqual, Annotation::Boolean(_))) => {
                Ok(Node::Not(Box::new(Node::Flag(flag))))
            }
            _ => Err(ExpressionError("true or false is missing".to_owned())),
        }
    }

    fn service(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let name = self.argument()?;
        if !self.takes("{") {
            return Ok(Node::Service(name, None));
        }
        let inner = self.alternatives(depth)?;
        self.needs("}")?;
        Ok(Node::Service(name, Some(Box::new(inner))))
    }

    /// `("…")` or `()`.
    fn argument(&mut self) -> Result<Option<String>, ExpressionError> {
        self.needs("(")?;
        let argument = match self.peek() {
            Some(Token::Quoted(text)) => Some(text.clone()),
            _ => None,
        };
        self.at += usize::from(argument.is_some());
        self.needs(")")?;
        Ok(argument)
    }

    /// A comparison, when one follows.
    fn compared(&mut self) -> Result<Option<(Comparison, Annotation)>, ExpressionError> {
        const COMPARISONS: [(&str, Comparison); 9] = [
            ("=", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            ("<", Comparison::Less),
            (">=", Comparison::GreaterOrEqual),
            (">", Comparison::Greater),
            ("CONTAINS", Comparison::Contains),
            ("BEGINSWITH", Comparison::BeginsWith),
            ("ENDSWITH", Comparison::EndsWith),
        ];
        let Some((_, comparison)) = COMPARISONS.into_iter().find(|(sign, _)| self.takes(sign)) else {
            return Ok(None);
        };
        let value = match self.next() {
            Some(Token::Quoted(text)) => Annotation::Text(text),
            Some(Token::Word(word)) => match (word.to_ascii_lowercase().as_str(), word.parse::<f64>()) {
                ("true", _) => Annotation::Boolean(true),
                ("false", _) => Annotation::Boolean(false),
                (_, Ok(number)) if number.is_finite() => Annotation::Number(number),
                _ => return Err(ExpressionError(format!("{word} is no value"))),
            },
            _ => return Err(ExpressionError("a value is missing".to_owned())),
        };
        Ok(Some((comparison, value)))
    }
}

impl Comparison {
    fn is_of_texts(self) -> bool {
        matches!(self, Self::Contains | Self::BeginsWith | Self::EndsWith)
    }

    fn is_of_numbers(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

/// What comes after `annotation.`; nothing when brackets follow.
fn annotation(word: &str) -> Option<&str> {
    let rest = word.get("annotation".len()..)?;
    if !word.get(.."annotation".len())?.eq_ignore_ascii_case("annotation") {
        return None;
    }
    if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
}

fn flag(word: &str) -> Option<Flag> {
    Some(match word {
        "ok" => Flag::Ok,
        "error" => Flag::Error,
        "throttle" => Flag::Throttle,
        "fault" => Flag::Fault,
        "partial" => Flag::Partial,
        _ => return None,
    })
}

fn number(word: &str) -> Option<Number> {
    Some(match word {
        "responsetime" => Number::ResponseTime,
        "duration" => Number::Duration,
        "http.status" => Number::Status,
        _ => return None,
    })
}

fn text(word: &str) -> Option<Text> {
    Some(match word {
        "http.url" => Text::Url,
        "http.method" => Text::Method,
        "http.useragent" => Text::UserAgent,
        "http.clientip" => Text::ClientIp,
        "user" => Text::User,
        "name" => Text::Name,
        "type" => Text::Kind,
        "instance.id" => Text::Instance,
        "availabilityzone" => Text::Zone,
        "resource.arn" => Text::Resource,
        _ => return None,
    })
}
