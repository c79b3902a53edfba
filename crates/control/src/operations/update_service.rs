//! `UpdateService`.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateServiceRequest, UpdateServiceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, Fault> {
    Err(Fault::not_implemented("UpdateService"))
}
