#![allow(clippy::unwrap_used)]

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(100_000);
const MINUTE: i64 = 60_000;

fn rollout(course: Course, hooks: Vec<Hook>) -> Rollout {
    Rollout {
        course,
        bake_ms: 5 * MINUTE,
        hooks,
        green: DeploymentId::from_random(2),
        blue: Some(DeploymentId::from_random(1)),
        direction: Direction::Forward,
        stage: Stage::PreScaleUp,
        since: NOW,
        production: 0,
        test: 0,
        runs: Vec::new(),
        runs_made: 0,
    }
}

fn hook(stages: &[Stage], pause: bool, on_timeout: TimeoutAction) -> Hook {
    Hook { stages: stages.to_vec(), pause, timeout_ms: 10 * MINUTE, on_timeout }
}

const READY: Seen = Seen { reconciled: true, green_ready: true };

/// Every state from here to the end, a line each; a wait is passed. Ends in CLEAN_UP or with a failure.
fn walk(mut rollout: Rollout) -> String {
    let (mut now, mut lines) = (NOW, String::new());
    for _ in 0..200 {
        lines += &format!(
            "{:>4} min {} {} production {} test {}\n",
            now.millis_since(NOW) / MINUTE,
            rollout.direction.as_str(),
            rollout.stage.as_str(),
            rollout.production,
            rollout.test
        );
        let step = advance(now, &rollout, READY);
        match step {
            Advance { failed: Some(trouble), .. } => {
                lines += &format!("failed: {trouble:?}\n");
                rollout = rollout.back(now, None);
            }
            Advance { next: Some(next), .. } => rollout = next,
            Advance { wake_at: Some(at), .. } => now = at,
            _ => return lines,
        }
    }
    panic!("it does not end:\n{lines}");
}

#[test]
fn each_course_from_beginning_to_end() {
    insta::assert_snapshot!("blue_green", walk(rollout(Course::BlueGreen, Vec::new())));
    let linear = Course::Linear { step: 400, bake_ms: 6 * MINUTE };
    insta::assert_snapshot!("linear", walk(rollout(linear, Vec::new())));
    let canary = Course::Canary { first: 50, bake_ms: 10 * MINUTE };
    insta::assert_snapshot!("canary", walk(rollout(canary, Vec::new())));
}

#[test]
fn a_pause_that_nobody_ends_goes_back_or_on() {
    let pause = hook(&[Stage::PostTestTrafficShift], true, TimeoutAction::Rollback);
    insta::assert_snapshot!("pause_rollback", walk(rollout(Course::BlueGreen, vec![pause.clone()])));
    let pause = Hook { on_timeout: TimeoutAction::Continue, ..pause };
    insta::assert_snapshot!("pause_continue", walk(rollout(Course::BlueGreen, vec![pause])));
}

#[test]
fn the_way_back_calls_the_hooks_of_the_shifts_and_does_not_depend_on_them() {
    let shift = hook(&[Stage::ProductionTrafficShift, Stage::TestTrafficShift], false, TimeoutAction::Rollback);
    let forward =
        Rollout { stage: Stage::BakeTime, production: ALL, test: ALL, ..rollout(Course::BlueGreen, vec![shift]) };
    let mut back = forward.back(NOW, None);
    assert_eq!((back.stage, back.production, back.test), (Stage::ProductionTrafficShift, 0, 0));
    assert_eq!(back.runs.len(), 1);
    back.runs[0] = back.runs[0].answered(NOW, &Answer::Failed);
    let next = advance(NOW, &back, READY).next.unwrap();
    assert_eq!((next.stage, next.runs[0].number), (Stage::TestTrafficShift, 1));
    assert_eq!(forward.back(NOW, Some(StopKind::Abort)).stage, Stage::CleanUp);
}

#[test]
fn a_hook_that_never_answers_fails_after_some_calls() {
    let called = hook(&[Stage::PostScaleUp], false, TimeoutAction::Rollback);
    let entered = rollout(Course::BlueGreen, vec![called]).entering(Stage::PostScaleUp, NOW);
    let mut run = entered.runs[0].clone();
    assert_eq!((run.id().as_str(), run.status), ("hook-000000", HookStatus::InProgress));
    run = run.answered(NOW, &Answer::None).answered(NOW, &Answer::None);
    assert_eq!((run.status, run.call_at), (HookStatus::InProgress, NOW.plus_seconds(30)));
    let asked_again = run.answered(NOW, &Answer::InProgress { call_back_ms: 5_000 });
    assert_eq!((asked_again.unanswered, asked_again.call_at), (0, NOW.plus_seconds(5)));
    assert_eq!(run.answered(NOW, &Answer::None).status, HookStatus::Failed);
    assert_eq!(asked_again.answered(NOW, &Answer::Succeeded).status, HookStatus::Succeeded);
}

#[test]
fn tasks_that_never_get_there_end_the_stage_after_a_day() {
    let up = Rollout { stage: Stage::ScaleUp, ..rollout(Course::BlueGreen, Vec::new()) };
    let waiting = advance(NOW, &up, Seen::default());
    assert_eq!((waiting.next, waiting.failed), (None, None));
    let end = waiting.wake_at.unwrap();
    assert_eq!(advance(end, &up, Seen::default()).failed, Some(crate::deployment::Trouble::StageTimedOut));
}

#[test]
fn steps_arrive_exactly() {
    let linear = Course::Linear { step: 333, bake_ms: 0 };
    assert_eq!([linear.next(0), linear.next(333), linear.next(666), linear.next(999)], [333, 666, 999, ALL]);
    let canary = Course::Canary { first: 1, bake_ms: 0 };
    assert_eq!([canary.next(0), canary.next(1)], [1, ALL]);
}
