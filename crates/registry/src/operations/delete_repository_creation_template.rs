//! `DeleteRepositoryCreationTemplate`

use super::creation_template::{prefix_in, template_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DeleteRepositoryCreationTemplateRequest,
) -> Result<DeleteRepositoryCreationTemplateResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let row = registry.template_delete(&scope, &prefix_in(input.prefix.as_deref())?).await?;
    Ok(DeleteRepositoryCreationTemplateResponse {
        registry_id: Some(scope.account),
        repository_creation_template: Some(template_out(row)),
    })
}
