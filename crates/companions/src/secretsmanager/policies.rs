//! The policies of secrets. The text is kept and returned as it was submitted.

use gantry_api::secretsmanager::{
    DeleteResourcePolicyRequest, DeleteResourcePolicyResponse, GetResourcePolicyRequest, GetResourcePolicyResponse,
    PutResourcePolicyRequest, PutResourcePolicyResponse, ValidateResourcePolicyRequest, ValidateResourcePolicyResponse,
    ValidationErrorsEntry,
};
use gantry_api::{Caller, Fault};
use gantry_domain::policy::{Document, Kind};

use super::access::Permission;
use super::write::Values;
use super::{Inner, fault};

pub(super) async fn put_resource_policy(
    inner: &Inner,
    caller: &Caller,
    input: PutResourcePolicyRequest,
) -> Result<PutResourcePolicyResponse, Fault> {
    let text = input.resource_policy.unwrap_or_default();
    let _turn = inner.turn().await;
    let permission = Permission::new("PutResourcePolicy").key("BlockPublicPolicy", input.block_public_policy);
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    if secret.is_deleted() {
        return Err(fault::deleted());
    }
    let document = Document::parse(&text, Kind::Resource).map_err(|error| {
        tracing::debug!(%error, "a policy is refused");
        fault::malformed_policy()
    })?;
    if input.block_public_policy == Some(true) && document.is_public() {
        return Err(fault::public_policy());
    }
    let mut row = secret.row.clone();
    row.policy = Some(text);
    inner.write(&secret, &row, Values::default()).await?;
    let policy_name = input.policy_name;
    Ok(PutResourcePolicyResponse { arn: Some(secret.arn()), name: Some(secret.name.clone()), policy_name })
}

pub(super) async fn get_resource_policy(
    inner: &Inner,
    caller: &Caller,
    input: GetResourcePolicyRequest,
) -> Result<GetResourcePolicyResponse, Fault> {
    let permission = Permission::new("GetResourcePolicy");
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    Ok(GetResourcePolicyResponse {
        arn: Some(secret.arn()),
        name: Some(secret.name.clone()),
        policy_name: input.policy_name,
        resource_policy: secret.row.policy.clone(),
    })
}

pub(super) async fn delete_resource_policy(
    inner: &Inner,
    caller: &Caller,
    input: DeleteResourcePolicyRequest,
) -> Result<DeleteResourcePolicyResponse, Fault> {
    let _turn = inner.turn().await;
    let permission = Permission::new("DeleteResourcePolicy");
    let secret = inner.allowed(caller, &input.secret_id.unwrap_or_default(), &permission)?;
    if secret.row.policy.is_some() {
        let mut row = secret.row.clone();
        row.policy = None;
        inner.write(&secret, &row, Values::default()).await?;
    }
    let policy_name = input.policy_name;
    Ok(DeleteResourcePolicyResponse { arn: Some(secret.arn()), name: Some(secret.name.clone()), policy_name })
}

/// Says what is wrong with a policy, without setting it.
pub(super) async fn validate_resource_policy(
    inner: &Inner,
    caller: &Caller,
    input: ValidateResourcePolicyRequest,
) -> Result<ValidateResourcePolicyResponse, Fault> {
    let permission = Permission::new("ValidateResourcePolicy");
    match &input.secret_id {
        Some(id) => inner.allowed(caller, id, &permission).map(drop)?,
        None => inner.authorize(caller, "*", &permission)?,
    }
    let problem = |check: &str, message: String| ValidationErrorsEntry {
        check_name: Some(check.to_owned()),
        error_message: Some(message),
    };
    let errors = match Document::parse(&input.resource_policy.unwrap_or_default(), Kind::Resource) {
        Ok(document) if document.is_public() => {
            vec![problem("PUBLIC_POLICY_CHECK", "The policy allows access to anybody.".to_owned())]
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![problem("SYNTAX_CHECK", error.to_string())],
    };
    let policy_validation_passed = Some(errors.is_empty());
    Ok(ValidateResourcePolicyResponse { policy_validation_passed, validation_errors: Some(errors) })
}
