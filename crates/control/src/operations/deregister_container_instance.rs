//! `DeregisterContainerInstance`.

use gantry_api::{
    Caller, Fault,
    ecs::{DeregisterContainerInstanceRequest, DeregisterContainerInstanceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DeregisterContainerInstanceRequest,
) -> Result<DeregisterContainerInstanceResponse, Fault> {
    Err(Fault::not_implemented("DeregisterContainerInstance"))
}
