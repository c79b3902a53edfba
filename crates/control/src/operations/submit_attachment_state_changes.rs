//! `SubmitAttachmentStateChanges`.

use gantry_api::{
    Caller, Fault,
    ecs::{SubmitAttachmentStateChangesRequest, SubmitAttachmentStateChangesResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: SubmitAttachmentStateChangesRequest,
) -> Result<SubmitAttachmentStateChangesResponse, Fault> {
    Err(Fault::not_implemented("SubmitAttachmentStateChanges"))
}
