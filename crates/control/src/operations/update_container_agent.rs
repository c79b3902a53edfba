//! `UpdateContainerAgent`.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateContainerAgentRequest, UpdateContainerAgentResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: UpdateContainerAgentRequest,
) -> Result<UpdateContainerAgentResponse, Fault> {
    Err(Fault::not_implemented("UpdateContainerAgent"))
}
