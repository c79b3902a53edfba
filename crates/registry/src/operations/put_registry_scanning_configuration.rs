//! `PutRegistryScanningConfiguration`

use serde_json::json;

use super::*;
use crate::scanning::rows::{ScanningRow, ScanningRule};
use crate::scanning::rules::Frequency;

/// Repositories that one event may tell of.
const TOLD_MAX: usize = 1000;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutRegistryScanningConfigurationRequest,
) -> Result<PutRegistryScanningConfigurationResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let before = registry.scanning(&scope).await?;
    let row = ScanningRow {
        enhanced: match input.scan_type {
            Some(kind) => kind == ScanType::Enhanced,
            None => before.enhanced,
        },
        rules: input.rules.unwrap_or_default().into_iter().map(rule).collect::<Result<_, _>>()?,
    };
    row.check().map_err(|constraint| RegistryError::Parameter { member: "rules", constraint })?;
    registry.scanning_put(&scope, &row).await?;
    tell(registry, &scope, &before, &row).await?;
    Ok(PutRegistryScanningConfigurationResponse { registry_scanning_configuration: Some(wire::scanning_out(&row)) })
}

fn rule(rule: RegistryScanningRule) -> Result<ScanningRule, RegistryError> {
    let frequency = match rule.scan_frequency {
        Some(ScanFrequency::ScanOnPush) => Frequency::ScanOnPush,
        Some(ScanFrequency::ContinuousScan) => Frequency::ContinuousScan,
        Some(ScanFrequency::Manual) => Frequency::Manual,
        None | Some(ScanFrequency::Unknown(_)) => {
            let constraint = format!("Member must satisfy enum value set: [{}]", ScanFrequency::VALUES.join(", "));
            return Err(RegistryError::Parameter { member: "scanFrequency", constraint });
        }
    };
    let filters = rule.repository_filters.unwrap_or_default().into_iter().filter_map(|filter| filter.filter).collect();
    Ok(ScanningRule { frequency, filters })
}

/// `ECR Scan Resource Change`: the repositories that are scanned more or less often from now on.
async fn tell(
    registry: &Registry,
    scope: &Scope,
    before: &ScanningRow,
    after: &ScanningRow,
) -> Result<(), RegistryError> {
    let (repositories, _) = registry.metadata.repositories(scope, None, TOLD_MAX).await?;
    let change = |name: &str| (before.effective(name).frequency, after.effective(name).frequency);
    let changed: Vec<_> = repositories
        .iter()
        .map(|(name, _)| (name, change(name.as_str())))
        .filter(|(_, (before, after))| before != after)
        .map(|(name, (before, after))| {
            json!({
                "repository-name": name.as_str(),
                "repository-arn": RepositoryKeys::new(scope, name).arn(),
                "scan-frequency": after.as_str(),
                "previous-scan-frequency": before.as_str(),
            })
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    registry.events.emit(gantry_api::event::Event {
        id: uuid::Uuid::new_v4().to_string(),
        source: "aws.ecr".to_owned(),
        detail_type: "ECR Scan Resource Change".to_owned(),
        account: scope.account.clone(),
        region: scope.region.clone(),
        time_ms: registry.now().as_millis(),
        resources: changed.iter().filter_map(|each| each["repository-arn"].as_str().map(str::to_owned)).collect(),
        detail: json!({
            "action-type": "SCAN_FREQUENCY_CHANGE",
            "repositories": changed,
            "resource-type": "REPOSITORY",
            "scan-type": if after.enhanced { "ENHANCED" } else { "BASIC" },
        }),
    });
    Ok(())
}
