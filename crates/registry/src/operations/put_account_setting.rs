//! `PutAccountSetting`

use super::*;
use crate::settings::Setting;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutAccountSettingRequest,
) -> Result<PutAccountSettingResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let setting = Setting::parse(input.name.as_deref().unwrap_or_default())?;
    registry.setting_put(&scope, setting, input.value.as_deref().unwrap_or_default()).await?;
    Ok(PutAccountSettingResponse { name: Some(setting.name().to_owned()), value: input.value })
}
