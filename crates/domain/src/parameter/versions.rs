//! The versions of a parameter and the labels on them.
//!
//! What must hold: numbers rise by one and are never used again; a label is on one version at most.

use std::collections::{BTreeMap, BTreeSet};

use super::reference::Selector;

/// Versions that are kept.
pub const VERSIONS_MAX: usize = 100;
/// Labels on one version.
pub const LABELS_MAX: usize = 10;
const LABEL_LENGTH_MAX: usize = 100;

/// Why versions cannot be as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// There is no such version.
    #[error("there is no version {0}")]
    NoVersion(String),
    /// The oldest version would have to go, and has a label.
    #[error("version {0} is the oldest and has a label")]
    OldestIsLabelled(u64),
    /// More labels than a version may have.
    #[error("more than {LABELS_MAX} labels on one version")]
    TooManyLabels,
}

/// A version with its labels; `T` is whatever else is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version<T> {
    /// What is known of it.
    pub about: T,
    /// The labels on it.
    pub labels: BTreeSet<String>,
}

/// The versions of one parameter, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions<T>(BTreeMap<u64, Version<T>>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> FromIterator<(u64, Version<T>)> for Versions<T> {
    fn from_iter<I: IntoIterator<Item = (u64, Version<T>)>>(versions: I) -> Self {
        Self(versions.into_iter().collect())
    }
}

impl<T> Versions<T> {
    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Version<T>)> {
        self.0.iter().map(|(number, version)| (*number, version))
    }

    /// The newest.
    pub fn newest(&self) -> Option<(u64, &Version<T>)> {
        self.0.last_key_value().map(|(number, version)| (*number, version))
    }

    /// The version that is meant: the newest when nothing is said.
    ///
    /// # Errors
    /// [`VersionError::NoVersion`].
    pub fn find(&self, selector: Option<&Selector>) -> Result<(u64, &Version<T>), VersionError> {
        let found = match selector {
            None => self.newest(),
            Some(Selector::Version(number)) => self.0.get(number).map(|version| (*number, version)),
            Some(Selector::Label(label)) => self.iter().find(|(_, version)| version.labels.contains(label)),
        };
        found.ok_or_else(|| {
            VersionError::NoVersion(match selector {
                Some(Selector::Version(number)) => number.to_string(),
                Some(Selector::Label(label)) => label.clone(),
                None => String::new(),
            })
        })
    }

    /// Adds a version: its number, and the one that goes for it.
    ///
    /// # Errors
    /// [`VersionError::OldestIsLabelled`].
    pub fn add(&mut self, about: T) -> Result<(u64, Option<u64>), VersionError> {
        let number = self.newest().map_or(1, |(number, _)| number + 1);
        let mut gone = None;
        if self.0.len() >= VERSIONS_MAX
            && let Some((oldest, version)) = self.0.first_key_value()
        {
            if !version.labels.is_empty() {
                return Err(VersionError::OldestIsLabelled(*oldest));
            }
            gone = Some(*oldest);
        }
        if let Some(gone) = gone {
            self.0.remove(&gone);
        }
        self.0.insert(number, Version { about, labels: BTreeSet::new() });
        Ok((number, gone))
    }

    /// Puts labels on a version, taking them from others. Those that are none are given back.
    ///
    /// # Errors
    /// [`VersionError::NoVersion`], [`VersionError::TooManyLabels`].
    pub fn label(&mut self, number: u64, labels: Vec<String>) -> Result<Vec<String>, VersionError> {
        let (valid, invalid): (Vec<String>, Vec<String>) = labels.into_iter().partition(|label| is_label(label));
        let no_version = || VersionError::NoVersion(number.to_string());
        let target = self.0.get(&number).ok_or_else(no_version)?;
        let mut after = target.labels.clone();
        after.extend(valid.iter().cloned());
        if after.len() > LABELS_MAX {
            return Err(VersionError::TooManyLabels);
        }
        for version in self.0.values_mut() {
            version.labels.retain(|label| !valid.contains(label));
        }
        self.0.get_mut(&number).ok_or_else(no_version)?.labels = after;
        Ok(invalid)
    }

    /// Takes labels from a version: those that were on it, and those that were not.
    ///
    /// # Errors
    /// [`VersionError::NoVersion`].
    pub fn unlabel(&mut self, number: u64, labels: Vec<String>) -> Result<(Vec<String>, Vec<String>), VersionError> {
        let version = self.0.get_mut(&number).ok_or_else(|| VersionError::NoVersion(number.to_string()))?;
        Ok(labels.into_iter().partition(|label| version.labels.remove(label)))
    }
}

/// Whether a text can be a label.
fn is_label(label: &str) -> bool {
    let starts = |prefix: &str| label.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    (1..=LABEL_LENGTH_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && !label.starts_with(|first: char| first.is_ascii_digit())
        && !starts("aws")
        && !starts("ssm")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    fn of(count: usize) -> Versions<()> {
        let mut versions = Versions::default();
        for _ in 0..count {
            versions.add(()).unwrap();
        }
        versions
    }

    #[test]
    fn the_oldest_version_goes_for_the_hundred_and_first_unless_it_has_a_label() {
        let mut versions = of(100);
        assert_eq!(versions.add(()), Ok((101, Some(1))));
        versions.label(2, texts(&["kept"])).unwrap();
        assert_eq!(versions.add(()), Err(VersionError::OldestIsLabelled(2)));
        assert_eq!(versions.newest().unwrap().0, 101);
        versions.label(101, texts(&["kept"])).unwrap();
        assert_eq!(versions.add(()), Ok((102, Some(2))));
    }

    #[test]
    fn a_label_is_on_one_version_and_finds_it() {
        let mut versions = of(3);
        assert_eq!(versions.label(1, texts(&["prod", "9x", "awsx", "SSMx", "a b"])).unwrap().len(), 4);
        let prod = Selector::Label("prod".into());
        assert_eq!(versions.find(Some(&prod)).unwrap().0, 1);
        versions.label(2, texts(&["prod"])).unwrap();
        assert_eq!(versions.find(Some(&prod)).unwrap().0, 2);
        assert_eq!(versions.unlabel(1, texts(&["prod"])).unwrap(), (vec![], texts(&["prod"])));
        assert_eq!(versions.unlabel(2, texts(&["prod"])).unwrap(), (texts(&["prod"]), vec![]));
        assert_eq!(versions.find(Some(&prod)), Err(VersionError::NoVersion("prod".into())));
        assert_eq!(versions.find(Some(&Selector::Version(4))), Err(VersionError::NoVersion("4".into())));
        assert_eq!(versions.find(None).unwrap().0, 3);
    }

    #[test]
    fn a_version_has_ten_labels_and_keeps_them_when_an_eleventh_is_refused() {
        let mut versions = of(2);
        let ten: Vec<String> = (0..10).map(|number| format!("l{number}")).collect();
        versions.label(1, ten.clone()).unwrap();
        versions.label(2, texts(&["other"])).unwrap();
        assert_eq!(versions.label(1, texts(&["other"])), Err(VersionError::TooManyLabels));
        assert_eq!(versions.find(Some(&Selector::Label("other".into()))).unwrap().0, 2);
        assert!(versions.label(1, ten).unwrap().is_empty());
    }
}
