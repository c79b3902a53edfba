//! The ECR operations, one file each: wire in, the registry's own types between, wire out.
//!
//! Input has already been checked against the model when it comes here. `registryId` may be another account's: the
//! policies decide, before anything is looked up.

mod batch_check_layer_availability;
mod batch_delete_image;
mod batch_get_image;
mod batch_get_repository_scanning_configuration;
mod complete_layer_upload;
mod create_pull_through_cache_rule;
mod create_repository;
mod create_repository_creation_template;
mod creation_template;
mod delete_lifecycle_policy;
mod delete_pull_through_cache_rule;
mod delete_registry_policy;
mod delete_repository;
mod delete_repository_creation_template;
mod delete_repository_policy;
mod delete_signing_configuration;
mod deregister_pull_time_update_exclusion;
mod describe_image_replication_status;
mod describe_image_scan_findings;
mod describe_image_signing_status;
mod describe_images;
mod describe_pull_through_cache_rules;
mod describe_registry;
mod describe_replication_backfill_results;
mod describe_repositories;
mod describe_repository_creation_templates;
mod get_account_setting;
mod get_authorization_token;
mod get_download_url_for_layer;
mod get_lifecycle_policy;
mod get_lifecycle_policy_preview;
mod get_registry_policy;
mod get_registry_scanning_configuration;
mod get_repository_policy;
mod get_signing_configuration;
mod initiate_layer_upload;
mod list_image_referrers;
mod list_images;
mod list_pull_time_update_exclusions;
mod list_replication_backfills;
mod list_tags_for_resource;
mod pull_through_cache_rule;
mod put_account_setting;
mod put_image;
mod put_image_scanning_configuration;
mod put_image_tag_mutability;
mod put_lifecycle_policy;
mod put_registry_policy;
mod put_registry_scanning_configuration;
mod put_replication_configuration;
mod put_signing_configuration;
mod register_pull_time_update_exclusion;
mod replication_wire;
mod set_repository_policy;
mod signing_configuration;
mod start_image_scan;
mod start_lifecycle_policy_preview;
mod start_replication_backfill;
mod stop_replication_backfill;
mod tag_resource;
mod untag_resource;
mod update_image_storage_class;
mod update_pull_through_cache_rule;
mod update_repository_creation_template;
mod upload_layer_part;
mod validate_pull_through_cache_rule;
mod wire;

use gantry_api::ecr::*;
use gantry_api::{Caller, Fault};
use gantry_domain::arn::Scope;

use crate::access::{Permission, Target};
use crate::changes::Actor;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::registry::Registry;

/// Each line names an operation, the file that does the work, and the action that policies allow or deny.
macro_rules! delegate {
    ($($operation:ident: $action:literal, $input:ty => $output:ty,)*) => {
        impl Ecr for Registry {
            $(
                async fn $operation(&self, caller: &Caller, input: $input) -> Result<$output, Fault> {
                    self.check_rate(caller, $action)?;
                    Ok($operation::run(self, &Request { caller, action: $action }, input).await?)
                }
            )*
        }
    };
}

