//! Identity and Access Management: users, groups, roles, policies.
//!
//! Rows of the store ([`rows`]) hold everything; an indexed picture of them in memory ([`picture`]) answers, so that
//! authorization reads no store. A change is one transaction, planned on the picture and in force when it is answered
//! ([`change`]). IAM is global: no region. An operation is a function of its family's module.

mod access_keys;
mod account_details;
mod assume_for_service;
mod attached;
mod authorize;
mod aws_managed;
mod boundaries;
mod change;
mod documents;
mod fault;
mod groups;
mod holders;
mod inline;
mod instance_role;
mod keyring;
mod names;
mod oidc_providers;
mod paging;
mod picture;
mod policies;
mod profiles;
mod roles;
mod rows;
mod service_linked;
mod sessions;
mod simulate;
mod summary;
mod tags;
mod task_roles;
mod users;
mod versions;
mod wire;

use std::sync::Arc;

use gantry_api::iam::{
    AddClientIDToOpenIDConnectProviderRequest, AddRoleToInstanceProfileRequest, AddUserToGroupRequest,
    AttachGroupPolicyRequest, AttachRolePolicyRequest, AttachUserPolicyRequest, CreateAccessKeyRequest,
    CreateAccessKeyResponse, CreateGroupRequest, CreateGroupResponse, CreateInstanceProfileRequest,
    CreateInstanceProfileResponse, CreateOpenIDConnectProviderRequest, CreateOpenIDConnectProviderResponse,
    CreatePolicyRequest, CreatePolicyResponse, CreatePolicyVersionRequest, CreatePolicyVersionResponse,
    CreateRoleRequest, CreateRoleResponse, CreateServiceLinkedRoleRequest, CreateServiceLinkedRoleResponse,
    CreateUserRequest, CreateUserResponse, DeleteAccessKeyRequest, DeleteGroupPolicyRequest, DeleteGroupRequest,
    DeleteInstanceProfileRequest, DeleteOpenIDConnectProviderRequest, DeletePolicyRequest, DeletePolicyVersionRequest,
    DeleteRolePermissionsBoundaryRequest, DeleteRolePolicyRequest, DeleteRoleRequest, DeleteServiceLinkedRoleRequest,
    DeleteServiceLinkedRoleResponse, DeleteUserPolicyRequest, DeleteUserRequest, DetachGroupPolicyRequest,
    DetachRolePolicyRequest, DetachUserPolicyRequest, GetAccessKeyLastUsedRequest, GetAccessKeyLastUsedResponse,
    GetAccountAuthorizationDetailsRequest, GetAccountAuthorizationDetailsResponse, GetAccountSummaryResponse,
    GetGroupPolicyRequest, GetGroupPolicyResponse, GetGroupRequest, GetGroupResponse, GetInstanceProfileRequest,
    GetInstanceProfileResponse, GetOpenIDConnectProviderRequest, GetOpenIDConnectProviderResponse, GetPolicyRequest,
    GetPolicyResponse, GetPolicyVersionRequest, GetPolicyVersionResponse, GetRolePolicyRequest, GetRolePolicyResponse,
    GetRoleRequest, GetRoleResponse, GetServiceLinkedRoleDeletionStatusRequest,
    GetServiceLinkedRoleDeletionStatusResponse, GetUserPolicyRequest, GetUserPolicyResponse, GetUserRequest,
    GetUserResponse, ListAccessKeysRequest, ListAccessKeysResponse, ListAccountAliasesRequest,
    ListAccountAliasesResponse, ListAttachedGroupPoliciesRequest, ListAttachedGroupPoliciesResponse,
    ListAttachedRolePoliciesRequest, ListAttachedRolePoliciesResponse, ListAttachedUserPoliciesRequest,
    ListAttachedUserPoliciesResponse, ListEntitiesForPolicyRequest, ListEntitiesForPolicyResponse,
    ListGroupPoliciesRequest, ListGroupPoliciesResponse, ListGroupsForUserRequest, ListGroupsForUserResponse,
    ListGroupsRequest, ListGroupsResponse, ListInstanceProfileTagsRequest, ListInstanceProfileTagsResponse,
    ListInstanceProfilesForRoleRequest, ListInstanceProfilesForRoleResponse, ListInstanceProfilesRequest,
    ListInstanceProfilesResponse, ListOpenIDConnectProviderTagsRequest, ListOpenIDConnectProviderTagsResponse,
    ListOpenIDConnectProvidersRequest, ListOpenIDConnectProvidersResponse, ListPoliciesRequest, ListPoliciesResponse,
    ListPolicyTagsRequest, ListPolicyTagsResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse,
    ListRolePoliciesRequest, ListRolePoliciesResponse, ListRoleTagsRequest, ListRoleTagsResponse, ListRolesRequest,
    ListRolesResponse, ListUserPoliciesRequest, ListUserPoliciesResponse, ListUserTagsRequest, ListUserTagsResponse,
    ListUsersRequest, ListUsersResponse, PutGroupPolicyRequest, PutRolePermissionsBoundaryRequest,
    PutRolePolicyRequest, PutUserPolicyRequest, RemoveClientIDFromOpenIDConnectProviderRequest,
    RemoveRoleFromInstanceProfileRequest, RemoveUserFromGroupRequest, SetDefaultPolicyVersionRequest,
    SimulateCustomPolicyRequest, SimulatePolicyResponse, SimulatePrincipalPolicyRequest, TagInstanceProfileRequest,
    TagOpenIDConnectProviderRequest, TagPolicyRequest, TagRoleRequest, TagUserRequest, UntagInstanceProfileRequest,
    UntagOpenIDConnectProviderRequest, UntagPolicyRequest, UntagRoleRequest, UntagUserRequest, UpdateAccessKeyRequest,
    UpdateAssumeRolePolicyRequest, UpdateOpenIDConnectProviderThumbprintRequest, UpdateRoleDescriptionRequest,
    UpdateRoleDescriptionResponse, UpdateRoleRequest, UpdateRoleResponse, UpdateUserRequest,
};
use gantry_api::{Caller, Empty, Fault, iam};
use gantry_domain::Timestamp;
use gantry_store::{Store, StoreError, View};
use tokio::sync::Mutex;

