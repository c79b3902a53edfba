//! `UpdateClusterSettings`.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateClusterSettingsRequest, UpdateClusterSettingsResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: UpdateClusterSettingsRequest,
) -> Result<UpdateClusterSettingsResponse, Fault> {
    Err(Fault::not_implemented("UpdateClusterSettings"))
}
