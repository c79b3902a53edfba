//! The tags of a resource: what may be one, how many, and how two sets join.

use std::collections::BTreeMap;

use crate::limits::{TAG_KEY_LENGTH_MAX, TAG_VALUE_LENGTH_MAX, TAGS_PER_RESOURCE_MAX};

/// Why tags are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// The key is absent, empty, too long or has a character that keys may not have.
    #[error("invalid tag key {0:?}")]
    Key(String),
    /// The value is too long or has a character that values may not have.
    #[error("invalid value of tag {0:?}")]
    Value(String),
    /// Keys that begin with `aws:` are the service's own.
    #[error("tag key {0:?} is reserved")]
    Reserved(String),
    /// The same key twice in one request.
    #[error("tag key {0:?} is given twice")]
    Duplicate(String),
    /// More than a resource may have.
    #[error("more than {TAGS_PER_RESOURCE_MAX} tags")]
    TooMany,
}

/// A set of tags, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Checks the tags of a request. An absent value is an empty one.
    ///
    /// # Errors
    /// The first rule broken, in the order given.
    pub fn parse<'a>(tags: impl IntoIterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Result<Self, TagError> {
        let mut parsed = BTreeMap::new();
        for (key, value) in tags {
            let (key, value) = (check_key(key.unwrap_or_default())?, value.unwrap_or_default());
            if value.chars().count() > TAG_VALUE_LENGTH_MAX || !value.chars().all(is_tag_character) {
                return Err(TagError::Value(key.to_owned()));
            }
            if parsed.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(TagError::Duplicate(key.to_owned()));
            }
        }
        Self(parsed).bounded()
    }

    /// Tags that were checked when they were stored.
    pub fn from_stored(tags: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(tags.into_iter().collect())
    }

    /// Adds `more`, whose values win over those of equal keys.
    ///
    /// # Errors
    /// [`TagError::TooMany`] when the resource would have more than it may.
    pub fn merged(mut self, more: Self) -> Result<Self, TagError> {
        self.0.extend(more.0);
        self.bounded()
    }

    /// Takes the tags with these keys away; a key that is not there is no mistake.
    ///
    /// # Errors
    /// [`TagError::Reserved`] for a key of the service's own.
    pub fn without<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Result<Self, TagError> {
        for key in keys {
            self.0.remove(check_key(key)?);
        }
        Ok(self)
    }

    /// Adds a tag of the service's own (`aws:ecs:…`), which no request can set and which does not count.
    pub fn set_managed(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// The tags in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bounded(self) -> Result<Self, TagError> {
        let counted = self.0.keys().filter(|key| !is_reserved(key)).count();
        if counted > TAGS_PER_RESOURCE_MAX { Err(TagError::TooMany) } else { Ok(self) }
    }
}

impl From<Tags> for BTreeMap<String, String> {
    fn from(tags: Tags) -> Self {
        tags.0
    }
}

fn check_key(key: &str) -> Result<&str, TagError> {
    let length = key.chars().count();
    if !(1..=TAG_KEY_LENGTH_MAX).contains(&length) || !key.chars().all(is_tag_character) {
        return Err(TagError::Key(key.to_owned()));
    }
    if is_reserved(key) { Err(TagError::Reserved(key.to_owned())) } else { Ok(key) }
}

fn is_reserved(key: &str) -> bool {
    key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`. Combining vowel signs count as letters here and not there, which only takes more.
fn is_tag_character(character: char) -> bool {
    let separator = character.is_whitespace() && !character.is_control();
    character.is_alphabetic() || character.is_numeric() || separator || "_.:/=+-@".contains(character)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(tags: &[(&str, &str)]) -> Result<Tags, TagError> {
        Tags::parse(tags.iter().map(|(key, value)| (Some(*key), Some(*value))))
    }

    fn many(count: usize) -> Vec<(String, String)> {
        (0..count).map(|number| (format!("key{number}"), String::new())).collect()
    }

    #[test]
    fn a_tag_is_refused_for_the_rule_it_breaks() {
        let long = "a".repeat(129);
        for (tags, error) in [
            (vec![("", "v")], TagError::Key(String::new())),
            (vec![(long.as_str(), "v")], TagError::Key(long.clone())),
            (vec![("a*b", "v")], TagError::Key("a*b".into())),
            (vec![("a\tb", "v")], TagError::Key("a\tb".into())),
            (vec![("a", "b\n")], TagError::Value("a".into())),
            (vec![("aws:x", "v")], TagError::Reserved("aws:x".into())),
            (vec![("AwS:x", "v")], TagError::Reserved("AwS:x".into())),
            (vec![("a", "1"), ("a", "2")], TagError::Duplicate("a".into())),
        ] {
            assert_eq!(parse(&tags), Err(error));
        }
        assert_eq!(parse(&[("a", &"v".repeat(257))]), Err(TagError::Value("a".into())));
        assert_eq!(Tags::parse([(None, Some("v"))]), Err(TagError::Key(String::new())));
    }

    #[test]
    fn letters_of_any_script_are_allowed() {
        let tags = parse(&[("größe: 東京", "a.b/c=d+e-f@g_h ٣"), ("aws", "")]).unwrap();
        assert_eq!(tags.iter().count(), 2);
    }

    #[test]
    fn a_resource_has_fifty_tags_and_not_one_more_of_the_users() {
        let borrowed = many(50);
        let mut tags = Tags::parse(borrowed.iter().map(|(key, value)| (Some(&**key), Some(&**value)))).unwrap();
        tags.set_managed("aws:ecs:clusterName", "default");
        assert_eq!(tags.clone().merged(parse(&[("key1", "changed")]).unwrap()).unwrap().iter().count(), 51);
        assert_eq!(tags.clone().merged(parse(&[("another", "")]).unwrap()), Err(TagError::TooMany));
        let fewer = tags.without(["key1", "never there"]).unwrap();
        assert_eq!(fewer.iter().count(), 50);
        assert_eq!(fewer.without(["aws:ecs:clusterName"]), Err(TagError::Reserved("aws:ecs:clusterName".into())));
    }
}
