//! Availability Zone rebalancing: when one zone has at least two tasks more than another, start tasks in the emptiest
//! zone, and stop as many in the fullest once the new ones are healthy.
//!
//! It must hold that no task is stopped for it before as many healthy ones stand as are wanted, and that it comes to an
//! end. It rests while a deployment is under way: that one places tasks anew anyway. A zone without room takes part as far
//! as tasks can leave it.

use std::collections::BTreeMap;

use super::{Action, Fitness, Planner, START_BATCH_MAX, TaskView, count, scale_in};
use crate::{
    deployment::RolloutState,
    reason::{ServiceEvent, StoppedReason, ZoneCount},
};

/// A service whose tasks are to be kept balanced over zones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rebalance {
    /// The zones with instances that its tasks may be on, and for how many more these have room, up to
    /// [`START_BATCH_MAX`].
    pub zones: BTreeMap<String, u32>,
    /// The service has said that it is not balanced, and not yet that it is.
    pub active: bool,
}

impl<'a> Planner<'a> {
    /// Whether surplus tasks are replacements that must become healthy before others go.
    pub(super) fn is_rebalancing(&self) -> bool {
        self.rebalance().is_some_and(|rebalance| rebalance.active)
    }

    /// Stops tasks in the fullest zone, as far as healthy tasks stand for them.
    pub(super) fn stop_rebalanced(&mut self) {
        let healthy = self.wanted().filter(|task| self.is_good(task) && self.fitness(task) == Fitness::Healthy);
        let surplus = self.good().saturating_sub(self.service.desired_count);
        let stops = count(healthy).saturating_sub(self.service.desired_count).min(surplus).min(START_BATCH_MAX);
        let Some((zone, _)) = self.zone_counts().into_iter().max_by_key(|(_, tasks)| *tasks) else { return };
        // The ones that are not healthy yet are what is waited for.
        let goes = |task: &&TaskView| task.zone == zone && self.is_good(task) && self.fitness(task) == Fitness::Healthy;
        let mut pool: Vec<&TaskView> = self.wanted().filter(goes).collect();
        let chosen = scale_in::choose(&mut pool, &self.service.scale_in, stops, |_| ());
        if chosen.is_empty() {
            return;
        }
        self.healthy -= count(chosen.iter());
        let tasks: Vec<String> = chosen.iter().map(|task| task.id.clone()).collect();
        let reason = StoppedReason::ScalingActivity { deployment: self.primary.to_string() };
        self.act(Action::MoveAway { zone: zone.to_owned(), tasks, reason });
    }

    /// Says how the zones stand, and starts tasks in the emptiest one. Only a service that is where it should be
    /// otherwise is moved.
    pub(super) fn start_rebalancing(&mut self) {
        let Some(rebalance) = self.rebalance() else {
            // Whatever ended it, a deployment or the user, speaks for itself.
            if self.service.rebalance.as_ref().is_some_and(|rebalance| rebalance.active) {
                self.act(Action::SetRebalancing { active: false });
            }
            return;
        };
        if self.plan.waiting_on.is_some() {
            return;
        }
        let counts = self.zone_counts();
        // Tasks may also be where nothing can be placed any more: there they can leave and not be added to.
        let room_in = |zone: &str| rebalance.zones.get(zone).copied().unwrap_or(0);
        let open = |zone: &str| room_in(zone) > 0;
        let most = counts.iter().map(|(_, tasks)| *tasks).max().unwrap_or(0);
        let least_of =
            |zones: &mut dyn Iterator<Item = &(&str, u32)>| zones.map(|(_, tasks)| *tasks).min().unwrap_or(most);
        let least = least_of(&mut counts.iter().filter(|(zone, _)| open(zone)));
        if most - least < 2 {
            if rebalance.active {
                self.act(Action::SetRebalancing { active: false });
                // Else the emptiest zones are full, and it is as balanced as it can be now.
                if most - least_of(&mut counts.iter()) < 2 {
                    self.announce(ServiceEvent::RebalancingCompleted { zones: told(&counts) });
                }
            }
            return;
        }
        let goes = |task: &&TaskView| !task.protected && counts.contains(&(task.zone.as_str(), most));
        let room = self.room();
        if room == 0 || !self.wanted().any(|task| goes(&task)) {
            return;
        }
        if !rebalance.active {
            self.act(Action::SetRebalancing { active: true });
            self.announce(ServiceEvent::RebalancingStarted { zones: told(&counts) });
        }
        let zones = count(counts.iter());
        let share = self.service.desired_count / zones;
        let moves =
            most.saturating_sub(self.service.desired_count.div_ceil(zones)).min(share.saturating_sub(least)).max(1);
        if let Some(until) = self.failures.next_start_at().filter(|&until| until > self.now) {
            self.wake_at(until);
            return;
        }
        let emptiest = counts.iter().find(|(zone, tasks)| *tasks == least && open(zone));
        let Some(zone) = emptiest.map(|(zone, _)| (*zone).to_owned()) else { return };
        let starts = moves.min(room).min(room_in(&zone)).min(START_BATCH_MAX);
        self.act(Action::StartTasksInZone { deployment: self.primary, zone, count: starts });
    }

    /// What to balance, when that is possible now.
    fn rebalance(&self) -> Option<&'a super::Rebalance> {
        let [primary] = &self.service.deployments[..] else { return None };
        let settled = primary.rollout == RolloutState::Completed;
        self.service.rebalance.as_ref().filter(|_| settled && self.service.daemon.is_none())
    }

    fn good(&self) -> u32 {
        count(self.wanted().filter(|task| self.is_good(task)))
    }

    /// Good tasks by zone, in the order of the zones' names.
    fn zone_counts(&self) -> Vec<(&'a str, u32)> {
        let zones = self.rebalance().into_iter().flat_map(|rebalance| rebalance.zones.keys());
        let mut counts: BTreeMap<&str, u32> = zones.map(|zone| (zone.as_str(), 0)).collect();
        for task in self.wanted().filter(|task| self.is_good(task)) {
            *counts.entry(&task.zone).or_default() += 1;
        }
        counts.into_iter().collect()
    }
}

fn told(counts: &[(&str, u32)]) -> Vec<ZoneCount> {
    counts.iter().map(|(zone, tasks)| ZoneCount { zone: (*zone).to_owned(), tasks: *tasks }).collect()
}

#[cfg(test)]
#[path = "rebalance_tests.rs"]
mod tests;
