//! `PutAccountSettingDefault`.

use gantry_api::{
    Caller, Fault,
    ecs::{PutAccountSettingDefaultRequest, PutAccountSettingDefaultResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: PutAccountSettingDefaultRequest,
) -> Result<PutAccountSettingDefaultResponse, Fault> {
    Err(Fault::not_implemented("PutAccountSettingDefault"))
}
