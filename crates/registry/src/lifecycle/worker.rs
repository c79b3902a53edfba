//! Runs policies when they are due, and makes the previews that were asked for.

use std::time::Duration;

use gantry_store::KeyRange;

use super::PolicyRow;
use crate::fault::RegistryError;
use crate::metadata::{LIFECYCLE_PREFIX, RepositoryKeys, parse_holder};
use crate::registry::Registry;

/// How long a new policy rests before its first run: time to take a mistake back.
const FIRST_RUN_AFTER: Duration = Duration::from_secs(60);
/// How often is looked for policies that are due.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Policies read at a time.
const PAGE: usize = 100;

impl Registry {
    /// Runs policies and makes previews until the future is dropped. Spawned once beside the server.
    pub async fn lifecycle_work(&self) {
        tokio::join!(self.run_policies(), self.make_previews());
    }

    async fn run_policies(&self) {
        loop {
            tokio::time::sleep(self.config.lifecycle_interval.min(LOOK_EVERY)).await;
            if let Err(error) = self.lifecycle_run_due().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "lifecycle policies could not be read");
            }
        }
    }

    async fn make_previews(&self) {
        loop {
            if let Err(error) = self.previews_work().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "lifecycle policy previews could not be made");
            }
            // Woken by the next preview; from time to time, old ones are forgotten.
            let _ = tokio::time::timeout(Duration::from_secs(60), self.preview_wake.notified()).await;
        }
    }

    /// Runs every policy that is due.
    pub async fn lifecycle_run_due(&self) -> Result<(), RegistryError> {
        let mut range = KeyRange::prefix(LIFECYCLE_PREFIX);
        loop {
            let page = self.metadata.store.range(range, PAGE).await?;
            for kv in &page.kvs {
                let Some(keys) = kv.key.strip_prefix(LIFECYCLE_PREFIX).and_then(parse_holder) else { continue };
                let Ok(row) = serde_json::from_slice::<PolicyRow>(&kv.value) else { continue };
                if self.is_due(&row) {
                    self.run_one(&keys).await;
                }
            }
            match page.kvs.last() {
                Some(last) if page.more => range = KeyRange::prefix(LIFECYCLE_PREFIX).after(&last.key),
                _ => return Ok(()),
            }
        }
    }

    /// One that fails must not keep the others from running.
    async fn run_one(&self, keys: &RepositoryKeys) {
        match self.lifecycle_run(keys).await {
            Ok(_) | Err(RegistryError::LifecyclePolicyNotFound { .. } | RegistryError::RepositoryNotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(repository = %keys.arn(), error = &error as &dyn std::error::Error, "a lifecycle policy could not be run");
            }
        }
    }

    fn is_due(&self, row: &PolicyRow) -> bool {
        let interval = self.config.lifecycle_interval;
        let (since_ms, wait) = match row.evaluated_at_ms {
            Some(evaluated) => (evaluated, interval),
            None => (row.put_at_ms, interval.min(FIRST_RUN_AFTER)),
        };
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        self.now().as_millis().saturating_sub(since_ms) >= wait_ms
    }
}
