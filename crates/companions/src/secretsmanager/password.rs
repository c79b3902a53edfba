//! `GetRandomPassword`.

use gantry_api::secretsmanager::{GetRandomPasswordRequest, GetRandomPasswordResponse};
use gantry_api::{Caller, Fault};
use gantry_domain::secret::password::{LENGTH, PasswordError, PasswordRules};

use super::access::Permission;
use super::{Inner, fault};

pub(super) async fn get_random_password(
    inner: &Inner,
    caller: &Caller,
    input: GetRandomPasswordRequest,
) -> Result<GetRandomPasswordResponse, Fault> {
    inner.authorize(caller, "*", &Permission::new("GetRandomPassword"))?;
    let is_on = |switch: Option<bool>| switch.unwrap_or(false);
    let rules = PasswordRules {
        length: input.password_length.map_or(LENGTH, |length| usize::try_from(length).unwrap_or(0)),
        excluded: input.exclude_characters.unwrap_or_default(),
        lowercase: !is_on(input.exclude_lowercase),
        uppercase: !is_on(input.exclude_uppercase),
        numbers: !is_on(input.exclude_numbers),
        punctuation: !is_on(input.exclude_punctuation),
        space: is_on(input.include_space),
        each_kind: input.require_each_included_type.unwrap_or(true),
    };
    let mut broken = false;
    let password = rules.password(|| {
        getrandom::u32().unwrap_or_else(|_| {
            broken = true;
            0
        })
    });
    if broken {
        return Err(fault::no_random());
    }
    let password = password.map_err(|error| {
        fault::parameter(match error {
            PasswordError::NoCharacters => "The password has no characters left that it could consist of.",
            PasswordError::TooShort => "The password length is too short based on the required types.",
        })
    })?;
    Ok(GetRandomPasswordResponse { random_password: Some(password) })
}
