//! `DescribePullThroughCacheRules`: an unknown prefix refuses the whole call.

use std::collections::BTreeSet;

use super::pull_through_cache_rule::{prefix_in, rule_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribePullThroughCacheRulesRequest,
) -> Result<DescribePullThroughCacheRulesResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    if let Some(prefixes) = input.ecr_repository_prefixes {
        wire::no_paging("ecrRepositoryPrefixes", input.next_token.as_ref(), input.max_results)?;
        let parse = |text: &String| prefix_in("ecrRepositoryPrefixes", Some(text));
        let prefixes: BTreeSet<_> = prefixes.iter().map(parse).collect::<Result<_, _>>()?;
        let mut rules = Vec::with_capacity(prefixes.len());
        for prefix in &prefixes {
            rules.push(rule_out(&scope, registry.rule(&scope, prefix).await?));
        }
        return Ok(DescribePullThroughCacheRulesResponse { pull_through_cache_rules: Some(rules), next_token: None });
    }
    let question = format!("DescribePullThroughCacheRules {}", scope.account);
    let pager = wire::pager(&question, input.max_results);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let (rows, _) = registry.rules(&scope, after.as_deref(), wire::page_limit(input.max_results)).await?;
    let page = pager.page(rows, |(prefix, _)| prefix.to_string());
    Ok(DescribePullThroughCacheRulesResponse {
        pull_through_cache_rules: Some(page.items.into_iter().map(|(_, row)| rule_out(&scope, row)).collect()),
        next_token: page.next_token,
    })
}
