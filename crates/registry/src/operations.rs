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

impl Ecr for Registry {
    async fn batch_check_layer_availability(
        &self,
        caller: &Caller,
        input: BatchCheckLayerAvailabilityRequest,
    ) -> Result<BatchCheckLayerAvailabilityResponse, Fault> {
        Ok(batch_check_layer_availability::run(self, &Request { caller, action: "BatchCheckLayerAvailability" }, input)
            .await?)
    }

    async fn batch_delete_image(
        &self,
        caller: &Caller,
        input: BatchDeleteImageRequest,
    ) -> Result<BatchDeleteImageResponse, Fault> {
        Ok(batch_delete_image::run(self, &Request { caller, action: "BatchDeleteImage" }, input).await?)
    }

    async fn batch_get_image(
        &self,
        caller: &Caller,
        input: BatchGetImageRequest,
    ) -> Result<BatchGetImageResponse, Fault> {
        Ok(batch_get_image::run(self, &Request { caller, action: "BatchGetImage" }, input).await?)
    }

    async fn batch_get_repository_scanning_configuration(
        &self,
        caller: &Caller,
        input: BatchGetRepositoryScanningConfigurationRequest,
    ) -> Result<BatchGetRepositoryScanningConfigurationResponse, Fault> {
        Ok(batch_get_repository_scanning_configuration::run(
            self,
            &Request { caller, action: "BatchGetRepositoryScanningConfiguration" },
            input,
        )
        .await?)
    }

    async fn complete_layer_upload(
        &self,
        caller: &Caller,
        input: CompleteLayerUploadRequest,
    ) -> Result<CompleteLayerUploadResponse, Fault> {
        Ok(complete_layer_upload::run(self, &Request { caller, action: "CompleteLayerUpload" }, input).await?)
    }

    async fn create_pull_through_cache_rule(
        &self,
        caller: &Caller,
        input: CreatePullThroughCacheRuleRequest,
    ) -> Result<CreatePullThroughCacheRuleResponse, Fault> {
        Ok(create_pull_through_cache_rule::run(self, &Request { caller, action: "CreatePullThroughCacheRule" }, input)
            .await?)
    }

    async fn create_repository(
        &self,
        caller: &Caller,
        input: CreateRepositoryRequest,
    ) -> Result<CreateRepositoryResponse, Fault> {
        Ok(create_repository::run(self, &Request { caller, action: "CreateRepository" }, input).await?)
    }

    async fn create_repository_creation_template(
        &self,
        caller: &Caller,
        input: CreateRepositoryCreationTemplateRequest,
    ) -> Result<CreateRepositoryCreationTemplateResponse, Fault> {
        Ok(create_repository_creation_template::run(
            self,
            &Request { caller, action: "CreateRepositoryCreationTemplate" },
            input,
        )
        .await?)
    }

    async fn delete_lifecycle_policy(
        &self,
        caller: &Caller,
        input: DeleteLifecyclePolicyRequest,
    ) -> Result<DeleteLifecyclePolicyResponse, Fault> {
        Ok(delete_lifecycle_policy::run(self, &Request { caller, action: "DeleteLifecyclePolicy" }, input).await?)
    }

    async fn delete_pull_through_cache_rule(
        &self,
        caller: &Caller,
        input: DeletePullThroughCacheRuleRequest,
    ) -> Result<DeletePullThroughCacheRuleResponse, Fault> {
        Ok(delete_pull_through_cache_rule::run(self, &Request { caller, action: "DeletePullThroughCacheRule" }, input)
            .await?)
    }

    async fn delete_registry_policy(
        &self,
        caller: &Caller,
        input: DeleteRegistryPolicyRequest,
    ) -> Result<DeleteRegistryPolicyResponse, Fault> {
        Ok(delete_registry_policy::run(self, &Request { caller, action: "DeleteRegistryPolicy" }, input).await?)
    }

    async fn delete_repository(
        &self,
        caller: &Caller,
        input: DeleteRepositoryRequest,
    ) -> Result<DeleteRepositoryResponse, Fault> {
        Ok(delete_repository::run(self, &Request { caller, action: "DeleteRepository" }, input).await?)
    }

