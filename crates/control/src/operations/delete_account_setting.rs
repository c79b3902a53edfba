//! `DeleteAccountSetting`.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteAccountSettingRequest, DeleteAccountSettingResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: DeleteAccountSettingRequest,
) -> Result<DeleteAccountSettingResponse, Fault> {
    Err(Fault::not_implemented("DeleteAccountSetting"))
}
