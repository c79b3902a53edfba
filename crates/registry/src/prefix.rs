//! Prefixes of repository names, as creation templates and pull-through cache rules have them. Pure.
//!
//! A prefix ends at a `/`, written or implied: `prod` covers `prod/web`, neither `production` nor `prod` itself.
//! `ROOT` covers every name. Of several that cover a name the longest wins.

use std::fmt;
use std::str::FromStr;

use crate::name::RepositoryName;

/// The prefix of everything.
const ROOT: &str = "ROOT";

/// The text is neither `ROOT` nor the beginning of a repository's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a repository prefix")]
pub struct InvalidPrefix;

/// A prefix of repository names, without the final `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryPrefix(String);

impl RepositoryPrefix {
    /// The prefix that covers every name.
    pub fn root() -> Self {
        Self(ROOT.to_owned())
    }

    /// Whether this covers every name.
    pub fn is_root(&self) -> bool {
        self.0 == ROOT
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every prefix that covers `name`, the longest first and [`RepositoryPrefix::root`] last.
    pub fn covering(name: &RepositoryName) -> impl Iterator<Item = Self> + '_ {
        let text = name.as_str();
        let paths = text.rmatch_indices('/').map(|(end, _)| Self(text[..end].to_owned()));
        paths.chain(std::iter::once(Self::root()))
    }

    /// What follows the prefix in a name that it covers; none for other names.
    pub fn rest<'a>(&self, name: &'a RepositoryName) -> Option<&'a str> {
        if self.is_root() { Some(name.as_str()) } else { name.as_str().strip_prefix(&self.0)?.strip_prefix('/') }
    }

    /// The name that begins with this prefix and goes on with `rest`.
    pub fn join(&self, rest: &str) -> String {
        if self.is_root() { rest.to_owned() } else { format!("{}/{rest}", self.0) }
    }
}

impl FromStr for RepositoryPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        if text == ROOT {
            return Ok(Self::root());
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        // A prefix may be one letter, a name has two at least; everything else is the same.
        let valid = format!("{text}/x").parse::<RepositoryName>().is_ok();
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidPrefix) }
    }
}

impl TryFrom<String> for RepositoryPrefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        text.parse()
    }
}

impl From<RepositoryPrefix> for String {
    fn from(prefix: RepositoryPrefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for RepositoryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let cases = [
            ("prod", "prod/web", Some("web")),
            ("prod/", "prod/web", Some("web")),
            ("prod", "prod/web/api", Some("web/api")),
            ("prod/web", "prod/web/api", Some("api")),
            ("prod", "production", None),
            ("prod", "production/web", None),
            ("prod", "prod", None),
            ("ROOT", "anything/at/all", Some("anything/at/all")),
            ("a", "a/b", Some("b")),
        ];
        for (prefix, name, rest) in cases {
            let (prefix, name) = (prefix.parse::<RepositoryPrefix>(), name.parse::<RepositoryName>());
            let (Ok(prefix), Ok(name)) = (prefix, name) else { panic!("parses") };
            assert_eq!(prefix.rest(&name), rest, "{prefix} of {name}");
            assert_eq!(RepositoryPrefix::covering(&name).any(|covering| covering == prefix), rest.is_some());
            assert!(rest.is_none_or(|rest| prefix.join(rest) == name.as_str()));
        }
        for text in ["", "/", "Prod", "root/", "a//b", "-a", "a/b//"] {
            assert_eq!(text.parse::<RepositoryPrefix>().is_ok(), text == "root/", "{text}");
        }
    }

    #[test]
    fn the_longest_prefix_comes_first() {
        let Ok(name) = "a/b/c".parse() else { panic!("parses") };
        let covering: Vec<String> = RepositoryPrefix::covering(&name).map(String::from).collect();
        assert_eq!(covering, ["a/b", "a", "ROOT"]);
    }
}