    async fn delete_repository_creation_template(
        &self,
        caller: &Caller,
        input: DeleteRepositoryCreationTemplateRequest,
    ) -> Result<DeleteRepositoryCreationTemplateResponse, Fault> {
        Ok(delete_repository_creation_template::run(
            self,
            &Request { caller, action: "DeleteRepositoryCreationTemplate" },
            input,
        )
        .await?)
    }

    async fn delete_repository_policy(
        &self,
        caller: &Caller,
        input: DeleteRepositoryPolicyRequest,
    ) -> Result<DeleteRepositoryPolicyResponse, Fault> {
        Ok(delete_repository_policy::run(self, &Request { caller, action: "DeleteRepositoryPolicy" }, input).await?)
    }

    async fn delete_signing_configuration(
        &self,
        caller: &Caller,
        input: DeleteSigningConfigurationRequest,
    ) -> Result<DeleteSigningConfigurationResponse, Fault> {
        Ok(delete_signing_configuration::run(self, &Request { caller, action: "DeleteSigningConfiguration" }, input)
            .await?)
    }

    async fn deregister_pull_time_update_exclusion(
        &self,
        caller: &Caller,
        input: DeregisterPullTimeUpdateExclusionRequest,
    ) -> Result<DeregisterPullTimeUpdateExclusionResponse, Fault> {
        Ok(deregister_pull_time_update_exclusion::run(
            self,
            &Request { caller, action: "DeregisterPullTimeUpdateExclusion" },
            input,
        )
        .await?)
    }

    async fn describe_image_scan_findings(
        &self,
        caller: &Caller,
        input: DescribeImageScanFindingsRequest,
    ) -> Result<DescribeImageScanFindingsResponse, Fault> {
        Ok(describe_image_scan_findings::run(self, &Request { caller, action: "DescribeImageScanFindings" }, input)
            .await?)
    }

    async fn describe_image_replication_status(
        &self,
        caller: &Caller,
        input: DescribeImageReplicationStatusRequest,
    ) -> Result<DescribeImageReplicationStatusResponse, Fault> {
        Ok(describe_image_replication_status::run(
            self,
            &Request { caller, action: "DescribeImageReplicationStatus" },
            input,
        )
        .await?)
    }

    async fn describe_image_signing_status(
        &self,
        caller: &Caller,
        input: DescribeImageSigningStatusRequest,
    ) -> Result<DescribeImageSigningStatusResponse, Fault> {
        Ok(describe_image_signing_status::run(self, &Request { caller, action: "DescribeImageSigningStatus" }, input)
            .await?)
    }

    async fn describe_images(
        &self,
        caller: &Caller,
        input: DescribeImagesRequest,
    ) -> Result<DescribeImagesResponse, Fault> {
        Ok(describe_images::run(self, &Request { caller, action: "DescribeImages" }, input).await?)
    }

    async fn describe_pull_through_cache_rules(
        &self,
        caller: &Caller,
        input: DescribePullThroughCacheRulesRequest,
    ) -> Result<DescribePullThroughCacheRulesResponse, Fault> {
        Ok(describe_pull_through_cache_rules::run(
            self,
            &Request { caller, action: "DescribePullThroughCacheRules" },
            input,
        )
        .await?)
    }

    async fn describe_registry(
        &self,
        caller: &Caller,
        input: DescribeRegistryRequest,
    ) -> Result<DescribeRegistryResponse, Fault> {
        Ok(describe_registry::run(self, &Request { caller, action: "DescribeRegistry" }, input).await?)
    }

    async fn describe_replication_backfill_results(
        &self,
        caller: &Caller,
        input: DescribeReplicationBackfillResultsRequest,
    ) -> Result<DescribeReplicationBackfillResultsResponse, Fault> {
        Ok(describe_replication_backfill_results::run(
            self,
            &Request { caller, action: "DescribeReplicationBackfillResults" },
            input,
        )
        .await?)
    }

    async fn describe_repositories(
        &self,
        caller: &Caller,
        input: DescribeRepositoriesRequest,
    ) -> Result<DescribeRepositoriesResponse, Fault> {
        Ok(describe_repositories::run(self, &Request { caller, action: "DescribeRepositories" }, input).await?)
    }

