//! How the registry says no: one error, spoken in two dialects.
//!
//! The OCI routes answer `{"errors":[{"code","message"}]}` ([`RegistryError::oci`]), the ECR operations an AWS fault
//! ([`RegistryError::fault`]). Clients match on the sentences, so they are the real service's where those are known.
//! What only an operator should read stays in the source of an error and never reaches a client.

use gantry_api::Fault;
use gantry_api::ecr::fault;
use gantry_domain::arn::Scope;
use gantry_store::{StoreError, TxnError};

use crate::blobs::BlobError;
use crate::digest::Digest;
use crate::manifest::ManifestError;
use crate::name::{RepositoryName, Tag};
use crate::pull_through::UpstreamError;
use crate::pull_through::secrets::SecretError;
use crate::push_image::TAGS_PER_IMAGE_MAX;

/// Everything the registry refuses.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text is no repository name.
    #[error("invalid repository name {0:?}")]
    NameInvalid(String),
    /// A member of the request does not satisfy a constraint that the model does not express.
    #[error("Invalid parameter at '{member}' failed to satisfy constraint: '{constraint}'")]
    Parameter {
        /// The member.
        member: &'static str,
        /// The constraint, as a sentence.
        constraint: String,
    },
    /// No such repository.
    #[error("The repository with name '{name}' does not exist in the registry with id '{registry}'")]
    RepositoryNotFound {
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// There is one already.
    #[error("The repository with name '{name}' already exists in the registry with id '{registry}'")]
    RepositoryAlreadyExists {
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// It still holds images.
    #[error(
        "The repository with name '{name}' in registry with id '{registry}' cannot be deleted because it still contains images"
    )]
    RepositoryNotEmpty {
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// No such creation template.
    #[error(
        "The repository creation template with prefix '{prefix}' does not exist in the registry with id '{registry}'"
    )]
    TemplateNotFound {
        /// The prefix asked for.
        prefix: String,
        /// The account.
        registry: String,
    },
    /// There is one already.
    #[error(
        "The repository creation template with prefix '{prefix}' already exists in the registry with id '{registry}'"
    )]
    TemplateAlreadyExists {
        /// The prefix.
        prefix: String,
        /// The account.
        registry: String,
    },
    /// No such pull-through cache rule.
    #[error("The pull through cache rule with prefix '{prefix}' does not exist in the registry with id '{registry}'")]
    RuleNotFound {
        /// The prefix asked for.
        prefix: String,
        /// The account.
        registry: String,
    },
    /// There is one already.
    #[error("The pull through cache rule with prefix '{prefix}' already exists in the registry with id '{registry}'")]
    RuleAlreadyExists {
        /// The prefix.
        prefix: String,
        /// The account.
        registry: String,
    },
    /// Nobody said that this host may be an upstream.
    #[error("The upstream registry with URL '{0}' is not supported; the operator can allow it in the configuration")]
    UpstreamUnsupported(String),
    /// An upstream did not give what was asked.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// It did not say what is about one of its images.
    #[error(transparent)]
    UpstreamReferrers(UpstreamError),
    /// The secret with an upstream's credentials.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No such backfill.
    #[error("The replication backfill with id '{id}' does not exist in the registry with id '{registry}'")]
    BackfillNotFound {
        /// The backfill asked for.
        id: String,
        /// The account.
        registry: String,
    },
    /// One runs for this region.
    #[error("A replication backfill to the region '{0}' is already in progress")]
    BackfillInProgress(String),
    /// It has ended, or is about to.
    #[error("The replication backfill with id '{0}' cannot be stopped in its current status")]
    BackfillInvalidStatus(String),
    /// A well-formed request that the state of things does not permit.
    #[error("{0}")]
    Validation(String),
    /// Bad resource tags.
    #[error(transparent)]
    ResourceTag(#[from] gantry_domain::tags::TagError),
    /// The text is no image tag.
    #[error(
        "Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression '{TAG_PATTERN}''"
    )]
    TagInvalid(String),
    /// An image has as many tags as it may.
    #[error(
        "Adding tag '{tag}' to an image in the repository with name '{name}' in registry with id '{registry}' exceeds the maximum allowed number of tags per image which is '{TAGS_PER_IMAGE_MAX}'"
    )]
    TooManyImageTags {
        /// One of those that were to be added.
        tag: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// The text is no digest we know.
    #[error("invalid digest {0:?}")]
    DigestInvalid(String),
    /// The manifest's bytes have another digest than was said.
    #[error("The provided digest '{given}' does not match the image's digest '{computed}'")]
    ImageDigestMismatch {
        /// What the client said.
        given: String,
        /// What the bytes are.
        computed: Digest,
    },
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No such manifest; for the HTTP door, which does not say more.
    #[error("Requested image not found")]
    ManifestUnknown,
    /// No such image.
    #[error(
        "The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository with name '{name}' in the registry with id '{registry}'"
    )]
    ImageNotFound {
        /// The digest asked for, or `null`.
        digest: String,
        /// The tag asked for, or `null`.
        tag: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// The image was never scanned.
    #[error(
        "Image scan does not exist for the image with '{{imageDigest:'{digest}', imageTag:'{tag}'}}' in the repository with name '{name}' in the registry with id '{registry}'"
    )]
    ScanNotFound {
        /// The digest asked for, or `null`.
        digest: String,
        /// The tag asked for, or `null`.
        tag: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// Not the image of a container.
    #[error("The image with digest '{digest}' has a type that cannot be scanned: '{media_type}'")]
    UnsupportedImageType {
        /// The image.
        digest: Digest,
        /// What it is.
        media_type: String,
    },
    /// The registry scans by itself.
    #[error("This feature is disabled")]
    FeatureDisabled,
    /// The push would change nothing.
    #[error(
        "Image with digest '{digest}' and tag '{tag}' already exists in the repository with name '{name}' in registry with id '{registry}'"
    )]
    ImageAlreadyExists {
        /// The image.
        digest: Digest,
        /// The tag, or `null`.
        tag: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// The tag may not move.
    #[error(
        "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
    )]
    TagImmutable {
        /// The tag.
        tag: Tag,
        /// The repository.
        name: String,
    },
    /// The repository has no lifecycle policy.
    #[error(
        "Lifecycle policy does not exist for the repository with name '{name}' in the registry with id '{registry}'"
    )]
    LifecyclePolicyNotFound {
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// No preview was asked for.
    #[error(
        "Lifecycle policy preview does not exist for the repository with name '{name}' in the registry with id '{registry}'"
    )]
    PreviewNotFound {
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// One preview at a time.
    #[error(
        "There is already an in progress lifecycle policy preview on the repository with name '{name}' in the registry with id '{registry}'"
    )]
    PreviewInProgress {
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// Pulls of the principal do not count already.
    #[error("A pull time update exclusion for the principal '{0}' already exists.")]
    ExclusionAlreadyExists(String),
    /// Pulls of the principal do count.
    #[error("A pull time update exclusion for the principal '{0}' does not exist.")]
    ExclusionNotFound(String),
    /// Nothing is to be signed.
    #[error("Signing configuration does not exist in the registry with id '{0}'")]
    SigningConfigurationNotFound(String),
    /// The image's storage class cannot be changed so.
    #[error("{0}")]
    StorageClass(String),
    /// What is asked needs an ACTIVE image.
    #[error("The image with digest '{0}' is archived.")]
    ImageArchived(Digest),
    /// A list of manifests needs this image.
    #[error("Requested image referenced by manifest list: [{}]", display_all(parents))]
    ReferencedByManifestList {
        /// The lists.
        parents: Vec<Digest>,
    },
    /// The manifest needs blobs the repository does not have.
    #[error(
        "Layers with digests '[{}]' required for pushing image into repository with name '{name}' in the registry with id '{registry}' do not exist",
        display_all(digests)
    )]
    LayersNotFound {
        /// The missing blobs.
        digests: Vec<Digest>,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// The index needs manifests the repository does not have.
    #[error(
        "Images with digests '[{}]' required for pushing image into repository with name '{name}' in the registry with id '{registry}' do not exist",
        display_all(digests)
    )]
    ReferencedImagesNotFound {
        /// The missing manifests.
        digests: Vec<Digest>,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// No such blob in the repository.
    #[error("blob unknown to repository")]
    BlobUnknown(Digest),
    /// A manifest needs the blob.
    #[error("The layer with digest '{0}' is referenced by an image of the repository")]
    BlobInUse(Digest),
    /// No such layer in the repository.
    #[error(
        "The layer with digest '{digest}' does not exist in the repository with name '{name}' in the registry with id '{registry}'"
    )]
    LayerNotFound {
        /// The layer asked for.
        digest: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// The blob is there, but no image makes it readable.
    #[error("The layer with digest '{0}' is not associated with an image in the repository with name '{1}'")]
    LayerInaccessible(Digest, RepositoryName),
    /// It is there already.
    #[error(
        "Layer with digest '{digest}' already exists in the repository with name '{name}' in registry with id '{registry}'"
    )]
    LayerAlreadyExists {
        /// The layer.
        digest: Digest,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// The uploaded bytes have another digest.
    #[error("The provided digest '{expected}' does not match the digest of the uploaded content '{computed}'")]
    LayerDigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What the bytes are.
        computed: Digest,
    },
    /// No such upload.
    #[error(
        "Upload with id '{id}' could not be found for the repository with name '{name}' in the registry with id '{registry}'"
    )]
    UploadNotFound {
        /// The upload.
        id: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// A part does not begin where the last one ended, or another request is writing.
    #[error(
        "Invalid layer part upload for upload with id '{id}' in the repository with name '{name}' in the registry with id '{registry}'"
    )]
    UploadRange {
        /// The upload.
        id: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
        /// Bytes received so far.
        received: u64,
    },
    /// Nothing was uploaded.
    #[error("Upload with id '{id}' in the repository with name '{name}' in registry with id '{registry}' has no parts")]
    UploadEmpty {
        /// The upload.
        id: String,
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// A part other than the last is too small.
    #[error("Layer parts other than the last must be at least 5242880 bytes")]
    PartTooSmall,
    /// The length of a body is not what its headers say.
    #[error("the body has {received} bytes, not {expected}")]
    SizeInvalid {
        /// What the headers say.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// A layer is larger than any may be.
    #[error("The layer is larger than {LAYER_SIZE_MAX} bytes")]
    LayerTooLarge,
    /// A header or parameter makes no sense.
    #[error("{0}")]
    BadRequest(&'static str),
    /// A bound of ours.
    #[error("{0}")]
    LimitExceeded(String),
    /// Too much at once; try again later.
    #[error("Rate exceeded")]
    TooManyRequests,
    /// No or wrong credentials.
    #[error("Not Authorized")]
    Unauthorized,
    /// The token was valid once.
    #[error("Your authorization token has expired. Reauthenticate and try again.")]
    TokenExpired,
    /// Known, but not allowed.
    #[error("{0}")]
    Denied(String),
    /// No policy is set.
    #[error(
        "Repository policy does not exist for the repository with name '{name}' in the registry with id '{registry}'"
    )]
    RepositoryPolicyNotFound {
        /// The repository.
        name: String,
        /// The account.
        registry: String,
    },
    /// No policy is set.
    #[error("Registry policy does not exist in the registry with id '{registry}'")]
    RegistryPolicyNotFound {
        /// The account.
        registry: String,
    },
    /// Not an operation of ours.
    #[error("The operation is unsupported.")]
    Unsupported,
    /// A setting of the real service that would have no effect here.
    #[error("{0}")]
    NotSupported(&'static str),
    /// No room.
    #[error("The registry has no space left")]
    DiskFull(#[source] Option<BlobError>),
    /// Somebody else kept changing what we were about to change.
    #[error("the request conflicted with others too often")]
    Contention,
    /// The content store failed.
    #[error("content store failed")]
    Blobs(#[source] BlobError),
    /// The metadata store failed.
    #[error("metadata store failed")]
    Store(#[source] StoreError),
    /// Nobody could take an event.
    #[error("an event could not be told")]
    Events(#[source] gantry_api::event::Untold),
    /// A row in the store is not what we wrote.
    #[error("row {key} cannot be read")]
    Row {
        /// Its key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Largest layer, in bytes: 52,000 MiB.
pub(crate) const LAYER_SIZE_MAX: u64 = 52_000 * 1024 * 1024;
const TAG_PATTERN: &str = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}";

impl RegistryError {
    /// No such repository.
    pub fn repository_not_found(scope: &Scope, name: &RepositoryName) -> Self {
        Self::RepositoryNotFound { name: name.to_string(), registry: scope.account.clone() }
    }

    /// No such upload.
    pub fn upload_not_found(scope: &Scope, name: &RepositoryName, id: &str) -> Self {
        Self::UploadNotFound { id: id.to_owned(), name: name.to_string(), registry: scope.account.clone() }
    }

    /// A part that does not fit.
    pub fn upload_range(scope: &Scope, name: &RepositoryName, id: &str, received: u64) -> Self {
        let (name, registry) = (name.to_string(), scope.account.clone());
        Self::UploadRange { id: id.to_owned(), name, registry, received }
    }

    /// The answer of the OCI routes: status and code; the message is the error's text.
    pub fn oci(&self) -> (u16, &'static str) {
        match self {
            Self::NameInvalid(_) => (400, "NAME_INVALID"),
            Self::RepositoryNotFound { .. } => (404, "NAME_UNKNOWN"),
            Self::TagInvalid(_) | Self::TagImmutable { .. } => (400, "TAG_INVALID"),
            Self::DigestInvalid(_) | Self::ImageDigestMismatch { .. } | Self::LayerDigestMismatch { .. } => {
                (400, "DIGEST_INVALID")
            }
            Self::Manifest(ManifestError::TooLarge) | Self::LayerTooLarge => (413, "SIZE_INVALID"),
            Self::Manifest(_) => (400, "MANIFEST_INVALID"),
            Self::ManifestUnknown | Self::ImageNotFound { .. } => (404, "MANIFEST_UNKNOWN"),
            Self::ReferencedByManifestList { .. } => (403, "DENIED"),
            Self::StorageClass(_) | Self::ImageArchived(_) => (400, "UNSUPPORTED"),
            Self::LayersNotFound { .. } | Self::ReferencedImagesNotFound { .. } => (400, "MANIFEST_BLOB_UNKNOWN"),
            Self::BlobUnknown(_) | Self::LayerNotFound { .. } | Self::LayerInaccessible(..) => (404, "BLOB_UNKNOWN"),
            Self::UploadNotFound { .. } => (404, "BLOB_UPLOAD_UNKNOWN"),
            Self::UploadRange { .. } => (416, "BLOB_UPLOAD_INVALID"),
            Self::UploadEmpty { .. } | Self::BadRequest(_) | Self::PartTooSmall => (400, "BLOB_UPLOAD_INVALID"),
            Self::SizeInvalid { .. } => (400, "SIZE_INVALID"),
            Self::BlobInUse(_) | Self::Unsupported | Self::NotSupported(_) => (405, "UNSUPPORTED"),
            Self::TooManyRequests | Self::Contention => (429, "TOOMANYREQUESTS"),
            Self::Unauthorized => (401, "UNAUTHORIZED"),
            // Not 429: what is full stays full, and clients would go on trying.
            Self::TokenExpired | Self::Denied(_) | Self::LimitExceeded(_) | Self::TooManyImageTags { .. } => {
                (403, "DENIED")
            }
            Self::Upstream(error) | Self::UpstreamReferrers(error) => match error {
                UpstreamError::NotFound => (404, "MANIFEST_UNKNOWN"),
                UpstreamError::Denied(_) => (403, "DENIED"),
                UpstreamError::TooManyRequests => (429, "TOOMANYREQUESTS"),
                UpstreamError::Unavailable(_) | UpstreamError::Invalid(_) => (502, "UNAVAILABLE"),
            },
            Self::DiskFull(_) => (507, "SIZE_INVALID"),
            // These belong to the ECR operations and do not come out of the OCI routes.
            Self::Parameter { .. }
            | Self::LifecyclePolicyNotFound { .. }
            | Self::ExclusionAlreadyExists(_)
            | Self::ExclusionNotFound(_)
            | Self::SigningConfigurationNotFound(_)
            | Self::PreviewNotFound { .. }
            | Self::PreviewInProgress { .. }
            | Self::RepositoryAlreadyExists { .. }
            | Self::RepositoryNotEmpty { .. }
            | Self::TemplateNotFound { .. }
            | Self::RuleNotFound { .. }
            | Self::BackfillNotFound { .. }
            | Self::BackfillInProgress(_)
            | Self::BackfillInvalidStatus(_)
            | Self::RuleAlreadyExists { .. }
            | Self::UpstreamUnsupported(_)
            | Self::Secret(_)
            | Self::Validation(_)
            | Self::RepositoryPolicyNotFound { .. }
            | Self::RegistryPolicyNotFound { .. }
            | Self::TemplateAlreadyExists { .. }
            | Self::ResourceTag(_)
            | Self::ImageAlreadyExists { .. }
            | Self::ScanNotFound { .. }
            | Self::UnsupportedImageType { .. }
            | Self::FeatureDisabled
            | Self::LayerAlreadyExists { .. } => (400, "UNSUPPORTED"),
            Self::Blobs(_) | Self::Store(_) | Self::Events(_) | Self::Row { .. } => (500, "UNKNOWN"),
        }
    }

    /// The answer of the ECR operations.
    pub fn fault(self) -> Fault {
        use gantry_domain::tags::TagError;
        let text = self.to_string();
        match self {
            Self::NameInvalid(_) => {
                let pattern = RepositoryName::PATTERN;
                let constraint = format!("must satisfy regular expression '{pattern}'");
                fault::invalid_parameter_exception(invalid_parameter("repositoryName", &constraint))
            }
            Self::Parameter { .. } | Self::TagInvalid(_) | Self::BadRequest(_) | Self::NotSupported(_) => {
                fault::invalid_parameter_exception(text)
            }
            Self::DigestInvalid(_) => fault::invalid_parameter_exception(invalid_parameter(
                "imageDigest",
                "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
            )),
            Self::Manifest(ManifestError::Json(_)) => {
                fault::invalid_parameter_exception(invalid_parameter("ImageManifest", "Invalid JSON syntax"))
            }
            Self::Manifest(_) => fault::invalid_parameter_exception(invalid_parameter("ImageManifest", &text)),
            Self::RepositoryNotFound { .. } => fault::repository_not_found_exception(text),
            Self::RepositoryAlreadyExists { .. } => fault::repository_already_exists_exception(text),
            Self::RepositoryNotEmpty { .. } => fault::repository_not_empty_exception(text),
            Self::RepositoryPolicyNotFound { .. } => fault::repository_policy_not_found_exception(text),
            Self::RegistryPolicyNotFound { .. } => fault::registry_policy_not_found_exception(text),
            Self::TemplateNotFound { .. } => fault::template_not_found_exception(text),
            Self::TemplateAlreadyExists { .. } => fault::template_already_exists_exception(text),
            Self::RuleNotFound { .. } => fault::pull_through_cache_rule_not_found_exception(text),
            Self::RuleAlreadyExists { .. } => fault::pull_through_cache_rule_already_exists_exception(text),
            Self::UpstreamUnsupported(_) => fault::unsupported_upstream_registry_exception(text),
            Self::Upstream(_) => fault::unable_to_get_upstream_image_exception(text),
            Self::UpstreamReferrers(_) => fault::unable_to_list_upstream_image_referrers_exception(text),
            Self::Secret(SecretError::NotFound) => fault::secret_not_found_exception(text),
            Self::Secret(SecretError::Inaccessible) => fault::unable_to_access_secret_exception(text),
            Self::Secret(SecretError::Undecryptable) => fault::unable_to_decrypt_secret_value_exception(text),
            Self::BackfillNotFound { .. } => fault::replication_backfill_not_found_exception(text),
            Self::BackfillInProgress(_) => fault::replication_backfill_in_progress_exception(text),
            Self::BackfillInvalidStatus(_) => fault::replication_backfill_invalid_status_exception(text),
            Self::Validation(_) => fault::validation_exception(text),
            Self::ResourceTag(TagError::TooMany) => fault::too_many_tags_exception(
                "The list of tags on the repository is over the limit. The maximum number of tags that can be applied to a repository is 50.",
            ),
            Self::ResourceTag(_) => fault::invalid_tag_parameter_exception(text),
            Self::ImageDigestMismatch { .. } => fault::image_digest_does_not_match_exception(text),
            Self::ManifestUnknown | Self::ImageNotFound { .. } | Self::ReferencedByManifestList { .. } => {
                fault::image_not_found_exception(text)
            }
            Self::ScanNotFound { .. } => fault::scan_not_found_exception(text),
            Self::UnsupportedImageType { .. } => fault::unsupported_image_type_exception(text),
            Self::FeatureDisabled => fault::validation_exception(text),
            Self::ExclusionAlreadyExists(_) => fault::exclusion_already_exists_exception(text),
            Self::ExclusionNotFound(_) => fault::exclusion_not_found_exception(text),
            Self::SigningConfigurationNotFound(_) => fault::signing_configuration_not_found_exception(text),
            Self::LifecyclePolicyNotFound { .. } => fault::lifecycle_policy_not_found_exception(text),
            Self::PreviewNotFound { .. } => fault::lifecycle_policy_preview_not_found_exception(text),
            Self::PreviewInProgress { .. } => fault::lifecycle_policy_preview_in_progress_exception(text),
            Self::StorageClass(_) => fault::image_storage_class_update_not_supported_exception(text),
            Self::ImageArchived(_) => fault::image_archived_exception(text),
            Self::ImageAlreadyExists { .. } => fault::image_already_exists_exception(text),
            Self::TagImmutable { .. } => fault::image_tag_already_exists_exception(text),
            Self::LayersNotFound { .. } | Self::LayerNotFound { .. } | Self::BlobUnknown(_) => {
                fault::layers_not_found_exception(text)
            }
            Self::ReferencedImagesNotFound { .. } => fault::referenced_images_not_found_exception(text),
            Self::LayerInaccessible(..) | Self::BlobInUse(_) => fault::layer_inaccessible_exception(text),
            Self::LayerAlreadyExists { .. } => fault::layer_already_exists_exception(text),
            Self::LayerDigestMismatch { .. } => fault::invalid_layer_exception(text),
            Self::UploadNotFound { .. } => fault::upload_not_found_exception(text),
            Self::UploadRange { id, name, registry, received } => fault::invalid_layer_part_exception(text)
                .with_field("registryId", registry)
                .with_field("repositoryName", name)
                .with_field("uploadId", id)
                .with_field("lastValidByteReceived", received.saturating_sub(1)),
            Self::UploadEmpty { .. } => fault::empty_upload_exception(text),
            Self::PartTooSmall => fault::layer_part_too_small_exception(text),
            Self::SizeInvalid { .. } => fault::invalid_layer_part_exception(text),
            Self::LimitExceeded(_) | Self::LayerTooLarge | Self::TooManyImageTags { .. } => {
                fault::limit_exceeded_exception(text)
            }
            Self::TooManyRequests | Self::Contention => Fault::new("ThrottlingException", 400, "Rate exceeded"),
            Self::Unauthorized => {
                Fault::new("UnrecognizedClientException", 400, "The security token included in the request is invalid.")
            }
            Self::TokenExpired => Fault::new("ExpiredTokenException", 400, text),
            Self::Denied(_) => Fault::new("AccessDeniedException", 400, text),
            Self::Unsupported => Fault::new("UnsupportedOperationException", 400, text),
            Self::DiskFull(_) => fault::server_exception(text).caused_by(self),
            Self::Blobs(_) | Self::Store(_) | Self::Events(_) | Self::Row { .. } => {
                fault::server_exception("The request processing has failed because of an unknown error.")
                    .caused_by(self)
            }
        }
    }

    /// Whether nothing can be done for the moment, whatever it is.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Closed | StoreError::Disk { .. }) | Self::DiskFull(_))
    }

    /// Whether an operator must hear of it.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Blobs(_) | Self::Store(_) | Self::Events(_) | Self::Row { .. } | Self::DiskFull(_))
    }
}

/// The service's sentence for a bad member.
pub(crate) fn invalid_parameter(member: &str, constraint: &str) -> String {
    format!("Invalid parameter at '{member}' failed to satisfy constraint: '{constraint}'")
}

impl From<BlobError> for RegistryError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unknown(digest) | BlobError::Damaged(digest) => Self::BlobUnknown(digest),
            BlobError::DigestMismatch { expected, computed } => Self::LayerDigestMismatch { expected, computed },
            BlobError::TooManyUploads { .. } => Self::TooManyRequests,
            BlobError::DiskFull => Self::DiskFull(Some(error)),
            // Callers that know the upload's name say so; see `layers`.
            BlobError::UploadUnknown | BlobError::UploadBusy | BlobError::OfAnother { .. } | BlobError::Io { .. } => {
                Self::Blobs(error)
            }
        }
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace => Self::DiskFull(None),
            other => Self::Store(other),
        }
    }
}

impl From<TxnError> for RegistryError {
    fn from(error: TxnError) -> Self {
        match error {
            TxnError::Conflict { .. } => Self::Contention,
            TxnError::Store(error) => error.into(),
        }
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        error.fault()
    }
}

fn display_all(digests: &[Digest]) -> String {
    digests.iter().map(Digest::as_str).collect::<Vec<_>>().join(", ")
}