delegate! {
    batch_check_layer_availability: "BatchCheckLayerAvailability", BatchCheckLayerAvailabilityRequest => BatchCheckLayerAvailabilityResponse,
    batch_delete_image: "BatchDeleteImage", BatchDeleteImageRequest => BatchDeleteImageResponse,
    batch_get_image: "BatchGetImage", BatchGetImageRequest => BatchGetImageResponse,
    batch_get_repository_scanning_configuration: "BatchGetRepositoryScanningConfiguration", BatchGetRepositoryScanningConfigurationRequest => BatchGetRepositoryScanningConfigurationResponse,
    complete_layer_upload: "CompleteLayerUpload", CompleteLayerUploadRequest => CompleteLayerUploadResponse,
    create_pull_through_cache_rule: "CreatePullThroughCacheRule", CreatePullThroughCacheRuleRequest => CreatePullThroughCacheRuleResponse,
    create_repository: "CreateRepository", CreateRepositoryRequest => CreateRepositoryResponse,
    create_repository_creation_template: "CreateRepositoryCreationTemplate", CreateRepositoryCreationTemplateRequest => CreateRepositoryCreationTemplateResponse,
    delete_lifecycle_policy: "DeleteLifecyclePolicy", DeleteLifecyclePolicyRequest => DeleteLifecyclePolicyResponse,
    delete_pull_through_cache_rule: "DeletePullThroughCacheRule", DeletePullThroughCacheRuleRequest => DeletePullThroughCacheRuleResponse,
    delete_registry_policy: "DeleteRegistryPolicy", DeleteRegistryPolicyRequest => DeleteRegistryPolicyResponse,
    delete_repository: "DeleteRepository", DeleteRepositoryRequest => DeleteRepositoryResponse,
    delete_repository_creation_template: "DeleteRepositoryCreationTemplate", DeleteRepositoryCreationTemplateRequest => DeleteRepositoryCreationTemplateResponse,
    delete_repository_policy: "DeleteRepositoryPolicy", DeleteRepositoryPolicyRequest => DeleteRepositoryPolicyResponse,
    delete_signing_configuration: "DeleteSigningConfiguration", DeleteSigningConfigurationRequest => DeleteSigningConfigurationResponse,
    deregister_pull_time_update_exclusion: "DeregisterPullTimeUpdateExclusion", DeregisterPullTimeUpdateExclusionRequest => DeregisterPullTimeUpdateExclusionResponse,
    describe_image_scan_findings: "DescribeImageScanFindings", DescribeImageScanFindingsRequest => DescribeImageScanFindingsResponse,
    describe_image_replication_status: "DescribeImageReplicationStatus", DescribeImageReplicationStatusRequest => DescribeImageReplicationStatusResponse,
    describe_image_signing_status: "DescribeImageSigningStatus", DescribeImageSigningStatusRequest => DescribeImageSigningStatusResponse,
    describe_images: "DescribeImages", DescribeImagesRequest => DescribeImagesResponse,
    describe_pull_through_cache_rules: "DescribePullThroughCacheRules", DescribePullThroughCacheRulesRequest => DescribePullThroughCacheRulesResponse,
    describe_registry: "DescribeRegistry", DescribeRegistryRequest => DescribeRegistryResponse,
    describe_replication_backfill_results: "DescribeReplicationBackfillResults", DescribeReplicationBackfillResultsRequest => DescribeReplicationBackfillResultsResponse,
    describe_repositories: "DescribeRepositories", DescribeRepositoriesRequest => DescribeRepositoriesResponse,
    describe_repository_creation_templates: "DescribeRepositoryCreationTemplates", DescribeRepositoryCreationTemplatesRequest => DescribeRepositoryCreationTemplatesResponse,
    get_account_setting: "GetAccountSetting", GetAccountSettingRequest => GetAccountSettingResponse,
    get_authorization_token: "GetAuthorizationToken", GetAuthorizationTokenRequest => GetAuthorizationTokenResponse,
    get_download_url_for_layer: "GetDownloadUrlForLayer", GetDownloadUrlForLayerRequest => GetDownloadUrlForLayerResponse,
    get_lifecycle_policy: "GetLifecyclePolicy", GetLifecyclePolicyRequest => GetLifecyclePolicyResponse,
    get_lifecycle_policy_preview: "GetLifecyclePolicyPreview", GetLifecyclePolicyPreviewRequest => GetLifecyclePolicyPreviewResponse,
    get_registry_policy: "GetRegistryPolicy", GetRegistryPolicyRequest => GetRegistryPolicyResponse,
    get_registry_scanning_configuration: "GetRegistryScanningConfiguration", GetRegistryScanningConfigurationRequest => GetRegistryScanningConfigurationResponse,
    get_repository_policy: "GetRepositoryPolicy", GetRepositoryPolicyRequest => GetRepositoryPolicyResponse,
    get_signing_configuration: "GetSigningConfiguration", GetSigningConfigurationRequest => GetSigningConfigurationResponse,
    initiate_layer_upload: "InitiateLayerUpload", InitiateLayerUploadRequest => InitiateLayerUploadResponse,
    list_image_referrers: "ListImageReferrers", ListImageReferrersRequest => ListImageReferrersResponse,
    list_images: "ListImages", ListImagesRequest => ListImagesResponse,
    list_pull_time_update_exclusions: "ListPullTimeUpdateExclusions", ListPullTimeUpdateExclusionsRequest => ListPullTimeUpdateExclusionsResponse,
    list_replication_backfills: "ListReplicationBackfills", ListReplicationBackfillsRequest => ListReplicationBackfillsResponse,
    list_tags_for_resource: "ListTagsForResource", ListTagsForResourceRequest => ListTagsForResourceResponse,
    put_account_setting: "PutAccountSetting", PutAccountSettingRequest => PutAccountSettingResponse,
    put_image: "PutImage", PutImageRequest => PutImageResponse,
    put_image_scanning_configuration: "PutImageScanningConfiguration", PutImageScanningConfigurationRequest => PutImageScanningConfigurationResponse,
    put_image_tag_mutability: "PutImageTagMutability", PutImageTagMutabilityRequest => PutImageTagMutabilityResponse,
    put_lifecycle_policy: "PutLifecyclePolicy", PutLifecyclePolicyRequest => PutLifecyclePolicyResponse,
    put_registry_policy: "PutRegistryPolicy", PutRegistryPolicyRequest => PutRegistryPolicyResponse,
    put_registry_scanning_configuration: "PutRegistryScanningConfiguration", PutRegistryScanningConfigurationRequest => PutRegistryScanningConfigurationResponse,
    put_signing_configuration: "PutSigningConfiguration", PutSigningConfigurationRequest => PutSigningConfigurationResponse,
    register_pull_time_update_exclusion: "RegisterPullTimeUpdateExclusion", RegisterPullTimeUpdateExclusionRequest => RegisterPullTimeUpdateExclusionResponse,
    set_repository_policy: "SetRepositoryPolicy", SetRepositoryPolicyRequest => SetRepositoryPolicyResponse,
    start_image_scan: "StartImageScan", StartImageScanRequest => StartImageScanResponse,
    put_replication_configuration: "PutReplicationConfiguration", PutReplicationConfigurationRequest => PutReplicationConfigurationResponse,
    start_lifecycle_policy_preview: "StartLifecyclePolicyPreview", StartLifecyclePolicyPreviewRequest => StartLifecyclePolicyPreviewResponse,
    start_replication_backfill: "StartReplicationBackfill", StartReplicationBackfillRequest => StartReplicationBackfillResponse,
    stop_replication_backfill: "StopReplicationBackfill", StopReplicationBackfillRequest => StopReplicationBackfillResponse,
    tag_resource: "TagResource", TagResourceRequest => TagResourceResponse,
    untag_resource: "UntagResource", UntagResourceRequest => UntagResourceResponse,
    update_image_storage_class: "UpdateImageStorageClass", UpdateImageStorageClassRequest => UpdateImageStorageClassResponse,
    update_pull_through_cache_rule: "UpdatePullThroughCacheRule", UpdatePullThroughCacheRuleRequest => UpdatePullThroughCacheRuleResponse,
    update_repository_creation_template: "UpdateRepositoryCreationTemplate", UpdateRepositoryCreationTemplateRequest => UpdateRepositoryCreationTemplateResponse,
    upload_layer_part: "UploadLayerPart", UploadLayerPartRequest => UploadLayerPartResponse,
    validate_pull_through_cache_rule: "ValidatePullThroughCacheRule", ValidatePullThroughCacheRuleRequest => ValidatePullThroughCacheRuleResponse,
}

