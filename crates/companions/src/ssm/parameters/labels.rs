//! `LabelParameterVersion` and `UnlabelParameterVersion`.

use gantry_api::ssm::{
    LabelParameterVersionRequest, LabelParameterVersionResult, UnlabelParameterVersionRequest,
    UnlabelParameterVersionResult,
};
use gantry_api::{Caller, Fault};

use super::fault;
use crate::ssm::Ssm;

pub(in crate::ssm) async fn label_parameter_version(
    ssm: &Ssm,
    caller: &Caller,
    input: LabelParameterVersionRequest,
) -> Result<LabelParameterVersionResult, Fault> {
    let inner = ssm.parameters.inner();
    let name = input.name.unwrap_or_default();
    let _turn = inner.turn().await;
    let parameter = inner.named(caller, &name)?;
    let mut row = parameter.row.clone();
    let newest = row.newest().map_or(0, |(number, _)| number);
    let number = input.parameter_version.map_or(newest, version);
    let labelled = row.versions.label(number, input.labels.unwrap_or_default());
    let invalid = labelled.map_err(|error| fault::versions(&name, &error))?;
    if row != parameter.row {
        inner.write(&parameter, &row, None).await?;
    }
    Ok(LabelParameterVersionResult { invalid_labels: Some(invalid), parameter_version: i64::try_from(number).ok() })
}

pub(in crate::ssm) async fn unlabel_parameter_version(
    ssm: &Ssm,
    caller: &Caller,
    input: UnlabelParameterVersionRequest,
) -> Result<UnlabelParameterVersionResult, Fault> {
    let inner = ssm.parameters.inner();
    let name = input.name.unwrap_or_default();
    let _turn = inner.turn().await;
    let parameter = inner.named(caller, &name)?;
    let mut row = parameter.row.clone();
    let number = version(input.parameter_version.unwrap_or_default());
    let unlabelled = row.versions.unlabel(number, input.labels.unwrap_or_default());
    let (removed, invalid) = unlabelled.map_err(|error| fault::versions(&name, &error))?;
    if row != parameter.row {
        inner.write(&parameter, &row, None).await?;
    }
    Ok(UnlabelParameterVersionResult { removed_labels: Some(removed), invalid_labels: Some(invalid) })
}

/// A number of the wire; no version has zero.
fn version(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
