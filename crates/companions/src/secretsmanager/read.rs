//! Reading values: one, several, and what a reference means.

use std::sync::Arc;

use gantry_api::secretsmanager::{
    APIErrorType, BatchGetSecretValueRequest, BatchGetSecretValueResponse, GetSecretValueRequest,
    GetSecretValueResponse, SecretValueEntry,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::secret::reference::SecretReference;

use super::access::{Asker, Permission};
use super::rows::Secret;
use super::values::Value;
use super::write::Values;
use super::{Inner, SecretText, fault, list};

/// Values that one request may read.
const BATCH_MAX: i32 = 20;
/// When a secret was read is known to the day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A value with what is said about it.
struct Read {
    secret: Arc<Secret>,
    version: String,
    stages: Vec<String>,
    created_at: u64,
    value: Value,
}

pub(super) async fn get_secret_value(
    inner: &Inner,
    caller: &Caller,
    input: GetSecretValueRequest,
) -> Result<GetSecretValueResponse, Fault> {
    let authority = inner.principals.authority(caller);
    let asker = Asker { caller, authority: &authority };
    let id = input.secret_id.unwrap_or_default();
    let read = read(inner, asker, &id, input.version_id.as_deref(), input.version_stage.as_deref()).await?;
    let (secret_string, secret_binary) = read.value.into_members();
    Ok(GetSecretValueResponse {
        arn: Some(read.secret.arn()),
        name: Some(read.secret.name.clone()),
        created_date: Some(Timestamp::from_millis(read.created_at)),
        version_id: Some(read.version),
        version_stages: Some(read.stages),
        secret_string,
        secret_binary,
    })
}

/// Reads the current values of the secrets that are named or found; what cannot be read is listed apart.
pub(super) async fn batch_get_secret_value(
    inner: &Inner,
    caller: &Caller,
    input: BatchGetSecretValueRequest,
) -> Result<BatchGetSecretValueResponse, Fault> {
    inner.authorize(caller, "*", &Permission::new("BatchGetSecretValue"))?;
    let (ids, next_token) = match (input.secret_id_list, input.filters) {
        (Some(ids), None) if input.max_results.is_none() && input.next_token.is_none() => (ids, None),
        (Some(_), None) => {
            return Err(fault::parameter("You can use MaxResults and NextToken only together with Filters."));
        }
        (None, Some(filters)) => {
            inner.authorize(caller, "*", &Permission::new("ListSecrets"))?;
            let page = list::found(
                inner,
                caller,
                &filters,
                &list::Order::of_batch(&input.next_token, input.max_results.unwrap_or(BATCH_MAX)),
            )?;
            (page.items.into_iter().map(|secret| secret.arn()).collect(), page.next_token)
        }
        _ => return Err(fault::parameter("You must provide either Filters or SecretIdList, and not both.")),
    };
    let authority = inner.principals.authority(caller);
    let asker = Asker { caller, authority: &authority };
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for id in ids {
        match read(inner, asker, &id, None, None).await {
            Ok(read) => values.push(entry(read)),
            Err(fault) => errors.push(APIErrorType {
                error_code: Some(fault.code.to_owned()),
                message: Some(fault.message),
                secret_id: Some(id),
            }),
        }
    }
    Ok(BatchGetSecretValueResponse { secret_values: Some(values), errors: Some(errors), next_token })
}

/// The text that a reference means.
pub(super) async fn value_of(inner: &Inner, asker: Asker<'_>, reference: &str) -> Result<SecretText, Fault> {
    let reference: SecretReference =
        reference.parse().map_err(|_| fault::parameter(format!("The reference {reference} is not valid.")))?;
    let (version, stage) = (reference.version.as_deref(), reference.stage.as_deref());
    // It is asked for where it is.
    let region = reference.secret.split(':').nth(3).unwrap_or_default().to_owned();
    let caller = Caller { region, ..asker.caller.clone() };
    let asker = Asker { caller: &caller, authority: asker.authority };
    let read = read(inner, asker, &reference.secret, version, stage).await?;
    let Value::Text(text) = read.value else {
        return Err(fault::parameter("The value of the secret is binary."));
    };
    match &reference.json_key {
        None => Ok(SecretText(text)),
        Some(key) => member(&text, key).map(SecretText),
    }
}

/// A member of a value that is a JSON object. What is wrong is said without words of the value.
fn member(text: &str, key: &str) -> Result<String, Fault> {
    let object: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(text).ok();
    match object.and_then(|mut object| object.remove(key)) {
        Some(serde_json::Value::String(text)) => Ok(text),
        Some(serde_json::Value::Null) | None => {
            Err(fault::parameter(format!("retrieved secret from Secrets Manager did not contain json key {key}")))
        }
        Some(other) => Ok(other.to_string()),
    }
}

async fn read(
    inner: &Inner,
    asker: Asker<'_>,
    id: &str,
    version: Option<&str>,
    stage: Option<&str>,
) -> Result<Read, Fault> {
    let permission = Permission::new("GetSecretValue").key("VersionId", version).key("VersionStage", stage);
    let secret = inner.allowed_to(asker, id, &permission)?;
    if secret.is_deleted() {
        return Err(fault::deleted());
    }
    let versions = secret.row.versions();
    let version = versions.find(version, stage).map_err(fault::versions)?.to_owned();
    let value = inner.value(&secret, &version).await?;
    note_access(inner, &secret).await;
    let found = versions.get(&version);
    let stages = found.map(|version| version.stages.iter().cloned().collect()).unwrap_or_default();
    let created_at = found.and_then(|version| u64::try_from(version.created_at.as_millis()).ok()).unwrap_or(0);
    Ok(Read { secret, version, stages, created_at, value })
}

/// Notes the day. A value is handed out though this fails: the next read notes it.
async fn note_access(inner: &Inner, secret: &Secret) {
    let day = inner.now() / DAY_MS * DAY_MS;
    if secret.row.accessed_at == Some(day) {
        return;
    }
    let _turn = inner.turn().await;
    let Some(now) = inner.view.read().named(&secret.scope, &secret.name).cloned() else { return };
    if now.row.id != secret.row.id || now.row.accessed_at == Some(day) {
        return;
    }
    let mut row = now.row.clone();
    row.accessed_at = Some(day);
    if let Err(fault) = inner.write(&now, &row, Values::default()).await {
        tracing::debug!(%fault, "not noted that a secret was read");
    }
}

fn entry(read: Read) -> SecretValueEntry {
    let (secret_string, secret_binary) = read.value.into_members();
    SecretValueEntry {
        arn: Some(read.secret.arn()),
        name: Some(read.secret.name.clone()),
        created_date: Some(Timestamp::from_millis(read.created_at)),
        version_id: Some(read.version),
        version_stages: Some(read.stages),
        secret_string,
        secret_binary,
    }
}
