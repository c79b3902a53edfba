//! Refusals of the account setting operations.

use gantry_api::Fault;

use super::invalid;

/// A setting this service does not have.
pub fn setting_name(given: &str, known: &[&str]) -> Fault {
    invalid(format!("{given} should be one of [{}]", known.join(",")))
}

/// A value the setting cannot have.
pub fn setting_value(name: &str, value: &str) -> Fault {
    invalid(format!("Invalid value '{value}' for account setting '{name}'."))
}

/// Long ARNs and tag authorization cannot be given up any more.
pub fn setting_fixed(name: &str) -> Fault {
    invalid(format!("You can no longer opt out of the account setting '{name}'."))
}

/// A setting that the service itself decides on.
pub fn setting_read_only(name: &str) -> Fault {
    invalid(format!("The account setting '{name}' is managed by AWS and cannot be changed."))
}

/// A setting that exists for the account as a whole only.
pub fn setting_of_account(name: &str) -> Fault {
    invalid(format!("The account setting '{name}' can be set for the root user only."))
}

/// Not a principal of this account.
pub fn principal(arn: &str) -> Fault {
    invalid(format!("The principalArn '{arn}' is not valid."))
}

/// ListAccountSettings with a value but no name.
pub fn setting_value_without_name() -> Fault {
    invalid("You must specify an account setting name to use a value filter.")
}
