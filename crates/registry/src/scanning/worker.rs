//! Takes scans from the queue, a few at a time, and compares what is known with a new database.
//!
//! A scan whose layers cannot be had for now is tried again later; one whose layers are damaged has failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gantry_store::KeyRange;
use tokio::task::JoinSet;

use super::results::read_inventory;
use super::rows::{ScanRow, ScanStatus};
use super::scan::Outcome;
use crate::fault::RegistryError;
use crate::metadata::{Read as ReadRow, SCAN_QUEUE_PREFIX, SCANS_PREFIX, decode, parse_scanned};
use crate::registry::Registry;

/// How often a new database is looked for, which costs one system call.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The wait after a scan whose layers could not be had, and how often it is tried.
const RETRY_AFTER: Duration = Duration::from_secs(30);
const ATTEMPTS_MAX: u32 = 5;
/// Rows read at a time.
const PAGE: usize = 64;

impl Registry {
    /// Scans until the future is dropped. Spawned once beside the server.
    pub async fn scan_images(self: Arc<Self>) {
        let mut running: JoinSet<(String, Result<(), RegistryError>)> = JoinSet::new();
        let mut active: HashMap<String, Option<Instant>> = HashMap::new();
        let mut attempts: HashMap<String, u32> = HashMap::new();
        let mut compared = None;
        loop {
            // An import shows as another file. Whatever was compared with another database is compared again.
            let registry = Arc::clone(&self);
            let database = tokio::task::spawn_blocking(move || registry.scan_database()).await.unwrap_or(None);
            let generation = database.as_ref().map(|database| database.summary().generation.clone());
            if self.scans.stale.swap(false, Ordering::AcqRel) {
                compared = None;
            }
            if generation.is_some() && generation != compared && !active.contains_key("") {
                active.insert(String::new(), None);
                compared.clone_from(&generation);
                let registry = Arc::clone(&self);
                running.spawn(async move { (String::new(), registry.scan_compare_all(&generation).await) });
            }
            active.retain(|_, until| until.is_none_or(|until| until > Instant::now()));
            if let Err(error) = self.scan_fill(&mut running, &mut active).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the queue of scans cannot be read");
            }
            tokio::select! {
                () = self.scans.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(ended) = running.join_next() => {
                    // Readers that panic are failed scans. What else panics stays active until the next start.
                    let Ok((key, outcome)) = ended else { continue };
                    let outcome = outcome.inspect_err(|error| {
                        tracing::warn!(scan = key, error = error as &dyn std::error::Error, "a scan is tried again");
                    });
                    match outcome {
                        Ok(()) => {
                            active.remove(&key);
                            attempts.remove(&key);
                        }
                        Err(error) => {
                            if key.is_empty() {
                                compared = None;
                            }
                            active.insert(key.clone(), Some(Instant::now() + RETRY_AFTER));
                            let tried = attempts.entry(key.clone()).or_default();
                            *tried += 1;
                            if *tried >= ATTEMPTS_MAX {
                                attempts.remove(&key);
                                self.scan_give_up(&key, &error).await;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Starts scans of the queue while there is room.
    async fn scan_fill(
        self: &Arc<Self>,
        running: &mut JoinSet<(String, Result<(), RegistryError>)>,
        active: &mut HashMap<String, Option<Instant>>,
    ) -> Result<(), RegistryError> {
        let mut range = KeyRange::prefix(SCAN_QUEUE_PREFIX);
        while running.len() < self.config.scan.concurrency.max(1) {
            let page = self.metadata.store.range(range.clone(), PAGE).await?;
            let Some(last) = page.kvs.last() else { return Ok(()) };
            range = range.after(&last.key);
            for kv in &page.kvs {
                let key = kv.key.to_string();
                if running.len() >= self.config.scan.concurrency.max(1) {
                    break;
                }
                let Some((keys, digest)) = key.strip_prefix(SCAN_QUEUE_PREFIX).and_then(parse_scanned) else {
                    continue;
                };
                if active.contains_key(&key) {
                    continue;
                }
                active.insert(key.clone(), None);
                let registry = Arc::clone(self);
                running.spawn(async move { (key, registry.scan_run(&keys, &digest).await) });
            }
            if !page.more {
                break;
            }
        }
        Ok(())
    }

    /// Ends a scan whose layers could not be had.
    async fn scan_give_up(&self, key: &str, error: &RegistryError) {
        let Some((keys, digest)) = key.strip_prefix(SCAN_QUEUE_PREFIX).and_then(parse_scanned) else { return };
        tracing::error!(scan = key, error = error as &dyn std::error::Error, "a scan was given up");
        let text = "The image could not be read.";
        if let Ok(Some(scan)) = self.scan_get(&keys, &digest).await {
            let outcome = Outcome::without_findings(ScanStatus::Failed, text);
            let _ = self.scan_finish(&keys, &digest, scan, None, outcome).await;
        }
    }

    /// Compares every image that was listed with the database of `generation`, without reading layers.
    async fn scan_compare_all(&self, generation: &Option<String>) -> Result<(), RegistryError> {
        let mut range = KeyRange::prefix(SCANS_PREFIX);
        loop {
            let page = self.metadata.store.range(range.clone(), PAGE).await?;
            for kv in &page.kvs {
                let Some((keys, digest)) = kv.key.strip_prefix(SCANS_PREFIX).and_then(parse_scanned) else { continue };
                let scan = ReadRow { row: decode::<ScanRow>(kv)?, revision: kv.mod_revision };
                let current = scan.row.database == *generation;
                if scan.row.status == ScanStatus::InProgress || current || scan.row.inventory_round == 0 {
                    continue;
                }
                let Some(inventory) = read_inventory(self, &keys, &digest, &scan.row).await? else { continue };
                let outcome = self.scan_compare(inventory).await?;
                // Without a database what was found before stays; it is said when it was found.
                if outcome.database.is_some() {
                    self.scan_finish(&keys, &digest, scan, None, outcome).await?;
                }
            }
            match page.kvs.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => return Ok(()),
            }
        }
    }
}
