//! The versions of a secret and the stages that point at them.
//!
//! What must hold: a stage is on one version at most; `AWSCURRENT`, once there is a version, is on exactly one; the
//! version that had it before has `AWSPREVIOUS`.

use std::collections::{BTreeMap, BTreeSet};

use crate::Timestamp;

/// The version that is meant when nobody says which.
pub const CURRENT: &str = "AWSCURRENT";
/// The version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// Stages one version may have.
pub const STAGES_MAX: usize = 20;
/// Versions a secret may have. Beyond them those without stages go, unless they are younger than a day.
pub const VERSIONS_MAX: usize = 100;
/// How long a version without stages is kept whatever their number.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// A version, without its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// When it was made.
    pub created_at: Timestamp,
    /// The stages on it; one without any is deprecated.
    pub stages: BTreeSet<String>,
}

/// Why stages cannot be as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// No version has the stage.
    #[error("no version has the stage {0}")]
    NoStage(String),
    /// There is no such version.
    #[error("there is no version {0}")]
    NoVersion(String),
    /// Version and stage were both given, and are of different versions.
    #[error("the stage is not on the version")]
    StageElsewhere,
    /// A stage is taken from a version only by who names that version.
    #[error("the stage {stage} is on version {holder}, which must be named")]
    HolderNotNamed {
        /// The stage.
        stage: String,
        /// The version that has it.
        holder: String,
    },
    /// The version that the stage is to be taken from does not have it.
    #[error("the stage {stage} is not on version {version}")]
    NotHolder {
        /// The stage.
        stage: String,
        /// The version.
        version: String,
    },
    /// A secret with versions has a current one.
    #[error("the current version cannot be left without a successor")]
    CurrentMustStay,
    /// More stages than a version may have.
    #[error("more than {STAGES_MAX} stages on one version")]
    TooManyStages,
    /// More versions than a secret may have, none of which may go yet.
    #[error("more than {VERSIONS_MAX} versions")]
    TooManyVersions,
}

/// The versions of one secret, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<String, Version>);

impl FromIterator<(String, Version)> for Versions {
    fn from_iter<I: IntoIterator<Item = (String, Version)>>(versions: I) -> Self {
        Self(versions.into_iter().collect())
    }
}

