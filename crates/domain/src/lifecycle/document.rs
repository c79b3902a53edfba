//! The document of a lifecycle policy: its grammar, and the rules between its members.
//!
//! The sentences of the grammar are those of the real service, which checks documents with a JSON schema; those of the
//! rules between members are ours where the real ones are not known.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Action, Criterion, DAYS_ARCHIVED_MIN, Policy, RULES_MAX, Rule, StorageClass, TagSelection,
    WILDCARDS_PER_PATTERN_MAX,
};

/// Why a document is refused; the text is what follows `Lifecycle policy validation failure: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not a JSON object.
    #[error("Could not map policyString into LifecyclePolicy.")]
    NotAnObject,
    /// Members that must be there are not.
    #[error("object has missing required properties ({})", quoted(.0))]
    Missing(Vec<String>),
    /// Members that may not be there are.
    #[error("object instance has properties which are not allowed by the schema: ({})", quoted(.0))]
    NotAllowed(Vec<String>),
    /// A value is of the wrong kind.
    #[error("instance type ({found}) does not match any allowed primitive type (allowed: [\"{allowed}\"])")]
    Type {
        /// What it is.
        found: &'static str,
        /// What it must be.
        allowed: &'static str,
    },
    /// A value is none of those there are.
    #[error("instance value ({value}) not found in enum :(possible values: {})", quoted(possible))]
    Enum {
        /// What it is.
        value: String,
        /// What it may be.
        possible: Vec<String>,
    },
    /// The count is none of the forms there are.
    #[error("instance failed to match exactly one schema (matched 0 out of 2)")]
    NoSchema,
    /// A number is too small.
    #[error("numeric instance is lower than the required minimum (minimum: {minimum}, found: {found})")]
    Minimum {
        /// The least there may be.
        minimum: u32,
        /// What it is.
        found: i64,
    },
    /// A list is too short.
    #[error("array is too short: must have at least 1 elements but instance has 0 elements")]
    Empty,
    /// A list is too long.
    #[error("array is too long: must have at most {maximum} elements but instance has {found} elements")]
    TooLong {
        /// The most there may be.
        maximum: usize,
        /// What there is.
        found: usize,
    },
    /// Rules that do not go together, or members of one rule.
    #[error("{0}")]
    Combination(String),
}

fn quoted(texts: &[String]) -> String {
    Value::from(texts.to_vec()).to_string()
}

impl Policy {
    /// Checks a document.
    ///
    /// # Errors
    /// What is wrong with it, first mistake first.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Value = serde_json::from_str(text).map_err(|_| PolicyError::NotAnObject)?;
        let document = document.as_object().ok_or(PolicyError::NotAnObject)?;
        members(document, &["rules"], &[])?;
        let rules = document["rules"].as_array().ok_or_else(|| of_type(&document["rules"], "array"))?;
        if rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        if rules.len() > RULES_MAX {
            return Err(PolicyError::TooLong { maximum: RULES_MAX, found: rules.len() });
        }
        let mut rules = rules.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        rules.sort_by_key(|rule| rule.priority);
        check_together(&rules)?;
        Ok(Self { rules })
    }

    /// The document with its rules in the order of their priorities, as the service gives it back: the text itself
    /// when they are.
    pub fn normalized(text: &str) -> String {
        let Ok(mut document) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
        let rules = document.get_mut("rules").and_then(Value::as_array_mut);
        let Some(rules) = rules else { return text.to_owned() };
        let priority = |rule: &Value| rule["rulePriority"].as_i64();
        if rules.is_sorted_by_key(priority) {
            return text.to_owned();
        }
        rules.sort_by_key(priority);
        document.to_string()
    }
}

