use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const BOUNDS: Bounds = Bounds { min: 2, max: 10 };

fn service(desired: u32) -> Observed {
    Observed { desired, running: desired, deploying: false }
}

fn asks(ask: Ask) -> Policy {
    Policy { ask, must_agree: true, out_cooldown_seconds: 300, in_cooldown_seconds: 300 }
}

fn wants(count: u32) -> Policy {
    asks(Ask::Capacity(count))
}

fn run(observed: Observed, policies: &[Policy], history: &History, now: Timestamp) -> Decision {
    decide(observed, BOUNDS, Suspended::default(), policies, history, now)
}

/// The new count, or none.
fn to(decision: Decision) -> Option<u32> {
    match decision {
        Decision::Scale { to, .. } => Some(to),
        Decision::Nothing | Decision::NotScaled(..) => None,
    }
}

fn history_of(decision: Decision) -> History {
    match decision {
        Decision::Scale { history, .. } => history,
        other => panic!("{other:?} is no step"),
    }
}

#[test]
fn tracking_is_proportional_to_what_runs() {
    let table = [(90.0, 50.0, 4, 8), (51.0, 50.0, 4, 5), (44.0, 50.0, 10, 9), (0.0, 50.0, 10, 0), (70.0, 70.0, 3, 3)];
    for (metric, target, running, expected) in table {
        let wanted = tracking_ask(metric, target, running);
        assert_eq!(wanted, expected, "{metric} of {target} with {running}");
        assert!(wanted == 0 || metric * f64::from(running) / f64::from(wanted) <= target + 1e-6);
    }
    assert_eq!(tracking_ask(f64::MAX, 1.0, 5), u32::MAX);
}

#[test]
fn the_largest_of_several_policies_wins() {
    let decision = run(service(4), &[wants(5), wants(7), asks(Ask::Nothing)], &History::default(), NOW);
    assert!(matches!(decision, Decision::Scale { policy: 1, direction: Direction::Out, to: 7, .. }));
    // One that asks for more wins over one that asks for less.
    assert_eq!(to(run(service(4), &[wants(2), wants(5)], &History::default(), NOW)), Some(5));
}

#[test]
fn all_that_track_have_to_agree_before_a_service_shrinks() {
    assert_eq!(to(run(service(8), &[wants(5), wants(6)], &History::default(), NOW)), Some(6));
    assert_eq!(to(run(service(8), &[wants(5), asks(Ask::Nothing)], &History::default(), NOW)), None);
    let indifferent = Policy { must_agree: false, ..asks(Ask::Nothing) };
    assert_eq!(to(run(service(8), &[wants(5), indifferent], &History::default(), NOW)), Some(5));
}

#[test]
fn a_service_stays_within_its_bounds_and_comes_back_to_them_first() {
    let none = History::default();
    assert_eq!(to(run(service(8), &[wants(40)], &none, NOW)), Some(10));
    assert_eq!(to(run(service(3), &[wants(0)], &none, NOW)), Some(2));
    assert_eq!(to(run(service(0), &[wants(9)], &none, NOW)), Some(2), "below the minimum it goes there first");
    assert_eq!(to(run(service(15), &[wants(3)], &none, NOW)), Some(10), "above the maximum it goes there first");
    let at_most = run(service(10), &[wants(11)], &none, NOW);
    assert_eq!(at_most, Decision::NotScaled(0, NotScaled::AlreadyAtMaxCapacity));
    assert_eq!(run(service(2), &[wants(1)], &none, NOW), Decision::NotScaled(0, NotScaled::AlreadyAtMinCapacity));
    assert_eq!(run(service(4), &[wants(4)], &none, NOW), Decision::NotScaled(0, NotScaled::AlreadyAtDesiredCapacity));
}

#[test]
fn within_the_cooldown_of_a_step_out_only_a_larger_one_is_taken() {
    let history = history_of(run(service(2), &[wants(4)], &History::default(), NOW));
    let later = NOW.plus_seconds(299);
    assert_eq!(to(run(service(4), &[wants(4)], &history, later)), None);
    assert_eq!(to(run(Observed { desired: 3, ..service(4) }, &[wants(4)], &history, later)), None);
    assert_eq!(to(run(service(4), &[wants(6)], &history, later)), Some(6));
    assert_eq!(history.base(4, later), 2, "what was added is part of the next step");
    assert_eq!(history.base(4, NOW.plus_seconds(300)), 4);
    assert_eq!(to(run(Observed { desired: 3, ..service(4) }, &[wants(4)], &history, NOW.plus_seconds(300))), Some(4));
}

#[test]
fn a_step_in_cools_down_and_a_step_out_ends_that() {
    let history = history_of(run(service(8), &[wants(6)], &History::default(), NOW));
    let soon = NOW.plus_seconds(60);
    assert_eq!(to(run(service(6), &[wants(4)], &history, soon)), None);
    assert_eq!(to(run(service(6), &[wants(4)], &history, NOW.plus_seconds(300))), Some(4));
    let history = history_of(run(service(6), &[wants(8)], &history, soon));
    assert_eq!(history.inward, None);
    assert_eq!(to(run(service(8), &[wants(7)], &history, soon)), Some(7));
}

#[test]
fn a_deployment_is_not_scaled_in_but_out() {
    let deploying = Observed { deploying: true, ..service(6) };
    assert_eq!(to(run(deploying, &[wants(3)], &History::default(), NOW)), None);
    assert_eq!(to(run(deploying, &[wants(9)], &History::default(), NOW)), Some(9));
}

#[test]
fn what_is_suspended_does_not_happen() {
    let run = |wanted, scale_in, scale_out| {
        let suspended = Suspended { scale_in, scale_out };
        to(decide(service(6), BOUNDS, suspended, &[wants(wanted)], &History::default(), NOW))
    };
    assert_eq!(run(9, false, true), None);
    assert_eq!(run(9, true, false), Some(9));
    assert_eq!(run(3, true, false), None);
    assert_eq!(run(3, false, true), Some(3));
}

/// A load that comes and goes: the service follows it up at once and down slowly, and never beyond its bounds.
#[test]
fn a_service_follows_its_load() {
    let (mut desired, mut history) = (2, History::default());
    let mut counts = Vec::new();
    for minute in 0..60 {
        // Percent of one task's CPU, in all.
        let load = if minute < 20 { 500.0 } else { 60.0 };
        let metric = load / f64::from(desired);
        let ask = if !(45.0..=50.0).contains(&metric) {
            Ask::Capacity(tracking_ask(metric, 50.0, desired))
        } else {
            Ask::Nothing
        };
        let decision = run(service(desired), &[asks(ask)], &history, NOW.plus_seconds(60 * minute));
        if let Decision::Scale { to, history: next, .. } = decision {
            (desired, history) = (to, next);
        }
        counts.push(desired);
    }
    assert_eq!(counts.first(), Some(&10));
    assert_eq!(counts.get(19), Some(&10));
    assert_eq!(counts.last(), Some(&2));
}
