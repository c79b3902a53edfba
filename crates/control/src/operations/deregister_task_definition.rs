//! `DeregisterTaskDefinition`.

use gantry_api::{
    Caller, Fault,
    ecs::{DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DeregisterTaskDefinitionRequest,
) -> Result<DeregisterTaskDefinitionResponse, Fault> {
    Err(Fault::not_implemented("DeregisterTaskDefinition"))
}
