//! What several operations share in turning rows into wire shapes and back.

use gantry_api::Timestamp;
use gantry_api::ecr::*;
use gantry_domain::paging::{BadToken, Pager};
use gantry_domain::tags::Tags;

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::metadata::{ImageRow, RepositoryKeys, RepositoryRow};
use crate::mutability::Mutability;
use crate::name::{Reference, Tag as ImageTag};
use crate::pull_through::UpstreamError;
use crate::registry::Registry;
use crate::scanning::rows::{self as scanning, ScanRow, ScanningRow, ScanningRule};
use crate::scanning::rules::Frequency;

/// Page size when the request gives none, for all operations here.
const PAGE_SIZE_DEFAULT: i32 = 100;

pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A size on the wire is signed.
pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(super) fn repository(registry: &Registry, keys: &RepositoryKeys, row: &RepositoryRow) -> Repository {
    let (mutability, filters) = mutability_out(row);
    Repository {
        repository_arn: Some(keys.arn()),
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        repository_uri: Some(format!("{}/{}", registry.config().public_host(), keys.name())),
        created_at: Some(timestamp(row.created_at_ms)),
        image_tag_mutability: Some(mutability),
        image_tag_mutability_exclusion_filters: filters,
        image_scanning_configuration: Some(ImageScanningConfiguration { scan_on_push: Some(row.scan_on_push) }),
        encryption_configuration: Some(EncryptionConfiguration {
            encryption_type: Some(EncryptionType::Aes256),
            kms_key: None,
        }),
    }
}

/// The mutability of a row, as the wire has it.
pub(super) fn mutability_out(
    row: &RepositoryRow,
) -> (ImageTagMutability, Option<Vec<ImageTagMutabilityExclusionFilter>>) {
    mutability_wire(row.mutability, &row.mutability_filters)
}

/// The same of its parts.
pub(super) fn mutability_wire(
    mode: Mutability,
    filters: &[String],
) -> (ImageTagMutability, Option<Vec<ImageTagMutabilityExclusionFilter>>) {
    let mutability = match mode {
        Mutability::Mutable => ImageTagMutability::Mutable,
        Mutability::Immutable => ImageTagMutability::Immutable,
        Mutability::ImmutableWithExclusion => ImageTagMutability::ImmutableWithExclusion,
        Mutability::MutableWithExclusion => ImageTagMutability::MutableWithExclusion,
    };
    let filter = |filter: &String| ImageTagMutabilityExclusionFilter {
        filter: Some(filter.clone()),
        filter_type: Some(ImageTagMutabilityExclusionFilterType::Wildcard),
    };
    let filters = mode.takes_filters().then(|| filters.iter().map(filter).collect());
    (mutability, filters)
}

/// The mutability of a request; filters must be there exactly when the mode takes them.
pub(super) fn mutability_in(
    mutability: Option<&ImageTagMutability>,
    filters: Option<Vec<ImageTagMutabilityExclusionFilter>>,
) -> Result<(Mutability, Vec<String>), RegistryError> {
    const MEMBER: &str = "imageTagMutabilityExclusionFilters";
    let mode = match mutability {
        None | Some(ImageTagMutability::Mutable) => Mutability::Mutable,
        Some(ImageTagMutability::Immutable) => Mutability::Immutable,
        Some(ImageTagMutability::ImmutableWithExclusion) => Mutability::ImmutableWithExclusion,
        Some(ImageTagMutability::MutableWithExclusion) => Mutability::MutableWithExclusion,
        Some(ImageTagMutability::Unknown(_)) => {
            let constraint = format!("Member must satisfy enum value set: [{}]", ImageTagMutability::VALUES.join(", "));
            return Err(RegistryError::Parameter { member: "imageTagMutability", constraint });
        }
    };
    let filters: Vec<String> = filters.unwrap_or_default().into_iter().filter_map(|filter| filter.filter).collect();
    let name = mutability.map_or("MUTABLE", ImageTagMutability::as_str);
    let constraint = match (mode.takes_filters(), filters.is_empty()) {
        (true, true) => {
            format!("ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as {name}")
        }
        (false, false) => {
            format!("ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as {name}")
        }
        _ => return Ok((mode, filters)),
    };
    Err(RegistryError::Parameter { member: MEMBER, constraint })
}

pub(super) fn tags_in(tags: &[Tag]) -> Result<Tags, RegistryError> {
    Ok(Tags::parse(tags.iter().map(|tag| (tag.key.as_deref(), tag.value.as_deref())))?)
}

pub(super) fn image_id(digest: &Digest, tag: Option<&ImageTag>) -> ImageIdentifier {
    ImageIdentifier { image_digest: Some(digest.to_string()), image_tag: tag.map(ImageTag::to_string) }
}

/// The pages of one operation's list. `question` names the list and its filters.
pub(super) fn pager(question: &str, max_results: Option<i32>) -> Pager<'_> {
    Pager::new(question, usize::try_from(max_results.unwrap_or(PAGE_SIZE_DEFAULT)).unwrap_or(1))
}

