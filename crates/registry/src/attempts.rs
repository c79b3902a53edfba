//! Background work on images (preparing, signing): what waits is a row, which says how often it was tried.

use std::time::Duration;

use gantry_protocol::endpoint::chain;
use gantry_store::{KeyRange, KeyValue, StoreError, WatchError};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::metadata::RepositoryKeys;
use crate::registry::Registry;

/// After the store could not be read.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);
/// Looked for at least this often, because what waits for its next try tells nobody.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Waiting rows read at a time.
const PAGE: usize = 100;
const MINUTE_MS: i64 = 60_000;
/// Pauses after the first, second … failure. After the last one's try it is given up.
const PAUSES_MS: [i64; 4] = [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 120 * MINUTE_MS];
const ERROR_CHARS_MAX: usize = 400;

/// Work that waits for its next try, or that was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Attempts {
    /// How often it failed.
    pub failures: u32,
    /// Not tried again before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<i64>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

impl Attempts {
    /// Whether its turn has come.
    pub(crate) fn is_due(&self, now_ms: i64) -> bool {
        self.not_before_ms.is_none_or(|at| at <= now_ms)
    }

    /// What is known after one more failure. `not_before_ms` is none when there is no further try: what is wrong with
    /// the image itself (`hopeless`) will be wrong again.
    pub(crate) fn failed(&self, now_ms: i64, error: &str, hopeless: bool) -> Self {
        let pause = PAUSES_MS.get(self.failures as usize).filter(|_| !hopeless);
        Self {
            failures: self.failures + 1,
            not_before_ms: pause.map(|pause| now_ms.saturating_add(*pause)),
            error: error.chars().take(ERROR_CHARS_MAX).collect(),
        }
    }
}

/// Why work on an image failed.
pub(crate) trait Failure: std::error::Error + 'static {
    /// What the image could not be.
    const NOT_DONE: &'static str;

    /// It would fail again.
    fn is_hopeless(&self) -> bool;
}

impl Registry {
    /// What is known of the tries after one more failure ([`Attempts::failed`]), which is told to the log.
    pub(crate) fn note_failure<F: Failure>(
        &self,
        keys: &RepositoryKeys,
        image: &Digest,
        attempts: &Attempts,
        failed: &F,
    ) -> Attempts {
        let error = failed as &dyn std::error::Error;
        let attempts = attempts.failed(self.now().as_millis(), &chain(error), failed.is_hopeless());
        let (failures, again) = (attempts.failures, attempts.not_before_ms.is_some());
        tracing::warn!(repository = %keys.name(), %image, failures, again, error, "image could not be {}", F::NOT_DONE);
        attempts
    }

    /// The rows below `prefix` that are due, a page at most; waits until there is one. None when the store is closed.
    pub(crate) async fn due(&self, prefix: &str) -> Option<Vec<(KeyValue, Attempts)>> {
        loop {
            match self.due_now(prefix).await {
                Ok(due) if due.is_empty() => {}
                Ok(due) => return Some(due),
                Err(WatchError::Store(StoreError::Closed)) => return None,
                Err(error) => pause(&error).await,
            }
        }
    }

    /// The same, or none after a while.
    async fn due_now(&self, prefix: &str) -> Result<Vec<(KeyValue, Attempts)>, WatchError> {
        let store = &self.metadata.store;
        let (mut range, mut due) = (KeyRange::prefix(prefix), Vec::new());
        loop {
            let page = store.range(range, PAGE).await.map_err(WatchError::Store)?;
            let last = page.kvs.last().map(|last| last.key.clone());
            for row in page.kvs {
                let attempts: Attempts = serde_json::from_slice(&row.value).unwrap_or_default();
                if attempts.is_due(self.now().as_millis()) {
                    due.push((row, attempts));
                }
            }
            match last {
                _ if !due.is_empty() => return Ok(due),
                Some(last) if page.more => range = KeyRange::prefix(prefix).after(&last),
                _ => {
                    let mut watch = store.watch(prefix, page.revision + 1);
                    if let Ok(woken) = tokio::time::timeout(LOOK_EVERY, watch.next()).await {
                        woken?;
                    }
                    return Ok(due);
                }
            }
        }
    }
}

/// After the store did not do what work in the background asked of it.
pub(crate) async fn pause(error: &(dyn std::error::Error + Sync)) {
    tracing::warn!(%error, "work in the background waits for the store");
    tokio::time::sleep(PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_repeated_later_and_later_and_then_given_up() {
        let mut attempts = Attempts::default();
        assert!(attempts.is_due(0));
        let mut waits = Vec::new();
        loop {
            attempts = attempts.failed(1000, "no space", false);
            let Some(at) = attempts.not_before_ms else { break };
            assert!(!attempts.is_due(at - 1) && attempts.is_due(at));
            waits.push((at - 1000) / MINUTE_MS);
        }
        assert_eq!((waits.as_slice(), attempts.failures), (&[1, 5, 30, 120][..], 5));
        assert_eq!(Attempts::default().failed(0, "corrupt", true).not_before_ms, None);
    }
}
