//! Backfills: rows, and the decisions about them. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::config::Destination;
use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};

/// Backfills that may run in one registry.
pub const RUNNING_MAX: usize = 10;
/// How long a backfill that has ended is remembered.
pub const HISTORY_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// From this many replications on, a backfill of which half has failed ends.
const JUDGED_FROM: u64 = 100;
/// How often an image is tried whose copy fails for reasons that may go away.
const TRIES_MAX: u32 = 8;
/// The first and the longest wait before another try.
const RETRY_MS: std::ops::RangeInclusive<i64> = 5_000..=300_000;
/// Images that may wait for another try; what fails beyond them has failed.
const DEFERRED_MAX: usize = 100;
/// Why it ended then.
const TOO_MANY_FAILURES: &str = "TooManyFailures";

/// Where a backfill is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BackfillStatus {
    /// What there is to copy is being counted.
    Preparing,
    /// It is being copied.
    InProgress,
    /// All was tried.
    Complete,
    /// Too much failed.
    Failed,
    /// Somebody stopped it, and the last copy goes on.
    Stopping,
    /// Somebody stopped it.
    Stopped,
}

impl BackfillStatus {
    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Stopped)
    }

    /// Whether it may be stopped.
    pub fn may_stop(self) -> bool {
        matches!(self, Self::Preparing | Self::InProgress)
    }
}

/// A backfill. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillRow {
    /// Where images are copied to.
    pub destination: Destination,
    /// Where it is.
    pub status: BackfillStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    /// When it was started.
    pub started_at_ms: i64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<i64>,
    /// Pairs of image and tag that there are; growing while it prepares.
    pub total: u64,
    /// How many of them were copied.
    pub completed: u64,
    /// How many could not be.
    pub failed: u64,
    /// Why, each reason once.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failure_codes: BTreeSet<String>,
    /// All was counted.
    #[serde(default)]
    pub prepared: bool,
    /// The last image that was counted, and once all are, that was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Images that are tried again later; the others go on meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<Deferred>,
}

/// An image whose copy failed for the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// The repository.
    pub repository: String,
    /// The image.
    pub digest: Digest,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again.
    pub retry_at_ms: i64,
}

/// A place in the images of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The repository.
    pub repository: String,
    /// The image in it; none: before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What came of one pair of image and tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRow {
    /// The repository.
    pub repository: String,
    /// The image.
    pub digest: Digest,
    /// The tag; none for an image that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Why it could not be copied; none when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    /// The reasons of the images in a list.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub children: BTreeSet<String>,
}

impl BackfillRow {
    /// A new one.
    pub fn new(destination: Destination, now_ms: i64) -> Self {
        Self {
            destination,
            status: BackfillStatus::Preparing,
            failure_code: None,
            started_at_ms: now_ms,
            ended_at_ms: None,
            total: 0,
            completed: 0,
            failed: 0,
            failure_codes: BTreeSet::new(),
            prepared: false,
            cursor: None,
            deferred: Vec::new(),
        }
    }

    /// Puts an image off that has now failed `tries` times; false when it was tried often enough.
    #[must_use]
    pub(crate) fn defer(&mut self, repository: &RepositoryName, digest: &Digest, tries: u32, now_ms: i64) -> bool {
        if tries >= TRIES_MAX || self.deferred.len() >= DEFERRED_MAX {
            return false;
        }
        let wait = RETRY_MS.start().saturating_mul(1 << tries.saturating_sub(1).min(16)).min(*RETRY_MS.end());
        let (repository, digest) = (repository.to_string(), digest.clone());
        self.deferred.push(Deferred { repository, digest, tries, retry_at_ms: now_ms.saturating_add(wait) });
        true
    }

    /// Takes out an image whose time has come.
    pub(crate) fn take_due(&mut self, now_ms: i64) -> Option<Deferred> {
        let due = self.deferred.iter().position(|deferred| deferred.retry_at_ms <= now_ms)?;
        Some(self.deferred.remove(due))
    }

