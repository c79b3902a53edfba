#![allow(clippy::unwrap_used)]

use super::super::{
    DeploymentView, Plan, ServiceView, plan_service,
    tests::{NOW, deployment, moves, pending, service, task},
};
use super::*;

/// A settled service with tasks `NUMBER x ZONE` and instances in all of `zones`.
fn balanced_over(zones: &[&str], tasks: &[(u32, &str)]) -> ServiceView {
    let one = |zone: &str, number: u32| TaskView { zone: zone.to_owned(), ..task(&format!("{zone}{number}"), 1) };
    let tasks: Vec<TaskView> =
        tasks.iter().flat_map(|(count, zone)| (0..*count).map(move |number| one(zone, number))).collect();
    ServiceView {
        deployments: vec![DeploymentView { rollout: RolloutState::Completed, ..deployment(1) }],
        steady_since: Some(NOW),
        rebalance: Some(Rebalance {
            zones: zones.iter().map(|zone| (zone.to_string(), START_BATCH_MAX)).collect(),
            active: false,
        }),
        tasks: tasks.clone(),
        ..service(u32::try_from(tasks.len()).unwrap())
    }
}

fn events(plan: &Plan) -> Vec<String> {
    let events = plan.actions.iter().filter_map(|action| match action {
        Action::Announce(event) => Some(event.message("web")),
        _ => None,
    });
    events.collect()
}

fn active(mut view: ServiceView) -> ServiceView {
    view.rebalance.as_mut().unwrap().active = true;
    view
}

#[test]
fn a_difference_of_two_starts_tasks_in_the_emptiest_zone() {
    for (tasks, expected) in [
        (&[(2, "a"), (1, "b")][..], ""),
        (&[(3, "a"), (1, "b")], "+1@b"),
        (&[(3, "a")], "+1@b"),
        (&[(6, "a"), (0, "b")], "+3@b"),
        (&[(1, "a"), (6, "b")], "+2@a"),
        (&[], ""),
    ] {
        assert_eq!(moves(&plan_service(NOW, &balanced_over(&["a", "b"], tasks))), expected, "{tasks:?}");
    }
    // No zone is filled beyond its share at once.
    assert_eq!(moves(&plan_service(NOW, &balanced_over(&["a", "b", "c"], &[(6, "a")]))), "+2@b");
    let plan = plan_service(NOW, &balanced_over(&["a", "b"], &[(3, "a")]));
    assert_eq!(
        events(&plan),
        ["service (web) is not AZ balanced with 3 tasks in a, 0 tasks in b. AZ Rebalancing in progress."]
    );
    assert!(plan.actions.contains(&Action::SetRebalancing { active: true }));
}

#[test]
fn tasks_of_the_fullest_zone_stop_when_their_replacements_are_healthy() {
    let mut view = active(balanced_over(&["a", "b"], &[(3, "a"), (1, "b")]));
    view.tasks.push(TaskView { zone: "b".into(), ..pending("new", 1) });
    assert_eq!(moves(&plan_service(NOW, &view)), "");
    view.tasks.pop();
    view.tasks.push(TaskView { zone: "b".into(), ..task("new", 1) });
    assert_eq!(moves(&plan_service(NOW, &view)), "-a0@a");
}

#[test]
fn balance_is_announced_once() {
    let plan = plan_service(NOW, &active(balanced_over(&["a", "b"], &[(2, "a"), (2, "b")])));
    assert_eq!(events(&plan), ["service (web) is AZ balanced with 2 tasks in a, 2 tasks in b."]);
    assert!(plan.actions.contains(&Action::SetRebalancing { active: false }));
    let plan = plan_service(NOW, &balanced_over(&["a", "b"], &[(2, "a"), (2, "b")]));
    assert_eq!((events(&plan).len(), plan.actions.len()), (0, 0));
}

#[test]
fn nothing_is_moved_without_room_during_a_deployment_or_when_only_protected_tasks_could_go() {
    let unbalanced = || balanced_over(&["a", "b"], &[(4, "a")]);
    let mut tight = unbalanced();
    tight.limits.maximum_percent = 100;
    let mut deploying = unbalanced();
    deploying.deployments[0].rollout = RolloutState::InProgress;
    let mut protected = unbalanced();
    protected.tasks.iter_mut().for_each(|task| task.protected = true);
    let off = ServiceView { rebalance: None, ..unbalanced() };
    for view in [tight, deploying, protected, off] {
        assert_eq!(moves(&plan_service(NOW, &view)), "");
    }
}

fn with_room(mut view: ServiceView, zone: &str, room: u32) -> ServiceView {
    view.rebalance.as_mut().unwrap().zones.insert(zone.to_owned(), room);
    view
}

fn full(view: ServiceView, zone: &str) -> ServiceView {
    with_room(view, zone, 0)
}

#[test]
fn a_zone_gets_no_more_tasks_than_it_has_room_for() {
    let view = || balanced_over(&["a", "b"], &[(6, "a")]);
    assert_eq!(moves(&plan_service(NOW, &with_room(view(), "b", 1))), "+1@b");
    assert_eq!(moves(&plan_service(NOW, &with_room(view(), "b", 2))), "+2@b");
}

#[test]
fn a_zone_without_room_is_left_as_it_is() {
    let plan = plan_service(NOW, &full(balanced_over(&["a", "b"], &[(3, "a"), (1, "b")]), "b"));
    assert_eq!((moves(&plan).as_str(), events(&plan).len()), ("", 0));
    // Others take what it cannot.
    let plan = plan_service(NOW, &full(balanced_over(&["a", "b", "c"], &[(4, "a")]), "b"));
    assert_eq!(moves(&plan), "+1@c");
    // One that became full ends it, without a word of balance.
    let plan = plan_service(NOW, &active(full(balanced_over(&["a", "b"], &[(3, "a"), (1, "b")]), "b")));
    assert!(plan.actions.contains(&Action::SetRebalancing { active: false }));
    assert_eq!((moves(&plan).as_str(), events(&plan).len()), ("", 0));
    // Tasks leave it as they leave any other.
    let plan = plan_service(NOW, &full(balanced_over(&["a", "b"], &[(1, "a"), (3, "b")]), "b"));
    assert_eq!(moves(&plan), "+1@a");
}

#[test]
fn a_new_deployment_ends_rebalancing() {
    let mut view = active(balanced_over(&["a", "b"], &[(3, "a"), (1, "b")]));
    view.deployments.insert(0, deployment(2));
    let plan = plan_service(NOW, &view);
    assert!(plan.actions.contains(&Action::SetRebalancing { active: false }));
    assert_eq!(moves(&plan), "+4");
}