    async fn describe_repository_creation_templates(
        &self,
        caller: &Caller,
        input: DescribeRepositoryCreationTemplatesRequest,
    ) -> Result<DescribeRepositoryCreationTemplatesResponse, Fault> {
        Ok(describe_repository_creation_templates::run(
            self,
            &Request { caller, action: "DescribeRepositoryCreationTemplates" },
            input,
        )
        .await?)
    }

    async fn get_account_setting(
        &self,
        caller: &Caller,
        input: GetAccountSettingRequest,
    ) -> Result<GetAccountSettingResponse, Fault> {
        Ok(get_account_setting::run(self, &Request { caller, action: "GetAccountSetting" }, input).await?)
    }

    async fn get_authorization_token(
        &self,
        caller: &Caller,
        input: GetAuthorizationTokenRequest,
    ) -> Result<GetAuthorizationTokenResponse, Fault> {
        Ok(get_authorization_token::run(self, &Request { caller, action: "GetAuthorizationToken" }, input).await?)
    }

    async fn get_download_url_for_layer(
        &self,
        caller: &Caller,
        input: GetDownloadUrlForLayerRequest,
    ) -> Result<GetDownloadUrlForLayerResponse, Fault> {
        Ok(get_download_url_for_layer::run(self, &Request { caller, action: "GetDownloadUrlForLayer" }, input).await?)
    }

    async fn get_lifecycle_policy(
        &self,
        caller: &Caller,
        input: GetLifecyclePolicyRequest,
    ) -> Result<GetLifecyclePolicyResponse, Fault> {
        Ok(get_lifecycle_policy::run(self, &Request { caller, action: "GetLifecyclePolicy" }, input).await?)
    }

    async fn get_lifecycle_policy_preview(
        &self,
        caller: &Caller,
        input: GetLifecyclePolicyPreviewRequest,
    ) -> Result<GetLifecyclePolicyPreviewResponse, Fault> {
        Ok(get_lifecycle_policy_preview::run(self, &Request { caller, action: "GetLifecyclePolicyPreview" }, input)
            .await?)
    }

    async fn get_registry_policy(
        &self,
        caller: &Caller,
        input: GetRegistryPolicyRequest,
    ) -> Result<GetRegistryPolicyResponse, Fault> {
        Ok(get_registry_policy::run(self, &Request { caller, action: "GetRegistryPolicy" }, input).await?)
    }

    async fn get_registry_scanning_configuration(
        &self,
        caller: &Caller,
        input: GetRegistryScanningConfigurationRequest,
    ) -> Result<GetRegistryScanningConfigurationResponse, Fault> {
        Ok(get_registry_scanning_configuration::run(
            self,
            &Request { caller, action: "GetRegistryScanningConfiguration" },
            input,
        )
        .await?)
    }

    async fn get_repository_policy(
        &self,
        caller: &Caller,
        input: GetRepositoryPolicyRequest,
    ) -> Result<GetRepositoryPolicyResponse, Fault> {
        Ok(get_repository_policy::run(self, &Request { caller, action: "GetRepositoryPolicy" }, input).await?)
    }

    async fn get_signing_configuration(
        &self,
        caller: &Caller,
        input: GetSigningConfigurationRequest,
    ) -> Result<GetSigningConfigurationResponse, Fault> {
        Ok(get_signing_configuration::run(self, &Request { caller, action: "GetSigningConfiguration" }, input).await?)
    }

    async fn initiate_layer_upload(
        &self,
        caller: &Caller,
        input: InitiateLayerUploadRequest,
    ) -> Result<InitiateLayerUploadResponse, Fault> {
        Ok(initiate_layer_upload::run(self, &Request { caller, action: "InitiateLayerUpload" }, input).await?)
    }

    async fn list_image_referrers(
        &self,
        caller: &Caller,
        input: ListImageReferrersRequest,
    ) -> Result<ListImageReferrersResponse, Fault> {
        Ok(list_image_referrers::run(self, &Request { caller, action: "ListImageReferrers" }, input).await?)
    }

