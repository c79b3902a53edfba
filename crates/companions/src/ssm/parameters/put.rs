//! `PutParameter`: a new parameter, or a new version of one.

use gantry_api::ssm::{ParameterTier, ParameterType, PutParameterRequest, PutParameterResult};
use gantry_api::{Caller, Fault};
use gantry_domain::Timestamp;
use gantry_domain::parameter::name::{bare, check};
use gantry_domain::parameter::policies;
use gantry_domain::tags::Tags;
use regex::RegexBuilder;

use super::rows::{ADVANCED, About, Parameter, ParameterRow, PolicyRow, SECURE, STANDARD, arn_start};
use super::write::NewVersion;
use super::{Inner, fault, scope_of};
use crate::ssm::Ssm;

/// Bytes of a value by tier, and parameters of an account in a region, as the real service has them.
const STANDARD_BYTES_MAX: usize = 4096;
const ADVANCED_BYTES_MAX: usize = 8192;
const STANDARD_MAX: usize = 10_000;
const PARAMETERS_MAX: usize = 100_000;

/// What secure strings are sealed with unless they say otherwise. The key behind every name is the server's.
const DEFAULT_KEY: &str = "alias/aws/ssm";
const TEXT: &str = "text";
/// Memory that a pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(in crate::ssm) async fn put_parameter(
    ssm: &Ssm,
    caller: &Caller,
    input: PutParameterRequest,
) -> Result<PutParameterResult, Fault> {
    let inner = ssm.parameters.inner();
    let name = input.name.clone().unwrap_or_default();
    let overwrite = input.overwrite.unwrap_or(false);
    let tags = Tags::parse(input.tags.iter().flatten().map(|tag| (tag.key.as_deref(), tag.value.as_deref())))
        .map_err(|error| fault::tag(&error))?;
    if overwrite && !tags.is_empty() {
        return Err(fault::tags_and_overwrite());
    }
    let value = input.value.clone().unwrap_or_default();
    let scope = scope_of(caller);
    let _turn = inner.turn().await;
    let held = inner.view.read().named(&scope, bare(&name)).cloned();
    let (stale, before) = match held {
        Some(held) if held.is_over(inner.now()) => (Some(held), None),
        held => (None, held),
    };
    let before = match before {
        Some(before) if !overwrite || before.row.name != name => {
            drop(before);
            return Err(fault::exists());
        }
        before => before,
    };
    let mut row = match &before {
        Some(before) => before.row.clone(),
        None => new_row(&input, &name, &arn_start(&scope), tags)?,
    };
    if let Some(given) = &input.r#type
        && given.as_str() != row.kind
    {
        return Err(fault::type_change(&row.kind, given.as_str()));
    }
    let about = about(inner, caller, &input, &row, &value)?;
    if before.is_none() {
        room(inner, &scope, &about)?;
    }
    let tier = ParameterTier::from(about.tier.as_str());
    let (number, gone) = row.versions.add(about).map_err(|error| fault::versions(&name, &error))?;
    let version = NewVersion { number, sealed: inner.seal(&row.id, number, &value)?, gone };
    match &before {
        Some(before) => inner.write(before, &row, Some(version)).await?,
        None => inner.write_new(&scope, &row, version, stale.as_deref()).await?,
    }
    Ok(PutParameterResult { version: i64::try_from(number).ok(), tier: Some(tier) })
}

fn new_row(input: &PutParameterRequest, name: &str, arn_start: &str, tags: Tags) -> Result<ParameterRow, Fault> {
    check(name, arn_start).map_err(|error| fault::name(name, error))?;
    let kind = input.r#type.as_ref().ok_or_else(fault::type_needed)?;
    Ok(ParameterRow::new(uuid::Uuid::new_v4().to_string(), name.to_owned(), kind.as_str().to_owned(), tags.into()))
}

