//! `DeleteService`.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteServiceRequest, DeleteServiceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DeleteServiceRequest,
) -> Result<DeleteServiceResponse, Fault> {
    Err(Fault::not_implemented("DeleteService"))
}
