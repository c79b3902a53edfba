//! `ListPullTimeUpdateExclusions`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: ListPullTimeUpdateExclusionsRequest,
) -> Result<ListPullTimeUpdateExclusionsResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let question = format!("ListPullTimeUpdateExclusions {}", scope.account);
    let pager = wire::pager(&question, input.max_results);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let (rows, _) = registry.exclusions(&scope, after.as_deref(), wire::page_limit(input.max_results)).await?;
    let page = pager.page(rows, |(arn, _)| arn.clone());
    Ok(ListPullTimeUpdateExclusionsResponse {
        pull_time_update_exclusions: Some(page.items.into_iter().map(|(arn, _)| arn).collect()),
        next_token: page.next_token,
    })
}
