//! `UpdateClusterSettings`.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateClusterSettingsRequest, UpdateClusterSettingsResponse},
};

use super::update_cluster::change;
use crate::{
    Control,
    clusters::check_settings,
    control::{cluster_name, scope},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateClusterSettingsRequest,
) -> Result<UpdateClusterSettingsResponse, Fault> {
    let scope = scope(caller);
    let name = cluster_name(&scope, input.cluster.as_deref())?;
    let settings = check_settings(input.settings.as_deref())?;
    let cluster = change(control, &scope, &name, |record| record.settings.extend(settings.clone())).await?;
    Ok(UpdateClusterSettingsResponse { cluster: Some(cluster) })
}
