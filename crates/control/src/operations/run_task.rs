//! `RunTask`.

use gantry_api::{
    Caller, Fault,
    ecs::{RunTaskRequest, RunTaskResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: RunTaskRequest,
) -> Result<RunTaskResponse, Fault> {
    Err(Fault::not_implemented("RunTask"))
}
