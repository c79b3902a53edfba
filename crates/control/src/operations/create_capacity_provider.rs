//! `CreateCapacityProvider`: an Auto Scaling group becomes a provider.

use gantry_api::{
    Caller, Fault,
    ecs::{CreateCapacityProviderRequest, CreateCapacityProviderResponse},
};
use gantry_domain::limits::CAPACITY_PROVIDERS_MAX;
use gantry_store::Txn;

use crate::{
    Control, Plan, capacity_providers,
    control::scope,
    fault, keys,
    records::{CapacityProviderRecord, encode},
    tags,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: CreateCapacityProviderRequest,
) -> Result<CreateCapacityProviderResponse, Fault> {
    let scope = scope(caller);
    let name = capacity_providers::check_name(input.name.as_deref())?;
    if input.managed_instances_provider.is_some() {
        return Err(fault::unsupported("managedInstancesProvider"));
    }
    let Some(group) = &input.auto_scaling_group_provider else { return Err(fault::capacity_provider_without_group()) };
    if input.cluster.as_deref().is_some_and(|cluster| !cluster.is_empty()) {
        return Err(fault::capacity_provider_cluster());
    }
    let record = CapacityProviderRecord {
        created_at: control.now(),
        deleted_at: None,
        group: capacity_providers::created(&scope, group)?,
        next: None,
        update: None,
        update_reason: None,
        tags: tags::parse(input.tags.as_deref())?.into(),
    };
    control
        .transact(|view| {
            let known = view.namespace(&scope).map(|space| space.capacity_providers());
            let before = known.and_then(|known| known.get(&name));
            if before.is_some_and(|row| row.is_active()) {
                return Err(fault::capacity_provider_exists());
            }
            let active = known.into_iter().flat_map(|known| known.values()).filter(|row| row.is_active());
            if active.count() >= CAPACITY_PROVIDERS_MAX {
                return Err(fault::capacity_provider_limit());
            }
            let path = keys::capacity_provider(&scope, name.as_str());
            let revision = before.map_or(0, |row| row.revision);
            Ok(Plan::Commit(Txn::new().require(&path, revision).put(path, encode(&record)), ()))
        })
        .await?;
    let provider = capacity_providers::wire(&scope, name.as_str(), &record, true);
    Ok(CreateCapacityProviderResponse { capacity_provider: Some(provider) })
}