    async fn list_images(&self, caller: &Caller, input: ListImagesRequest) -> Result<ListImagesResponse, Fault> {
        Ok(list_images::run(self, &Request { caller, action: "ListImages" }, input).await?)
    }

    async fn list_pull_time_update_exclusions(
        &self,
        caller: &Caller,
        input: ListPullTimeUpdateExclusionsRequest,
    ) -> Result<ListPullTimeUpdateExclusionsResponse, Fault> {
        Ok(list_pull_time_update_exclusions::run(
            self,
            &Request { caller, action: "ListPullTimeUpdateExclusions" },
            input,
        )
        .await?)
    }

    async fn list_replication_backfills(
        &self,
        caller: &Caller,
        input: ListReplicationBackfillsRequest,
    ) -> Result<ListReplicationBackfillsResponse, Fault> {
        Ok(list_replication_backfills::run(self, &Request { caller, action: "ListReplicationBackfills" }, input)
            .await?)
    }

    async fn list_tags_for_resource(
        &self,
        caller: &Caller,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        Ok(list_tags_for_resource::run(self, &Request { caller, action: "ListTagsForResource" }, input).await?)
    }

    async fn put_account_setting(
        &self,
        caller: &Caller,
        input: PutAccountSettingRequest,
    ) -> Result<PutAccountSettingResponse, Fault> {
        Ok(put_account_setting::run(self, &Request { caller, action: "PutAccountSetting" }, input).await?)
    }

    async fn put_image(&self, caller: &Caller, input: PutImageRequest) -> Result<PutImageResponse, Fault> {
        Ok(put_image::run(self, &Request { caller, action: "PutImage" }, input).await?)
    }

    async fn put_image_scanning_configuration(
        &self,
        caller: &Caller,
        input: PutImageScanningConfigurationRequest,
    ) -> Result<PutImageScanningConfigurationResponse, Fault> {
        Ok(put_image_scanning_configuration::run(
            self,
            &Request { caller, action: "PutImageScanningConfiguration" },
            input,
        )
        .await?)
    }

    async fn put_image_tag_mutability(
        &self,
        caller: &Caller,
        input: PutImageTagMutabilityRequest,
    ) -> Result<PutImageTagMutabilityResponse, Fault> {
        Ok(put_image_tag_mutability::run(self, &Request { caller, action: "PutImageTagMutability" }, input).await?)
    }

    async fn put_lifecycle_policy(
        &self,
        caller: &Caller,
        input: PutLifecyclePolicyRequest,
    ) -> Result<PutLifecyclePolicyResponse, Fault> {
        Ok(put_lifecycle_policy::run(self, &Request { caller, action: "PutLifecyclePolicy" }, input).await?)
    }

    async fn put_registry_policy(
        &self,
        caller: &Caller,
        input: PutRegistryPolicyRequest,
    ) -> Result<PutRegistryPolicyResponse, Fault> {
        Ok(put_registry_policy::run(self, &Request { caller, action: "PutRegistryPolicy" }, input).await?)
    }

    async fn put_registry_scanning_configuration(
        &self,
        caller: &Caller,
        input: PutRegistryScanningConfigurationRequest,
    ) -> Result<PutRegistryScanningConfigurationResponse, Fault> {
        Ok(put_registry_scanning_configuration::run(
            self,
            &Request { caller, action: "PutRegistryScanningConfiguration" },
            input,
        )
        .await?)
    }

    async fn put_signing_configuration(
        &self,
        caller: &Caller,
        input: PutSigningConfigurationRequest,
    ) -> Result<PutSigningConfigurationResponse, Fault> {
        Ok(put_signing_configuration::run(self, &Request { caller, action: "PutSigningConfiguration" }, input).await?)
    }

    async fn register_pull_time_update_exclusion(
        &self,
        caller: &Caller,
        input: RegisterPullTimeUpdateExclusionRequest,
    ) -> Result<RegisterPullTimeUpdateExclusionResponse, Fault> {
        Ok(register_pull_time_update_exclusion::run(
            self,
            &Request { caller, action: "RegisterPullTimeUpdateExclusion" },
            input,
        )
        .await?)
    }