/// What is known of the new version: what the request says, and what it does not say as the newest version has it.
fn about(
    inner: &Inner,
    caller: &Caller,
    input: &PutParameterRequest,
    row: &ParameterRow,
    value: &str,
) -> Result<About, Fault> {
    let before = row.newest().map(|(_, about)| about);
    let policies = match &input.policies {
        Some(text) => parse_policies(text, inner.now())?,
        None => before.map(|about| about.policies.clone()).unwrap_or_default(),
    };
    let tier = tier(input.tier.as_ref(), before, value, &policies)?;
    if tier == STANDARD && !policies.is_empty() {
        return Err(fault::policy_of_standard());
    }
    check_value(value, tier)?;
    let data_type = input.data_type.clone().or_else(|| before.map(|about| about.data_type.clone()));
    let data_type = data_type.unwrap_or_else(|| TEXT.to_owned());
    check_data_type(&data_type, &row.kind, value)?;
    let pattern = input.allowed_pattern.clone().or_else(|| before.and_then(|about| about.pattern.clone()));
    let pattern = pattern.filter(|pattern| !pattern.is_empty());
    if let Some(pattern) = &pattern {
        check_pattern(pattern, value)?;
    }
    let key_id = match (row.kind == SECURE, &input.key_id) {
        (false, Some(_)) => return Err(fault::key_of_plain()),
        (false, None) => None,
        (true, Some(key)) => Some(key.clone()),
        (true, None) => before.and_then(|about| about.key_id.clone()).or_else(|| Some(DEFAULT_KEY.to_owned())),
    };
    Ok(About {
        at: inner.now(),
        by: caller.principal_arn.clone(),
        description: input.description.clone().or_else(|| before.and_then(|about| about.description.clone())),
        key_id,
        pattern,
        tier: tier.to_owned(),
        data_type,
        policies,
    })
}

fn parse_policies(text: &str, now: u64) -> Result<Vec<PolicyRow>, Fault> {
    let now = Timestamp::from_millis(i64::try_from(now).unwrap_or(i64::MAX));
    let parsed = policies::parse(text, now).map_err(|error| fault::policy(&error))?;
    let row = |policy: policies::Policy| PolicyRow {
        kind: policy.kind,
        text: policy.text,
        expires_at: u64::try_from(policy.expires_at.as_millis()).unwrap_or(0),
    };
    Ok(parsed.into_iter().map(row).collect())
}

/// The tier of a version: an advanced parameter stays one.
fn tier(
    given: Option<&ParameterTier>,
    before: Option<&About>,
    value: &str,
    policies: &[PolicyRow],
) -> Result<&'static str, Fault> {
    let was_advanced = before.is_some_and(|about| about.tier == ADVANCED);
    match given {
        Some(ParameterTier::Advanced) => Ok(ADVANCED),
        Some(ParameterTier::IntelligentTiering) if value.len() > STANDARD_BYTES_MAX || !policies.is_empty() => {
            Ok(ADVANCED)
        }
        Some(ParameterTier::Standard) if was_advanced => Err(fault::downgrade()),
        _ if was_advanced => Ok(ADVANCED),
        _ => Ok(STANDARD),
    }
}

fn check_value(value: &str, tier: &str) -> Result<(), Fault> {
    if value.is_empty() {
        return Err(fault::empty_value());
    }
    let max = if tier == ADVANCED { ADVANCED_BYTES_MAX } else { STANDARD_BYTES_MAX };
    if value.len() > max {
        return Err(fault::too_large(tier, max));
    }
    if value.contains("{{") && value.contains("}}") { Err(fault::nested()) } else { Ok(()) }
}

fn check_data_type(data_type: &str, kind: &str, value: &str) -> Result<(), Fault> {
    let is_image = || {
        value
            .strip_prefix("ami-")
            .is_some_and(|id| (8..=17).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    match data_type {
        TEXT => Ok(()),
        "aws:ec2:image" if kind == ParameterType::String.as_str() && is_image() => Ok(()),
        "aws:ssm:integration" if kind == SECURE => Ok(()),
        "aws:ec2:image" | "aws:ssm:integration" => Err(fault::data_type_value(data_type)),
        other => Err(fault::data_type(other)),
    }
}

/// The whole value must be what the pattern describes.
fn check_pattern(pattern: &str, value: &str) -> Result<(), Fault> {
    let whole = format!("^(?:{pattern})$");
    let regex = RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build().map_err(|_| fault::pattern())?;
    if regex.is_match(value) { Ok(()) } else { Err(fault::mismatch(pattern)) }
}

/// Refuses one parameter too many.
fn room(inner: &Inner, scope: &gantry_domain::arn::Scope, about: &About) -> Result<(), Fault> {
    let picture = inner.view.read();
    let all = picture.count(scope);
    if all >= PARAMETERS_MAX {
        return Err(fault::too_many(PARAMETERS_MAX));
    }
    let is_standard = |parameter: &&std::sync::Arc<Parameter>| {
        parameter.row.newest().is_some_and(|(_, about)| about.tier == STANDARD)
    };
    let is_full = about.tier == STANDARD
        && all >= STANDARD_MAX
        && picture.after(scope, "", None).filter(is_standard).count() >= STANDARD_MAX;
    if is_full { Err(fault::too_many(STANDARD_MAX)) } else { Ok(()) }
}
