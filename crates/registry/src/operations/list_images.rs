//! `ListImages`: one element per tag, and one per image without tags, in the order of digests and tags.

use super::*;
use crate::digest::Digest;
use crate::metadata::ImageRow;

/// Rows read from the store at a time.
const ROWS_AT_A_TIME: usize = 1000;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: ListImagesRequest,
) -> Result<ListImagesResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let filter = input.filter.unwrap_or_default();
    let wanted = wire::Wanted::new(filter.tag_status, filter.image_status);
    let question = format!("ListImages {} {} {wanted:?}", keys.scope().account, keys.name());
    let pager = wire::pager(&question, input.max_results);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let elements = elements(registry, &keys, wanted, after, wire::page_limit(input.max_results)).await?;
    let page = pager.page(elements, key);
    Ok(ListImagesResponse { image_ids: Some(page.items), next_token: page.next_token })
}

/// Up to `limit` elements after the one whose key is `after`.
async fn elements(
    registry: &Registry,
    keys: &RepositoryKeys,
    wanted: wire::Wanted,
    after: Option<String>,
    limit: usize,
) -> Result<Vec<ImageIdentifier>, RegistryError> {
    let mut elements = Vec::new();
    // The image of the last element may have more tags, so it is read again: the row before it is where to begin.
    let digest = after.as_deref().and_then(|after| after.split(' ').next());
    let mut row_after = digest.and_then(|digest| digest.get(..digest.len().saturating_sub(1))).map(str::to_owned);
    loop {
        let (rows, more) = registry.metadata.images(keys, row_after.as_deref(), ROWS_AT_A_TIME).await?;
        row_after = rows.last().map(|(digest, _)| digest.to_string());
        for (digest, row) in rows.iter().filter(|(_, row)| wanted.takes(row)) {
            let new = |id: &ImageIdentifier| after.as_deref().is_none_or(|after| key(id).as_str() > after);
            elements.extend(ids(digest, row).filter(new));
        }
        if elements.len() >= limit || !more {
            elements.truncate(limit);
            return Ok(elements);
        }
    }
}

fn ids<'a>(digest: &'a Digest, row: &'a ImageRow) -> impl Iterator<Item = ImageIdentifier> + 'a {
    let untagged = row.tags.is_empty().then(|| wire::image_id(digest, None));
    untagged.into_iter().chain(row.tags.iter().map(|tag| wire::image_id(digest, Some(tag))))
}

fn key(id: &ImageIdentifier) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{} {}", text(&id.image_digest), text(&id.image_tag))
}