/// Who asks for what.
struct Request<'a> {
    caller: &'a Caller,
    action: &'static str,
}

impl Request<'_> {
    /// The registry a request is about, once the caller may do this there.
    async fn registry(&self, registry: &Registry, registry_id: Option<&str>) -> Result<Scope, RegistryError> {
        let scope = Scope::new(registry_id.unwrap_or(&self.caller.account), &self.caller.region);
        let target = match self.action {
            "DescribeRepositories" => Target::Repositories(&scope),
            _ => Target::Registry(&scope),
        };
        registry.authorize(self.caller, self.action.into(), target).await?;
        Ok(scope)
    }

    /// The repository a request is about, once the caller may do this there.
    async fn repository(
        &self,
        registry: &Registry,
        registry_id: Option<&str>,
        name: Option<&str>,
    ) -> Result<RepositoryKeys, RegistryError> {
        self.repository_with(registry, registry_id, name, &[]).await
    }

    /// The same, with condition keys that come from the input.
    async fn repository_with(
        &self,
        registry: &Registry,
        registry_id: Option<&str>,
        name: Option<&str>,
        keys: &[(String, String)],
    ) -> Result<RepositoryKeys, RegistryError> {
        let scope = Scope::new(registry_id.unwrap_or(&self.caller.account), &self.caller.region);
        let name = name.unwrap_or_default();
        let name = name.parse().map_err(|_| RegistryError::NameInvalid(name.to_owned()))?;
        let repository = RepositoryKeys::new(&scope, &name);
        let permission = Permission { action: self.action, keys };
        registry.authorize(self.caller, permission, Target::Repository(&repository)).await?;
        Ok(repository)
    }

    /// The same for a push, which makes the repository when it is missing and a creation template says so.
    async fn repository_for_push(
        &self,
        registry: &Registry,
        registry_id: Option<&str>,
        name: Option<&str>,
    ) -> Result<RepositoryKeys, RegistryError> {
        let keys = self.repository(registry, registry_id, name).await?;
        if let Some(template) = registry.template_for_push(&keys).await? {
            let create = Request { caller: self.caller, action: "CreateRepository" };
            create.repository(registry, registry_id, name).await?;
            registry.repository_create_by_itself(&keys, Some(&template)).await?;
        }
        Ok(keys)
    }

    /// The repository an ARN names, with condition keys that come from the input.
    async fn resource(
        &self,
        registry: &Registry,
        arn: Option<&str>,
        keys: &[(String, String)],
    ) -> Result<RepositoryKeys, RegistryError> {
        let invalid = || RegistryError::Parameter { member: "resourceArn", constraint: "Invalid ARN".to_owned() };
        let parts: Vec<&str> = arn.unwrap_or_default().splitn(6, ':').collect();
        let ["arn", _, "ecr", region, account, resource] = parts.as_slice() else { return Err(invalid()) };
        let name = resource.strip_prefix("repository/").ok_or_else(invalid)?;
        let repository = self.repository_with(registry, Some(account), Some(name), keys).await?;
        if *region == self.caller.region { Ok(repository) } else { Err(invalid()) }
    }

    /// On whose behalf.
    fn actor(&self) -> Actor {
        Actor::client(&self.caller.principal_arn)
    }
}

/// `aws:RequestTag/…` and `aws:TagKeys` of the tags that a request carries.
fn tag_keys(tags: &[Tag]) -> Vec<(String, String)> {
    let pairs = tags.iter().filter_map(|tag| Some((tag.key.as_deref()?, tag.value.as_deref().unwrap_or_default())));
    pairs
        .flat_map(|(key, value)| {
            [(format!("aws:RequestTag/{key}"), value.to_owned()), ("aws:TagKeys".to_owned(), key.to_owned())]
        })
        .collect()
}
