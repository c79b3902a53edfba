//! `capacityProviders` and `defaultCapacityProviderStrategy` of a cluster.

use std::collections::BTreeSet;

use gantry_api::{Fault, ecs::CapacityProviderStrategyItem};
use gantry_domain::{
    arn::Scope,
    capacity::strategy::{Invalid, Item, check},
    limits::{CAPACITY_PROVIDERS_PER_CLUSTER_MAX, STRATEGY_ITEMS_MAX},
};

use crate::{
    capacity_providers::{Kind, kind},
    fault,
    view::EcsView,
};

/// The providers of a request by name, each once, in the order given.
pub(crate) fn check_providers(view: &EcsView, scope: &Scope, providers: &[String]) -> Result<Vec<String>, Fault> {
    if providers.len() > CAPACITY_PROVIDERS_PER_CLUSTER_MAX {
        return Err(fault::too_many_capacity_providers());
    }
    let mut names: Vec<String> = Vec::new();
    for provider in providers {
        let inactive = || fault::capacity_provider_inactive(provider);
        let name = scope.capacity_provider(provider).map_err(|_| inactive())?;
        kind(view, scope, name.as_str()).ok_or_else(inactive)?;
        if !names.iter().any(|known| known == name.as_str()) {
            names.push(name.into());
        }
    }
    Ok(names)
}

/// A strategy over providers that the cluster has, weight and base filled in.
pub(crate) fn check_strategy(
    view: &EcsView,
    scope: &Scope,
    strategy: &[CapacityProviderStrategyItem],
    attached: &[String],
) -> Result<Vec<CapacityProviderStrategyItem>, Fault> {
    let mut checked = Vec::new();
    let mut names = BTreeSet::new();
    let mut fargate = BTreeSet::new();
    for item in strategy {
        let provider = item.capacity_provider.as_deref().unwrap_or_default();
        let name = scope.capacity_provider(provider).map_err(|_| fault::strategy_not_found(provider))?;
        let Some(kind) = kind(view, scope, name.as_str()) else { return Err(fault::strategy_not_found(provider)) };
        if !attached.iter().any(|attached| attached == name.as_str()) {
            return Err(fault::strategy_not_associated());
        }
        fargate.insert(matches!(kind, Kind::Fargate));
        names.insert(name.clone());
        checked.push(CapacityProviderStrategyItem {
            capacity_provider: Some(name.into()),
            weight: Some(item.weight.unwrap_or(0)),
            base: Some(item.base.unwrap_or(0)),
        });
    }
    if fargate.len() > 1 {
        return Err(fault::strategy_mixed());
    }
    let bases = check(&items(&checked)) == Err(Invalid::Bases);
    if checked.len() > STRATEGY_ITEMS_MAX || names.len() < checked.len() || bases {
        return Err(fault::strategy_invalid());
    }
    Ok(checked)
}

/// A strategy as the domain shares tasks by it.
pub(crate) fn items(strategy: &[CapacityProviderStrategyItem]) -> Vec<Item> {
    let natural = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    strategy.iter().map(|item| Item { base: natural(item.base), weight: natural(item.weight) }).collect()
}
