//! Managed instances: machines that joined by an activation.

use std::collections::BTreeMap;

use gantry_api::ssm::{
    DeregisterManagedInstanceRequest, DeregisterManagedInstanceResult, DescribeInstanceInformationRequest,
    DescribeInstanceInformationResult, InstanceInformation, PingStatus, PlatformType, ResourceType,
    UpdateManagedInstanceRoleRequest, UpdateManagedInstanceRoleResult,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::Pager;
use gantry_domain::tags::Tags;
use gantry_store::Txn;

use super::{Presence, Ssm, activations, fault};
use crate::machines::{IdentityRow, Kept, Origin, identity_key};

const PAGE_SIZE_DEFAULT: i32 = 10;
const PAGE_SIZE_MAX: i32 = 50;

pub(super) async fn deregister_managed_instance(
    ssm: &Ssm,
    caller: &Caller,
    input: DeregisterManagedInstanceRequest,
) -> Result<DeregisterManagedInstanceResult, Fault> {
    let id = input.instance_id.unwrap_or_default();
    let deregister = ssm.machines.change(|picture| {
        let kept = managed(picture.identity(&id).map(AsRef::as_ref), caller, &id)?;
        let key = identity_key(&kept.scope.0, &kept.scope.1, &id);
        Ok((Txn::new().require(&key, kept.revision).delete(key), ()))
    });
    deregister.await?;
    Ok(DeregisterManagedInstanceResult {})
}

pub(super) async fn update_managed_instance_role(
    ssm: &Ssm,
    caller: &Caller,
    input: UpdateManagedInstanceRoleRequest,
) -> Result<UpdateManagedInstanceRoleResult, Fault> {
    let id = input.instance_id.unwrap_or_default();
    let role = activations::role(ssm, caller, input.iam_role.as_deref().unwrap_or_default())?;
    let update = ssm.machines.change(|picture| {
        let kept = managed(picture.identity(&id).map(AsRef::as_ref), caller, &id)?;
        let row = IdentityRow { role: role.clone(), ..kept.row.clone() };
        let key = identity_key(&kept.scope.0, &kept.scope.1, &id);
        let value = serde_json::to_vec(&row).map_err(fault::internal)?;
        Ok((Txn::new().require(&key, kept.revision).put(key, value), ()))
    });
    update.await?;
    Ok(UpdateManagedInstanceRoleResult {})
}

/// The tags of a managed instance.
pub(super) fn tags(ssm: &Ssm, caller: &Caller, id: &str) -> Result<BTreeMap<String, String>, Fault> {
    ssm.machines.look(|picture| Ok(managed(picture.identity(id).map(AsRef::as_ref), caller, id)?.row.tags.clone()))
}

/// Changes the tags of a managed instance.
pub(super) async fn change_tags(
    ssm: &Ssm,
    caller: &Caller,
    id: &str,
    change: impl Fn(Tags) -> Result<Tags, Fault>,
) -> Result<(), Fault> {
    let changed = ssm.machines.change(|picture| {
        let found = picture.identity(id).map(AsRef::as_ref);
        let kept = managed(found, caller, id).map_err(|_| fault::no_resource(id))?;
        let tags = change(Tags::from_stored(kept.row.tags.clone()))?.into();
        let row = IdentityRow { tags, ..kept.row.clone() };
        let key = identity_key(&kept.scope.0, &kept.scope.1, id);
        let value = serde_json::to_vec(&row).map_err(fault::internal)?;
        Ok((Txn::new().require(&key, kept.revision).put(key, value), ()))
    });
    changed.await
}

fn managed<'a>(kept: Option<&'a Kept<IdentityRow>>, caller: &Caller, id: &str) -> Result<&'a Kept<IdentityRow>, Fault> {
    let is_own = |kept: &&Kept<IdentityRow>| {
        kept.row.is_managed() && kept.scope.0 == caller.account && kept.scope.1 == caller.region
    };
    kept.filter(is_own).ok_or_else(|| fault::no_instance(id))
}

