//! `BatchGetRepositoryScanningConfiguration`

use super::*;
use crate::scanning::rules::Frequency;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: BatchGetRepositoryScanningConfigurationRequest,
) -> Result<BatchGetRepositoryScanningConfigurationResponse, RegistryError> {
    // The action is on repositories, one by one.
    let scope = Scope::new(&request.caller.account, &request.caller.region);
    let scanning = registry.scanning(&scope).await?;
    let (mut configurations, mut failures) = (Vec::new(), Vec::new());
    for name in input.repository_names.unwrap_or_default() {
        let keys = request.repository(registry, None, Some(&name)).await?;
        let repository = match registry.metadata.repository(&keys).await {
            Ok(repository) => repository.row,
            Err(RegistryError::RepositoryNotFound { .. }) => {
                failures.push(not_found(name, &scope));
                continue;
            }
            Err(error) => return Err(error),
        };
        let effective = scanning.effective(&name);
        // The repository's own switch is the older way to say the same.
        let switched = !scanning.enhanced && repository.scan_on_push;
        let frequency = if switched { effective.frequency.max(Frequency::ScanOnPush) } else { effective.frequency };
        configurations.push(RepositoryScanningConfiguration {
            repository_arn: Some(keys.arn()),
            repository_name: Some(name),
            scan_on_push: Some(frequency == Frequency::ScanOnPush),
            scan_frequency: Some(wire::scan_frequency(frequency)),
            applied_scan_filters: Some(wire::scan_filters(&effective.filters)),
        });
    }
    Ok(BatchGetRepositoryScanningConfigurationResponse {
        scanning_configurations: Some(configurations),
        failures: Some(failures),
    })
}

fn not_found(name: String, scope: &Scope) -> RepositoryScanningConfigurationFailure {
    let account = &scope.account;
    RepositoryScanningConfigurationFailure {
        failure_code: Some(ScanningConfigurationFailureCode::RepositoryNotFound),
        failure_reason: Some(format!(
            "The repository with name '{name}' does not exist in the registry with id '{account}'"
        )),
        repository_name: Some(name),
    }
}
