//! What the operations on the signing configuration share.

use super::*;
use crate::signing::{SigningRow, SigningRuleRow};

/// The rules of a request.
pub(super) fn rules_in(configuration: Option<SigningConfiguration>) -> Vec<SigningRuleRow> {
    let rule = |rule: SigningRule| SigningRuleRow {
        profile_arn: rule.signing_profile_arn.unwrap_or_default(),
        filters: rule
            .repository_filters
            .map(|filters| filters.into_iter().filter_map(|filter| filter.filter).collect()),
    };
    configuration.unwrap_or_default().rules.unwrap_or_default().into_iter().map(rule).collect()
}

pub(super) fn configuration_out(row: SigningRow) -> SigningConfiguration {
    let filter = |filter: String| SigningRepositoryFilter {
        filter: Some(filter),
        filter_type: Some(SigningRepositoryFilterType::WildcardMatch),
    };
    let rule = |rule: SigningRuleRow| SigningRule {
        signing_profile_arn: Some(rule.profile_arn),
        repository_filters: rule.filters.map(|filters| filters.into_iter().map(filter).collect()),
    };
    SigningConfiguration { rules: Some(row.rules.into_iter().map(rule).collect()) }
}
