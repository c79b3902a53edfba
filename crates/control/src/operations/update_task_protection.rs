//! `UpdateTaskProtection`.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateTaskProtectionRequest, UpdateTaskProtectionResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: UpdateTaskProtectionRequest,
) -> Result<UpdateTaskProtectionResponse, Fault> {
    Err(Fault::not_implemented("UpdateTaskProtection"))
}
