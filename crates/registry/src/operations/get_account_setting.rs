//! `GetAccountSetting`

use super::*;
use crate::settings::Setting;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: GetAccountSettingRequest,
) -> Result<GetAccountSettingResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let setting = Setting::parse(input.name.as_deref().unwrap_or_default())?;
    let value = registry.setting(&scope, setting).await?;
    Ok(GetAccountSettingResponse { name: Some(setting.name().to_owned()), value: Some(value) })
}
