//! `DeleteTaskDefinitions`.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteTaskDefinitionsRequest, DeleteTaskDefinitionsResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DeleteTaskDefinitionsRequest,
) -> Result<DeleteTaskDefinitionsResponse, Fault> {
    Err(Fault::not_implemented("DeleteTaskDefinitions"))
}
