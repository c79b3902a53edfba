//! `ListAccountSettings`: what was stored, or with `effectiveSettings` what holds.

use gantry_api::{
    Caller, Fault,
    ecs::{ListAccountSettingsRequest, ListAccountSettingsResponse},
};
use gantry_domain::limits::SMALL_PAGE_SIZE_MAX;

use crate::{
    Control,
    account_settings::{self, DEFINITIONS},
    control::scope,
    fault,
    paging::Listing,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListAccountSettingsRequest,
) -> Result<ListAccountSettingsResponse, Fault> {
    let scope = scope(caller);
    let principal = account_settings::principal(&scope, input.principal_arn.as_deref(), &caller.principal_arn)?;
    let only = input.name.as_ref().map(|name| account_settings::named(Some(name))).transpose()?;
    if input.value.is_some() && only.is_none() {
        return Err(fault::setting_value_without_name());
    }
    let effective = input.effective_settings.unwrap_or(false);
    let question =
        format!("ListAccountSettings {effective} {principal} {:?} {:?}", only.map(|only| only.name), input.value);
    // 0 is how some clients say that they do not care.
    let max_results = input.max_results.filter(|&max| max != 0);
    let pages = (SMALL_PAGE_SIZE_MAX, SMALL_PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), max_results, pages)?;
    let view = control.read();
    let mut definitions: Vec<_> = DEFINITIONS.iter().collect();
    definitions.sort_unstable_by_key(|definition| definition.name);
    let settings = definitions.into_iter().filter_map(|definition| {
        let value = if effective {
            Some(account_settings::effective(&view, &scope, &principal, definition.name))
        } else {
            account_settings::stored(&view, &scope, &principal, definition.name).map(str::to_owned)
        }?;
        let wanted = only.is_none_or(|only| only.name == definition.name)
            && input.value.as_ref().is_none_or(|wanted| *wanted == value)
            && listing.after().is_none_or(|after| definition.name > after);
        wanted.then(|| (definition.name, definition.wire(&principal, &value)))
    });
    let (settings, next_token) = listing.page(settings, |(name, _)| (*name).to_owned());
    let settings = settings.into_iter().map(|(_, setting)| setting).collect();
    Ok(ListAccountSettingsResponse { settings: Some(settings), next_token })
}
