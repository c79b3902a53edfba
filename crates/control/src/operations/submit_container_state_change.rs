//! `SubmitContainerStateChange`.

use gantry_api::{
    Caller, Fault,
    ecs::{SubmitContainerStateChangeRequest, SubmitContainerStateChangeResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: SubmitContainerStateChangeRequest,
) -> Result<SubmitContainerStateChangeResponse, Fault> {
    Err(Fault::not_implemented("SubmitContainerStateChange"))
}
