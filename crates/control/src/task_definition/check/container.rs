//! Rules on one container's own members that need no file of their own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use gantry_api::ecs::{HealthCheck, NetworkMode};
use gantry_domain::limits::{
    CREDENTIAL_SPECS_MAX, HEALTH_CHECK_INTERVAL_SECONDS, HEALTH_CHECK_RETRIES, HEALTH_CHECK_START_PERIOD_SECONDS,
    HEALTH_CHECK_TIMEOUT_SECONDS, IGNORED_EXIT_CODES_MAX, IMAGE_LENGTH_MAX, NAME_LENGTH_MAX,
    RESTART_ATTEMPT_PERIOD_SECONDS,
};

use super::task::is_name;
use crate::task_definition::document::{Container, Document, list, text};
use crate::task_definition::invalid::Invalid;

/// Name and image.
pub(super) fn check_identity(container: Container<'_>) -> Result<(), Invalid> {
    match container.name() {
        "" => return Err(Invalid::ContainerNameBlank),
        name if name.chars().count() > NAME_LENGTH_MAX => return Err(Invalid::ContainerNameLength),
        name if !is_name(name) => return Err(Invalid::ContainerNameCharacters),
        _ => {}
    }
    let image = text(&container.definition.image);
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:./#".contains(&byte);
    match name {
        "" if digest.is_none() => Err(Invalid::ImageBlank),
        _ if name.len() > IMAGE_LENGTH_MAX => Err(Invalid::ImageLength),
        _ if name.is_empty() || !name.bytes().all(allowed) => Err(Invalid::ImageCharacters),
        _ if digest.is_some_and(|digest| !is_digest(digest)) => Err(Invalid::ImageCharacters),
        _ => Ok(()),
    }
}

fn is_digest(digest: &str) -> bool {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(lower_hex))
}

pub(super) fn check_unique(document: Document<'_>) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    match document.containers().find(|container| !names.insert(container.name())) {
        Some(twice) => Err(Invalid::ContainerNameDuplicate { container: twice.name().to_owned() }),
        None => Ok(()),
    }
}

pub(super) fn check(container: Container<'_>) -> Result<(), Invalid> {
    let definition = container.definition;
    for (words, member) in [(&definition.command, "command"), (&definition.entry_point, "entryPoint")] {
        container.ensure(list(words).iter().all(|word| has_no_nul(word)), member)?;
    }
    container.ensure(is_user(text(&definition.user)), "user")?;
    container.ensure(has_no_nul(text(&definition.working_directory)), "workingDirectory")?;
    container.ensure(definition.start_timeout.is_none_or(|seconds| seconds >= 0), "startTimeout")?;
    container.ensure(definition.stop_timeout.is_none_or(|seconds| seconds >= 0), "stopTimeout")?;
    check_names(container)?;
    check_restart_policy(container)?;
    if let Some(health_check) = &definition.health_check {
        check_health(container, health_check)?;
    }
    if let Some(credentials) = &definition.repository_credentials {
        container.ensure(!text(&credentials.credentials_parameter).is_empty(), "repositoryCredentials")?;
    }
    check_credential_specs(container)?;
    let labels = definition.docker_labels.iter().flatten();
    container.ensure(labels.into_iter().all(|(key, value)| !key.is_empty() && has_no_nul(value)), "dockerLabels")
}

/// A NUL ends a text in the kernel, so that what runs would not be what was registered.
pub(super) fn has_no_nul(text: &str) -> bool {
    !text.contains('\0')
}

/// `user`, `uid`, `user:group` and so on; empty is the image's own.
fn is_user(user: &str) -> bool {
    let mut parts = user.split(':');
    let words = |part: &str| !part.chars().any(|character| character.is_whitespace() || character.is_control());
    let positive = |part: &str| !part.starts_with('-');
    let fine =
        parts.by_ref().take(2).all(|part| words(part) && positive(part) && (!part.is_empty() || user.is_empty()));
    fine && parts.next().is_none()
}

/// Host names and addresses. Under awsvpc these files belong to the task's interface, not to a container.
fn check_names(container: Container<'_>) -> Result<(), Invalid> {
    let definition = container.definition;
    let given = [
        ("hostname", !text(&definition.hostname).is_empty()),
        ("extraHosts", !list(&definition.extra_hosts).is_empty()),
        ("dnsServers", !list(&definition.dns_servers).is_empty()),
        ("dnsSearchDomains", !list(&definition.dns_search_domains).is_empty()),
    ];
    let mode = container.document.network_mode();
    if let Some((member, _)) = given.iter().find(|(_, given)| *given && *mode == NetworkMode::Awsvpc) {
        return Err(Invalid::NotInNetworkMode { member, mode: mode.to_string() });
    }
    container.ensure(definition.hostname.as_deref().is_none_or(is_host), "hostname")?;
    let host = |host: &gantry_api::ecs::HostEntry| {
        is_host(text(&host.hostname)) && !text(&host.hostname).is_empty() && is_address(text(&host.ip_address))
    };
    container.ensure(list(&definition.extra_hosts).iter().all(host), "extraHosts")?;
    container.ensure(list(&definition.dns_servers).iter().all(|server| is_address(server)), "dnsServers")?;
    let domain = |domain: &String| is_host(domain) && !domain.is_empty();
    container.ensure(list(&definition.dns_search_domains).iter().all(domain), "dnsSearchDomains")
}

fn is_host(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.len() <= 253 && name.bytes().all(allowed)
}

fn is_address(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok()
}

fn check_restart_policy(container: Container<'_>) -> Result<(), Invalid> {
    let Some(policy) = &container.definition.restart_policy else { return Ok(()) };
    container.ensure(policy.enabled.is_some(), "restartPolicy")?;
    let period = policy.restart_attempt_period;
    container.ensure(
        period.is_none_or(|seconds| RESTART_ATTEMPT_PERIOD_SECONDS.contains(&seconds)),
        "restartPolicy.restartAttemptPeriod",
    )?;
    let codes = list(&policy.ignored_exit_codes);
    container.ensure(codes.len() <= IGNORED_EXIT_CODES_MAX, "restartPolicy.ignoredExitCodes")
}

fn check_health(container: Container<'_>, health_check: &HealthCheck) -> Result<(), Invalid> {
    let command = list(&health_check.command);
    let starts = command.first().is_some_and(|word| word == "CMD" || word == "CMD-SHELL");
    let words = command.iter().all(|word| has_no_nul(word));
    container.ensure(starts && command.len() > 1 && words, "healthCheck.command")?;
    for (value, range, member) in [
        (health_check.interval, HEALTH_CHECK_INTERVAL_SECONDS, "healthCheck.interval"),
        (health_check.timeout, HEALTH_CHECK_TIMEOUT_SECONDS, "healthCheck.timeout"),
        (health_check.retries, HEALTH_CHECK_RETRIES, "healthCheck.retries"),
        (health_check.start_period, HEALTH_CHECK_START_PERIOD_SECONDS, "healthCheck.startPeriod"),
    ] {
        container.ensure(value.is_none_or(|value| range.contains(&value)), member)?;
    }
    Ok(())
}

fn check_credential_specs(container: Container<'_>) -> Result<(), Invalid> {
    let specs = list(&container.definition.credential_specs);
    let known =
        |spec: &String| spec.starts_with("credentialspec:arn:") || spec.starts_with("credentialspecdomainless:arn:");
    container.ensure(specs.len() <= CREDENTIAL_SPECS_MAX && specs.iter().all(known), "credentialSpecs")
}
