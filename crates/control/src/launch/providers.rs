//! Launches over several capacity providers: how many tasks go to each, and what becomes of those that find no room.
//!
//! Each provider's part is placed on that provider's instances and nowhere else. Where the provider scales its group, a
//! task without room is created all the same and waits for an instance ([`super::waiting`]).

use std::borrow::Cow;

use gantry_api::{Fault, ecs};
use gantry_domain::{arn::Scope, capacity::strategy, limits::PROVISIONING_TASKS_PER_CLUSTER_MAX};

use super::{Launch, LaunchError, Launched, Target, TaskTemplate};
use crate::{capacity_providers::kind, clusters, fault, records::LaunchType, view::EcsView};

/// The tasks of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderShare {
    /// The provider.
    pub provider: String,
    /// How many.
    pub count: usize,
    /// Whether those without room wait for an instance.
    pub waits: bool,
}

/// The provider of each of `count` more tasks, when every provider of the strategy has `placed` already.
pub(crate) fn share(strategy: &[ecs::CapacityProviderStrategyItem], placed: &[u32], count: usize) -> Vec<String> {
    let name = |index: usize| strategy.get(index).and_then(|item| item.capacity_provider.clone());
    strategy::share(&clusters::items(strategy), placed, count).into_iter().filter_map(name).collect()
}

/// Where tasks of a launch type may go, when these are their providers.
pub(crate) fn target(view: &EcsView, scope: &Scope, launch_type: LaunchType, providers: &[String]) -> Target {
    match launch_type {
        LaunchType::External => Target::External,
        LaunchType::Fargate => Target::Fleet,
        LaunchType::Ec2 if providers.is_empty() => Target::Ec2,
        LaunchType::Ec2 => Target::Providers(shares(view, scope, providers)),
    }
}

fn shares(view: &EcsView, scope: &Scope, providers: &[String]) -> Vec<ProviderShare> {
    let mut shares: Vec<ProviderShare> = Vec::new();
    for provider in providers {
        match shares.iter_mut().find(|share| share.provider == *provider) {
            Some(share) => share.count += 1,
            None => {
                let waits = kind(view, scope, provider).is_some_and(|kind| kind.is_managed());
                shares.push(ProviderShare { provider: provider.clone(), count: 1, waits });
            }
        }
    }
    shares
}

/// The launch as one per provider, with whether what finds no room waits.
pub(super) fn parts(launch: &Launch) -> Vec<(Cow<'_, Launch>, bool)> {
    let Target::Providers(shares) = &launch.target else { return vec![(Cow::Borrowed(launch), false)] };
    let part = |share: &ProviderShare| {
        let task = TaskTemplate { capacity_providers: vec![share.provider.clone()], ..launch.task.clone() };
        let target = Target::Provider(share.provider.clone());
        (Cow::Owned(Launch { target, count: share.count, task, ..launch.clone() }), share.waits)
    };
    shares.iter().map(part).collect()
}

/// How many of the tasks without room may wait. One that no service asked for is refused when the cluster has too many.
pub(super) fn may_wait(
    view: &EcsView,
    launch: &Launch,
    unplaced: usize,
    waiting_in_batch: usize,
) -> Result<usize, LaunchError> {
    let cluster = view.cluster(&launch.cluster.scope, &launch.cluster.cluster);
    let waiting = cluster.map_or(0, |cluster| cluster.tasks().waiting().len()) + waiting_in_batch;
    let free = PROVISIONING_TASKS_PER_CLUSTER_MAX.saturating_sub(waiting);
    if unplaced > free && launch.task.keeper.is_none() {
        return Err(provisioning_limit().into());
    }
    Ok(unplaced.min(free))
}

fn provisioning_limit() -> Fault {
    fault::client("Tasks provisioning capacity limit exceeded.")
}

impl Launched {
    /// Together with another part of the same launch.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.tasks.extend(other.tasks);
        self.unplaced += other.unplaced;
        self.refused.extend(other.refused);
        self.closest = self.closest.or(other.closest);
        self.no_instances &= other.no_instances;
        self
    }
}