    async fn set_repository_policy(
        &self,
        caller: &Caller,
        input: SetRepositoryPolicyRequest,
    ) -> Result<SetRepositoryPolicyResponse, Fault> {
        Ok(set_repository_policy::run(self, &Request { caller, action: "SetRepositoryPolicy" }, input).await?)
    }

    async fn start_image_scan(
        &self,
        caller: &Caller,
        input: StartImageScanRequest,
    ) -> Result<StartImageScanResponse, Fault> {
        Ok(start_image_scan::run(self, &Request { caller, action: "StartImageScan" }, input).await?)
    }

    async fn put_replication_configuration(
        &self,
        caller: &Caller,
        input: PutReplicationConfigurationRequest,
    ) -> Result<PutReplicationConfigurationResponse, Fault> {
        Ok(put_replication_configuration::run(self, &Request { caller, action: "PutReplicationConfiguration" }, input)
            .await?)
    }

    async fn start_lifecycle_policy_preview(
        &self,
        caller: &Caller,
        input: StartLifecyclePolicyPreviewRequest,
    ) -> Result<StartLifecyclePolicyPreviewResponse, Fault> {
        Ok(start_lifecycle_policy_preview::run(self, &Request { caller, action: "StartLifecyclePolicyPreview" }, input)
            .await?)
    }

    async fn start_replication_backfill(
        &self,
        caller: &Caller,
        input: StartReplicationBackfillRequest,
    ) -> Result<StartReplicationBackfillResponse, Fault> {
        Ok(start_replication_backfill::run(self, &Request { caller, action: "StartReplicationBackfill" }, input)
            .await?)
    }

    async fn stop_replication_backfill(
        &self,
        caller: &Caller,
        input: StopReplicationBackfillRequest,
    ) -> Result<StopReplicationBackfillResponse, Fault> {
        Ok(stop_replication_backfill::run(self, &Request { caller, action: "StopReplicationBackfill" }, input).await?)
    }

    async fn tag_resource(&self, caller: &Caller, input: TagResourceRequest) -> Result<TagResourceResponse, Fault> {
        Ok(tag_resource::run(self, &Request { caller, action: "TagResource" }, input).await?)
    }

    async fn untag_resource(
        &self,
        caller: &Caller,
        input: UntagResourceRequest,
    ) -> Result<UntagResourceResponse, Fault> {
        Ok(untag_resource::run(self, &Request { caller, action: "UntagResource" }, input).await?)
    }

    async fn update_image_storage_class(
        &self,
        caller: &Caller,
        input: UpdateImageStorageClassRequest,
    ) -> Result<UpdateImageStorageClassResponse, Fault> {
        Ok(update_image_storage_class::run(self, &Request { caller, action: "UpdateImageStorageClass" }, input).await?)
    }

    async fn update_pull_through_cache_rule(
        &self,
        caller: &Caller,
        input: UpdatePullThroughCacheRuleRequest,
    ) -> Result<UpdatePullThroughCacheRuleResponse, Fault> {
        Ok(update_pull_through_cache_rule::run(self, &Request { caller, action: "UpdatePullThroughCacheRule" }, input)
            .await?)
    }

    async fn update_repository_creation_template(
        &self,
        caller: &Caller,
        input: UpdateRepositoryCreationTemplateRequest,
    ) -> Result<UpdateRepositoryCreationTemplateResponse, Fault> {
        Ok(update_repository_creation_template::run(
            self,
            &Request { caller, action: "UpdateRepositoryCreationTemplate" },
            input,
        )
        .await?)
    }

    async fn upload_layer_part(
        &self,
        caller: &Caller,
        input: UploadLayerPartRequest,
    ) -> Result<UploadLayerPartResponse, Fault> {
        Ok(upload_layer_part::run(self, &Request { caller, action: "UploadLayerPart" }, input).await?)
    }

    async fn validate_pull_through_cache_rule(
        &self,
        caller: &Caller,
        input: ValidatePullThroughCacheRuleRequest,
    ) -> Result<ValidatePullThroughCacheRuleResponse, Fault> {
        Ok(validate_pull_through_cache_rule::run(
            self,
            &Request { caller, action: "ValidatePullThroughCacheRule" },
            input,
        )
        .await?)
    }
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
