//! `CreateSecret`.

use gantry_api::secretsmanager::{CreateSecretRequest, CreateSecretResponse};
use gantry_api::{Caller, Fault};
use gantry_domain::Timestamp;
use gantry_domain::secret::versions::Versions;

use super::access::{Permission, SUFFIX_LENGTH};
use super::rows::{Scope, Secret, SecretRow};
use super::values::Value;
use super::write::Values;
use super::{Inner, fault, tags};

/// Secrets an account may have in a region, as the real service has it.
const SECRETS_MAX: usize = 500_000;

pub(super) async fn create_secret(
    inner: &Inner,
    caller: &Caller,
    input: CreateSecretRequest,
) -> Result<CreateSecretResponse, Fault> {
    let name = input.name.unwrap_or_default();
    let tags = tags::parse(input.tags.as_deref().unwrap_or_default())?;
    let suffix = random_suffix()?;
    let scope = Scope::of(caller);
    let arn = scope.arn(&format!("{name}-{suffix}"));
    let permission = |action| {
        Permission::new(action)
            .key("Name", Some(&name))
            .key("Description", input.description.as_ref())
            .key("KmsKeyId", input.kms_key_id.as_ref())
            .tags(tags.iter())
    };
    inner.authorize(caller, &arn, &permission("CreateSecret"))?;
    if !tags.is_empty() {
        inner.authorize(caller, &arn, &permission("TagResource"))?;
    }
    if !is_name(&name) {
        return Err(fault::invalid_name());
    }
    if input.add_replica_regions.is_some() || input.cross_account_primary_arn.is_some() {
        return Err(fault::parameter("Gantry does not replicate secrets."));
    }
    let value = Value::of(input.secret_string, input.secret_binary)?;
    let version = version_id(input.client_request_token);

    let _turn = inner.turn().await;
    let stale = inner.view.read().named(&scope, &name).cloned();
    if let Some(held) = &stale
        && let Some(answer) = existing(inner, held, &version, value.as_ref()).await?
    {
        return Ok(answer);
    }
    if stale.is_none() && inner.view.read().count(&scope) >= SECRETS_MAX {
        return Err(fault::limit(format!("You have reached the maximum of {SECRETS_MAX} secrets in this region.")));
    }
    let now = inner.now();
    let mut row = SecretRow::new(uuid::Uuid::new_v4().to_string(), suffix, now);
    row.description = input.description;
    row.kms_key_id = input.kms_key_id.filter(|key| !key.is_empty());
    row.kind = input.r#type.filter(|kind| !kind.is_empty());
    row.tags = tags.into();
    let mut values = Values::default();
    if let Some(value) = &value {
        let mut versions = Versions::default();
        versions.add(timestamp(now), &version, [].into()).map_err(fault::versions)?;
        row.set_versions(versions);
        values.put = Some((version.clone(), inner.seal(&row.id, &version, value)?));
    }
    inner.write_new(&scope, &name, &row, values, stale.as_deref()).await?;
    let version_id = value.is_some().then_some(version);
    Ok(CreateSecretResponse { arn: Some(arn), name: Some(name), version_id, replication_status: None })
}

/// What is said when a secret of that name is there: a repetition of the request that made it is answered as that was.
/// Nothing when its recovery window is over.
async fn existing(
    inner: &Inner,
    held: &Secret,
    version: &str,
    value: Option<&Value>,
) -> Result<Option<CreateSecretResponse>, Fault> {
    match held.row.deletion_at {
        Some(at) if at <= inner.now() => return Ok(None),
        Some(_) => return Err(fault::name_deleted()),
        None => {}
    }
    let repeated = match value {
        Some(value) if held.row.versions().get(version).is_some() => inner.value(held, version).await? == *value,
        _ => false,
    };
    if !repeated {
        return Err(fault::exists(&held.name));
    }
    Ok(Some(CreateSecretResponse {
        arn: Some(held.arn()),
        name: Some(held.name.clone()),
        version_id: Some(version.to_owned()),
        replication_status: None,
    }))
}

/// The id of a new version: what the client chose, so that it may repeat the request.
pub(super) fn version_id(token: Option<String>) -> String {
    token.unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

pub(super) fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte))
}

fn random_suffix() -> Result<String, Fault> {
    const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0u8; SUFFIX_LENGTH];
    getrandom::fill(&mut bytes).map_err(|_| fault::no_random())?;
    // Not quite uniform, and not secret.
    Ok(bytes
        .iter()
        .filter_map(|byte| CHARACTERS.get(usize::from(*byte) % CHARACTERS.len()))
        .map(|b| char::from(*b))
        .collect())
}
