//! Filters of lists of parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::name::{is_below, is_path};

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Equals,
    BeginsWith,
    Contains,
    Recursive,
    OneLevel,
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// This list is not filtered by that.
    #[error("cannot filter by {0}")]
    Key(String),
    /// Not compared that way.
    #[error("{option} is no option, but {valid}")]
    Option {
        /// What was given.
        option: String,
        /// What there is.
        valid: &'static str,
    },
    /// No values where some are needed.
    #[error("no values for {0}")]
    NoValues(String),
    /// A path that is none.
    #[error("{0} is no path")]
    Path(String),
}

/// Which list is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `DescribeParameters`.
    Described,
    /// `GetParametersByPath`.
    ByPath,
}

/// What filters look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The name it was made with.
    pub name: &'a str,
    /// `String`, `StringList` or `SecureString`.
    pub kind: &'a str,
    /// Of secure strings.
    pub key_id: Option<&'a str>,
    /// `Standard` or `Advanced`.
    pub tier: &'a str,
    /// `text` or another.
    pub data_type: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
    /// The labels of all its versions.
    pub labels: &'a BTreeSet<&'a str>,
}

/// One filter, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    key: String,
    way: Way,
    values: Vec<String>,
}

impl Filter {
    /// Checks a filter of a request.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(list: List, key: &str, option: Option<&str>, values: Vec<String>) -> Result<Self, FilterError> {
        let known = match list {
            List::Described => {
                matches!(key, "Name" | "Path" | "Type" | "KeyId" | "Tier" | "DataType") || key.starts_with("tag:")
            }
            List::ByPath => matches!(key, "Type" | "KeyId" | "Label"),
        };
        if !known {
            return Err(FilterError::Key(key.to_owned()));
        }
        let way = way(key, option)?;
        // A tag without values means: has the tag.
        if values.is_empty() && !key.starts_with("tag:") {
            return Err(FilterError::NoValues(key.to_owned()));
        }
        if key == "Path"
            && let Some(bad) = values.iter().find(|path| !is_path(path))
        {
            return Err(FilterError::Path(bad.clone()));
        }
        Ok(Self { key: key.to_owned(), way, values })
    }

    /// Whether one of the values is the parameter's.
    pub fn matches(&self, facts: Facts<'_>) -> bool {
        if let Some(tag) = self.key.strip_prefix("tag:") {
            let value = facts.tags.get(tag);
            return value.is_some_and(|value| self.values.is_empty() || self.is_one(value));
        }
        match self.key.as_str() {
            "Name" => self.is_one(facts.name),
            "Path" => {
                let recursive = self.way == Way::Recursive;
                self.values.iter().any(|path| is_below(facts.name, path, recursive))
            }
            "Type" => self.is_one(facts.kind),
            "KeyId" => facts.key_id.is_some_and(|key| self.is_one(key)),
            "Tier" => self.is_one(facts.tier),
            "DataType" => self.is_one(facts.data_type),
            _ => facts.labels.iter().any(|label| self.is_one(label)),
        }
    }

    /// The labels that are asked for.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let values = if self.key == "Label" { self.values.as_slice() } else { &[] };
        values.iter().map(String::as_str)
    }

    fn is_one(&self, text: &str) -> bool {
        self.values.iter().any(|value| match self.way {
            Way::BeginsWith => text.starts_with(value.as_str()),
            Way::Contains => text.contains(value.as_str()),
            Way::Equals | Way::Recursive | Way::OneLevel => text == value,
        })
    }
}

fn way(key: &str, option: Option<&str>) -> Result<Way, FilterError> {
    let refused = |valid| Err(FilterError::Option { option: option.unwrap_or_default().to_owned(), valid });
    match (key, option) {
        ("Path", None | Some("OneLevel")) => Ok(Way::OneLevel),
        ("Path", Some("Recursive")) => Ok(Way::Recursive),
        ("Path", _) => refused("[OneLevel, Recursive]"),
        (_, None | Some("Equals")) => Ok(Way::Equals),
        ("Name", Some("Contains")) => Ok(Way::Contains),
        ("Name", Some("BeginsWith")) => Ok(Way::BeginsWith),
        ("Name", _) => refused("[BeginsWith, Equals, Contains]"),
        ("Type" | "KeyId" | "Tier" | "DataType", Some("BeginsWith")) => Ok(Way::BeginsWith),
        ("Type" | "KeyId" | "Tier" | "DataType", _) => refused("[BeginsWith, Equals]"),
        _ => refused("[Equals]"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_filter_lets_pass_what_has_one_of_its_values() {
        let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let labels = BTreeSet::from(["prod"]);
        let facts = Facts {
            name: "/shop/db/url",
            kind: "SecureString",
            key_id: Some("alias/aws/ssm"),
            tier: "Standard",
            data_type: "text",
            tags: &tags,
            labels: &labels,
        };
        for (list, key, option, values, expected) in [
            (List::Described, "Name", None, &["x", "/shop/db/url"][..], true),
            (List::Described, "Name", Some("Contains"), &["db"], true),
            (List::Described, "Name", Some("BeginsWith"), &["/sh"], true),
            (List::Described, "Name", None, &["/shop"], false),
            (List::Described, "Path", None, &["/shop"], false),
            (List::Described, "Path", Some("Recursive"), &["/shop"], true),
            (List::Described, "Type", None, &["String"], false),
            (List::Described, "Type", Some("BeginsWith"), &["Secure"], true),
            (List::Described, "KeyId", None, &["alias/aws/ssm"], true),
            (List::Described, "Tier", None, &["Advanced"], false),
            (List::Described, "tag:team", None, &[], true),
            (List::Described, "tag:team", None, &["b"], false),
            (List::Described, "tag:none", None, &[], false),
            (List::ByPath, "Label", None, &["prod"], true),
            (List::ByPath, "Label", None, &["test"], false),
        ] {
            let filter = Filter::parse(list, key, option, texts(values)).unwrap();
            assert_eq!(filter.matches(facts), expected, "{key} {option:?} {values:?}");
        }
    }

    #[test]
    fn a_filter_that_this_list_has_not_is_refused() {
        for (list, key, option, values, error) in [
            (List::ByPath, "Name", None, &["x"][..], FilterError::Key("Name".into())),
            (List::Described, "Label", None, &["x"], FilterError::Key("Label".into())),
            (List::Described, "Name", None, &[], FilterError::NoValues("Name".into())),
            (List::Described, "Path", None, &["shop"], FilterError::Path("shop".into())),
            (
                List::Described,
                "Path",
                Some("Equals"),
                &["/x"],
                FilterError::Option { option: "Equals".into(), valid: "[OneLevel, Recursive]" },
            ),
        ] {
            assert_eq!(Filter::parse(list, key, option, texts(values)), Err(error), "{key}");
        }
    }
}
