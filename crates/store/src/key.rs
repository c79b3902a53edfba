//! Keys and intervals of keys. Keys order by their bytes.

use std::ops::Bound;

use crate::StoreError;
use crate::limits::KEY_BYTES_MAX;

/// The keys from `start` (inclusive) to `end` (exclusive; without it, to the last key).
///
/// A `&str` or `String` converts into the range of keys that begin with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    pub(crate) start: String,
    pub(crate) end: Option<Vec<u8>>,
}

impl KeyRange {
    /// The keys that begin with `prefix`; every key when it is empty.
    pub fn prefix(prefix: &str) -> Self {
        Self { start: prefix.to_owned(), end: prefix_end(prefix) }
    }

    /// The keys from `start` up to but without `end`.
    pub fn between(start: &str, end: &str) -> Self {
        Self { start: start.to_owned(), end: Some(end.as_bytes().to_vec()) }
    }

    /// The same range without the keys up to and including `key`: the next page after `key`.
    pub fn after(mut self, key: &str) -> Self {
        // The smallest key greater than `key` is `key` followed by a zero byte.
        let start = format!("{key}\0");
        if start > self.start {
            self.start = start;
        }
        self
    }

    /// Whether the range holds `key`.
    pub fn contains(&self, key: &str) -> bool {
        let key = key.as_bytes();
        key >= self.start.as_bytes() && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    /// The range as bounds of byte strings.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(self.start.as_bytes()), end)
    }

    /// Whether no key can be in the range.
    pub(crate) fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.as_slice() <= self.start.as_bytes())
    }
}

impl From<&str> for KeyRange {
    fn from(prefix: &str) -> Self {
        Self::prefix(prefix)
    }
}

impl From<&String> for KeyRange {
    fn from(prefix: &String) -> Self {
        Self::prefix(prefix)
    }
}

impl From<String> for KeyRange {
    fn from(prefix: String) -> Self {
        Self::prefix(&prefix)
    }
}

/// The first byte string after every key that begins with `prefix`; none when `prefix` is empty.
pub fn prefix_end(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 never contains 0xff, so the last byte can always be raised.
    let last = end.last_mut()?;
    *last += 1;
    Some(end)
}

/// Refuses an empty or too long key.
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StoreError::KeyLength { bytes: key.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_prefix_holds_exactly_the_keys_that_begin_with_it() {
        let range = KeyRange::prefix("/a/");
        for (key, inside) in
            [("/a/", true), ("/a/z", true), ("/a", false), ("/a0", false), ("/b/", false), ("/a/é", true)]
        {
            assert_eq!(range.contains(key), inside, "{key}");
        }
        assert!(KeyRange::prefix("").contains("anything"));
        assert!(KeyRange::prefix("é").contains("éa"));
        assert!(!KeyRange::prefix("é").contains("ê"));
    }

    #[test]
    fn after_skips_the_key_itself_and_nothing_more() {
        let range = KeyRange::prefix("/a/").after("/a/b");
        assert!(!range.contains("/a/b"));
        assert!(range.contains("/a/b\0"));
        assert!(range.contains("/a/b/"));
        assert!(!range.contains("/a/a"));
        assert_eq!(KeyRange::prefix("/b/").after("/a"), KeyRange::prefix("/b/"));
    }
}
