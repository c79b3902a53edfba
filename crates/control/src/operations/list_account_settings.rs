//! `ListAccountSettings`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListAccountSettingsRequest, ListAccountSettingsResponse},
};

use crate::Control;

pub(crate) async fn run(
    _control: &Control,
    _caller: &Caller,
    _input: ListAccountSettingsRequest,
) -> Result<ListAccountSettingsResponse, Fault> {
    Err(Fault::not_implemented("ListAccountSettings"))
}
