//! `PutAccountSetting`.

use gantry_api::{
    Caller, Fault,
    ecs::{PutAccountSettingRequest, PutAccountSettingResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: PutAccountSettingRequest,
) -> Result<PutAccountSettingResponse, Fault> {
    Err(Fault::not_implemented("PutAccountSetting"))
}
