//! `PutSecretValue` and `UpdateSecret`: new versions.

use std::collections::BTreeSet;

use gantry_api::secretsmanager::{
    PutSecretValueRequest, PutSecretValueResponse, UpdateSecretRequest, UpdateSecretResponse,
};
use gantry_api::{Caller, Fault};
use gantry_domain::secret::versions::CURRENT;

use super::access::Permission;
use super::create::{timestamp, version_id};
use super::rows::{Secret, SecretRow};
use super::values::Value;
use super::write::Values;
use super::{Inner, fault};

pub(super) async fn put_secret_value(
    inner: &Inner,
    caller: &Caller,
    input: PutSecretValueRequest,
) -> Result<PutSecretValueResponse, Fault> {
    let stages = input.version_stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
    let _turn = inner.turn().await;
    let permission = Permission::new("PutSecretValue");
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    if input.rotation_token.is_some() {
        return Err(fault::parameter("There is no rotation that a RotationToken could be for."));
    }
    if secret.is_deleted() {
        return Err(fault::deleted());
    }
    let value = Value::of(input.secret_string, input.secret_binary)?
        .ok_or_else(|| fault::request("You must provide either SecretString or SecretBinary."))?;
    let version = version_id(input.client_request_token);
    let mut row = secret.row.clone();
    if let Some(values) = add(inner, &secret, &mut row, &version, &value, stages.into_iter().collect()).await? {
        row.changed_at = inner.now();
        inner.write(&secret, &row, values).await?;
    }
    let stages = row.stages().remove(&version).unwrap_or_default();
    Ok(PutSecretValueResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        version_id: Some(version),
        version_stages: Some(stages),
    })
}

pub(super) async fn update_secret(
    inner: &Inner,
    caller: &Caller,
    input: UpdateSecretRequest,
) -> Result<UpdateSecretResponse, Fault> {
    let _turn = inner.turn().await;
    let permission = Permission::new("UpdateSecret")
        .key("Description", input.description.as_ref())
        .key("KmsKeyId", input.kms_key_id.as_ref());
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    if secret.is_deleted() {
        return Err(fault::deleted());
    }
    let value = Value::of(input.secret_string, input.secret_binary)?;
    let version = version_id(input.client_request_token);
    let mut row = secret.row.clone();
    let mut values = Values::default();
    if let Some(value) = &value {
        let added = add(inner, &secret, &mut row, &version, value, [CURRENT.to_owned()].into()).await?;
        values = added.unwrap_or_default();
    }
    row.description = input.description.or(row.description);
    row.kms_key_id = input.kms_key_id.or(row.kms_key_id).filter(|key| !key.is_empty());
    row.kind = input.r#type.or(row.kind).filter(|kind| !kind.is_empty());
    if row != secret.row {
        row.changed_at = inner.now();
        inner.write(&secret, &row, values).await?;
    }
    let version_id = value.is_some().then_some(version);
    Ok(UpdateSecretResponse { arn: Some(secret.arn()), name: Some(secret.name.clone()), version_id })
}

/// Adds a version to `row`. Nothing when that very version is there: the request is a repetition.
async fn add(
    inner: &Inner,
    secret: &Secret,
    row: &mut SecretRow,
    version: &str,
    value: &Value,
    stages: BTreeSet<String>,
) -> Result<Option<Values>, Fault> {
    let mut versions = row.versions();
    if versions.get(version).is_some() {
        let same = inner.value(secret, version).await? == *value;
        return if same { Ok(None) } else { Err(fault::version_exists(version)) };
    }
    let gone = versions.add(timestamp(inner.now()), version, stages).map_err(fault::versions)?;
    row.set_versions(versions);
    let sealed = inner.seal(&row.id, version, value)?;
    Ok(Some(Values { put: Some((version.to_owned(), sealed)), gone }))
}