use crate::sealing::Sealer;
use authorize::Authorities;
use keyring::Keyring;
use picture::Picture;
use sessions::Sessions;

pub use instance_role::INSTANCE_ROLE;

pub(crate) use authorize::AssumableRole;
pub(crate) use sessions::{Credentials as NewCredentials, Owner};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The service. Clones share it.
#[derive(Clone)]
pub struct Iam {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    view: View<Picture>,
    sealer: Sealer,
    clock: Clock,
    /// Changes of this server go one after the other, so that they do not plan in vain.
    turn: Mutex<()>,
    keyring: Keyring,
    sessions: Sessions,
    authorities: Authorities,
}

impl Iam {
    /// Loads everything below `/iam/` of `store`. Secrets are sealed with `sealer`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Store, sealer: Sealer, clock: Clock) -> Result<Self, StoreError> {
        let view = View::start(&store, rows::PREFIX).await?;
        let (keyring, sessions, authorities) = (Keyring::default(), Sessions::default(), Authorities::default());
        let inner = Inner { store, view, sealer, clock, turn: Mutex::new(()), keyring, sessions, authorities };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Milliseconds since the epoch.
    fn now(&self) -> u64 {
        u64::try_from((self.inner.clock)().as_millis()).unwrap_or(0)
    }
}

/// Carries out each operation with the function of the same name in its family's module.
macro_rules! operations {
    ($($family:ident::$name:ident($input:ident) -> $output:ident),* $(,)?) => {
        impl iam::Iam for Iam {
            $(async fn $name(&self, caller: &Caller, input: $input) -> Result<$output, Fault> {
                $family::$name(self, caller, input).await
            })*
        }
    };
}

