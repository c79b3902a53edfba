//! `DeleteParameter` and `DeleteParameters`, and parameters that expire.

use std::sync::Arc;

use gantry_api::ssm::{DeleteParameterRequest, DeleteParameterResult, DeleteParametersRequest, DeleteParametersResult};
use gantry_api::{Caller, Fault};

use super::Inner;
use super::rows::Parameter;
use crate::ssm::Ssm;

pub(in crate::ssm) async fn delete_parameter(
    ssm: &Ssm,
    caller: &Caller,
    input: DeleteParameterRequest,
) -> Result<DeleteParameterResult, Fault> {
    delete(ssm.parameters.inner(), caller, &input.name.unwrap_or_default()).await?;
    Ok(DeleteParameterResult {})
}

/// Deletes several; those that are not there are listed apart.
pub(in crate::ssm) async fn delete_parameters(
    ssm: &Ssm,
    caller: &Caller,
    input: DeleteParametersRequest,
) -> Result<DeleteParametersResult, Fault> {
    let (mut deleted, mut invalid) = (Vec::new(), Vec::new());
    for name in input.names.unwrap_or_default() {
        match delete(ssm.parameters.inner(), caller, &name).await {
            Ok(()) => deleted.push(name),
            Err(missing) if missing.code == "ParameterNotFound" => invalid.push(name),
            Err(fault) => return Err(fault),
        }
    }
    Ok(DeleteParametersResult { deleted_parameters: Some(deleted), invalid_parameters: Some(invalid) })
}

async fn delete(inner: &Inner, caller: &Caller, name: &str) -> Result<(), Fault> {
    let _turn = inner.turn().await;
    let parameter = inner.named(caller, name)?;
    inner.write_gone(&parameter).await
}

/// Removes the parameters whose expiration is over.
pub(super) async fn purge(inner: &Inner) -> Result<(), Fault> {
    let now = inner.now();
    let over: Vec<Arc<Parameter>> =
        inner.view.read().all().filter(|parameter| parameter.is_over(now)).cloned().collect();
    for parameter in over {
        let _turn = inner.turn().await;
        // Somebody may have made a new one of that name meanwhile; then the revision is another.
        match inner.write_gone(&parameter).await {
            Ok(()) => tracing::info!(parameter = parameter.arn(), "removed a parameter that expired"),
            Err(fault) => tracing::debug!(%fault, parameter = parameter.arn(), "not removed yet, though it expired"),
        }
    }
    Ok(())
}
