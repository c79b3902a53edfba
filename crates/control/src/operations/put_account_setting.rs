//! `PutAccountSetting`: for the caller, or for a principal of its account.

use gantry_api::{
    Caller, Fault,
    ecs::{PutAccountSettingRequest, PutAccountSettingResponse, Setting, SettingName},
};
use gantry_domain::arn::Scope;
use gantry_store::{Txn, TxnError};

use crate::{
    Control, account_settings,
    control::scope,
    fault, keys,
    records::{AccountSettingRecord, encode},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: PutAccountSettingRequest,
) -> Result<PutAccountSettingResponse, Fault> {
    let scope = scope(caller);
    let principal = account_settings::principal(&scope, input.principal_arn.as_deref(), &caller.principal_arn)?;
    let value = input.value.as_deref().unwrap_or_default();
    let setting = put(control, &scope, &principal, input.name.as_ref(), value).await?;
    Ok(PutAccountSettingResponse { setting: Some(setting) })
}

/// Stores a value, whatever was there.
pub(super) async fn put(
    control: &Control,
    scope: &Scope,
    principal: &str,
    name: Option<&SettingName>,
    value: &str,
) -> Result<Setting, Fault> {
    let definition = account_settings::named(name)?;
    definition.check(scope, principal, value)?;
    let path = keys::account_setting(scope, principal, definition.name);
    let txn = Txn::new().put(path, encode(&AccountSettingRecord { value: value.to_owned() }));
    match control.commit(txn).await {
        Ok(_) => Ok(definition.wire(principal, value)),
        Err(TxnError::Store(error)) => Err(fault::store(error)),
        Err(TxnError::Conflict { .. }) => Err(fault::overtaken()),
    }
}
