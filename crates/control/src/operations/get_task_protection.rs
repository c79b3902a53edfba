//! `GetTaskProtection`.

use gantry_api::{
    Caller, Fault,
    ecs::{GetTaskProtectionRequest, GetTaskProtectionResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: GetTaskProtectionRequest,
) -> Result<GetTaskProtectionResponse, Fault> {
    Err(Fault::not_implemented("GetTaskProtection"))
}
