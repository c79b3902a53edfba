//! A DAEMON service: exactly one task on every ACTIVE instance that satisfies its constraints.
//!
//! The number of those instances is the desired count, and the percentages count over it. An instance never holds two
//! tasks of the service at once (`maximumPercent` is 100), so replacing a task means stopping the old one first. On a
//! draining instance the daemon leaves last, after everything it may serve.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Fitness, Planner, START_BATCH_MAX, TaskView, count};
use crate::reason::{ServiceEvent, StoppedReason};

/// While a daemon waits for the other tasks of a draining instance, it looks again after this long.
const DRAIN_LOOK_MS: i64 = 1_000;

/// One instance that satisfies the constraints of a DAEMON service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonInstance {
    /// Its id.
    pub id: String,
    /// ACTIVE; otherwise it is DRAINING.
    pub active: bool,
    /// Tasks of others still live on it.
    pub has_other_tasks: bool,
}

impl<'a> Planner<'a> {
    /// Returns how many tasks were told to stop.
    pub(super) fn stop_daemon_tasks(&mut self, instances: &'a [DaemonInstance]) -> u32 {
        let before = count(self.plan.actions.iter().filter(|action| matches!(action, Action::StopTask { .. })));
        let by_id: BTreeMap<&str, &DaemonInstance> =
            instances.iter().map(|instance| (instance.id.as_str(), instance)).collect();
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        let mut tasks: Vec<&TaskView> = self.wanted().collect();
        // What is in no wanted place leaves the count of the healthy ones first. Then the best task of an instance comes
        // first: of the primary deployment, serving, the newest.
        tasks.sort_by_key(|task| {
            let in_place = by_id.get(task.instance.as_str()).is_some_and(|place| place.active);
            let age = std::cmp::Reverse(task.created_at);
            (in_place, !self.is_primary(task), std::cmp::Reverse(self.fitness(task)), age, &task.id)
        });
        for task in tasks {
            let place = by_id.get(task.instance.as_str()).copied();
            match place {
                Some(place) if !place.active && place.has_other_tasks => {
                    // It serves until it leaves, but the desired count is of ACTIVE instances.
                    self.healthy -= u32::from(self.fitness(task) == Fitness::Healthy);
                    self.wake_at(self.now.plus_millis(DRAIN_LOOK_MS));
                }
                Some(place) if place.active && kept.insert(&place.id) => self.stop_daemon_task_in_place(task),
                _ => self.stop(task, self.scaling_activity(task)),
            }
        }
        let after = count(self.plan.actions.iter().filter(|action| matches!(action, Action::StopTask { .. })));
        after - before
    }

    /// A task where one is wanted: it goes only to make room for a better one.
    fn stop_daemon_task_in_place(&mut self, task: &'a TaskView) {
        if !self.launching {
            return;
        }
        if !self.is_primary(task) {
            let may_go = self.is_free(task) || (self.fits_surplus(task) && self.last_step_is_baked());
            if may_go && !task.protected {
                self.stop(task, self.scaling_activity(task));
            }
        } else if self.fitness(task) == Fitness::Unhealthy {
            self.announce(ServiceEvent::FailedContainerHealthChecks { task: task.id.clone() });
            self.stop(task, StoppedReason::FailedContainerHealthChecks);
        }
    }

    /// Whether the tasks that the primary deployment of a managed daemon has already have run for its bake time.
    fn last_step_is_baked(&mut self) -> bool {
        if self.service.missing_max.is_none() {
            return true;
        }
        let own = self.wanted().filter(|task| self.is_primary(task));
        let youngest = own.filter_map(|task| task.started_at).max();
        let baked_at = youngest.map(|at| at.plus_millis(self.service.watch.bake_ms));
        let Some(at) = baked_at.filter(|at| *at > self.now) else { return true };
        self.wake_at(at);
        false
    }