fn rule(value: &Value) -> Result<Rule, PolicyError> {
    let rule = object(value)?;
    members(rule, &["action", "rulePriority", "selection"], &["description"])?;
    if let Some(description) = rule.get("description").filter(|description| !description.is_string()) {
        return Err(of_type(description, "string"));
    }
    let priority = positive(&rule["rulePriority"])?;
    let action_member = object(&rule["action"])?;
    members(action_member, &["type"], &["targetStorageClass"])?;
    let action = action(action_member)?;
    let selection = object(&rule["selection"])?;
    let optional = ["countUnit", "storageClass", "tagPatternList", "tagPrefixList"];
    members(selection, &["countNumber", "countType", "tagStatus"], &optional)?;
    let tags = tag_selection(selection)?;
    let class = match selection.get("storageClass") {
        None => StorageClass::Standard,
        Some(class) => match one_of(class, &["archive", "standard"])? {
            "archive" => StorageClass::Archive,
            _ => StorageClass::Standard,
        },
    };
    let criterion = criterion(selection)?;
    let priority = i32::try_from(priority).map_err(|_| PolicyError::NoSchema)?;
    let rule = Rule { priority, tags, class, criterion, action };
    check_members(&rule)?;
    Ok(rule)
}

fn action(members: &Map<String, Value>) -> Result<Action, PolicyError> {
    match (one_of(&members["type"], &["expire", "transition"])?, members.get("targetStorageClass")) {
        ("transition", Some(class)) => one_of(class, &["archive"]).map(|_| Action::Archive),
        ("transition", None) => Err(PolicyError::Missing(vec!["targetStorageClass".to_owned()])),
        (_, Some(_)) => Err(PolicyError::NotAllowed(vec!["targetStorageClass".to_owned()])),
        (_, None) => Ok(Action::Expire),
    }
}

fn tag_selection(selection: &Map<String, Value>) -> Result<TagSelection, PolicyError> {
    let status = one_of(&selection["tagStatus"], &["any", "tagged", "untagged"])?;
    let (prefixes, patterns) = (selection.get("tagPrefixList"), selection.get("tagPatternList"));
    match (status, prefixes, patterns) {
        ("tagged", Some(_), Some(_)) => {
            Err(combination("tagPrefixList and tagPatternList cannot be used in the same rule"))
        }
        ("tagged", None, None) => Err(combination("tagStatus tagged requires either tagPrefixList or tagPatternList")),
        ("tagged", Some(list), None) => {
            // A prefix is text: what looks like a wildcard in it is none, and no tag contains one.
            let prefixes = texts(list)?;
            if prefixes.iter().any(|prefix| prefix.contains('*')) {
                return Err(combination("tagPrefixList cannot contain wildcards; use tagPatternList"));
            }
            Ok(TagSelection::Tagged(prefixes.iter().map(|prefix| format!("{prefix}*")).collect()))
        }
        ("tagged", None, Some(list)) => {
            let patterns = texts(list)?;
            if patterns.iter().any(|pattern| pattern.matches('*').count() > WILDCARDS_PER_PATTERN_MAX) {
                return Err(combination("a pattern of tagPatternList can contain at most 4 wildcards (*)"));
            }
            Ok(TagSelection::Tagged(patterns))
        }
        (status, None, None) => Ok(if status == "any" { TagSelection::Any } else { TagSelection::Untagged }),
        (status, prefixes, _) => {
            let list = if prefixes.is_some() { "tagPrefixList" } else { "tagPatternList" };
            Err(combination(&format!("{list} can only be used with tagStatus tagged, not {status}")))
        }
    }
}

fn criterion(selection: &Map<String, Value>) -> Result<Criterion, PolicyError> {
    const TYPES: [&str; 4] = ["imageCountMoreThan", "sinceImagePulled", "sinceImagePushed", "sinceImageTransitioned"];
    let count_type =
        selection["countType"].as_str().filter(|name| TYPES.contains(name)).ok_or(PolicyError::NoSchema)?;
    if let Some(unit) = selection.get("countUnit") {
        one_of(unit, &["days"])?;
    }
    let has_unit = selection.contains_key("countUnit");
    if has_unit == (count_type == "imageCountMoreThan") {
        return Err(PolicyError::NoSchema);
    }
    let number = positive(&selection["countNumber"])?;
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Ok(match count_type {
        "imageCountMoreThan" => Criterion::ImageCountMoreThan(number),
        "sinceImagePulled" => Criterion::SinceImagePulled(number),
        "sinceImageTransitioned" => Criterion::SinceImageTransitioned(number),
        _ => Criterion::SinceImagePushed(number),
    })
}

