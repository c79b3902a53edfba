//! `CreateService`.

use gantry_api::{
    Caller, Fault,
    ecs::{CreateServiceRequest, CreateServiceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: CreateServiceRequest,
) -> Result<CreateServiceResponse, Fault> {
    Err(Fault::not_implemented("CreateService"))
}
