//! `TagResource`.

use gantry_api::{
    Caller, Fault,
    ecs::{TagResourceRequest, TagResourceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    Err(Fault::not_implemented("TagResource"))
}
