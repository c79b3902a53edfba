//! The default sampling rule, and the shares of its reservoir that clients get.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::xray::{
    GetSamplingRulesRequest, GetSamplingRulesResult, GetSamplingTargetsRequest, GetSamplingTargetsResult, SamplingRule,
    SamplingRuleRecord, SamplingTargetDocument, UnprocessedStatistics,
};
use gantry_api::{Caller, Fault, Timestamp};
use gantry_domain::arn::Scope;

use super::{Inner, fault, scope_of};

const DEFAULT: &str = "Default";
/// One request a second, and of the others so many.
const RESERVOIR: i32 = 1;
const FIXED_RATE: f64 = 0.05;
/// Seconds after which a client asks again.
const INTERVAL: i32 = 10;
/// A client that was not heard of for so long has no share.
const AWAY_AFTER_MS: u64 = 30_000;
/// Clients of an account and region that share; more get none.
const CLIENTS_MAX: usize = 10_000;
/// Statistics of one request.
const STATISTICS_MAX: usize = 25;

/// Clients that sample, and when each was heard of last.
#[derive(Debug, Default)]
pub(super) struct Samplers(BTreeMap<Scope, BTreeMap<String, u64>>);

impl Samplers {
    /// The share of the reservoir that a client has from now on.
    fn share(&mut self, scope: Scope, client: String, now: u64) -> i32 {
        let clients = self.0.entry(scope).or_default();
        clients.retain(|_, at| *at + AWAY_AFTER_MS > now);
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&client) {
            return 0;
        }
        clients.insert(client.clone(), now);
        let count = i32::try_from(clients.len()).unwrap_or(i32::MAX);
        let index = i32::try_from(clients.range(..client).count()).unwrap_or(i32::MAX);
        RESERVOIR / count + i32::from(index < RESERVOIR % count)
    }
}

pub(super) async fn get_sampling_rules(
    _: &Arc<Inner>,
    caller: &Caller,
    _: GetSamplingRulesRequest,
) -> Result<GetSamplingRulesResult, Fault> {
    let any = || Some("*".to_owned());
    let rule = SamplingRule {
        rule_name: Some(DEFAULT.to_owned()),
        rule_arn: Some(caller.arn("xray", "sampling-rule/Default")),
        resource_arn: any(),
        priority: Some(10_000),
        fixed_rate: Some(FIXED_RATE),
        reservoir_size: Some(RESERVOIR),
        service_name: any(),
        service_type: any(),
        host: any(),
        http_method: any(),
        url_path: any(),
        version: Some(1),
        attributes: Some(BTreeMap::new()),
        sampling_rate_boost: None,
    };
    let epoch = Some(Timestamp::from_millis(0));
    let record = SamplingRuleRecord { sampling_rule: Some(rule), created_at: epoch, modified_at: epoch };
    Ok(GetSamplingRulesResult { sampling_rule_records: Some(vec![record]), next_token: None })
}

pub(super) async fn get_sampling_targets(
    inner: &Arc<Inner>,
    caller: &Caller,
    input: GetSamplingTargetsRequest,
) -> Result<GetSamplingTargetsResult, Fault> {
    let statistics = input.sampling_statistics_documents.unwrap_or_default();
    if statistics.len() > STATISTICS_MAX {
        return Err(fault::invalid(format!("A request has at most {STATISTICS_MAX} statistics.")));
    }
    let now = inner.now();
    let until = now + u64::from(INTERVAL.unsigned_abs()) * 1000;
    let (mut targets, mut unprocessed) = (Vec::new(), Vec::new());
    for document in statistics {
        let name = document.rule_name.unwrap_or_default();
        if name != DEFAULT {
            unprocessed.push(no_rule(name));
            continue;
        }
        let client = document.client_id.unwrap_or_default();
        let quota = inner.samplers.lock().share(scope_of(caller), client, now);
        targets.push(SamplingTargetDocument {
            rule_name: Some(name),
            fixed_rate: Some(FIXED_RATE),
            reservoir_quota: Some(quota),
            reservoir_quota_ttl: Some(Timestamp::from_millis(until)),
            interval: Some(INTERVAL),
            ..SamplingTargetDocument::default()
        });
    }
    let boosts = input.sampling_boost_statistics_documents.unwrap_or_default();
    let unprocessed_boosts = boosts.into_iter().map(|boost| no_rule(boost.rule_name.unwrap_or_default())).collect();
    Ok(GetSamplingTargetsResult {
        sampling_target_documents: Some(targets),
        last_rule_modification: Some(Timestamp::from_millis(0)),
        unprocessed_statistics: Some(unprocessed),
        unprocessed_boost_statistics: Some(unprocessed_boosts),
    })
}

fn no_rule(name: String) -> UnprocessedStatistics {
    UnprocessedStatistics {
        message: Some(format!("There is no sampling rule {name}.")),
        rule_name: Some(name),
        error_code: Some("InvalidRequestException".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_the_reservoir_until_they_are_away() {
        let mut samplers = Samplers::default();
        let here = || Scope::new("000000000000", "us-east-1");
        assert_eq!(samplers.share(here(), "b".into(), 0), 1);
        assert_eq!(samplers.share(here(), "a".into(), 0), 1);
        assert_eq!(samplers.share(here(), "b".into(), 10_000), 0);
        assert_eq!(samplers.share(Scope::new("000000000000", "eu-west-1"), "b".into(), 0), 1);
        assert_eq!(samplers.share(here(), "b".into(), 31_000), 1, "a is away");
    }
}
