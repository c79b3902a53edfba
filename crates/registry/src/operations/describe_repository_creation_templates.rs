//! `DescribeRepositoryCreationTemplates`: an unknown prefix is simply absent from the answer.

use std::collections::BTreeSet;

use super::creation_template::{prefix_in, template_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeRepositoryCreationTemplatesRequest,
) -> Result<DescribeRepositoryCreationTemplatesResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let mut response = DescribeRepositoryCreationTemplatesResponse {
        registry_id: Some(scope.account.clone()),
        ..DescribeRepositoryCreationTemplatesResponse::default()
    };
    if let Some(prefixes) = input.prefixes.filter(|prefixes| !prefixes.is_empty()) {
        wire::no_paging("prefixes", input.next_token.as_ref(), input.max_results)?;
        let prefixes: BTreeSet<_> = prefixes.iter().map(|text| prefix_in(Some(text))).collect::<Result<_, _>>()?;
        let mut templates = Vec::new();
        for prefix in &prefixes {
            match registry.template(&scope, prefix).await {
                Ok(row) => templates.push(template_out(row)),
                Err(RegistryError::TemplateNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        response.repository_creation_templates = Some(templates);
        return Ok(response);
    }
    let question = format!("DescribeRepositoryCreationTemplates {}", scope.account);
    let pager = wire::pager(&question, input.max_results);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let (rows, _) = registry.templates(&scope, after.as_deref(), wire::page_limit(input.max_results)).await?;
    let page = pager.page(rows, |(prefix, _)| prefix.to_string());
    response.repository_creation_templates = Some(page.items.into_iter().map(|(_, row)| template_out(row)).collect());
    response.next_token = page.next_token;
    Ok(response)
}
