//! `DescribeRepositories`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeRepositoriesRequest,
) -> Result<DescribeRepositoriesResponse, RegistryError> {
    if let Some(names) = input.repository_names {
        wire::no_paging("repositoryNames", input.next_token.as_ref(), input.max_results)?;
        let mut repositories = Vec::with_capacity(names.len());
        for name in &names {
            let keys = request.repository(registry, input.registry_id.as_deref(), Some(name)).await?;
            repositories.push(wire::repository(registry, &keys, &registry.repository(&keys).await?));
        }
        return Ok(DescribeRepositoriesResponse { repositories: Some(repositories), next_token: None });
    }
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let question = format!("DescribeRepositories {}", scope.account);
    let pager = wire::pager(&question, input.max_results);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let (rows, _) = registry.repositories(&scope, after.as_deref(), wire::page_limit(input.max_results)).await?;
    let page = pager.page(rows, |(name, _)| name.to_string());
    let shown = |(name, row)| wire::repository(registry, &RepositoryKeys::new(&scope, &name), &row);
    Ok(DescribeRepositoriesResponse {
        repositories: Some(page.items.into_iter().map(shown).collect()),
        next_token: page.next_token,
    })
}
