//! `UntagResource`.

use gantry_api::{
    Caller, Fault,
    ecs::{UntagResourceRequest, UntagResourceResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    Err(Fault::not_implemented("UntagResource"))
}
