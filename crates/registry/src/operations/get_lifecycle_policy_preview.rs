//! `GetLifecyclePolicyPreview`

use super::*;
use crate::digest::Digest;
use crate::lifecycle::preview::{PreviewRow, PreviewStatus, ResultRow};

/// Results read from the store at a time.
const ROWS_AT_A_TIME: usize = 500;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: GetLifecyclePolicyPreviewRequest,
) -> Result<GetLifecyclePolicyPreviewResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let preview = registry.preview(&keys).await?;
    let complete = preview.status == PreviewStatus::Complete;
    let wanted = wire::Wanted::of_tags(input.filter.and_then(|filter| filter.tag_status));
    let (results, next_token) = match input.image_ids {
        _ if !complete => (Vec::new(), None),
        Some(ids) => {
            wire::no_paging("imageIds", input.next_token.as_ref(), input.max_results)?;
            (by_id(registry, &keys, ids).await?, None)
        }
        None => {
            let question = format!("GetLifecyclePolicyPreview {} {} {wanted:?}", keys.scope().account, keys.name());
            let pager = wire::pager(&question, input.max_results);
            let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
            let rows = rows(registry, &keys, wanted, after, wire::page_limit(input.max_results)).await?;
            let page = pager.page(rows, |(digest, _)| digest.to_string());
            (page.items, page.next_token)
        }
    };
    Ok(GetLifecyclePolicyPreviewResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        status: Some(status(preview.status)),
        preview_results: Some(results.into_iter().map(|(digest, row)| result(&digest, row)).collect()),
        next_token,
        summary: complete.then(|| summary(&preview)),
        lifecycle_policy_text: Some(preview.text),
    })
}

async fn by_id(
    registry: &Registry,
    keys: &RepositoryKeys,
    ids: Vec<ImageIdentifier>,
) -> Result<Vec<(Digest, ResultRow)>, RegistryError> {
    let mut results = Vec::new();
    for id in wire::distinct(ids) {
        let image = wire::image(registry, keys, &id).await?;
        if let Some(row) = registry.preview_result(keys, &image.digest).await? {
            results.push((image.digest, row));
        }
    }
    Ok(results)
}

async fn rows(
    registry: &Registry,
    keys: &RepositoryKeys,
    wanted: wire::Wanted,
    mut after: Option<String>,
    limit: usize,
) -> Result<Vec<(Digest, ResultRow)>, RegistryError> {
    let mut found = Vec::new();
    loop {
        let (rows, more) = registry.preview_results(keys, after.as_deref(), ROWS_AT_A_TIME).await?;
        after = rows.last().map(|(digest, _)| digest.to_string());
        found.extend(rows.into_iter().filter(|(_, row)| wanted.takes_tags(!row.tags.is_empty())));
        if found.len() >= limit || !more {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

fn result(digest: &Digest, row: ResultRow) -> LifecyclePolicyPreviewResult {
    let tags: Vec<String> = row.tags.into_iter().map(String::from).collect();
    LifecyclePolicyPreviewResult {
        image_digest: Some(digest.to_string()),
        image_tags: Some(tags).filter(|tags| !tags.is_empty()),
        image_pushed_at: Some(wire::timestamp(row.pushed_at_ms)),
        action: Some(LifecyclePolicyRuleAction {
            r#type: Some(if row.archive { ImageActionType::Transition } else { ImageActionType::Expire }),
            target_storage_class: row.archive.then_some(LifecyclePolicyTargetStorageClass::Archive),
        }),
        applied_rule_priority: Some(row.priority),
        storage_class: Some(match row.archived {
            true => LifecyclePolicyStorageClass::Archive,
            false => LifecyclePolicyStorageClass::Standard,
        }),
    }
}

fn summary(preview: &PreviewRow) -> LifecyclePolicyPreviewSummary {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let archiving = TransitioningImageTotalCount {
        image_total_count: Some(count(preview.archiving)),
        target_storage_class: Some(LifecyclePolicyTargetStorageClass::Archive),
    };
    LifecyclePolicyPreviewSummary {
        expiring_image_total_count: Some(count(preview.expiring)),
        transitioning_image_total_counts: (preview.archiving > 0).then(|| vec![archiving]),
    }
}

fn status(status: PreviewStatus) -> LifecyclePolicyPreviewStatus {
    match status {
        PreviewStatus::InProgress => LifecyclePolicyPreviewStatus::InProgress,
        PreviewStatus::Complete => LifecyclePolicyPreviewStatus::Complete,
        PreviewStatus::Failed => LifecyclePolicyPreviewStatus::Failed,
        PreviewStatus::Expired => LifecyclePolicyPreviewStatus::Expired,
    }
}
