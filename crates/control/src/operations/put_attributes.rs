//! `PutAttributes`.

use gantry_api::{
    Caller, Fault,
    ecs::{PutAttributesRequest, PutAttributesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: PutAttributesRequest,
) -> Result<PutAttributesResponse, Fault> {
    Err(Fault::not_implemented("PutAttributes"))
}
