//! `RegisterTaskDefinition`.

use gantry_api::{
    Caller, Fault,
    ecs::{RegisterTaskDefinitionRequest, RegisterTaskDefinitionResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: RegisterTaskDefinitionRequest,
) -> Result<RegisterTaskDefinitionResponse, Fault> {
    Err(Fault::not_implemented("RegisterTaskDefinition"))
}