operations!(
    oidc_providers::add_client_id_to_open_id_connect_provider(AddClientIDToOpenIDConnectProviderRequest) -> Empty,
    profiles::add_role_to_instance_profile(AddRoleToInstanceProfileRequest) -> Empty,
    groups::add_user_to_group(AddUserToGroupRequest) -> Empty,
    attached::attach_group_policy(AttachGroupPolicyRequest) -> Empty,
    attached::attach_role_policy(AttachRolePolicyRequest) -> Empty,
    attached::attach_user_policy(AttachUserPolicyRequest) -> Empty,
    access_keys::create_access_key(CreateAccessKeyRequest) -> CreateAccessKeyResponse,
    groups::create_group(CreateGroupRequest) -> CreateGroupResponse,
    profiles::create_instance_profile(CreateInstanceProfileRequest) -> CreateInstanceProfileResponse,
    oidc_providers::create_open_id_connect_provider(CreateOpenIDConnectProviderRequest) -> CreateOpenIDConnectProviderResponse,
    policies::create_policy(CreatePolicyRequest) -> CreatePolicyResponse,
    versions::create_policy_version(CreatePolicyVersionRequest) -> CreatePolicyVersionResponse,
    roles::create_role(CreateRoleRequest) -> CreateRoleResponse,
    service_linked::create_service_linked_role(CreateServiceLinkedRoleRequest) -> CreateServiceLinkedRoleResponse,
    users::create_user(CreateUserRequest) -> CreateUserResponse,
    access_keys::delete_access_key(DeleteAccessKeyRequest) -> Empty,
    groups::delete_group(DeleteGroupRequest) -> Empty,
    inline::delete_group_policy(DeleteGroupPolicyRequest) -> Empty,
    profiles::delete_instance_profile(DeleteInstanceProfileRequest) -> Empty,
    oidc_providers::delete_open_id_connect_provider(DeleteOpenIDConnectProviderRequest) -> Empty,
    policies::delete_policy(DeletePolicyRequest) -> Empty,
    versions::delete_policy_version(DeletePolicyVersionRequest) -> Empty,
    roles::delete_role(DeleteRoleRequest) -> Empty,
    boundaries::delete_role_permissions_boundary(DeleteRolePermissionsBoundaryRequest) -> Empty,
    inline::delete_role_policy(DeleteRolePolicyRequest) -> Empty,
    service_linked::delete_service_linked_role(DeleteServiceLinkedRoleRequest) -> DeleteServiceLinkedRoleResponse,
    users::delete_user(DeleteUserRequest) -> Empty,
    inline::delete_user_policy(DeleteUserPolicyRequest) -> Empty,
    attached::detach_group_policy(DetachGroupPolicyRequest) -> Empty,
    attached::detach_role_policy(DetachRolePolicyRequest) -> Empty,
    attached::detach_user_policy(DetachUserPolicyRequest) -> Empty,
    access_keys::get_access_key_last_used(GetAccessKeyLastUsedRequest) -> GetAccessKeyLastUsedResponse,
    account_details::get_account_authorization_details(GetAccountAuthorizationDetailsRequest) -> GetAccountAuthorizationDetailsResponse,
    summary::get_account_summary(Empty) -> GetAccountSummaryResponse,
    groups::get_group(GetGroupRequest) -> GetGroupResponse,
    inline::get_group_policy(GetGroupPolicyRequest) -> GetGroupPolicyResponse,
    profiles::get_instance_profile(GetInstanceProfileRequest) -> GetInstanceProfileResponse,
    oidc_providers::get_open_id_connect_provider(GetOpenIDConnectProviderRequest) -> GetOpenIDConnectProviderResponse,
    policies::get_policy(GetPolicyRequest) -> GetPolicyResponse,
    versions::get_policy_version(GetPolicyVersionRequest) -> GetPolicyVersionResponse,
    roles::get_role(GetRoleRequest) -> GetRoleResponse,
    inline::get_role_policy(GetRolePolicyRequest) -> GetRolePolicyResponse,
    service_linked::get_service_linked_role_deletion_status(GetServiceLinkedRoleDeletionStatusRequest) -> GetServiceLinkedRoleDeletionStatusResponse,
    users::get_user(GetUserRequest) -> GetUserResponse,
    inline::get_user_policy(GetUserPolicyRequest) -> GetUserPolicyResponse,
    access_keys::list_access_keys(ListAccessKeysRequest) -> ListAccessKeysResponse,
    summary::list_account_aliases(ListAccountAliasesRequest) -> ListAccountAliasesResponse,
    attached::list_attached_group_policies(ListAttachedGroupPoliciesRequest) -> ListAttachedGroupPoliciesResponse,
    attached::list_attached_role_policies(ListAttachedRolePoliciesRequest) -> ListAttachedRolePoliciesResponse,
    attached::list_attached_user_policies(ListAttachedUserPoliciesRequest) -> ListAttachedUserPoliciesResponse,
    policies::list_entities_for_policy(ListEntitiesForPolicyRequest) -> ListEntitiesForPolicyResponse,
    inline::list_group_policies(ListGroupPoliciesRequest) -> ListGroupPoliciesResponse,
    groups::list_groups(ListGroupsRequest) -> ListGroupsResponse,
    groups::list_groups_for_user(ListGroupsForUserRequest) -> ListGroupsForUserResponse,
    tags::list_instance_profile_tags(ListInstanceProfileTagsRequest) -> ListInstanceProfileTagsResponse,
    profiles::list_instance_profiles(ListInstanceProfilesRequest) -> ListInstanceProfilesResponse,
    profiles::list_instance_profiles_for_role(ListInstanceProfilesForRoleRequest) -> ListInstanceProfilesForRoleResponse,
    tags::list_open_id_connect_provider_tags(ListOpenIDConnectProviderTagsRequest) -> ListOpenIDConnectProviderTagsResponse,
    oidc_providers::list_open_id_connect_providers(ListOpenIDConnectProvidersRequest) -> ListOpenIDConnectProvidersResponse,
    policies::list_policies(ListPoliciesRequest) -> ListPoliciesResponse,
    tags::list_policy_tags(ListPolicyTagsRequest) -> ListPolicyTagsResponse,
    versions::list_policy_versions(ListPolicyVersionsRequest) -> ListPolicyVersionsResponse,
    inline::list_role_policies(ListRolePoliciesRequest) -> ListRolePoliciesResponse,
    tags::list_role_tags(ListRoleTagsRequest) -> ListRoleTagsResponse,
    roles::list_roles(ListRolesRequest) -> ListRolesResponse,
    inline::list_user_policies(ListUserPoliciesRequest) -> ListUserPoliciesResponse,
    tags::list_user_tags(ListUserTagsRequest) -> ListUserTagsResponse,
    users::list_users(ListUsersRequest) -> ListUsersResponse,
    inline::put_group_policy(PutGroupPolicyRequest) -> Empty,
    boundaries::put_role_permissions_boundary(PutRolePermissionsBoundaryRequest) -> Empty,
    inline::put_role_policy(PutRolePolicyRequest) -> Empty,
    inline::put_user_policy(PutUserPolicyRequest) -> Empty,
    oidc_providers::remove_client_id_from_open_id_connect_provider(RemoveClientIDFromOpenIDConnectProviderRequest) -> Empty,
    profiles::remove_role_from_instance_profile(RemoveRoleFromInstanceProfileRequest) -> Empty,
    groups::remove_user_from_group(RemoveUserFromGroupRequest) -> Empty,
    versions::set_default_policy_version(SetDefaultPolicyVersionRequest) -> Empty,
    tags::tag_instance_profile(TagInstanceProfileRequest) -> Empty,
    tags::tag_open_id_connect_provider(TagOpenIDConnectProviderRequest) -> Empty,
    tags::tag_policy(TagPolicyRequest) -> Empty,
    tags::tag_role(TagRoleRequest) -> Empty,
    tags::tag_user(TagUserRequest) -> Empty,
    tags::untag_instance_profile(UntagInstanceProfileRequest) -> Empty,
    tags::untag_open_id_connect_provider(UntagOpenIDConnectProviderRequest) -> Empty,
    tags::untag_policy(UntagPolicyRequest) -> Empty,
    tags::untag_role(UntagRoleRequest) -> Empty,
    tags::untag_user(UntagUserRequest) -> Empty,
    access_keys::update_access_key(UpdateAccessKeyRequest) -> Empty,
    roles::update_assume_role_policy(UpdateAssumeRolePolicyRequest) -> Empty,
    oidc_providers::update_open_id_connect_provider_thumbprint(UpdateOpenIDConnectProviderThumbprintRequest) -> Empty,
    roles::update_role(UpdateRoleRequest) -> UpdateRoleResponse,
    roles::update_role_description(UpdateRoleDescriptionRequest) -> UpdateRoleDescriptionResponse,
    simulate::simulate_custom_policy(SimulateCustomPolicyRequest) -> SimulatePolicyResponse,
    simulate::simulate_principal_policy(SimulatePrincipalPolicyRequest) -> SimulatePolicyResponse,
    users::update_user(UpdateUserRequest) -> Empty,
);
