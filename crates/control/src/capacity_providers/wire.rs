//! A capacity provider as clients see it.

use gantry_api::ecs::{CapacityProvider, CapacityProviderStatus, CapacityProviderType};
use gantry_domain::arn::Scope;

use crate::{records::CapacityProviderRecord, tags};

/// One that an account made.
pub(crate) fn wire(scope: &Scope, name: &str, record: &CapacityProviderRecord, with_tags: bool) -> CapacityProvider {
    let status = if record.is_active() { CapacityProviderStatus::Active } else { CapacityProviderStatus::Inactive };
    CapacityProvider {
        capacity_provider_arn: Some(scope.capacity_provider_arn(name)),
        name: Some(name.to_owned()),
        status: Some(status),
        r#type: Some(CapacityProviderType::Ec2Autoscaling),
        auto_scaling_group_provider: Some(record.group.clone()),
        update_status: record.update.map(|update| update.to_wire()),
        update_status_reason: record.update_reason.clone(),
        tags: Some(if with_tags { tags::wire(&record.tags) } else { Vec::new() }),
        ..CapacityProvider::default()
    }
}

/// FARGATE or FARGATE_SPOT.
pub(crate) fn built_in(scope: &Scope, name: &str) -> CapacityProvider {
    let spot = name == "FARGATE_SPOT";
    CapacityProvider {
        capacity_provider_arn: Some(scope.capacity_provider_arn(name)),
        name: Some(name.to_owned()),
        status: Some(CapacityProviderStatus::Active),
        r#type: Some(if spot { CapacityProviderType::FargateSpot } else { CapacityProviderType::Fargate }),
        tags: Some(Vec::new()),
        ..CapacityProvider::default()
    }
}
