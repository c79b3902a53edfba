//! `UpdateSecretVersionStage`.

use gantry_api::secretsmanager::{UpdateSecretVersionStageRequest, UpdateSecretVersionStageResponse};
use gantry_api::{Caller, Fault};

use super::access::Permission;
use super::write::Values;
use super::{Inner, fault};

pub(super) async fn update_secret_version_stage(
    inner: &Inner,
    caller: &Caller,
    input: UpdateSecretVersionStageRequest,
) -> Result<UpdateSecretVersionStageResponse, Fault> {
    let stage = input.version_stage.unwrap_or_default();
    let _turn = inner.turn().await;
    let permission = Permission::new("UpdateSecretVersionStage").key("VersionStage", Some(&stage));
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    if secret.is_deleted() {
        return Err(fault::deleted());
    }
    let (from, to) = (input.remove_from_version_id.as_deref(), input.move_to_version_id.as_deref());
    if from.is_none() && to.is_none() {
        return Err(fault::parameter("You must provide RemoveFromVersionId, MoveToVersionId or both."));
    }
    let mut row = secret.row.clone();
    let mut versions = row.versions();
    versions.move_stage(&stage, from, to).map_err(fault::versions)?;
    row.set_versions(versions);
    row.changed_at = inner.now();
    inner.write(&secret, &row, Values::default()).await?;
    Ok(UpdateSecretVersionStageResponse { arn: Some(secret.arn()), name: Some(secret.name.clone()) })
}
