//! `GetParameterHistory`: every version that is kept.

use gantry_api::ssm::{
    GetParameterHistoryRequest, GetParameterHistoryResult, ParameterHistory, ParameterTier, ParameterType,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::Pager;

use super::describe::policies;
use super::fault;
use crate::ssm::Ssm;

const PAGE_SIZE: i32 = 50;

pub(in crate::ssm) async fn get_parameter_history(
    ssm: &Ssm,
    caller: &Caller,
    input: GetParameterHistoryRequest,
) -> Result<GetParameterHistoryResult, Fault> {
    let inner = ssm.parameters.inner();
    let name = input.name.unwrap_or_default();
    let parameter = inner.named(caller, &name)?;
    let question = format!("GetParameterHistory {}", parameter.arn());
    let pager = Pager::new(&question, usize::try_from(input.max_results.unwrap_or(PAGE_SIZE)).unwrap_or(1));
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let after: Option<u64> = after.and_then(|after| after.parse().ok());
    let rest = parameter.row.versions.iter().filter(|(number, _)| after.is_none_or(|after| *number > after));
    let page = pager.page(rest, |(number, _)| number.to_string());
    let decrypted = input.with_decryption.unwrap_or(false);
    let mut parameters = Vec::new();
    for (number, version) in page.items {
        let about = &version.about;
        parameters.push(ParameterHistory {
            allowed_pattern: about.pattern.clone(),
            data_type: Some(about.data_type.clone()),
            description: about.description.clone(),
            key_id: about.key_id.clone(),
            labels: Some(version.labels.iter().cloned().collect()),
            last_modified_date: Some(Timestamp::from_millis(about.at)),
            last_modified_user: Some(about.by.clone()),
            name: Some(parameter.row.name.clone()),
            policies: Some(policies(about)),
            tier: Some(ParameterTier::from(about.tier.as_str())),
            r#type: Some(ParameterType::from(parameter.row.kind.as_str())),
            value: Some(inner.value(&parameter, number, decrypted).await?),
            version: i64::try_from(number).ok(),
        });
    }
    Ok(GetParameterHistoryResult { parameters: Some(parameters), next_token: page.next_token })
}
