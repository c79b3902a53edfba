//! One scan: the packages of an image, compared with the database, written down and told.
//!
//! Reading layers is blocking work on threads of its own, with a deadline that is looked at between any two reads.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use gantry_api::event::Event;
use gantry_scan::database::{Database, DatabaseError};
use gantry_scan::inventory::{ImageReader, Inventory, InventoryError};
use gantry_scan::matching::{self, Finding, Matched};
use gantry_store::{Txn, TxnError};
use serde_json::json;

use super::results::{finding_pages, inventory_pieces, put_findings, put_inventory};
use super::rows::{ScanRow, ScanStatus};
use crate::blobs::{BlobError, BlobStream};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::manifest::{Content, Descriptor, Manifest};
use crate::metadata::{Read as ReadRow, RepositoryKeys, encode};
use crate::registry::Registry;

/// What a scan came to.
pub(super) struct Outcome {
    status: ScanStatus,
    description: String,
    findings: Vec<Finding>,
    pub(super) database: Option<Arc<Database>>,
}

impl Outcome {
    pub(super) fn without_findings(status: ScanStatus, description: impl Into<String>) -> Self {
        Self { status, description: description.into(), findings: Vec::new(), database: None }
    }
}

impl Registry {
    /// Does one scan of the queue.
    pub(super) async fn scan_run(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<(), RegistryError> {
        let Some(scan) = self.scan_get(keys, digest).await? else {
            self.metadata.store.txn(Txn::new().delete(keys.scan_queued(digest))).await?;
            return Ok(());
        };
        let Some(image) = self.metadata.image(keys, digest).await? else {
            return self.scan_forget(keys, digest, &scan).await;
        };
        let image = FoundImage { digest: digest.clone(), row: image.row, revision: image.revision };
        let (inventory, outcome) = match self.scan_read(&image).await? {
            Ok(inventory) => {
                let outcome = self.scan_compare(inventory.clone()).await?;
                (Some(inventory), outcome)
            }
            Err(outcome) => (None, outcome),
        };
        self.scan_finish(keys, digest, scan, inventory, outcome).await
    }

    /// The image went before its scan.
    async fn scan_forget(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        scan: &ReadRow<ScanRow>,
    ) -> Result<(), RegistryError> {
        let key = keys.scan(digest);
        let txn = Txn::new().require(&key, scan.revision).delete(&key).delete(keys.scan_queued(digest));
        match self.metadata.store.txn(txn).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// The packages of an image, or what the scan comes to without them.
    async fn scan_read(&self, image: &FoundImage) -> Result<Result<Inventory, Outcome>, RegistryError> {
        let failed = |description: String| Ok(Err(Outcome::without_findings(ScanStatus::Failed, description)));
        let layers = match self.manifest_bytes(image).await {
            Ok(bytes) => match Manifest::parse(&bytes, Some(&image.row.media_type))?.content {
                Content::Image { layers, .. } => layers,
                Content::Index { .. } => return failed("The image is a list of images.".to_owned()),
            },
            Err(RegistryError::BlobUnknown(_)) => return failed("The manifest of the image is damaged.".to_owned()),
            Err(error) => return Err(error),
        };
        let mut opened = Vec::with_capacity(layers.len());
        for layer in layers {
            // Layers are opened one after the other while they are read; that each is there is found out first.
            match self.blobs.stat(&layer.digest).await {
                Ok(_) => opened.push(layer),
                Err(BlobError::Unknown(_) | BlobError::Damaged(_)) => {
                    return failed(format!("The layer {} is not in the registry.", layer.digest));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let stop = StopOnDrop::default();
        let (blobs, config, stopped) = (Arc::clone(&self.blobs), self.config.scan.clone(), Arc::clone(&stop.0));
        let runtime = tokio::runtime::Handle::current();
        let read = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + config.time_max;
            let expired = || Instant::now() > deadline || stopped.load(Ordering::Relaxed);
            let mut image = ImageReader::new(config.limits, &expired);
            for Descriptor { media_type, digest, size } in &opened {
                let open = runtime.block_on(blobs.get(digest, *size, None));
                let stream = open.map_err(|error| InventoryError::Source(io::Error::other(error)))?;
                let layer = Blocking { stream, runtime: runtime.clone(), chunk: Bytes::new() };
                image.layer(media_type, layer)?;
            }
            image.finish()
        });
        // A panic in a reader is a failed scan, not an end of all scans.
        let outcome = read.await.unwrap_or_else(|_| Err(InventoryError::Damaged("the scanner failed".to_owned())));
        match outcome {
            Ok(inventory) => Ok(Ok(inventory)),
            Err(InventoryError::Source(error)) => Err(RegistryError::Blobs(BlobError::io("reading a layer")(error))),
            Err(error) => Ok(Err(Outcome::without_findings(status(&error), describe(&error)))),
        }
    }

    /// What the current database says about an inventory.
    pub(super) async fn scan_compare(self: &Registry, inventory: Inventory) -> Result<Outcome, RegistryError> {
        // Opening and reading the database are blocking; the scans that do so at once are few.
        let opened = self.scans.open.lock().as_ref().map(|(_, database)| Arc::clone(database));
        let Some(database) = opened else { return Ok(no_database()) };
        let time_max = self.config.scan.time_max;
        let compared = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + time_max;
            let matched = matching::find(&inventory, &database, &|| Instant::now() > deadline)?;
            Ok::<_, DatabaseError>(outcome(matched, &inventory.notes, database))
        });
        let compared = compared.await.map_err(|error| RegistryError::Blobs(BlobError::io("scanning")(error.into())))?;
        Ok(compared.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the advisory database cannot be read");
            no_database()
        }))
    }

    /// The database as it is on disk now; opened when it is another file than before. Blocking.
    pub(super) fn scan_database(&self) -> Option<Arc<Database>> {
        let folder = self.config.scan.database.as_deref()?;
        let Some(now) = Database::file_id(folder) else {
            *self.scans.open.lock() = None;
            return None;
        };
        let mut open = self.scans.open.lock();
        match &*open {
            Some((id, database)) if *id == now => return Some(Arc::clone(database)),
            _ => {}
        }
        match Database::open(folder) {
            Ok(database) => {
                let database = Arc::new(database);
                tracing::info!(advisories = database.summary().advisories, "advisory database opened");
                *open = Some((now, Arc::clone(&database)));
                Some(database)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the advisory database cannot be opened");
                *open = None;
                None
            }
        }
    }

    /// Writes what a scan came to, if the scan is still wanted.
    pub(super) async fn scan_finish(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        scan: ReadRow<ScanRow>,
        inventory: Option<Inventory>,
        outcome: Outcome,
    ) -> Result<(), RegistryError> {
        let pieces = inventory.as_ref().map(inventory_pieces);
        let (outcome, pieces) = match pieces {
            Some(None) => {
                let text = "The image has more packages than can be kept.";
                (Outcome::without_findings(ScanStatus::Failed, text), None)
            }
            pieces => (outcome, pieces.flatten()),
        };
        let was = scan.row;
        let now = self.now().as_millis();
        let summary = outcome.database.as_ref().map(|database| database.summary());
        let round = was.round + 1;
        let (pages, kept) = finding_pages(&outcome.findings);
        let mut description = outcome.description;
        if kept < outcome.findings.len() {
            description.push_str(&format!(" Only the worst {kept} of {} findings are kept.", outcome.findings.len()));
        }
        let row = ScanRow {
            status: outcome.status,
            description,
            requested_at_ms: was.requested_at_ms,
            completed_at_ms: Some(now),
            first_completed_at_ms: was.first_completed_at_ms.or(summary.map(|_| now)),
            database: summary.map(|summary| summary.generation.clone()),
            source_updated_at_ms: summary.map(|summary| summary.imported_at_ms),
            counts: counts(&outcome.findings),
            round,
            inventory_round: if pieces.is_some() { round } else { was.inventory_round },
        };
        let key = keys.scan(digest);
        let mut txn = Txn::new()
            .require(&key, scan.revision)
            .require_exists(keys.image(digest))
            .put(&key, encode(&row))
            .delete(keys.scan_queued(digest))
            .delete_prefix(keys.findings(digest, was.round));
        txn = put_findings(txn, keys, digest, round, pages);
        if let Some(pieces) = pieces {
            txn = txn.delete_prefix(keys.inventory(digest, was.inventory_round));
            txn = put_inventory(txn, keys, digest, round, pieces);
        }
        match self.metadata.store.txn(txn).await {
            Ok(_) => {}
            // The image is gone, or another scan began: the queue knows.
            Err(TxnError::Conflict { .. }) => return Ok(()),
            Err(TxnError::Store(error)) => return Err(error.into()),
        }
        // An import that came in between has passed this image by.
        let used = row.database.as_ref();
        let open = self.scans.open.lock().as_ref().map(|(_, database)| database.summary().generation.clone());
        if row.inventory_round != 0 && open.is_some() && open.as_ref() != used {
            self.scans.stale.store(true, Ordering::Release);
            self.scans.wake.notify_one();
        }
        // What is found again as it was is no news.
        if was.status == ScanStatus::InProgress || was.counts != row.counts {
            self.scan_told(keys, digest, &row).await;
        }
        Ok(())
    }

    /// `ECR Image Scan`
    async fn scan_told(&self, keys: &RepositoryKeys, digest: &Digest, row: &ScanRow) {
        let tags = match self.metadata.image(keys, digest).await {
            Ok(Some(image)) => image.row.tags,
            _ => Default::default(),
        };
        let scope = keys.scope();
        let status = if row.status == ScanStatus::Complete { "COMPLETE" } else { "FAILED" };
        self.events.emit(Event {
            id: uuid::Uuid::new_v4().to_string(),
            source: "aws.ecr".to_owned(),
            detail_type: "ECR Image Scan".to_owned(),
            account: scope.account.clone(),
            region: scope.region.clone(),
            time_ms: self.now().as_millis(),
            resources: vec![keys.arn()],
            detail: json!({
                "scan-status": status,
                "repository-name": keys.name().as_str(),
                "finding-severity-counts": row.counts,
                "image-digest": digest,
                "image-tags": tags,
            }),
        });
    }
}

