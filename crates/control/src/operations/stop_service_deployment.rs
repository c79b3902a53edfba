//! `StopServiceDeployment`.

use gantry_api::{
    Caller, Fault,
    ecs::{StopServiceDeploymentRequest, StopServiceDeploymentResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: StopServiceDeploymentRequest,
) -> Result<StopServiceDeploymentResponse, Fault> {
    Err(Fault::not_implemented("StopServiceDeployment"))
}
