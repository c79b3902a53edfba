//! The filters of lists of secrets.

use gantry_api::Fault;
use gantry_api::secretsmanager::{Filter, FilterNameStringType as Key};

use super::fault;
use super::rows::Secret;

/// Refuses filters that are none.
pub(super) fn check(filters: &[Filter]) -> Result<(), Fault> {
    let is_whole = |filter: &Filter| filter.key.is_some() && filter.values.is_some();
    if filters.iter().all(is_whole) { Ok(()) } else { Err(fault::parameter("A filter needs a Key and Values.")) }
}

/// Whether a secret is what every filter asks for: one of its values, and none of those with a `!` before them.
pub(super) fn matches(filters: &[Filter], secret: &Secret) -> bool {
    filters.iter().all(|filter| {
        let Some(key) = &filter.key else { return false };
        let values = filter.values.iter().flatten().map(String::as_str);
        let (unwanted, wanted): (Vec<&str>, Vec<&str>) = values.partition(|value| value.starts_with('!'));
        let has = |value: &str| has(key, value, secret);
        (wanted.is_empty() || wanted.iter().any(|value| has(value)))
            && !unwanted.iter().any(|value| has(value.trim_start_matches('!')))
    })
}

fn has(key: &Key, value: &str, secret: &Secret) -> bool {
    let row = &secret.row;
    match key {
        Key::Name => secret.name.starts_with(value),
        Key::Description => {
            let description = row.description.as_deref().unwrap_or_default().to_lowercase();
            description.starts_with(&value.to_lowercase())
        }
        Key::TagKey => row.tags.keys().any(|key| key.starts_with(value)),
        Key::TagValue => row.tags.values().any(|tag| tag.starts_with(value)),
        Key::PrimaryRegion => secret.scope.region.starts_with(value),
        Key::All => all(value, secret),
        // No service owns a secret here.
        Key::OwningService | Key::Unknown(_) => false,
    }
}

/// Every word of `value` is in one of the texts of the secret, whatever the case of its letters.
fn all(value: &str, secret: &Secret) -> bool {
    let row = &secret.row;
    let texts = [Some(&secret.name), row.description.as_ref()].into_iter().flatten();
    let texts: Vec<String> =
        texts.chain(row.tags.keys()).chain(row.tags.values()).map(|text| text.to_lowercase()).collect();
    let value = value.to_lowercase();
    let mut words = value.split(|one: char| !one.is_alphanumeric()).filter(|word| !word.is_empty());
    words.all(|word| texts.iter().any(|text| text.contains(word)))
}
