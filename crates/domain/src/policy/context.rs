//! The condition keys of a request.

use std::{borrow::Cow, collections::BTreeMap};

/// Values of condition keys, by name. Names are not case-sensitive; a value is text, whatever its type: numbers in
/// decimal, dates in ISO 8601 or as seconds since the epoch, `true` and `false`, addresses, ARNs.
///
/// What follows from the [`Request`](super::Request) itself is not given here and cannot be overridden:
/// `aws:PrincipalArn`, `aws:PrincipalAccount`, `aws:PrincipalType`, `aws:PrincipalTag/…`, `aws:PrincipalIsAWSService`,
/// `aws:PrincipalServiceName`, `aws:userid`, `aws:username`, `aws:ResourceAccount`, `aws:CurrentTime` and
/// `aws:EpochTime`. A caller gives what it knows of the rest: `aws:SourceIp`, `aws:SecureTransport`, `aws:UserAgent`,
/// `aws:RequestedRegion`, `aws:TokenIssueTime`, `aws:ResourceTag/…`, `aws:RequestTag/…`, `aws:TagKeys`, and the keys
/// of its service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    /// Adds one value of `key`; a key may have several.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.values.entry(key.to_lowercase()).or_default().push(value.into());
    }

    /// [`Self::add`], for building one in a row.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.add(key, value);
        self
    }

    /// The values of a key in lower case.
    pub(super) fn get(&self, key: &str) -> Option<Found<'_>> {
        self.values.get(key).map(|values| Found::Many(values))
    }
}

/// The values of one key.
#[derive(Debug)]
pub(super) enum Found<'a> {
    One(Cow<'a, str>),
    Many(&'a [String]),
}

impl Found<'_> {
    /// The value, when there is exactly one.
    pub(super) fn single(&self) -> Option<&str> {
        match self {
            Self::One(value) => Some(value),
            Self::Many([value]) => Some(value),
            Self::Many(_) => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::One(value) => (Some(value.as_ref()), [].as_slice()),
            Self::Many(values) => (None, *values),
        };
        one.into_iter().chain(many.iter().map(String::as_str))
    }
}

impl<'a> From<&'a str> for Found<'a> {
    fn from(value: &'a str) -> Self {
        Self::One(Cow::Borrowed(value))
    }
}

impl From<String> for Found<'_> {
    fn from(value: String) -> Self {
        Self::One(Cow::Owned(value))
    }
}
