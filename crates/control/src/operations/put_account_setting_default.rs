//! `PutAccountSettingDefault`: for everybody in the account who has no value of their own.

use gantry_api::{
    Caller, Fault,
    ecs::{PutAccountSettingDefaultRequest, PutAccountSettingDefaultResponse},
};

use super::put_account_setting::put;
use crate::{Control, control::scope};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: PutAccountSettingDefaultRequest,
) -> Result<PutAccountSettingDefaultResponse, Fault> {
    let scope = scope(caller);
    let value = input.value.as_deref().unwrap_or_default();
    let setting = put(control, &scope, &scope.root_principal_arn(), input.name.as_ref(), value).await?;
    Ok(PutAccountSettingDefaultResponse { setting: Some(setting) })
}
