//! `ListAttributes`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListAttributesRequest, ListAttributesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListAttributesRequest,
) -> Result<ListAttributesResponse, Fault> {
    Err(Fault::not_implemented("ListAttributes"))
}
