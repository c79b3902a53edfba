//! Tags of users, roles, policies, instance profiles and OpenID Connect providers.

use std::collections::BTreeMap;

use gantry_api::iam::{
    ListInstanceProfileTagsRequest, ListInstanceProfileTagsResponse, ListOpenIDConnectProviderTagsRequest,
    ListOpenIDConnectProviderTagsResponse, ListPolicyTagsRequest, ListPolicyTagsResponse, ListRoleTagsRequest,
    ListRoleTagsResponse, ListUserTagsRequest, ListUserTagsResponse, Tag, TagInstanceProfileRequest,
    TagOpenIDConnectProviderRequest, TagPolicyRequest, TagRoleRequest, TagUserRequest, UntagInstanceProfileRequest,
    UntagOpenIDConnectProviderRequest, UntagPolicyRequest, UntagRoleRequest, UntagUserRequest,
};
use gantry_api::{Caller, Empty, Fault};

use super::paging::{Asked, Page, asked};
use super::picture::Account;
use super::rows::{InstanceProfile, OidcProvider, Policy, Role, Row, User};
use super::{Iam, aws_managed, fault, wire};

/// Tags a resource may have.
const TAGS_MAX: usize = 50;

/// What has tags. `name` is its name, for policies and providers the ARN.
trait Tagged: Row + Clone {
    fn find<'a>(picture: &'a Account, account: &str, name: &str) -> Result<&'a Self, Fault>;
    fn tags(&self) -> &BTreeMap<String, String>;
    fn tags_mut(&mut self) -> &mut BTreeMap<String, String>;
}

macro_rules! tagged {
    ($row:ident, |$picture:ident, $account:ident, $name:ident| $find:expr) => {
        impl Tagged for $row {
            fn find<'a>($picture: &'a Account, $account: &str, $name: &str) -> Result<&'a Self, Fault> {
                $find.map(|row| &**row)
            }
            fn tags(&self) -> &BTreeMap<String, String> {
                &self.tags
            }
            fn tags_mut(&mut self) -> &mut BTreeMap<String, String> {
                &mut self.tags
            }
        }
    };
}

tagged!(User, |picture, _account, name| picture.user(name));
tagged!(Role, |picture, _account, name| picture.role(name));
tagged!(InstanceProfile, |picture, _account, name| picture.profile(name));
tagged!(OidcProvider, |picture, account, name| picture.oidc_provider(account, name));
tagged!(Policy, |picture, account, name| match aws_managed::find(name) {
    Some(_) => Err(fault::aws_managed()),
    None => picture.policy(account, name).ok_or_else(|| fault::no_policy(name)),
});

impl Iam {
    async fn tag<T: Tagged>(&self, account: &str, name: &str, tags: Option<Vec<Tag>>) -> Result<Empty, Fault> {
        let tags = wire::read_tags(tags)?;
        self.change(account, |picture, changes| {
            let mut row = T::find(picture, account, name)?.clone();
            row.tags_mut().extend(tags.clone());
            if row.tags().len() > TAGS_MAX {
                return Err(fault::quota("TagsPerResource", TAGS_MAX));
            }
            changes.put(&row);
            Ok(Empty {})
        })
        .await
    }

    async fn untag<T: Tagged>(&self, account: &str, name: &str, keys: Option<Vec<String>>) -> Result<Empty, Fault> {
        let keys = keys.unwrap_or_default();
        self.change(account, |picture, changes| {
            let mut row = T::find(picture, account, name)?.clone();
            row.tags_mut().retain(|key, _| !keys.contains(key));
            changes.put(&row);
            Ok(Empty {})
        })
        .await
    }

    fn list_tags<T: Tagged>(&self, account: &str, name: &str, asked: Asked) -> Result<Page<Tag>, Fault> {
        let question = format!("tags {} {account} {name}", T::KIND);
        self.look(account, |picture| {
            let tags = T::find(picture, account, name)?.tags().iter();
            let shown = |key: &String, value: &String| Tag { key: Some(key.clone()), value: Some(value.clone()) };
            asked.page(&question, tags.map(|(key, value)| (key.clone(), shown(key, value))))
        })
    }
}

pub(super) async fn tag_user(iam: &Iam, caller: &Caller, input: TagUserRequest) -> Result<Empty, Fault> {
    iam.tag::<User>(&caller.account, &input.user_name.unwrap_or_default(), input.tags).await
}

pub(super) async fn untag_user(iam: &Iam, caller: &Caller, input: UntagUserRequest) -> Result<Empty, Fault> {
    iam.untag::<User>(&caller.account, &input.user_name.unwrap_or_default(), input.tag_keys).await
}

