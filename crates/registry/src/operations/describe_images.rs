//! `DescribeImages`

use std::collections::BTreeMap;

use super::*;
use crate::digest::Digest;
use crate::metadata::ImageRow;
use crate::scanning::rows::{ScanRow, ScanStatus};

const ROWS_AT_A_TIME: usize = 1000;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeImagesRequest,
) -> Result<DescribeImagesResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    if let Some(ids) = input.image_ids {
        wire::no_paging("imageIds", input.next_token.as_ref(), input.max_results)?;
        let details = Some(by_id(registry, &keys, ids).await?);
        return Ok(DescribeImagesResponse { image_details: details, next_token: None });
    }
    let filter = input.filter.unwrap_or_default();
    let wanted = wire::Wanted::new(filter.tag_status, filter.image_status);
    let question = format!("DescribeImages {} {} {wanted:?}", keys.scope().account, keys.name());
    let pager = wire::pager(&question, input.max_results);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let rows = rows(registry, &keys, wanted, after, wire::page_limit(input.max_results)).await?;
    let page = pager.page(rows, |(digest, _)| digest.to_string());
    let details = details(registry, &keys, page.items).await?;
    Ok(DescribeImagesResponse { image_details: Some(details), next_token: page.next_token })
}

/// The images asked for, each once; one that is not there refuses the whole call.
async fn by_id(
    registry: &Registry,
    keys: &RepositoryKeys,
    ids: Vec<ImageIdentifier>,
) -> Result<Vec<ImageDetail>, RegistryError> {
    let mut found = BTreeMap::new();
    for id in ids {
        let image = wire::image(registry, keys, &id).await?;
        found.insert(image.digest, image.row);
    }
    details(registry, keys, found.into_iter().collect()).await
}

async fn rows(
    registry: &Registry,
    keys: &RepositoryKeys,
    wanted: wire::Wanted,
    mut after: Option<String>,
    limit: usize,
) -> Result<Vec<(Digest, ImageRow)>, RegistryError> {
    let mut found = Vec::new();
    loop {
        let (rows, more) = registry.metadata.images(keys, after.as_deref(), ROWS_AT_A_TIME).await?;
        after = rows.last().map(|(digest, _)| digest.to_string());
        found.extend(rows.into_iter().filter(|(_, row)| wanted.takes(row)));
        if found.len() >= limit || !more {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

async fn details(
    registry: &Registry,
    keys: &RepositoryKeys,
    images: Vec<(Digest, ImageRow)>,
) -> Result<Vec<ImageDetail>, RegistryError> {
    let mut details = Vec::with_capacity(images.len());
    for (digest, row) in images {
        let scan = registry.scan_get(keys, &digest).await?;
        details.push(detail(keys, &digest, row, scan.map(|scan| scan.row)));
    }
    Ok(details)
}

fn detail(keys: &RepositoryKeys, digest: &Digest, row: ImageRow, scan: Option<ScanRow>) -> ImageDetail {
    let tags: Vec<String> = row.tags.into_iter().map(String::from).collect();
    ImageDetail {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_digest: Some(digest.to_string()),
        image_tags: Some(tags).filter(|tags| !tags.is_empty()),
        image_size_in_bytes: Some(wire::size(row.image_size)),
        image_pushed_at: Some(wire::timestamp(row.pushed_at_ms)),
        image_manifest_media_type: Some(row.media_type),
        artifact_media_type: row.artifact_type,
        last_recorded_pull_time: row.pulled_at_ms.map(wire::timestamp),
        subject_manifest_digest: row.subject.map(String::from),
        image_scan_status: scan.as_ref().map(|scan| match row.archived {
            true => wire::archived_scan_status(),
            false => wire::scan_status(scan, false),
        }),
        image_scan_findings_summary: scan.filter(|scan| scan.completed_at_ms.is_some()).map(summary),
        image_status: Some(if row.archived { ImageStatus::Archived } else { ImageStatus::Active }),
        last_archived_at: row.archived_at_ms.map(wire::timestamp),
        last_activated_at: row.activated_at_ms.map(wire::timestamp),
    }
}

fn summary(scan: ScanRow) -> ImageScanFindingsSummary {
    ImageScanFindingsSummary {
        image_scan_completed_at: scan.completed_at_ms.map(wire::timestamp),
        vulnerability_source_updated_at: scan.source_updated_at_ms.map(wire::timestamp),
        finding_severity_counts: (scan.status == ScanStatus::Complete).then_some(scan.counts),
    }
}