impl IntoIterator for Versions {
    type Item = (String, Version);
    type IntoIter = std::collections::btree_map::IntoIter<String, Version>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Versions {
    /// A version.
    pub fn get(&self, id: &str) -> Option<&Version> {
        self.0.get(id)
    }

    /// The version that has a stage.
    pub fn holder(&self, stage: &str) -> Option<&str> {
        self.0.iter().find(|(_, version)| version.stages.contains(stage)).map(|(id, _)| id.as_str())
    }

    /// The version that an id, a stage, both or neither mean.
    ///
    /// # Errors
    /// When there is none, or the two mean different ones.
    pub fn find(&self, id: Option<&str>, stage: Option<&str>) -> Result<&str, VersionError> {
        let Some(id) = id else {
            let stage = stage.unwrap_or(CURRENT);
            return self.holder(stage).ok_or_else(|| VersionError::NoStage(stage.to_owned()));
        };
        let (id, version) = self.0.get_key_value(id).ok_or_else(|| VersionError::NoVersion(id.to_owned()))?;
        match stage {
            Some(stage) if !version.stages.contains(stage) => Err(VersionError::StageElsewhere),
            _ => Ok(id),
        }
    }

    /// Adds a version with these stages, which leave the versions that had them. The first version of a secret is
    /// current whatever is asked. Returns the ids of the versions that are gone for it.
    ///
    /// # Errors
    /// When there would be more stages or versions than there may be.
    pub fn add(&mut self, now: Timestamp, id: &str, mut stages: BTreeSet<String>) -> Result<Vec<String>, VersionError> {
        if self.holder(CURRENT).is_none() {
            stages.insert(CURRENT.to_owned());
        }
        if stages.len() > STAGES_MAX {
            return Err(VersionError::TooManyStages);
        }
        self.0.insert(id.to_owned(), Version { created_at: now, stages: BTreeSet::new() });
        stages.iter().for_each(|stage| self.attach(stage, id));
        self.purge(now)
    }

    /// Takes a stage from one version, puts it on another, or both.
    ///
    /// # Errors
    /// When the version that has the stage is not named, or `AWSCURRENT` would be on none.
    pub fn move_stage(&mut self, stage: &str, from: Option<&str>, to: Option<&str>) -> Result<(), VersionError> {
        let holder = self.holder(stage).map(str::to_owned);
        if let Some(missing) = [from, to].into_iter().flatten().find(|id| !self.0.contains_key(*id)) {
            return Err(VersionError::NoVersion(missing.to_owned()));
        }
        match (&holder, from) {
            (holder, Some(from)) if holder.as_deref() != Some(from) => {
                return Err(VersionError::NotHolder { stage: stage.to_owned(), version: from.to_owned() });
            }
            (Some(holder), None) if to != Some(holder) => {
                return Err(VersionError::HolderNotNamed { stage: stage.to_owned(), holder: holder.clone() });
            }
            _ => {}
        }
        match to {
            Some(to) => {
                let others = self.0.get(to).map_or(0, |version| version.stages.len());
                if holder.as_deref() != Some(to) && others >= STAGES_MAX {
                    return Err(VersionError::TooManyStages);
                }
                self.attach(stage, to);
            }
            None if stage == CURRENT => return Err(VersionError::CurrentMustStay),
            None => self.detach(stage),
        }
        Ok(())
    }

    fn detach(&mut self, stage: &str) {
        self.0.values_mut().for_each(|version| {
            version.stages.remove(stage);
        });
    }

    fn attach(&mut self, stage: &str, id: &str) {
        let before = self.holder(stage).filter(|holder| *holder != id).map(str::to_owned);
        self.detach(stage);
        if let Some(version) = self.0.get_mut(id) {
            version.stages.insert(stage.to_owned());
        }
        if let (CURRENT, Some(before)) = (stage, before) {
            self.attach(PREVIOUS, &before);
        }
    }

    /// Lets the oldest versions without stages go when there are too many.
    fn purge(&mut self, now: Timestamp) -> Result<Vec<String>, VersionError> {
        let excess = self.0.len().saturating_sub(VERSIONS_MAX);
        let old = |version: &Version| version.stages.is_empty() && now.millis_since(version.created_at) >= KEPT_MS;
        let mut deprecated: Vec<_> = self.0.iter().filter(|(_, version)| old(version)).collect();
        if deprecated.len() < excess {
            return Err(VersionError::TooManyVersions);
        }
        deprecated.sort_by_key(|(_, version)| version.created_at);
        let gone: Vec<String> = deprecated.into_iter().take(excess).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| {
            self.0.remove(id);
        });
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn stages(stages: &[&str]) -> BTreeSet<String> {
        stages.iter().map(|stage| (*stage).to_owned()).collect()
    }

    /// `id=STAGE,STAGE …` in the order of the ids.
    fn shown(versions: &Versions) -> String {
        let one = |(id, version): (&String, &Version)| {
            format!("{id}={}", version.stages.iter().cloned().collect::<Vec<_>>().join(","))
        };
        versions.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn three() -> Versions {
        let mut versions = Versions::default();
        versions.add(at(1), "a", stages(&[CURRENT])).unwrap();
        versions.add(at(2), "b", stages(&[CURRENT])).unwrap();
        versions.add(at(3), "c", stages(&["AWSPENDING"])).unwrap();
        versions
    }

    #[test]
    fn the_version_that_was_current_becomes_the_previous_one() {
        let mut versions = three();
        assert_eq!(shown(&versions), "a=AWSPREVIOUS b=AWSCURRENT c=AWSPENDING");
        versions.add(at(4), "d", stages(&[CURRENT, "mine"])).unwrap();
        assert_eq!(shown(&versions), "a= b=AWSPREVIOUS c=AWSPENDING d=AWSCURRENT,mine");
    }

    #[test]
    fn the_first_version_is_current_whatever_is_asked() {
        let mut versions = Versions::default();
        versions.add(at(1), "a", stages(&["AWSPENDING"])).unwrap();
        assert_eq!(shown(&versions), "a=AWSCURRENT,AWSPENDING");
    }

    #[test]
    fn a_version_is_found_by_id_by_stage_or_by_both_when_they_agree() {
        let versions = three();
        assert_eq!(versions.find(None, None), Ok("b"));
        assert_eq!(versions.find(None, Some(PREVIOUS)), Ok("a"));
        assert_eq!(versions.find(Some("c"), None), Ok("c"));
        assert_eq!(versions.find(Some("c"), Some("AWSPENDING")), Ok("c"));
        assert_eq!(versions.find(Some("c"), Some(CURRENT)), Err(VersionError::StageElsewhere));
        assert_eq!(versions.find(Some("x"), None), Err(VersionError::NoVersion("x".into())));
        assert_eq!(versions.find(None, Some("x")), Err(VersionError::NoStage("x".into())));
    }

    #[test]
    fn a_stage_moves_only_from_the_version_that_is_named() {
        let holder = |stage: &str, holder: &str| {
            Err(VersionError::HolderNotNamed { stage: stage.into(), holder: holder.into() })
        };
        let mut versions = three();
        assert_eq!(versions.move_stage(CURRENT, None, Some("c")), holder(CURRENT, "b"));
        assert_eq!(
            versions.move_stage(CURRENT, Some("a"), Some("c")),
            Err(VersionError::NotHolder { stage: CURRENT.into(), version: "a".into() })
        );
        assert_eq!(versions.move_stage(CURRENT, Some("b"), None), Err(VersionError::CurrentMustStay));
        assert_eq!(versions.move_stage(CURRENT, Some("b"), Some("x")), Err(VersionError::NoVersion("x".into())));
        assert_eq!(shown(&versions), shown(&three()), "a refusal changes nothing");
        versions.move_stage(CURRENT, Some("b"), Some("c")).unwrap();
        assert_eq!(shown(&versions), "a= b=AWSPREVIOUS c=AWSCURRENT,AWSPENDING");
        versions.move_stage("AWSPENDING", Some("c"), None).unwrap();
        versions.move_stage("mine", None, Some("a")).unwrap();
        assert_eq!(shown(&versions), "a=mine b=AWSPREVIOUS c=AWSCURRENT");
    }

    #[test]
    fn the_oldest_versions_without_stages_go_when_they_are_a_day_old() {
        let mut versions = Versions::default();
        for second in 0..100 {
            versions.add(at(second), &format!("{second:03}"), stages(&[CURRENT])).unwrap();
        }
        let mut early = versions.clone();
        assert_eq!(early.add(at(200), "x", stages(&[CURRENT])), Err(VersionError::TooManyVersions));
        let gone = versions.add(at(86_400), "x", stages(&[CURRENT])).unwrap();
        assert_eq!(gone, ["000"]);
        assert_eq!((versions.0.len(), versions.holder(PREVIOUS)), (100, Some("099")));
    }

    #[test]
    fn a_version_has_a_limited_number_of_stages() {
        let many: BTreeSet<String> = (0..20).map(|number| format!("s{number}")).collect();
        let mut versions = three();
        assert_eq!(versions.add(at(9), "d", many.clone()), Ok(Vec::new()));
        assert_eq!(versions.move_stage("one-more", None, Some("d")), Err(VersionError::TooManyStages));
        assert_eq!(Versions::default().add(at(9), "d", many), Err(VersionError::TooManyStages));
    }
}
