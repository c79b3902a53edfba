//! Paths into an event: `$.detail.containers[0].name`, `$['detail-type']`, `$.resources[*]`.

use serde_json::Value;

/// Where in an event something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
    /// All elements, or members, as a list.
    All,
}

/// The text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSONPath of the kind $.a.b[0]")]
pub struct BadPath;

impl std::str::FromStr for Path {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let mut rest = text.strip_prefix('$').ok_or(BadPath)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or(BadPath)?;
            steps.push(step);
            rest = after;
        }
        Ok(Self(steps))
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(member) = text.strip_prefix('.') {
        let end = member.find(['.', '[']).unwrap_or(member.len());
        let (name, after) = member.split_at(end);
        return match name {
            "" => None,
            "*" => Some((Step::All, after)),
            name => Some((Step::Member(name.to_owned()), after)),
        };
    }
    let inside = text.strip_prefix('[')?;
    for quote in ["'", "\""] {
        if let Some(quoted) = inside.strip_prefix(quote) {
            let (name, after) = quoted.split_once(&format!("{quote}]"))?;
            return Some((Step::Member(name.to_owned()), after));
        }
    }
    match inside.split_once(']')? {
        ("*", after) => Some((Step::All, after)),
        (index, after) => Some((Step::Element(index.parse().ok()?), after)),
    }
}

impl Path {
    /// What is there.
    pub fn find(&self, event: &Value) -> Option<Value> {
        find(event, &self.0)
    }
}

fn find(value: &Value, steps: &[Step]) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.clone()) };
    match step {
        Step::Member(name) => find(value.get(name)?, rest),
        Step::Element(index) => find(value.get(*index)?, rest),
        Step::All => {
            let found: Vec<Value> = match value {
                Value::Array(items) => items.iter().filter_map(|item| find(item, rest)).collect(),
                Value::Object(members) => members.values().filter_map(|member| find(member, rest)).collect(),
                _ => return None,
            };
            Some(Value::Array(found))
        }
    }
}
