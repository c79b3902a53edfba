//! `StopTask`.

use gantry_api::{
    Caller, Fault,
    ecs::{StopTaskRequest, StopTaskResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: StopTaskRequest,
) -> Result<StopTaskResponse, Fault> {
    Err(Fault::not_implemented("StopTask"))
}
