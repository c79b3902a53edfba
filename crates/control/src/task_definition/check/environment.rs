//! Environment variables, environment files and secrets.

use std::collections::BTreeSet;

use gantry_api::ecs::{KeyValuePair, Secret};
use gantry_domain::limits::ENVIRONMENT_FILES_MAX;

use super::container::has_no_nul;
use crate::task_definition::document::{Container, list, text};
use crate::task_definition::invalid::Invalid;

pub(super) fn check(container: Container<'_>) -> Result<(), Invalid> {
    let definition = container.definition;
    let variable = |pair: &KeyValuePair| is_variable(text(&pair.name)) && has_no_nul(text(&pair.value));
    container.ensure(list(&definition.environment).iter().all(variable), "environment")?;
    let files = list(&definition.environment_files);
    container.ensure(files.len() <= ENVIRONMENT_FILES_MAX, "environmentFiles")?;
    for file in files {
        check_file(text(&file.value))?;
        container.ensure(file.r#type.is_some(), "environmentFiles")?;
    }
    check_secrets(container, list(&definition.secrets), "secrets")?;
    let names: BTreeSet<&str> = list(&definition.environment).iter().map(|pair| text(&pair.name)).collect();
    match list(&definition.secrets).iter().find(|secret| names.contains(text(&secret.name))) {
        Some(secret) => Err(Invalid::SecretIsEnvironment { name: text(&secret.name).to_owned() }),
        None => Ok(()),
    }
}

/// What a process can find in its environment again.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// `arn:aws:s3:::BUCKET/KEY.env`
fn check_file(value: &str) -> Result<(), Invalid> {
    match key_of_object(value) {
        Some(key) if key.ends_with(".env") => Ok(()),
        _ => Err(Invalid::Arn),
    }
}

/// The key of `arn:aws:s3:::BUCKET/KEY`.
pub(super) fn key_of_object(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "s3", "", "", object] = parts[..] else { return None };
    object.split_once('/').filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty()).map(|(_, key)| key)
}

/// Also of `logConfiguration.secretOptions`, which go by the same rules.
pub(super) fn check_secrets(container: Container<'_>, secrets: &[Secret], member: &'static str) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for secret in secrets {
        let name = text(&secret.name);
        container.ensure(is_variable(name) && !text(&secret.value_from).is_empty(), member)?;
        if !names.insert(name) {
            return Err(Invalid::DuplicateSecret { name: name.to_owned() });
        }
    }
    if !secrets.is_empty() && !container.document.has_execution_role() {
        return Err(Invalid::SecretsWithoutRole);
    }
    Ok(())
}
