//! `SubmitTaskStateChange`.

use gantry_api::{
    Caller, Fault,
    ecs::{SubmitTaskStateChangeRequest, SubmitTaskStateChangeResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: SubmitTaskStateChangeRequest,
) -> Result<SubmitTaskStateChangeResponse, Fault> {
    Err(Fault::not_implemented("SubmitTaskStateChange"))
}
