//! Findings and inventories as rows: compressed, in pieces that fit, found by their names.
//!
//! A page of findings is named by the sort key of its last finding, so a list goes on after any finding with one
//! look-up. An inventory is only ever read whole.

use std::io::Read;

use gantry_scan::inventory::Inventory;
use gantry_scan::matching::Finding;
use gantry_store::{KeyRange, Txn};

use super::rows::ScanRow;
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::registry::Registry;

/// Findings in one row.
const PAGE: usize = 100;
/// Bytes of one row of an inventory.
const PIECE: usize = 512 * 1024;
/// Bytes of all rows of an inventory and of all findings: together they are one transaction.
const INVENTORY_BYTES_MAX: usize = 3 << 20;
const FINDINGS_BYTES_MAX: usize = 4 << 20;
/// Bytes that rows may have when they are inflated: far more than we write.
const INFLATED_BYTES_MAX: u64 = 256 << 20;

fn compress(value: &impl serde::Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("rows have string keys and no failing serializers");
    zstd::bulk::compress(&json, 3).expect("memory is the only thing that can fail")
}

fn inflate<T: serde::de::DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    let row = |source| RegistryError::Row { key: key.to_owned(), source };
    let mut json = Vec::new();
    let read = zstd::stream::read::Decoder::new(bytes)
        .and_then(|decoder| decoder.take(INFLATED_BYTES_MAX).read_to_end(&mut json));
    read.map_err(|error| row(serde::de::Error::custom(error)))?;
    serde_json::from_slice(&json).map_err(row)
}

/// An inventory in pieces; none when it has more than may be kept.
pub(super) fn inventory_pieces(inventory: &Inventory) -> Option<Vec<Vec<u8>>> {
    let bytes = compress(inventory);
    (bytes.len() <= INVENTORY_BYTES_MAX).then(|| bytes.chunks(PIECE).map(<[u8]>::to_vec).collect())
}

/// Findings in pages, each with the sort key of its last; and how many fit.
pub(super) fn finding_pages(findings: &[Finding]) -> (Vec<(String, Vec<u8>)>, usize) {
    let (mut pages, mut bytes, mut kept) = (Vec::new(), 0, 0);
    for page in findings.chunks(PAGE) {
        let Some(last) = page.last() else { break };
        let row = compress(&page);
        bytes += row.len();
        if bytes > FINDINGS_BYTES_MAX {
            break;
        }
        kept += page.len();
        pages.push((last.sort_key(), row));
    }
    (pages, kept)
}

/// Adds the rows of a round to a transaction.
pub(super) fn put_inventory(txn: Txn, keys: &RepositoryKeys, digest: &Digest, round: u64, pieces: Vec<Vec<u8>>) -> Txn {
    let prefix = keys.inventory(digest, round);
    pieces.into_iter().enumerate().fold(txn, |txn, (number, piece)| txn.put(format!("{prefix}{number:03}"), piece))
}

/// Adds the rows of a round to a transaction.
pub(super) fn put_findings(
    txn: Txn,
    keys: &RepositoryKeys,
    digest: &Digest,
    round: u64,
    pages: Vec<(String, Vec<u8>)>,
) -> Txn {
    let prefix = keys.findings(digest, round);
    pages.into_iter().fold(txn, |txn, (last, page)| txn.put(format!("{prefix}{last}"), page))
}

/// What is installed in an image; none when no scan got so far.
pub(super) async fn read_inventory(
    registry: &Registry,
    keys: &RepositoryKeys,
    digest: &Digest,
    scan: &ScanRow,
) -> Result<Option<Inventory>, RegistryError> {
    const PIECES_MAX: usize = INVENTORY_BYTES_MAX / PIECE + 1;
    let prefix = keys.inventory(digest, scan.inventory_round);
    let found = registry.metadata.store.range(KeyRange::prefix(&prefix), PIECES_MAX).await?;
    if found.kvs.is_empty() {
        return Ok(None);
    }
    let bytes: Vec<u8> = found.kvs.iter().flat_map(|kv| kv.value.iter().copied()).collect();
    inflate(&prefix, &bytes).map(Some)
}

/// Up to `limit` findings after the one whose sort key is `after`.
pub(crate) async fn read_findings(
    registry: &Registry,
    keys: &RepositoryKeys,
    digest: &Digest,
    scan: &ScanRow,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Finding>, RegistryError> {
    let prefix = keys.findings(digest, scan.round);
    let mut range = KeyRange::prefix(&prefix);
    if let Some(after) = after {
        range = range.after(&format!("{prefix}{after}"));
    }
    // The page that `after` lies in comes first, cut.
    let found = registry.metadata.store.range(range, limit / PAGE + 2).await?;
    let mut findings = Vec::new();
    for kv in &found.kvs {
        let page: Vec<Finding> = inflate(&kv.key, &kv.value)?;
        findings.extend(page.into_iter().filter(|each| after.is_none_or(|after| each.sort_key().as_str() > after)));
        if findings.len() >= limit {
            break;
        }
    }
    findings.truncate(limit);
    Ok(findings)
}
