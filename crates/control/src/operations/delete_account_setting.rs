//! `DeleteAccountSetting`: the principal goes by the account's default again.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteAccountSettingRequest, DeleteAccountSettingResponse},
};
use gantry_store::Txn;

use crate::{Control, Plan, account_settings, control::scope, keys};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteAccountSettingRequest,
) -> Result<DeleteAccountSettingResponse, Fault> {
    let scope = scope(caller);
    let principal = account_settings::principal(&scope, input.principal_arn.as_deref(), &caller.principal_arn)?;
    let definition = account_settings::named(input.name.as_ref())?;
    let setting = control
        .transact(|view| {
            let stored = account_settings::stored(view, &scope, &principal, definition.name);
            match stored {
                // What was deleted is answered; what was not there is answered without a value.
                None => {
                    let mut setting = definition.wire(&principal, "");
                    setting.value = None;
                    Ok(Plan::Done(setting))
                }
                Some(value) => {
                    let txn = Txn::new().delete(keys::account_setting(&scope, &principal, definition.name));
                    Ok(Plan::Commit(txn, definition.wire(&principal, value)))
                }
            }
        })
        .await?;
    Ok(DeleteAccountSettingResponse { setting: Some(setting) })
}
