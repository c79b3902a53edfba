//! Tags of scalable targets.

use std::collections::BTreeMap;

use gantry_api::application_autoscaling::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};
use gantry_api::{Caller, Fault};
use gantry_domain::limits::TAGS_PER_RESOURCE_MAX;

use super::change::Change;
use super::rows::ServiceId;
use super::targets::arn;
use super::{AutoScaling, fault};

type Tags = BTreeMap<String, String>;

/// `before` with `added`.
pub(super) fn checked(before: &Tags, added: Tags) -> Result<Tags, Fault> {
    if added.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(fault::invalid("Tag keys that begin with aws: are reserved."));
    }
    let mut all = before.clone();
    all.extend(added);
    if all.len() > TAGS_PER_RESOURCE_MAX { Err(fault::too_many_tags()) } else { Ok(all) }
}

impl AutoScaling {
    fn target_of_arn(&self, caller: &Caller, given: Option<&str>) -> Result<ServiceId, Fault> {
        let given = given.unwrap_or_default();
        let picture = self.inner.view.read();
        let mut own = picture.targets_of(&caller.account, &caller.region);
        let found = own.find(|(id, kept)| arn(id, &kept.row.id) == given);
        found.map(|(id, _)| id.clone()).ok_or_else(|| fault::no_resource(given))
    }

    /// The tags of an ARN, for conditions of policies; none when it is not there.
    pub fn resource_tags(&self, resource: &str) -> Tags {
        let mut parts = resource.split(':').skip(3);
        let (Some(region), Some(account)) = (parts.next(), parts.next()) else { return Tags::new() };
        let picture = self.inner.view.read();
        let mut own = picture.targets_of(account, region);
        own.find(|(id, kept)| arn(id, &kept.row.id) == resource)
            .map(|(_, kept)| kept.row.tags.clone())
            .unwrap_or_default()
    }

    pub(super) fn list_tags(
        &self,
        caller: &Caller,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        let id = self.target_of_arn(caller, input.resource_arn.as_deref())?;
        let tags = self.inner.view.read().targets.get(&id).map(|kept| kept.row.tags.clone());
        Ok(ListTagsForResourceResponse { tags: Some(tags.unwrap_or_default()) })
    }

    pub(super) async fn tag(&self, caller: &Caller, input: TagResourceRequest) -> Result<TagResourceResponse, Fault> {
        let id = self.target_of_arn(caller, input.resource_arn.as_deref())?;
        let added = input.tags.unwrap_or_default();
        self.change_tags(&id, |tags| checked(tags, added.clone())).await?;
        Ok(TagResourceResponse {})
    }

    pub(super) async fn untag(
        &self,
        caller: &Caller,
        input: UntagResourceRequest,
    ) -> Result<UntagResourceResponse, Fault> {
        let id = self.target_of_arn(caller, input.resource_arn.as_deref())?;
        let gone = input.tag_keys.unwrap_or_default();
        self.change_tags(&id, |tags| {
            Ok(tags
                .iter()
                .filter(|(key, _)| !gone.contains(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect())
        })
        .await?;
        Ok(UntagResourceResponse {})
    }

    async fn change_tags(&self, id: &ServiceId, act: impl Fn(&Tags) -> Result<Tags, Fault>) -> Result<(), Fault> {
        self.change(id, |_, before| {
            let mut target = before.ok_or_else(|| fault::no_target(id))?.clone();
            target.tags = act(&target.tags)?;
            Ok((Change::Put(target.into()), ()))
        })
        .await
    }
}
