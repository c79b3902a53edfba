//! Log drivers and their options; FireLens.

use gantry_api::ecs::{FirelensConfiguration, LogConfiguration, LogDriver};

use super::environment::{check_secrets, key_of_object};
use crate::task_definition::document::{Container, Document, list, text};
use crate::task_definition::invalid::Invalid;

/// What awslogs knows; the service refuses any other.
const AWSLOGS_OPTIONS: &[&str] = &[
    "awslogs-create-group",
    "awslogs-datetime-format",
    "awslogs-endpoint",
    "awslogs-force-flush-interval-seconds",
    "awslogs-format",
    "awslogs-group",
    "awslogs-max-buffered-events",
    "awslogs-multiline-pattern",
    "awslogs-region",
    "awslogs-stream-prefix",
    "max-buffer-size",
    "mode",
    "tag",
];

const JSON_FILE_OPTIONS: &[&str] = &[
    "compress",
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "max-buffer-size",
    "max-file",
    "max-size",
    "mode",
    "tag",
];

pub(super) fn check(container: Container<'_>) -> Result<(), Invalid> {
    if let Some(firelens) = &container.definition.firelens_configuration {
        check_firelens_options(container, firelens)?;
    }
    let Some(logging) = &container.definition.log_configuration else { return Ok(()) };
    let Some(driver) = &logging.log_driver else { return container.ensure(false, "logDriver") };
    check_secrets(container, list(&logging.secret_options), "secretOptions")?;
    if let Some(name) = secret_names(logging).find(|name| option(logging, name).is_some()) {
        return Err(Invalid::SecretIsLogOption { name: name.to_owned() });
    }
    let required: &[&str] = match driver {
        LogDriver::Awslogs => &["awslogs-region", "awslogs-group"],
        LogDriver::Splunk => &["splunk-url", "splunk-token"],
        _ => &[],
    };
    check_required(logging, driver, required)?;
    match driver {
        LogDriver::Awslogs => check_known(logging, driver, AWSLOGS_OPTIONS)?,
        LogDriver::JsonFile => check_known(logging, driver, JSON_FILE_OPTIONS)?,
        _ => {}
    }
    check_values(logging, driver)
}

fn secret_names(logging: &LogConfiguration) -> impl Iterator<Item = &str> {
    list(&logging.secret_options).iter().map(|secret| text(&secret.name))
}

fn option<'a>(logging: &'a LogConfiguration, name: &str) -> Option<&'a str> {
    logging.options.as_ref().and_then(|options| options.get(name)).map(String::as_str)
}

pub(super) fn check_required(logging: &LogConfiguration, driver: &LogDriver, required: &[&str]) -> Result<(), Invalid> {
    let given = |name: &str| {
        secret_names(logging).any(|secret| secret == name)
            || option(logging, name).is_some_and(|value| !value.is_empty())
    };
    let missing: Vec<&str> = required.iter().copied().filter(|name| !given(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Invalid::LogOptionsMissing { driver: driver.to_string(), options: missing.join(", ") })
}

fn check_known(logging: &LogConfiguration, driver: &LogDriver, known: &[&str]) -> Result<(), Invalid> {
    let names = logging.options.iter().flatten().map(|(name, _)| name.as_str());
    let unknown: Vec<&str> = names.chain(secret_names(logging)).filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Invalid::LogOptionsUnknown { driver: driver.to_string(), options: unknown.join(", ") })
}

fn check_values(logging: &LogConfiguration, driver: &LogDriver) -> Result<(), Invalid> {
    let number = |value: &str| value.parse::<u32>().is_ok();
    let flag = |value: &str| value == "true" || value == "false";
    let mode = |value: &str| value == "blocking" || value == "non-blocking";
    let files = |value: &str| value.parse::<u32>().is_ok_and(|files| files > 0);
    let valid = |name: &str, value: &str| match name {
        "mode" => mode(value),
        "max-buffer-size" | "max-size" => is_size(value),
        "awslogs-create-group" | "compress" => flag(value),
        "awslogs-force-flush-interval-seconds" | "awslogs-max-buffered-events" => number(value),
        "max-file" => files(value),
        _ => true,
    };
    let mut options = logging.options.iter().flatten();
    if let Some((option, _)) = options.find(|(name, value)| !valid(name, value)) {
        return Err(Invalid::LogOptionValue { driver: driver.to_string(), option: option.clone() });
    }
    let both = ["awslogs-datetime-format", "awslogs-multiline-pattern"];
    let given = |name: &str| option(logging, name).is_some() || secret_names(logging).any(|secret| secret == name);
    if both.iter().all(|name| given(name)) {
        return Err(Invalid::TwoMultilineOptions);
    }
    Ok(())
}

/// `10m`, `1g`, `512k`, `4096`, also with a trailing `b`.
fn is_size(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let number = number.strip_suffix(['k', 'm', 'g']).unwrap_or(number);
    number.parse::<u64>().is_ok_and(|size| size > 0) && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_firelens_options(container: Container<'_>, firelens: &FirelensConfiguration) -> Result<(), Invalid> {
    let option = |name: &str| firelens.options.as_ref().and_then(|options| options.get(name)).map(String::as_str);
    let metadata = option("enable-ecs-log-metadata").is_none_or(|value| value == "true" || value == "false");
    container.ensure(metadata, "firelensConfiguration")?;
    let known = ["config-file-type", "config-file-value", "enable-ecs-log-metadata"];
    let mut names = firelens.options.iter().flatten().map(|(name, _)| name.as_str());
    container.ensure(names.all(|name| known.contains(&name)), "firelensConfiguration")?;
    match (option("config-file-type"), option("config-file-value")) {
        (None, None) => Ok(()),
        (Some("file"), Some(path)) => container.ensure(!path.is_empty(), "firelensConfiguration"),
        (Some("s3"), Some(arn)) if key_of_object(arn).is_some() => Ok(()),
        (Some("s3"), Some(_)) => Err(Invalid::Arn),
        _ => container.ensure(false, "firelensConfiguration"),
    }
}

/// A router without a sender and a sender without a router are both mistakes.
pub(super) fn check_firelens(document: Document<'_>) -> Result<(), Invalid> {
    let routers = document.containers().filter(|one| one.definition.firelens_configuration.is_some()).count();
    let senders = document.containers().filter(|one| one.log_driver() == Some(&LogDriver::Awsfirelens)).count();
    match (routers, senders) {
        (0, 0) => Ok(()),
        (0, _) => Err(Invalid::FirelensMissing),
        (_, 0) => Err(Invalid::FirelensUnused),
        (1, _) => Ok(()),
        _ => Err(Invalid::TwoFirelens),
    }
}
