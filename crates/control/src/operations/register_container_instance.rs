//! `RegisterContainerInstance`.

use gantry_api::{
    Caller, Fault,
    ecs::{RegisterContainerInstanceRequest, RegisterContainerInstanceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: RegisterContainerInstanceRequest,
) -> Result<RegisterContainerInstanceResponse, Fault> {
    Err(Fault::not_implemented("RegisterContainerInstance"))
}