pub(super) async fn describe_instance_information(
    ssm: &Ssm,
    caller: &Caller,
    input: DescribeInstanceInformationRequest,
) -> Result<DescribeInstanceInformationResult, Fault> {
    let here = (caller.account.clone(), caller.region.clone());
    let filters = filters(&input);
    let size = input.max_results.unwrap_or(PAGE_SIZE_DEFAULT).clamp(1, PAGE_SIZE_MAX);
    let question = format!("DescribeInstanceInformation {filters:?}");
    let pager = Pager::new(&question, usize::try_from(size).unwrap_or(1));
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let presences = ssm.presences.presences(&here.0, &here.1);
    let mut shown = ssm.machines.look(|picture| {
        let own = picture.identities.iter().filter(|(_, kept)| kept.scope == here && kept.row.is_managed());
        let told =
            own.map(|(id, kept)| (id.clone(), kept.row.tags.clone(), information(id, &kept.row, presences.get(id))));
        told.collect::<Vec<_>>()
    });
    for (key, values) in &filters {
        let mut failed = None;
        shown.retain(|(_, tags, instance)| match value(instance, tags, key) {
            Some(found) => values.iter().any(|wanted| found.as_deref() == Some(wanted)),
            None => {
                failed = Some(fault::bad_filter(key));
                false
            }
        });
        if let Some(fault) = failed {
            return Err(fault);
        }
    }
    let rest = shown.into_iter().filter(|(id, ..)| after.as_ref().is_none_or(|after| id > after));
    let page = pager.page(rest, |(id, ..)| id.clone());
    Ok(DescribeInstanceInformationResult {
        instance_information_list: Some(page.items.into_iter().map(|(_, _, instance)| instance).collect()),
        next_token: page.next_token,
    })
}

/// Filters of both kinds, as keys with their values.
fn filters(input: &DescribeInstanceInformationRequest) -> Vec<(String, Vec<String>)> {
    let new = input.filters.iter().flatten();
    let new = new.map(|one| (one.key.clone().unwrap_or_default(), one.values.clone().unwrap_or_default()));
    let old = input.instance_information_filter_list.iter().flatten().map(|one| {
        let key = one.key.as_ref().map(|key| key.as_str().to_owned());
        (key.unwrap_or_default(), one.value_set.clone().unwrap_or_default())
    });
    new.chain(old).collect()
}

/// What an instance has under a filter's key; none when there is no such key.
fn value(
    instance: &InstanceInformation,
    tags: &std::collections::BTreeMap<String, String>,
    key: &str,
) -> Option<Option<String>> {
    if let Some(tag) = key.strip_prefix("tag:") {
        return Some(tags.get(tag).cloned());
    }
    Some(match key {
        "InstanceIds" => instance.instance_id.clone(),
        "ActivationIds" => instance.activation_id.clone(),
        "IamRole" => instance.iam_role.clone(),
        "AgentVersion" => instance.agent_version.clone(),
        "PingStatus" => instance.ping_status.as_ref().map(|status| status.as_str().to_owned()),
        "PlatformTypes" => instance.platform_type.as_ref().map(|platform| platform.as_str().to_owned()),
        "ResourceType" => instance.resource_type.as_ref().map(|kind| kind.as_str().to_owned()),
        _ => return None,
    })
}

fn information(id: &str, row: &IdentityRow, presence: Option<&Presence>) -> InstanceInformation {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let Origin::Activation(activation) = &row.origin else { return InstanceInformation::default() };
    let connected = presence.is_some_and(|presence| presence.connected);
    InstanceInformation {
        instance_id: Some(id.to_owned()),
        activation_id: Some(activation.clone()),
        iam_role: Some(row.role.clone()),
        name: text(&row.name),
        computer_name: text(&row.about.computer_name),
        ip_address: text(&row.address),
        platform_type: Some(PlatformType::Linux),
        platform_name: text(&row.about.platform_name),
        platform_version: text(&row.about.platform_version),
        agent_version: text(&row.about.agent_version),
        registration_date: Some(Timestamp::from_millis(row.joined_at)),
        resource_type: Some(ResourceType::ManagedInstance),
        ping_status: Some(if connected { PingStatus::Online } else { PingStatus::ConnectionLost }),
        last_ping_date_time: Some(Timestamp::from_millis(presence.map_or(row.joined_at, |presence| presence.since_ms))),
        ..Default::default()
    }
}
