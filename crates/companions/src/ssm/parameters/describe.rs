//! `DescribeParameters`: what is known of parameters, without their values.

use std::collections::BTreeSet;

use gantry_api::ssm::{
    DescribeParametersRequest, DescribeParametersResult, ParameterInlinePolicy, ParameterMetadata,
    ParameterStringFilter, ParameterTier, ParameterType,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::paging::Pager;
use gantry_domain::parameter::filter::{Facts, Filter, List};

use super::rows::{About, Parameter, ParameterRow};
use super::{fault, scope_of};
use crate::ssm::Ssm;

const PAGE_SIZE: i32 = 50;

pub(in crate::ssm) async fn describe_parameters(
    ssm: &Ssm,
    caller: &Caller,
    input: DescribeParametersRequest,
) -> Result<DescribeParametersResult, Fault> {
    let inner = ssm.parameters.inner();
    let filters = match (input.filters, input.parameter_filters) {
        (Some(_), Some(_)) => return Err(fault::both_filters()),
        (Some(old), None) => {
            let parse = |filter: gantry_api::ssm::ParametersFilter| {
                let key = filter.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default();
                Filter::parse(List::Described, &key, None, filter.values.unwrap_or_default())
            };
            old.into_iter().map(parse).collect::<Result<_, _>>().map_err(fault::filter)?
        }
        (None, filters) => parse_filters(List::Described, filters)?,
    };
    let shared = input.shared.unwrap_or(false);
    let scope = scope_of(caller);
    let question = format!("DescribeParameters {scope:?} {filters:?} {shared}");
    let pager = Pager::new(&question, usize::try_from(input.max_results.unwrap_or(PAGE_SIZE)).unwrap_or(1));
    let after = pager.after(input.next_token.as_deref()).map_err(|_| fault::bad_token())?;
    let now = inner.now();
    let picture = inner.view.read();
    let matching = picture.after(&scope, "", after.as_deref()).filter(|parameter| {
        // Nobody shares parameters here.
        !shared
            && !parameter.is_over(now)
            && filters.iter().all(|filter| filter.matches(facts(&parameter.row, &parameter.row.labels())))
    });
    let page = pager.page(matching, |parameter| parameter.bare().to_owned());
    let parameters = page.items.into_iter().filter_map(|parameter| metadata(parameter)).collect();
    Ok(DescribeParametersResult { parameters: Some(parameters), next_token: page.next_token })
}

/// Checks the filters of a request.
pub(super) fn parse_filters(list: List, given: Option<Vec<ParameterStringFilter>>) -> Result<Vec<Filter>, Fault> {
    let parse = |filter: ParameterStringFilter| {
        let key = filter.key.unwrap_or_default();
        Filter::parse(list, &key, filter.option.as_deref(), filter.values.unwrap_or_default())
    };
    given.into_iter().flatten().map(parse).collect::<Result<_, _>>().map_err(fault::filter)
}

/// What filters look at.
pub(super) fn facts<'a>(row: &'a ParameterRow, labels: &'a BTreeSet<&'a str>) -> Facts<'a> {
    let about = row.newest().map(|(_, about)| about);
    Facts {
        name: &row.name,
        kind: &row.kind,
        key_id: about.and_then(|about| about.key_id.as_deref()),
        tier: about.map_or("", |about| about.tier.as_str()),
        data_type: about.map_or("", |about| about.data_type.as_str()),
        tags: &row.tags,
        labels,
    }
}

fn metadata(parameter: &Parameter) -> Option<ParameterMetadata> {
    let row = &parameter.row;
    let (number, about) = row.newest()?;
    Some(ParameterMetadata {
        arn: Some(parameter.arn()),
        allowed_pattern: about.pattern.clone(),
        data_type: Some(about.data_type.clone()),
        description: about.description.clone(),
        key_id: about.key_id.clone(),
        last_modified_date: Some(Timestamp::from_millis(about.at)),
        last_modified_user: Some(about.by.clone()),
        name: Some(row.name.clone()),
        policies: Some(policies(about)),
        tier: Some(ParameterTier::from(about.tier.as_str())),
        r#type: Some(ParameterType::from(row.kind.as_str())),
        version: i64::try_from(number).ok(),
    })
}

/// The policies of a version, none of which is over.
pub(super) fn policies(about: &About) -> Vec<ParameterInlinePolicy> {
    let shown = |policy: &super::rows::PolicyRow| ParameterInlinePolicy {
        policy_status: Some("Pending".to_owned()),
        policy_text: Some(policy.text.clone()),
        policy_type: Some(policy.kind.clone()),
    };
    about.policies.iter().map(shown).collect()
}
