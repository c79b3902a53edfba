//! The names in a registry: repositories, tags and references to manifests.
//!
//! Parsing is the only way to make one, so code that holds a [`RepositoryName`] or [`Tag`] never has to ask again
//! whether it is safe to put into a store key or a URL.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// Shortest and longest repository name, in bytes.
const REPOSITORY_NAME_LENGTH: std::ops::RangeInclusive<usize> = 2..=256;
/// Longest tag a client can write.
const TAG_LENGTH_MAX: usize = 128;

/// The text does not follow the grammar of repository names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a repository name")]
pub struct InvalidName;

/// The text does not follow the grammar of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tag")]
pub struct InvalidTag;

/// A repository's name: lower-case path components, `team/web-front`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The regular expression of the service model, for messages.
    pub const PATTERN: &'static str = r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let valid = REPOSITORY_NAME_LENGTH.contains(&text.len()) && text.split('/').all(is_name_component);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs of lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_name_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(*first) || !is_word(*last) {
        return false;
    }
    bytes.split(|byte| is_word(*byte)).all(|separator| match separator {
        [] | b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|byte| *byte == b'-'),
    })
}

/// A tag: a movable name for a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = text.len() <= TAG_LENGTH_MAX
            && text.bytes().next().is_some_and(is_word)
            && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidTag) }
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidTag;

    fn try_from(text: String) -> Result<Self, InvalidTag> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a URL names a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        let long = "a".repeat(256);
        let too_long = "a".repeat(257);
        let cases = [
            ("web", true),
            ("team/web-front", true),
            ("a.b_c__d---e/f0", true),
            ("blobs/uploads/manifests", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("a", false),
            ("", false),
            ("Web", false),
            ("a..b", false),
            ("a___b", false),
            ("a._b", false),
            ("-ab", false),
            ("ab-", false),
            ("/ab", false),
            ("ab/", false),
            ("ab//cd", false),
            ("../etc", false),
            ("a/../b", false),
            ("a:b", false),
            ("a b", false),
            ("ä", false),
        ];
        for (text, valid) in cases {
            assert_eq!(text.parse::<RepositoryName>().is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        let long = "t".repeat(128);
        let too_long = "t".repeat(129);
        let cases = [
            ("latest", true),
            ("1.0-rc.1", true),
            ("_x", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            (".x", false),
            ("-x", false),
            ("a:b", false),
            ("a/b", false),
        ];
        for (text, valid) in cases {
            assert_eq!(text.parse::<Tag>().is_ok(), valid, "{text}");
        }
    }
}