/// How many items a page may have, and the one more that tells whether another follows.
pub(super) fn page_limit(max_results: Option<i32>) -> usize {
    usize::try_from(max_results.unwrap_or(PAGE_SIZE_DEFAULT)).unwrap_or(1).saturating_add(1)
}

pub(super) fn bad_token(_: BadToken) -> RegistryError {
    RegistryError::Parameter { member: "nextToken", constraint: "Invalid next token".to_owned() }
}

/// Refuses paging beside a list of what is wanted.
pub(super) fn no_paging(member: &'static str, token: Option<&String>, max: Option<i32>) -> Result<(), RegistryError> {
    if token.is_none() && max.is_none() {
        return Ok(());
    }
    let constraint = "nextToken and maxResults cannot be used with this member".to_owned();
    Err(RegistryError::Parameter { member, constraint })
}

/// Why one image of a batch is not served.
#[derive(Debug)]
pub(super) enum ImageIdError {
    MissingDigestAndTag,
    InvalidDigest,
    InvalidTag,
    NotFound,
    TagDoesNotMatchDigest,
    Archived,
    ReferencedByManifestList(Vec<Digest>),
    Upstream(UpstreamError),
}

impl ImageIdError {
    /// The entry of `failures`, in the real service's words.
    pub(super) fn failure(self, id: ImageIdentifier) -> ImageFailure {
        let (code, reason) = match self {
            Self::MissingDigestAndTag => (
                ImageFailureCode::MissingDigestAndTag,
                "Invalid request parameters: both tag and digest cannot be null".to_owned(),
            ),
            Self::InvalidDigest => (
                ImageFailureCode::InvalidImageDigest,
                "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
                    .to_owned(),
            ),
            Self::InvalidTag => {
                (ImageFailureCode::InvalidImageTag, "Invalid request parameters: image tag is not valid".to_owned())
            }
            Self::NotFound => (ImageFailureCode::ImageNotFound, "Requested image not found".to_owned()),
            Self::TagDoesNotMatchDigest => (
                ImageFailureCode::ImageTagDoesNotMatchDigest,
                "Requested image tag does not match the requested image digest".to_owned(),
            ),
            Self::Archived => (
                ImageFailureCode::ImageInaccessible,
                "Requested image is archived; restore it before it is pulled".to_owned(),
            ),
            Self::ReferencedByManifestList(parents) => {
                let text = RegistryError::ReferencedByManifestList { parents }.to_string();
                (ImageFailureCode::ImageReferencedByManifestList, text)
            }
            Self::Upstream(UpstreamError::NotFound) => return Self::NotFound.failure(id),
            Self::Upstream(error @ UpstreamError::Denied(_)) => {
                (ImageFailureCode::UpstreamAccessDenied, error.to_string())
            }
            Self::Upstream(error @ UpstreamError::TooManyRequests) => {
                (ImageFailureCode::UpstreamTooManyRequests, error.to_string())
            }
            Self::Upstream(error) => (ImageFailureCode::UpstreamUnavailable, error.to_string()),
        };
        ImageFailure { image_id: Some(id), failure_code: Some(code), failure_reason: Some(reason) }
    }
}

/// The image an identifier of a batch names. The outer error is ours, the inner one the item's.
pub(super) async fn image_by_id(
    registry: &Registry,
    keys: &RepositoryKeys,
    id: &ImageIdentifier,
) -> Result<Result<FoundImage, ImageIdError>, RegistryError> {
    let reference = match parse_image_id(id) {
        Ok(reference) => reference,
        Err(error) => return Ok(Err(error)),
    };
    let found = registry.image_find(keys, &reference.by).await?;
    Ok(reference.check(found))
}

pub(super) struct ParsedImageId {
    pub(super) by: Reference,
    /// The digest that the tag must point at.
    digest: Option<Digest>,
}

impl ParsedImageId {
    /// What was found by tag must have the digest, if one was given.
    pub(super) fn check(self, found: Option<FoundImage>) -> Result<FoundImage, ImageIdError> {
        let found = found.ok_or(ImageIdError::NotFound)?;
        match self.digest {
            Some(digest) if digest != found.digest => Err(ImageIdError::TagDoesNotMatchDigest),
            _ => Ok(found),
        }
    }
}

pub(super) fn parse_image_id(id: &ImageIdentifier) -> Result<ParsedImageId, ImageIdError> {
    let digest = match id.image_digest.as_deref() {
        None => None,
        // Digests of other algorithms are well-formed; no image has one.
        Some(text) => match text.parse::<Digest>() {
            Ok(digest) => Some(digest),
            Err(_) if is_digest_shaped(text) => return Err(ImageIdError::NotFound),
            Err(_) => return Err(ImageIdError::InvalidDigest),
        },
    };
    let tag = id.image_tag.as_deref().map(|tag| tag.parse::<ImageTag>().map_err(|_| ImageIdError::InvalidTag));
    match (tag.transpose()?, digest) {
        (Some(tag), digest) => Ok(ParsedImageId { by: Reference::Tag(tag), digest }),
        (None, Some(digest)) => Ok(ParsedImageId { by: Reference::Digest(digest), digest: None }),
        (None, None) => Err(ImageIdError::MissingDigestAndTag),
    }
}

