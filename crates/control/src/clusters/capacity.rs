//! Capacity providers of a cluster. Only Fargate's two exist; they belong to AWS and are attached, not made.

use std::collections::BTreeSet;

use gantry_api::{Fault, ecs::CapacityProviderStrategyItem};
use gantry_domain::{
    arn::Scope,
    limits::{CAPACITY_PROVIDERS_PER_CLUSTER_MAX, STRATEGY_ITEMS_MAX},
};

use crate::fault;

const KNOWN: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// The providers of a request by name, each once, in the order given.
pub(crate) fn check_providers(scope: &Scope, providers: &[String]) -> Result<Vec<String>, Fault> {
    if providers.len() > CAPACITY_PROVIDERS_PER_CLUSTER_MAX {
        return Err(fault::too_many_capacity_providers());
    }
    let mut names: Vec<String> = Vec::new();
    for provider in providers {
        let name = name_of(scope, provider)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn name_of(scope: &Scope, provider: &str) -> Result<String, Fault> {
    let name = scope.capacity_provider(provider).map_err(|_| fault::capacity_provider_inactive(provider))?;
    if KNOWN.contains(&name.as_str()) { Ok(name.into()) } else { Err(fault::capacity_provider_inactive(provider)) }
}

/// A strategy over providers that the cluster has, weight and base filled in.
pub(crate) fn check_strategy(
    scope: &Scope,
    strategy: &[CapacityProviderStrategyItem],
    attached: &[String],
) -> Result<Vec<CapacityProviderStrategyItem>, Fault> {
    let mut checked = Vec::new();
    let mut names = BTreeSet::new();
    for item in strategy {
        let provider = item.capacity_provider.as_deref().unwrap_or_default();
        let name = scope.capacity_provider(provider).map_err(|_| fault::strategy_not_associated())?;
        if !attached.iter().any(|attached| attached == name.as_str()) {
            return Err(fault::strategy_not_associated());
        }
        names.insert(name.clone());
        checked.push(CapacityProviderStrategyItem {
            capacity_provider: Some(name.into()),
            weight: Some(item.weight.unwrap_or(0)),
            base: Some(item.base.unwrap_or(0)),
        });
    }
    let bases = checked.iter().filter(|item| item.base.is_some_and(|base| base > 0)).count();
    if checked.len() > STRATEGY_ITEMS_MAX || names.len() < checked.len() || bases > 1 {
        return Err(fault::strategy_invalid());
    }
    Ok(checked)
}
