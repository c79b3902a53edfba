//! Scans: which images are scanned and when, and what came of it.
//!
//! A scan that is asked for is a row with the status `IN_PROGRESS` and a row in the queue, written in one
//! transaction; the [`worker`] takes the queue up again after a crash. What is installed in an image is kept beside
//! the findings, so that a new advisory database is compared with every image without reading a layer.
//!
//! What must hold:
//! * without a database, or with one that has nothing on an image's distribution, the status is
//!   `FINDINGS_UNAVAILABLE`: nobody reads "no findings" where nothing was looked for;
//! * findings, counts and status change together;
//! * a scan that ends after its image was deleted, or after another scan began, writes nothing.

mod on_push;
mod results;
pub mod rows;
pub mod rules;
mod scan;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gantry_domain::arn::Scope;
use gantry_scan::database::{Database, FileId};
use gantry_scan::inventory::Limits;
use gantry_store::{Txn, TxnError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(crate) use on_push::OnPush;
pub(crate) use results::read_findings;
use rows::{ScanRow, ScanStatus, ScanningRow};

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::metadata::{ATTEMPTS_MAX, ImageRow, Read, RepositoryKeys, encode, setting_key};
use crate::registry::Registry;

/// What the operator decides about scans.
#[derive(Debug, Clone)]
pub struct ScanConfig {
    /// The folder of the advisory database; none: images are listed and never matched.
    pub database: Option<PathBuf>,
    /// What one scan may cost.
    pub limits: Limits,
    /// How long one scan may take.
    pub time_max: Duration,
    /// Scans at a time.
    pub concurrency: usize,
}

impl Default for ScanConfig {
    fn default() -> Self {
        // One core is left for everybody else; more scans at a time would not end sooner on a small machine.
        Self { database: None, limits: Limits::default(), time_max: Duration::from_secs(15 * 60), concurrency: 2 }
    }
}

/// What the scans of a registry share.
#[derive(Default)]
pub(crate) struct Scans {
    /// There is something in the queue.
    pub(crate) wake: Notify,
    /// The database that was opened last, and the file it is.
    open: Mutex<Option<(FileId, Arc<Database>)>>,
    /// A scan ended that had used another database than the one that is open now.
    stale: AtomicBool,
}

/// How long an image must wait for its next scan, and the period of the registry's quota.
const QUOTA_PERIOD_MS: i64 = 24 * 60 * 60 * 1000;
/// Scans of one registry in that period that may be asked for.
const SCANS_PER_PERIOD_MAX: u64 = 100_000;

/// Scans that were asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
struct QuotaRow {
    since_ms: i64,
    used: u64,
}

/// Whether a manifest is that of a container's image: not a list, nor a signature or chart.
pub(crate) fn is_scannable(is_index: bool, artifact_type: Option<&str>) -> bool {
    const CONFIGURATIONS: [&str; 2] =
        ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
    !is_index && artifact_type.is_some_and(|kind| CONFIGURATIONS.contains(&kind))
}

impl ImageRow {
    fn is_scannable(&self) -> bool {
        is_scannable(self.is_index, self.artifact_type.as_deref())
    }
}

impl Registry {
    /// How the registry scans.
    pub async fn scanning(&self, scope: &Scope) -> Result<ScanningRow, RegistryError> {
        let found = self.metadata.get(&setting_key(scope, "scanning")).await?;
        Ok(found.map_or_else(ScanningRow::default, |found| found.row))
    }

    /// Changes how the registry scans.
    pub async fn scanning_put(&self, scope: &Scope, row: &ScanningRow) -> Result<(), RegistryError> {
        self.metadata.store.txn(Txn::new().put(setting_key(scope, "scanning"), encode(row))).await?;
        Ok(())
    }

    /// The scan of an image; none when there never was one.
    pub async fn scan_get(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<Option<Read<ScanRow>>, RegistryError> {
        self.metadata.get(&keys.scan(digest)).await
    }

    /// A client asks for a scan.
    pub async fn scan_start(&self, keys: &RepositoryKeys, image: &FoundImage) -> Result<(), RegistryError> {
        if self.scanning(keys.scope()).await?.enhanced {
            return Err(RegistryError::FeatureDisabled);
        }
        if !image.row.is_scannable() {
            return Err(RegistryError::UnsupportedImageType {
                digest: image.digest.clone(),
                media_type: image.row.artifact_type.clone().unwrap_or_else(|| image.row.media_type.clone()),
            });
        }
        for _ in 0..ATTEMPTS_MAX {
            let known = self.scan_get(keys, &image.digest).await?;
            let now = self.now().as_millis();
            let recently = |known: &Read<ScanRow>| now.saturating_sub(known.row.requested_at_ms) < QUOTA_PERIOD_MS;
            if known.as_ref().is_some_and(recently) {
                return Err(quota_exceeded());
            }
            let quota_key = setting_key(keys.scope(), "scan-quota");
            let quota: Option<Read<QuotaRow>> = self.metadata.get(&quota_key).await?;
            let revision = quota.as_ref().map_or(0, |quota| quota.revision);
            let mut quota = quota.map(|quota| quota.row).unwrap_or_default();
            if now.saturating_sub(quota.since_ms) >= QUOTA_PERIOD_MS {
                quota = QuotaRow { since_ms: now, used: 0 };
            }
            if quota.used >= SCANS_PER_PERIOD_MAX {
                return Err(quota_exceeded());
            }
            quota.used += 1;
            let txn = Txn::new().require(&quota_key, revision).put(&quota_key, encode(&quota));
            // An image that is deleted now has no scan.
            let txn = txn.require_exists(keys.image(&image.digest));
            if self.scan_enqueue(keys, &image.digest, known.as_ref(), txn).await? {
                return Ok(());
            }
        }
        Err(RegistryError::Contention)
    }

    /// Adds a scan to the queue, unless somebody was faster.
    async fn scan_enqueue(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        known: Option<&Read<ScanRow>>,
        txn: Txn,
    ) -> Result<bool, RegistryError> {
        let row = ScanRow {
            status: ScanStatus::InProgress,
            description: String::new(),
            requested_at_ms: self.now().as_millis(),
            ..known.map(|known| known.row.clone()).unwrap_or_default()
        };
        let key = keys.scan(digest);
        let txn = txn
            .require(&key, known.map_or(0, |known| known.revision))
            .put(&key, encode(&row))
            .put(keys.scan_queued(digest), &b"{}"[..]);
        match self.metadata.store.txn(txn).await {
            Ok(_) => {
                self.scans.wake.notify_one();
                Ok(true)
            }
            Err(TxnError::Conflict { .. }) => Ok(false),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }
}

fn quota_exceeded() -> RegistryError {
    RegistryError::LimitExceeded("The scan quota per image has been exceeded. Wait and try again.".to_owned())
}