fn no_database() -> Outcome {
    let text = "There is no advisory database. Load one with 'gantry scan-db import'.";
    Outcome::without_findings(ScanStatus::FindingsUnavailable, text)
}

fn outcome(matched: Matched, notes: &[String], database: Arc<Database>) -> Outcome {
    let database = Some(database);
    match matched {
        Matched::Findings { findings, uncovered, cut } => {
            let mut description = "The scan was completed successfully.".to_owned();
            if !uncovered.is_empty() {
                let names: Vec<String> = uncovered.iter().map(|(key, count)| format!("{key} ({count})")).collect();
                description.push_str(&format!(
                    " The advisory database has nothing on these packages of the image: {}.",
                    names.join(", ")
                ));
            }
            if cut {
                description.push_str(" There are more findings than are kept.");
            }
            if !notes.is_empty() {
                description.push_str(&format!(" Not read: {}.", notes.join("; ")));
            }
            Outcome { status: ScanStatus::Complete, description, findings, database }
        }
        Matched::TimedOut => Outcome {
            status: ScanStatus::Failed,
            description: "The scan took too long.".to_owned(),
            findings: Vec::new(),
            database,
        },
        Matched::Uncovered { ecosystems } => {
            let names = ecosystems.into_iter().collect::<Vec<_>>().join(", ");
            let description = format!("The advisory database has nothing on {names}.");
            Outcome { status: ScanStatus::FindingsUnavailable, description, findings: Vec::new(), database }
        }
        Matched::Unsupported { distribution } => {
            let description = if distribution.is_empty() {
                "UnsupportedImageError: The operating system and package manager of the image were not recognized."
                    .to_owned()
            } else {
                format!("UnsupportedImageError: The operating system '{distribution}' is not supported.")
            };
            Outcome { status: ScanStatus::UnsupportedImage, description, findings: Vec::new(), database }
        }
    }
}

fn status(error: &InventoryError) -> ScanStatus {
    match error {
        InventoryError::TooLarge(_) | InventoryError::TooManyEntries(_) => ScanStatus::ImageSizeExceeded,
        InventoryError::Unsupported(_) => ScanStatus::UnsupportedImage,
        InventoryError::TooManyPackages(_)
        | InventoryError::TimedOut
        | InventoryError::Damaged(_)
        | InventoryError::Source(_) => ScanStatus::Failed,
    }
}

/// A sentence.
fn describe(error: &InventoryError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).chain(['.']).collect())
}

fn counts(findings: &[Finding]) -> BTreeMap<String, i32> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.severity.as_str().to_owned()).or_insert(0) += 1;
    }
    counts
}

/// Ends the blocking part of a scan that nobody waits for any more.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A blob as a blocking reader.
struct Blocking {
    stream: BlobStream,
    runtime: tokio::runtime::Handle,
    chunk: Bytes,
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}
