//! `StartTask`.

use gantry_api::{
    Caller, Fault,
    ecs::{StartTaskRequest, StartTaskResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: StartTaskRequest,
) -> Result<StartTaskResponse, Fault> {
    Err(Fault::not_implemented("StartTask"))
}
