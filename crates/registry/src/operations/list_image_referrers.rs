//! `ListImageReferrers`

use std::collections::BTreeMap;

use super::*;
use crate::digest::Digest;
use crate::metadata::ReferrerRow;
use crate::pull_through::UpstreamReferrer;

/// Page size when the request gives none.
const PAGE_SIZE_DEFAULT: i32 = 20;
/// Rows read from the store at a time.
const ROWS_AT_A_TIME: usize = 100;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: ListImageReferrersRequest,
) -> Result<ListImageReferrersResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let subject = input.subject_id.and_then(|subject| subject.image_digest).unwrap_or_default();
    let subject: Digest = match subject.parse() {
        Ok(digest) => digest,
        Err(_) if wire::is_digest_shaped(&subject) => {
            // Of an algorithm no image has.
            return Ok(ListImageReferrersResponse { referrers: Some(Vec::new()), next_token: None });
        }
        Err(_) => return Err(RegistryError::DigestInvalid(subject)),
    };
    registry.bring_subject(request.caller, &keys, &subject).await?;
    let filter = input.filter.unwrap_or_default();
    let types = filter.artifact_types.filter(|types| !types.is_empty());
    let question = format!(
        "ListImageReferrers {} {} {subject} {types:?} {:?}",
        keys.scope().account,
        keys.name(),
        filter.artifact_status
    );
    let max = Some(input.max_results.unwrap_or(PAGE_SIZE_DEFAULT));
    let pager = wire::pager(&question, max);
    let mut after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let asked_after = after.clone();
    let of_type = |row: &ReferrerRow| {
        let one_of = |types: &Vec<String>| row.artifact_type.as_ref().is_some_and(|found| types.contains(found));
        types.as_ref().is_none_or(one_of)
    };
    let (limit, mut found, mut more) = (wire::page_limit(max), Vec::new(), true);
    while more && found.len() < limit {
        let rows;
        (rows, more) = registry.metadata.referrers(&keys, &subject, after.as_deref(), ROWS_AT_A_TIME).await?;
        after = rows.last().map(|(digest, _)| digest.to_string());
        for (digest, row) in rows {
            if of_type(&row)
                && let Some(referrer) = referrer(registry, &keys, &digest, row, filter.artifact_status.as_ref()).await?
            {
                found.push(referrer);
            }
        }
    }
    if lists_active(filter.artifact_status.as_ref()) {
        // Those that come after what was read of ours belong to a later page.
        let until = after.filter(|_| more);
        let comes_here = |digest: &str| {
            asked_after.as_deref().is_none_or(|after| digest > after)
                && until.as_deref().is_none_or(|last| digest <= last)
        };
        let wanted = |listed: &UpstreamReferrer| of_type(&listed.row) && comes_here(listed.digest.as_str());
        let elsewhere = registry.upstream_referrers(request.caller, &keys, &subject, wanted).await?;
        found.extend(elsewhere.into_iter().map(|UpstreamReferrer { digest, row }| {
            let annotations = row.annotations.clone().unwrap_or_default();
            referrer_out(&digest, row, annotations, ArtifactStatus::Active)
        }));
        found.sort_by(|one, other| one.digest.cmp(&other.digest));
    }
    let page = pager.page(found, |referrer| referrer.digest.clone().unwrap_or_default());
    Ok(ListImageReferrersResponse { referrers: Some(page.items), next_token: page.next_token })
}

/// One entry, unless it has another status than is asked for.
async fn referrer(
    registry: &Registry,
    keys: &RepositoryKeys,
    digest: &Digest,
    row: ReferrerRow,
    status: Option<&ArtifactStatusFilter>,
) -> Result<Option<ImageReferrer>, RegistryError> {
    let Some(image) = registry.metadata.image(keys, digest).await? else { return Ok(None) };
    let wanted = match status {
        None | Some(ArtifactStatusFilter::Active) => !image.row.archived,
        Some(ArtifactStatusFilter::Archived) => image.row.archived,
        Some(ArtifactStatusFilter::Any) => true,
        Some(_) => false,
    };
    if !wanted {
        return Ok(None);
    }
    let annotations = match &row.annotations {
        Some(annotations) => annotations.clone(),
        None => registry.annotations_of(keys, digest).await?,
    };
    let status = if image.row.archived { ArtifactStatus::Archived } else { ArtifactStatus::Active };
    Ok(Some(referrer_out(digest, row, annotations, status)))
}

/// What is upstream only counts as active.
fn lists_active(status: Option<&ArtifactStatusFilter>) -> bool {
    matches!(status, None | Some(ArtifactStatusFilter::Active | ArtifactStatusFilter::Any))
}

fn referrer_out(
    digest: &Digest,
    row: ReferrerRow,
    annotations: BTreeMap<String, String>,
    status: ArtifactStatus,
) -> ImageReferrer {
    ImageReferrer {
        digest: Some(digest.to_string()),
        media_type: Some(row.media_type),
        artifact_type: row.artifact_type,
        size: Some(wire::size(row.size)),
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        artifact_status: Some(status),
    }
}
