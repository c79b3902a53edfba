//! The constraints that the models put on input: required members, lengths, ranges, patterns, enums.

use std::{fmt, sync::OnceLock};

use crate::{Fault, ServiceInfo};

/// At most this many problems are told; a hostile list of a million bad entries must not become a million sentences.
const PROBLEMS_MAX: usize = 20;

/// Checks itself against the model.
pub trait Validate {
    /// Adds every broken constraint to `problems`.
    fn validate(&self, path: &Path<'_>, problems: &mut Problems);
}

/// Where in the input a value stands; costs nothing until it is printed.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The input itself.
    Root,
    /// A member of a structure.
    Member(&'a Path<'a>, &'static str),
    /// An element of a list, from 0; printed from 1 as the services do.
    Index(&'a Path<'a>, usize),
    /// An entry of a map.
    Key(&'a Path<'a>, &'a str),
    /// The same place, of whose value nothing may be told.
    Secret(&'a Path<'a>),
}

impl<'a> Path<'a> {
    /// The member `name` of this.
    pub fn member(&'a self, name: &'static str) -> Path<'a> {
        Path::Member(self, name)
    }
    /// The element `index` of this.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }
    /// This, but nobody is told its value.
    pub fn secret(&'a self) -> Path<'a> {
        Path::Secret(self)
    }
    /// The entry `key` of this.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(Path::Root, name) => f.write_str(name),
            Path::Member(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}.{}.member", index + 1),
            Path::Key(parent, key) => write!(f, "{parent}.{}", shown(key)),
            Path::Secret(place) => place.fmt(f),
        }
    }
}

/// A pattern of the model, compiled at its first use; matches the whole value.
pub struct Pattern {
    text: &'static str,
    regex: OnceLock<Option<regex::Regex>>,
}

impl Pattern {
    /// The pattern as the model spells it.
    pub const fn new(text: &'static str) -> Self {
        Self { text, regex: OnceLock::new() }
    }

    fn matches(&self, value: &str) -> bool {
        // The generator leaves out patterns that do not compile, so `None` does not happen; it would allow the value.
        let regex = self.regex.get_or_init(|| regex::Regex::new(&format!("^(?:{})$", self.text)).ok());
        regex.as_ref().is_none_or(|regex| regex.is_match(value))
    }
}

/// The broken constraints of one input.
#[derive(Debug, Default)]
pub struct Problems {
    told: Vec<Problem>,
    count: usize,
}

#[derive(Debug)]
struct Problem {
    path: String,
    value: Shown,
    constraint: Constraint,
}

/// What is told of a value.
#[derive(Debug)]
enum Shown {
    Absent,
    Secret,
    Value(String),
}

#[derive(Debug)]
enum Constraint {
    /// A sentence about the member.
    Member(String),
    Pattern(&'static str),
}

impl Problems {
    /// Member `name` is required.
    pub fn required(&mut self, path: &Path<'_>, name: &'static str, missing: bool) {
        if missing {
            self.add(&path.member(name), None, || "Member must not be null".into());
        }
    }

    /// An enum value that the model does not have.
    pub fn enumeration(&mut self, path: &Path<'_>, unknown: bool, value: &str, values: &[&str]) {
        if unknown {
            self.add(path, Some(value), || format!("Member must satisfy enum value set: [{}]", values.join(", ")));
        }
    }

    /// Characters of a string.
    pub fn length(&mut self, path: &Path<'_>, value: &str, min: Option<u64>, max: Option<u64>) {
        let length = value.chars().count() as u64;
        if let Some(min) = min.filter(|min| length < *min) {
            self.add(path, Some(value), || format!("Member must have length greater than or equal to {min}"));
        }
        if let Some(max) = max.filter(|max| length > *max) {
            self.add(path, Some(value), || format!("Member must have length less than or equal to {max}"));
        }
    }

    /// Elements of a list, map or blob.
    pub fn size(&mut self, path: &Path<'_>, size: usize, min: Option<u64>, max: Option<u64>) {
        let size = size as u64;
        if let Some(min) = min.filter(|min| size < *min) {
            self.add(path, Some("[]"), || format!("Member must have length greater than or equal to {min}"));
        }
        if let Some(max) = max.filter(|max| size > *max) {
            self.add(path, Some("[...]"), || format!("Member must have length less than or equal to {max}"));
        }
    }

    /// A number.
    pub fn range(&mut self, path: &Path<'_>, value: i64, min: Option<i64>, max: Option<i64>) {
        if let Some(min) = min.filter(|min| value < *min) {
            let constraint = || format!("Member must have value greater than or equal to {min}");
            self.add(path, Some(&value.to_string()), constraint);
        }
        if let Some(max) = max.filter(|max| value > *max) {
            self.add(path, Some(&value.to_string()), || format!("Member must have value less than or equal to {max}"));
        }
    }

    /// A string's pattern.
    pub fn pattern(&mut self, path: &Path<'_>, value: &str, pattern: &Pattern) {
        if !pattern.matches(value) {
            self.note(path, Some(value), || Constraint::Pattern(pattern.text));
        }
    }

    fn add(&mut self, path: &Path<'_>, value: Option<&str>, constraint: impl FnOnce() -> String) {
        self.note(path, value, || Constraint::Member(constraint()));
    }

    fn note(&mut self, path: &Path<'_>, value: Option<&str>, constraint: impl FnOnce() -> Constraint) {
        self.count += 1;
        if self.told.len() < PROBLEMS_MAX {
            let value = match (path, value) {
                (Path::Secret(_), _) => Shown::Secret,
                (_, None) => Shown::Absent,
                (_, Some(value)) => Shown::Value(shown(value)),
            };
            self.told.push(Problem { path: path.to_string(), value, constraint: constraint() });
        }
    }

    /// The refusal, in the sentences of the services' common front end, or in those that the registry has of its own;
    /// `None` when nothing is wrong.
    pub fn into_fault(self, service: &ServiceInfo) -> Option<Fault> {
        if service.name == "ecr" {
            return Some(Fault::new(service.validation_code, 400, self.told.first()?.of_registry()));
        }
        let plural = match self.count {
            0 => return None,
            1 => "",
            _ => "s",
        };
        let sentences: Vec<String> = self.told.iter().map(ToString::to_string).collect();
        let message = format!("{} validation error{plural} detected: {}", self.count, sentences.join("; "));
        Some(Fault::new(service.validation_code, 400, message))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Shown::Value(value) => write!(f, "Value '{value}'")?,
            Shown::Absent => f.write_str("Value null")?,
            Shown::Secret => f.write_str("Value")?,
        }
        write!(f, " at '{}' failed to satisfy constraint: ", self.path)?;
        match &self.constraint {
            Constraint::Member(sentence) => f.write_str(sentence),
            Constraint::Pattern(pattern) => write!(f, "Member must satisfy regular expression pattern: {pattern}"),
        }
    }
}

impl Problem {
    fn of_registry(&self) -> String {
        let constraint = match &self.constraint {
            Constraint::Member(sentence) => sentence.clone(),
            Constraint::Pattern(pattern) => format!("must satisfy regular expression '{pattern}'"),
        };
        format!("Invalid parameter at '{}' failed to satisfy constraint: '{constraint}'", self.path)
    }
}

/// A value short enough for an error message.
fn shown(value: &str) -> String {
    const SHOWN_MAX: usize = 256;
    match value.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_string(),
    }
}