    /// Returns how many tasks are to be started.
    pub(super) fn start_daemon_tasks(&mut self, instances: &[DaemonInstance]) -> u32 {
        let taken: BTreeSet<&str> =
            self.service.tasks.iter().filter(|task| task.is_live()).map(|task| task.instance.as_str()).collect();
        let empty = instances.iter().filter(|instance| instance.active && !taken.contains(instance.id.as_str()));
        let on: Vec<String> = empty.map(|instance| instance.id.clone()).take(START_BATCH_MAX as usize).collect();
        if on.is_empty() || !self.launching {
            return 0;
        }
        if let Some(until) = self.failures.next_start_at().filter(|&until| until > self.now) {
            self.wake_at(until);
            return 0;
        }
        let starts = count(on.iter());
        self.act(Action::StartTasksOn { deployment: self.primary, instances: on });
        starts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{NOW, deployment, moves, pending, service, task};
    use super::super::{ServiceView, plan_service};
    use super::*;
    use crate::deployment::DeploymentLimits;
    use crate::task::{DesiredStatus, LastStatus};

    fn instance(id: &str) -> DaemonInstance {
        DaemonInstance { id: id.to_owned(), active: true, has_other_tasks: false }
    }

    fn daemon(instances: Vec<DaemonInstance>, tasks: Vec<TaskView>) -> ServiceView {
        let active = count(instances.iter().filter(|instance| instance.active));
        ServiceView { limits: DeploymentLimits::DAEMON, daemon: Some(instances), tasks, ..service(active) }
    }

    fn on(id: &str, instance: &str, number: u64) -> TaskView {
        TaskView { instance: instance.to_owned(), ..task(id, number) }
    }

    fn plan(service: &ServiceView) -> String {
        moves(&plan_service(NOW, service))
    }

    #[test]
    fn every_instance_gets_one_and_a_new_one_too() {
        let three = vec![instance("i1"), instance("i2"), instance("i3")];
        assert_eq!(plan(&daemon(three.clone(), Vec::new())), "+i1+i2+i3");
        assert_eq!(plan(&daemon(three.clone(), vec![on("a", "i1", 1), on("c", "i3", 1)])), "+i2");
        let all = vec![on("a", "i1", 1), on("b", "i2", 1), on("c", "i3", 1)];
        assert_eq!(plan(&daemon(three, all)), "");
    }

    #[test]
    fn what_stands_on_no_wanted_instance_goes() {
        let mut double = on("b", "i1", 1);
        double.created_at = NOW.plus_seconds(-10);
        let service = daemon(vec![instance("i1")], vec![on("a", "i1", 1), double, on("x", "gone", 1)]);
        assert_eq!(plan(&service), "-x -a");
    }

    #[test]
    fn a_daemon_leaves_a_draining_instance_last() {
        let draining = DaemonInstance { active: false, has_other_tasks: true, ..instance("i1") };
        let leaving = TaskView { on_draining_instance: true, ..on("a", "i1", 1) };
        let service = daemon(vec![draining.clone(), instance("i2")], vec![leaving.clone(), on("b", "i2", 1)]);
        let waits = plan_service(NOW, &service);
        assert_eq!(moves(&waits), "");
        assert_eq!(waits.wake_at, Some(NOW.plus_millis(DRAIN_LOOK_MS)));
        let empty = DaemonInstance { has_other_tasks: false, ..draining };
        assert_eq!(plan(&daemon(vec![empty, instance("i2")], vec![leaving, on("b", "i2", 1)])), "-a");
    }

    #[test]
    fn a_deployment_replaces_as_many_as_the_floor_allows() {
        let instances = || vec![instance("i1"), instance("i2"), instance("i3"), instance("i4")];
        let old = || vec![on("a", "i1", 1), on("b", "i2", 1), on("c", "i3", 1), on("d", "i4", 1)];
        let newer = |service| ServiceView { deployments: vec![deployment(2), deployment(1)], ..service };
        assert_eq!(plan(&newer(daemon(instances(), old()))), "-a -b -c -d");
        let half = DeploymentLimits { minimum_healthy_percent: 50, maximum_percent: 100 };
        assert_eq!(plan(&ServiceView { limits: half, ..newer(daemon(instances(), old())) }), "-a -b");
        // The place is taken until the old task is STOPPED.
        let mut tasks = old();
        tasks[0].desired_status = DesiredStatus::Stopped;
        tasks[0].last_status = LastStatus::Stopping;
        assert_eq!(plan(&newer(daemon(instances(), tasks.clone()))), "-b -c -d");
        tasks.remove(0);
        tasks.push(TaskView { instance: "i1".to_owned(), ..pending("n", 2) });
        assert_eq!(plan(&ServiceView { limits: half, ..newer(daemon(instances(), tasks)) }), "-b");
    }

    #[test]
    fn a_managed_daemon_goes_step_by_step_and_bakes_each() {
        let instances: Vec<_> = ["i1", "i2", "i3"].map(instance).into();
        let old = vec![on("a", "i1", 1), on("b", "i2", 1), on("c", "i3", 1)];
        let mut rolling = daemon(instances, old.clone());
        rolling.deployments = vec![deployment(2), deployment(1)];
        rolling.missing_max = Some(1);
        rolling.watch.bake_ms = 60_000;
        assert_eq!(plan(&rolling), "-a");
        rolling.tasks = vec![on("n", "i1", 2), old[1].clone(), old[2].clone()];
        rolling.tasks[0].started_at = Some(NOW.plus_seconds(-40));
        let waits = plan_service(NOW, &rolling);
        assert_eq!(moves(&waits), "");
        assert_eq!(waits.wake_at, Some(NOW.plus_seconds(20)));
        rolling.tasks[0].started_at = Some(NOW.plus_seconds(-60));
        assert_eq!(plan(&rolling), "-b");
    }

    #[test]
    fn what_leaves_instances_that_are_no_longer_wanted_is_not_counted_on() {
        let all = vec![on("a", "i1", 1), on("b", "i2", 1), on("x", "elsewhere", 1)];
        let mut moving = daemon(vec![instance("i1"), instance("i2")], all);
        moving.deployments = vec![deployment(2), deployment(1)];
        moving.missing_max = Some(1);
        assert_eq!(plan(&moving), "-x -a");
    }

    #[test]
    fn what_waits_on_a_draining_instance_is_not_counted_on() {
        let draining = DaemonInstance { active: false, has_other_tasks: true, ..instance("i4") };
        let leaving = TaskView { on_draining_instance: true, ..on("d", "i4", 1) };
        let instances = vec![instance("i1"), instance("i2"), instance("i3"), draining];
        let tasks = vec![on("a", "i1", 1), on("b", "i2", 1), on("c", "i3", 1), leaving];
        let mut rolling = daemon(instances, tasks);
        rolling.deployments = vec![deployment(2), deployment(1)];
        rolling.missing_max = Some(1);
        assert_eq!(plan(&rolling), "-a");
    }

    #[test]
    fn tasks_that_were_just_started_are_not_replaced_all_at_once() {
        let young = |id: &str, instance: &str| TaskView { started_at: Some(NOW), ..on(id, instance, 1) };
        let mut rolling = daemon(vec![instance("i1"), instance("i2")], vec![young("a", "i1"), young("b", "i2")]);
        rolling.deployments = vec![deployment(2), deployment(1)];
        rolling.missing_max = Some(1);
        assert_eq!(plan(&rolling), "");
    }

    proptest! {
        /// In a world that does what it is told, every ACTIVE instance ends with exactly one task of the newest
        /// deployment, no instance ever holds two, and it takes few steps.
        #[test]
        fn it_ends_with_one_task_on_each(
            places in prop::collection::vec((any::<bool>(), any::<bool>()), 0..6),
            seeds in prop::collection::vec((0..8usize, 1..=2u64, any::<bool>()), 0..8),
            minimum in 0..=100u32,
        ) {
            let instances: Vec<DaemonInstance> = places.iter().enumerate().map(|(index, (active, others))| {
                DaemonInstance { id: format!("i{index}"), active: *active, has_other_tasks: *others && *active }
            }).collect();
            let tasks = seeds.iter().enumerate().map(|(index, (place, number, runs))| {
                let draining = instances.get(*place).is_none_or(|instance| !instance.active);
                let task = if *runs { task("", *number) } else { pending("", *number) };
                TaskView { id: format!("t{index}"), instance: format!("i{place}"), on_draining_instance: draining, ..task }
            }).collect();
            let mut service = daemon(instances.clone(), tasks);
            service.deployments = vec![deployment(2), deployment(1)];
            service.limits = DeploymentLimits { minimum_healthy_percent: minimum, maximum_percent: 100 };
            let (mut now, mut idle) = (NOW, 0);
            for step in 0..60 {
                prop_assert!(step < 50, "it does not end");
                let plan = plan_service(now, &service);
                let mut moved = false;
                for action in &plan.actions {
                    match action {
                        Action::StopTask { task, .. } => {
                            moved = true;
                            service.tasks.retain(|other| other.id != *task);
                        }
                        Action::StartTasksOn { instances, .. } => {
                            moved = true;
                            for instance in instances {
                                let id = format!("n{step}-{instance}");
                                service.tasks.push(TaskView { created_at: now, instance: instance.clone(), ..pending(&id, 2) });
                            }
                        }
                        Action::RemoveDeployment { deployment } => {
                            service.deployments.retain(|other| other.id != *deployment);
                        }
                        _ => {}
                    }
                }
                let pending_ones = service.tasks.iter().any(|task| task.last_status == LastStatus::Pending);
                idle = if moved || pending_ones { 0 } else { idle + 1 };
                if idle == 3 {
                    break;
                }
                now = now.plus_seconds(60);
                for task in &mut service.tasks {
                    if task.last_status == LastStatus::Pending {
                        task.last_status = LastStatus::Running;
                        task.started_at = Some(now.plus_seconds(-50));
                    }
                }
            }
            for instance in &instances {
                let here: Vec<u64> = service.tasks.iter().filter(|task| task.instance == instance.id)
                    .map(|task| task.deployment.number()).collect();
                // With a floor of all, an old task can never make way.
                let stuck = minimum == 100 || u64::from(minimum) * u64::from(service.desired_count) > 100 * u64::from(service.desired_count.saturating_sub(1));
                if instance.active && !stuck {
                    prop_assert_eq!(&here, &vec![2], "{:?}", instance);
                } else if !instance.active {
                    prop_assert!(here.is_empty());
                }
                prop_assert!(here.len() <= 1);
            }
        }
    }
}