/// What must hold between the members of one rule.
fn check_members(rule: &Rule) -> Result<(), PolicyError> {
    match (rule.criterion, rule.class, rule.action) {
        (Criterion::SinceImagePulled(_), _, Action::Expire) => {
            Err(combination("countType sinceImagePulled can only be used with action type transition"))
        }
        (Criterion::SinceImageTransitioned(_), class, action)
            if class != StorageClass::Archive || action != Action::Expire =>
        {
            let text = "countType sinceImageTransitioned requires storageClass archive and action type expire";
            Err(combination(text))
        }
        (Criterion::SinceImageTransitioned(days), ..) if days < DAYS_ARCHIVED_MIN => {
            Err(PolicyError::Minimum { minimum: DAYS_ARCHIVED_MIN, found: i64::from(days) })
        }
        (_, StorageClass::Archive, Action::Archive) => {
            Err(combination("action type transition can only be used with storageClass standard"))
        }
        _ => Ok(()),
    }
}

/// What must hold between rules, which come in the order of their priorities.
fn check_together(rules: &[Rule]) -> Result<(), PolicyError> {
    if let Some(pair) = rules.windows(2).find(|pair| pair[0].priority == pair[1].priority) {
        return Err(combination(&format!("rulePriority {} is used by more than one rule", pair[0].priority)));
    }
    let mut seen = BTreeSet::new();
    for rule in rules {
        let mut tags = rule.tags.clone();
        if let TagSelection::Tagged(patterns) = &mut tags {
            patterns.sort();
        }
        let kind = match &tags {
            TagSelection::Any => "there can be only one rule with tagStatus any for a storage class",
            TagSelection::Untagged => "there can be only one rule with tagStatus untagged for a storage class",
            TagSelection::Tagged(_) => "rules cannot have the same tagPrefixList or tagPatternList",
        };
        if !seen.insert((rule.class, tags)) {
            return Err(combination(kind));
        }
    }
    for class in [StorageClass::Standard, StorageClass::Archive] {
        let mut of_class = rules.iter().filter(|rule| rule.class == class);
        if of_class.any(|rule| rule.tags == TagSelection::Any) && of_class.next().is_some() {
            return Err(combination("a rule with tagStatus any must have the highest value for rulePriority"));
        }
    }
    Ok(())
}

fn combination(text: &str) -> PolicyError {
    PolicyError::Combination(text.to_owned())
}

fn object(value: &Value) -> Result<&Map<String, Value>, PolicyError> {
    value.as_object().ok_or_else(|| of_type(value, "object"))
}

/// Checks that the required members are there and no others but the optional ones. Both lists are sorted.
fn members(object: &Map<String, Value>, required: &[&str], optional: &[&str]) -> Result<(), PolicyError> {
    let missing: Vec<String> =
        required.iter().filter(|name| !object.contains_key(**name)).map(|name| (*name).to_owned()).collect();
    if !missing.is_empty() {
        return Err(PolicyError::Missing(missing));
    }
    let known = |name: &&String| required.contains(&name.as_str()) || optional.contains(&name.as_str());
    let unknown: Vec<String> = object.keys().filter(|name| !known(name)).cloned().collect();
    if unknown.is_empty() { Ok(()) } else { Err(PolicyError::NotAllowed(unknown)) }
}

fn one_of<'a>(value: &Value, possible: &[&'a str]) -> Result<&'a str, PolicyError> {
    let found = value.as_str().and_then(|text| possible.iter().find(|possible| **possible == text));
    found.copied().ok_or_else(|| PolicyError::Enum {
        value: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        possible: possible.iter().map(|text| (*text).to_owned()).collect(),
    })
}

fn positive(value: &Value) -> Result<i64, PolicyError> {
    let number = value.as_i64().ok_or_else(|| of_type(value, "integer"))?;
    if number < 1 { Err(PolicyError::Minimum { minimum: 1, found: number }) } else { Ok(number) }
}

/// A list of texts that is not empty.
fn texts(value: &Value) -> Result<Vec<String>, PolicyError> {
    let list = value.as_array().ok_or_else(|| of_type(value, "array"))?;
    if list.is_empty() {
        return Err(PolicyError::Empty);
    }
    list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(|| of_type(text, "string"))).collect()
}

fn of_type(value: &Value, allowed: &'static str) -> PolicyError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    PolicyError::Type { found, allowed }
}
