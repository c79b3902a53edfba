//! `DeleteAttributes`.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteAttributesRequest, DeleteAttributesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DeleteAttributesRequest,
) -> Result<DeleteAttributesResponse, Fault> {
    Err(Fault::not_implemented("DeleteAttributes"))
}
