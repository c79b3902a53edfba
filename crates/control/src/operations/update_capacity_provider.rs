//! `UpdateCapacityProvider`: answers with what the provider still is; the reconciler makes the change.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateCapacityProviderRequest, UpdateCapacityProviderResponse},
};
use gantry_store::Txn;

use crate::{
    Control, Plan, capacity_providers,
    control::scope,
    fault, keys,
    records::{ProviderUpdate, encode},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateCapacityProviderRequest,
) -> Result<UpdateCapacityProviderResponse, Fault> {
    let scope = scope(caller);
    if input.managed_instances_provider.is_some() {
        return Err(fault::unsupported("managedInstancesProvider"));
    }
    let Some(update) = &input.auto_scaling_group_provider else { return Err(fault::capacity_provider_without_group()) };
    let reference = input.name.as_deref().unwrap_or_default();
    let provider = control
        .transact(|view| {
            let (name, row) = capacity_providers::find(view, &scope, reference)?;
            if matches!(row.update, Some(ProviderUpdate::UpdateInProgress | ProviderUpdate::DeleteInProgress)) {
                return Err(fault::capacity_provider_busy());
            }
            let mut record = row.record.clone();
            let next = capacity_providers::changed(&record.group, update)?;
            let managed = |group: &gantry_api::ecs::AutoScalingGroupProvider| {
                group.managed_scaling.as_ref().and_then(|scaling| scaling.status.clone())
            };
            let clusters = capacity_providers::attached_to(view, &scope, name.as_str()).count();
            if clusters > 1 && managed(&next) == Some(gantry_api::ecs::ManagedScalingStatus::Enabled) {
                return Err(fault::capacity_provider_of_other_cluster(name.as_str()));
            }
            record.next = Some(next);
            record.update = Some(ProviderUpdate::UpdateInProgress);
            record.update_reason = None;
            let answer = capacity_providers::wire(&scope, name.as_str(), &record, true);
            let path = keys::capacity_provider(&scope, name.as_str());
            Ok(Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(&record)), answer))
        })
        .await?;
    Ok(UpdateCapacityProviderResponse { capacity_provider: Some(provider) })
}