    /// When the next image that was put off is tried again.
    pub(crate) fn retry_at_ms(&self) -> Option<i64> {
        self.deferred.iter().map(|deferred| deferred.retry_at_ms).min()
    }

    /// All was counted: copying begins, or there is nothing to copy.
    pub(crate) fn begin(&mut self, now_ms: i64) {
        (self.prepared, self.cursor) = (true, None);
        if self.total == 0 {
            self.end(BackfillStatus::Complete, now_ms);
        } else {
            self.status = BackfillStatus::InProgress;
        }
    }

    /// Counts results, and ends when too many have failed.
    pub(crate) fn count(&mut self, results: &[ResultRow], now_ms: i64) {
        for result in results {
            match &result.failure_code {
                None => self.completed += 1,
                Some(code) => {
                    self.failed += 1;
                    self.failure_codes.insert(code.clone());
                }
            }
        }
        // Images that came or went since they were counted must not make the sum wrong.
        self.total = self.total.max(self.completed + self.failed);
        let processed = self.completed + self.failed;
        if processed >= JUDGED_FROM && self.failed * 2 >= processed {
            self.failure_code = Some(TOO_MANY_FAILURES.to_owned());
            self.end(BackfillStatus::Failed, now_ms);
        }
    }

    /// Ends it.
    pub(crate) fn end(&mut self, status: BackfillStatus, now_ms: i64) {
        (self.status, self.ended_at_ms, self.cursor) = (status, Some(now_ms), None);
        self.deferred.clear();
    }
}

impl Cursor {
    /// After an image.
    pub(crate) fn after(repository: &RepositoryName, digest: Option<&Digest>) -> Self {
        Self { repository: repository.to_string(), digest: digest.cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(good: usize, bad: usize) -> Vec<ResultRow> {
        let result = |failure_code: Option<&str>| ResultRow {
            repository: "app".to_owned(),
            digest: Digest::of(b"x"),
            tag: None,
            failure_code: failure_code.map(str::to_owned),
            children: BTreeSet::new(),
        };
        let bad = (0..bad).map(|number| result(Some(if number % 2 == 0 { "A" } else { "B" })));
        (0..good).map(|_| result(None)).chain(bad).collect()
    }

    #[test]
    fn half_of_at_least_a_hundred_is_too_much() {
        for (good, bad, failed) in [(0, 99, false), (50, 50, true), (51, 50, false), (0, 100, true), (500, 499, false)]
        {
            let mut row = BackfillRow::new(Destination { region: "r".to_owned(), account: "a".to_owned() }, 1);
            row.total = 2000;
            row.begin(2);
            row.count(&results(good, bad), 3);
            assert_eq!(row.status == BackfillStatus::Failed, failed, "{good} {bad}");
            assert_eq!(row.failure_code.is_some(), failed);
            assert_eq!(row.ended_at_ms, failed.then_some(3));
        }
    }

    #[test]
    fn an_image_is_put_off_longer_each_time_and_a_bounded_number_of_times() {
        let mut row = BackfillRow::new(Destination { region: "r".to_owned(), account: "a".to_owned() }, 1);
        let (name, digest) = ("app".parse().expect("a name"), Digest::of(b"x"));
        let mut waits = Vec::new();
        let mut now_ms = 0;
        for tries in 1.. {
            if !row.defer(&name, &digest, tries, now_ms) {
                break;
            }
            let at = row.retry_at_ms().expect("one waits");
            assert_eq!(row.take_due(at - 1), None);
            assert_eq!(row.take_due(at).map(|due| due.tries), Some(tries));
            waits.push((at - now_ms) / 1000);
            now_ms = at;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300]);
        let held = (0..200).filter(|_| row.defer(&name, &digest, 1, 0)).count();
        assert_eq!(held, DEFERRED_MAX);
    }

    #[test]
    fn a_backfill_of_nothing_is_complete() {
        let mut row = BackfillRow::new(Destination { region: "r".to_owned(), account: "a".to_owned() }, 1);
        row.begin(2);
        assert_eq!((row.status, row.ended_at_ms), (BackfillStatus::Complete, Some(2)));
    }
}
