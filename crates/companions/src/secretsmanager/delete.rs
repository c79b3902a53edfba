//! `DeleteSecret` and `RestoreSecret`: a secret goes when its recovery window is over, and until then may come back.

use std::sync::Arc;

use gantry_api::secretsmanager::{
    DeleteSecretRequest, DeleteSecretResponse, RestoreSecretRequest, RestoreSecretResponse,
};
use gantry_api::{Caller, Fault, Timestamp};

use super::access::Permission;
use super::rows::Secret;
use super::write::Values;
use super::{Inner, fault};

/// Days a deleted secret can be restored, unless the request says otherwise.
const WINDOW_DAYS: u64 = 30;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) async fn delete_secret(
    inner: &Inner,
    caller: &Caller,
    input: DeleteSecretRequest,
) -> Result<DeleteSecretResponse, Fault> {
    let id = input.secret_id.unwrap_or_default();
    let forced = input.force_delete_without_recovery.unwrap_or(false);
    let _turn = inner.turn().await;
    let permission = Permission::new("DeleteSecret")
        .key("ForceDeleteWithoutRecovery", input.force_delete_without_recovery)
        .key("RecoveryWindowInDays", input.recovery_window_in_days);
    let found = inner.allowed(caller, &id, &permission);
    if forced && input.recovery_window_in_days.is_some() {
        return Err(fault::parameter(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days = match input.recovery_window_in_days {
        None => WINDOW_DAYS,
        Some(days) => u64::try_from(days).ok().filter(|days| (7..=30).contains(days)).ok_or_else(|| {
            fault::parameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
        })?,
    };
    let now = inner.now();
    let secret = match found {
        Ok(secret) => secret,
        // Who wants it gone at any price is content when it is not there.
        Err(missing) if forced && missing.code == "ResourceNotFoundException" => {
            let deletion_date = Some(Timestamp::from_millis(now));
            return Ok(DeleteSecretResponse { arn: None, name: Some(id), deletion_date });
        }
        Err(fault) => return Err(fault),
    };
    let at = if forced { now } else { now + days * DAY_MS };
    if forced {
        inner.write_gone(&secret).await?;
    } else if secret.is_deleted() {
        return Err(fault::deleted());
    } else {
        let mut row = secret.row.clone();
        row.deletion_at = Some(at);
        inner.write(&secret, &row, Values::default()).await?;
    }
    Ok(DeleteSecretResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        deletion_date: Some(Timestamp::from_millis(at)),
    })
}

pub(super) async fn restore_secret(
    inner: &Inner,
    caller: &Caller,
    input: RestoreSecretRequest,
) -> Result<RestoreSecretResponse, Fault> {
    let _turn = inner.turn().await;
    let permission = Permission::new("RestoreSecret");
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    if secret.is_deleted() {
        let mut row = secret.row.clone();
        row.deletion_at = None;
        inner.write(&secret, &row, Values::default()).await?;
    }
    Ok(RestoreSecretResponse { arn: Some(secret.arn()), name: Some(secret.name.clone()) })
}

/// Removes the secrets whose recovery window is over.
pub(super) async fn purge(inner: &Inner) -> Result<(), Fault> {
    let now = inner.now();
    let over = |secret: &&Arc<Secret>| secret.row.deletion_at.is_some_and(|at| at <= now);
    let gone: Vec<Arc<Secret>> = inner.view.read().all().filter(over).cloned().collect();
    for secret in gone {
        let _turn = inner.turn().await;
        // Somebody may have made a new one of that name meanwhile; then the revision is another.
        match inner.write_gone(&secret).await {
            Ok(()) => tracing::info!(secret = secret.arn(), "removed a secret whose recovery window is over"),
            Err(fault) => tracing::debug!(%fault, secret = secret.arn(), "a deleted secret is not removed yet"),
        }
    }
    Ok(())
}