/// `[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+`
pub(super) fn is_digest_shaped(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte))
            && !hex.is_empty()
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The one image that an operation is about.
pub(super) async fn image(
    registry: &Registry,
    keys: &RepositoryKeys,
    id: &ImageIdentifier,
) -> Result<FoundImage, RegistryError> {
    match image_by_id(registry, keys, id).await? {
        Ok(image) => Ok(image),
        Err(ImageIdError::MissingDigestAndTag) => {
            let constraint = "both tag and digest cannot be null".to_owned();
            Err(RegistryError::Parameter { member: "imageId", constraint })
        }
        Err(_) => Err(image_not_found(keys, id)),
    }
}

/// Where a scan is. A finished one of an image that is scanned on and on is `ACTIVE`.
pub(super) fn scan_status(scan: &ScanRow, continuous: bool) -> ImageScanStatus {
    let status = match scan.status {
        scanning::ScanStatus::InProgress => ScanStatus::InProgress,
        scanning::ScanStatus::Complete if continuous => ScanStatus::Active,
        scanning::ScanStatus::Complete => ScanStatus::Complete,
        scanning::ScanStatus::Failed => ScanStatus::Failed,
        scanning::ScanStatus::UnsupportedImage => ScanStatus::UnsupportedImage,
        scanning::ScanStatus::FindingsUnavailable => ScanStatus::FindingsUnavailable,
        scanning::ScanStatus::ImageSizeExceeded => ScanStatus::ImageSizeExceeded,
    };
    let description = Some(scan.description.clone()).filter(|description| !description.is_empty());
    ImageScanStatus { status: Some(status), description }
}

/// The status of a scan of an image that is archived now: its findings are kept for when it comes back.
pub(super) fn archived_scan_status() -> ImageScanStatus {
    ImageScanStatus { status: Some(ScanStatus::ImageArchived), description: None }
}

/// A registry's configuration, as the wire has it.
pub(super) fn scanning_out(row: &ScanningRow) -> RegistryScanningConfiguration {
    let rule = |rule: &ScanningRule| RegistryScanningRule {
        scan_frequency: Some(scan_frequency(rule.frequency)),
        repository_filters: Some(scan_filters(&rule.filters)),
    };
    RegistryScanningConfiguration {
        scan_type: Some(if row.enhanced { ScanType::Enhanced } else { ScanType::Basic }),
        rules: Some(row.rules.iter().map(rule).collect()),
    }
}

pub(super) fn scan_frequency(frequency: Frequency) -> ScanFrequency {
    ScanFrequency::from(frequency.as_str())
}

pub(super) fn scan_filters(filters: &[String]) -> Vec<ScanningRepositoryFilter> {
    let filter = |filter: &String| ScanningRepositoryFilter {
        filter: Some(filter.clone()),
        filter_type: Some(ScanningRepositoryFilterType::Wildcard),
    };
    filters.iter().map(filter).collect()
}

/// The error for an image that is asked for alone.
pub(super) fn image_not_found(keys: &RepositoryKeys, id: &ImageIdentifier) -> RegistryError {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    RegistryError::ImageNotFound {
        digest: text(&id.image_digest),
        tag: text(&id.image_tag),
        name: keys.name().to_string(),
        registry: keys.scope().account.clone(),
    }
}

/// The identifiers of a batch, each once.
pub(super) fn distinct(ids: Vec<ImageIdentifier>) -> Vec<ImageIdentifier> {
    let mut seen = std::collections::BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert((id.image_digest.clone(), id.image_tag.clone()))).collect()
}

/// The filters that ListImages and DescribeImages share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    tagged: bool,
    untagged: bool,
    active: bool,
    archived: bool,
}

impl Wanted {
    pub(super) fn new(tags: Option<TagStatus>, status: Option<ImageStatusFilter>) -> Self {
        // Bringing an image back takes no time, so none is ACTIVATING.
        let (active, archived) = match status {
            None | Some(ImageStatusFilter::Active) => (true, false),
            Some(ImageStatusFilter::Archived) => (false, true),
            Some(ImageStatusFilter::Any) => (true, true),
            Some(_) => (false, false),
        };
        Self {
            tagged: !matches!(tags, Some(TagStatus::Untagged)),
            untagged: !matches!(tags, Some(TagStatus::Tagged)),
            active,
            archived,
        }
    }

    /// Of any status.
    pub(super) fn of_tags(tags: Option<TagStatus>) -> Self {
        Self::new(tags, Some(ImageStatusFilter::Any))
    }

    pub(super) fn takes(self, row: &ImageRow) -> bool {
        let status = if row.archived { self.archived } else { self.active };
        status && self.takes_tags(!row.tags.is_empty())
    }

    pub(super) fn takes_tags(self, tagged: bool) -> bool {
        if tagged { self.tagged } else { self.untagged }
    }
}
