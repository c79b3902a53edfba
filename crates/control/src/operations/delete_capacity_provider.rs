//! `DeleteCapacityProvider`: answers with a provider that is still there; the reconciler deletes it, or says why not.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteCapacityProviderRequest, DeleteCapacityProviderResponse},
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
    input: DeleteCapacityProviderRequest,
) -> Result<DeleteCapacityProviderResponse, Fault> {
    let scope = scope(caller);
    if input.cluster.as_deref().is_some_and(|cluster| !cluster.is_empty()) {
        return Err(fault::capacity_provider_cluster());
    }
    let reference = input.capacity_provider.as_deref().unwrap_or_default();
    let provider = control
        .transact(|view| {
            let (name, row) = capacity_providers::find(view, &scope, reference)?;
            if row.update == Some(ProviderUpdate::UpdateInProgress) {
                return Err(fault::capacity_provider_updating());
            }
            let mut record = row.record.clone();
            record.update = Some(ProviderUpdate::DeleteInProgress);
            record.update_reason = None;
            let answer = capacity_providers::wire(&scope, name.as_str(), &record, true);
            let path = keys::capacity_provider(&scope, name.as_str());
            Ok(Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(&record)), answer))
        })
        .await?;
    Ok(DeleteCapacityProviderResponse { capacity_provider: Some(provider) })
}