pub(super) async fn list_user_tags(
    iam: &Iam,
    caller: &Caller,
    input: ListUserTagsRequest,
) -> Result<ListUserTagsResponse, Fault> {
    let name = input.user_name.clone().unwrap_or_default();
    let page = iam.list_tags::<User>(&caller.account, &name, asked!(input))?;
    Ok(ListUserTagsResponse { tags: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn tag_role(iam: &Iam, caller: &Caller, input: TagRoleRequest) -> Result<Empty, Fault> {
    iam.tag::<Role>(&caller.account, &input.role_name.unwrap_or_default(), input.tags).await
}

pub(super) async fn untag_role(iam: &Iam, caller: &Caller, input: UntagRoleRequest) -> Result<Empty, Fault> {
    iam.untag::<Role>(&caller.account, &input.role_name.unwrap_or_default(), input.tag_keys).await
}

pub(super) async fn list_role_tags(
    iam: &Iam,
    caller: &Caller,
    input: ListRoleTagsRequest,
) -> Result<ListRoleTagsResponse, Fault> {
    let name = input.role_name.clone().unwrap_or_default();
    let page = iam.list_tags::<Role>(&caller.account, &name, asked!(input))?;
    Ok(ListRoleTagsResponse { tags: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn tag_policy(iam: &Iam, caller: &Caller, input: TagPolicyRequest) -> Result<Empty, Fault> {
    iam.tag::<Policy>(&caller.account, &input.policy_arn.unwrap_or_default(), input.tags).await
}

pub(super) async fn untag_policy(iam: &Iam, caller: &Caller, input: UntagPolicyRequest) -> Result<Empty, Fault> {
    iam.untag::<Policy>(&caller.account, &input.policy_arn.unwrap_or_default(), input.tag_keys).await
}

pub(super) async fn list_policy_tags(
    iam: &Iam,
    caller: &Caller,
    input: ListPolicyTagsRequest,
) -> Result<ListPolicyTagsResponse, Fault> {
    let name = input.policy_arn.clone().unwrap_or_default();
    let page = iam.list_tags::<Policy>(&caller.account, &name, asked!(input))?;
    Ok(ListPolicyTagsResponse { tags: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn tag_instance_profile(
    iam: &Iam,
    caller: &Caller,
    input: TagInstanceProfileRequest,
) -> Result<Empty, Fault> {
    iam.tag::<InstanceProfile>(&caller.account, &input.instance_profile_name.unwrap_or_default(), input.tags).await
}

pub(super) async fn untag_instance_profile(
    iam: &Iam,
    caller: &Caller,
    input: UntagInstanceProfileRequest,
) -> Result<Empty, Fault> {
    iam.untag::<InstanceProfile>(&caller.account, &input.instance_profile_name.unwrap_or_default(), input.tag_keys)
        .await
}

pub(super) async fn list_instance_profile_tags(
    iam: &Iam,
    caller: &Caller,
    input: ListInstanceProfileTagsRequest,
) -> Result<ListInstanceProfileTagsResponse, Fault> {
    let name = input.instance_profile_name.clone().unwrap_or_default();
    let page = iam.list_tags::<InstanceProfile>(&caller.account, &name, asked!(input))?;
    Ok(ListInstanceProfileTagsResponse { tags: Some(page.items), is_truncated: page.is_truncated, marker: page.marker })
}

pub(super) async fn tag_open_id_connect_provider(
    iam: &Iam,
    caller: &Caller,
    input: TagOpenIDConnectProviderRequest,
) -> Result<Empty, Fault> {
    iam.tag::<OidcProvider>(&caller.account, &input.open_id_connect_provider_arn.unwrap_or_default(), input.tags).await
}

pub(super) async fn untag_open_id_connect_provider(
    iam: &Iam,
    caller: &Caller,
    input: UntagOpenIDConnectProviderRequest,
) -> Result<Empty, Fault> {
    let arn = input.open_id_connect_provider_arn.unwrap_or_default();
    iam.untag::<OidcProvider>(&caller.account, &arn, input.tag_keys).await
}

pub(super) async fn list_open_id_connect_provider_tags(
    iam: &Iam,
    caller: &Caller,
    input: ListOpenIDConnectProviderTagsRequest,
) -> Result<ListOpenIDConnectProviderTagsResponse, Fault> {
    let arn = input.open_id_connect_provider_arn.clone().unwrap_or_default();
    let page = iam.list_tags::<OidcProvider>(&caller.account, &arn, asked!(input))?;
    Ok(ListOpenIDConnectProviderTagsResponse {
        tags: Some(page.items),
        is_truncated: page.is_truncated,
        marker: page.marker,
    })
}
