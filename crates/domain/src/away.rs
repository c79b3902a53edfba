//! What becomes of the tasks of a container instance whose agent is away.

use crate::time::Timestamp;

/// A task's network interface must be there by then. The agent that would make it is away.
pub const INTERFACE_TIMEOUT_MS: i64 = 3 * 60 * 1000;

/// A task on the instance, as far as the question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwayTask {
    /// When it was created.
    pub created_at: Timestamp,
    /// It waits for its network interface: the agent has not said that it has the task.
    pub awaits_interface: bool,
}

/// What is to be done about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It may still run, or may yet: nothing, until then (if ever) nothing happens.
    Kept(Option<Timestamp>),
    /// Its interface was not there in time.
    InterfaceTimedOut,
    /// The instance counts as lost.
    Lost,
}

/// When an instance counts as lost, whose agent is away since `since`. Only time counts in which somebody was there to
/// see the agent return: `watched_since` is when this control plane began to.
pub fn lost_at(since: Timestamp, watched_since: Timestamp, after_ms: Option<i64>) -> Option<Timestamp> {
    after_ms.map(|after_ms| since.max(watched_since).plus_millis(after_ms))
}

/// The fate of a task now.
pub fn fate(task: AwayTask, watched_since: Timestamp, lost_at: Option<Timestamp>, now: Timestamp) -> Fate {
    if lost_at.is_some_and(|at| at <= now) {
        return Fate::Lost;
    }
    if !task.awaits_interface {
        return Fate::Kept(lost_at);
    }
    let timeout = task.created_at.max(watched_since).plus_millis(INTERFACE_TIMEOUT_MS);
    if timeout <= now {
        Fate::InterfaceTimedOut
    } else {
        Fate::Kept(Some(lost_at.map_or(timeout, |at| at.min(timeout))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn an_instance_is_lost_after_the_time_in_which_somebody_watched() {
        assert_eq!(lost_at(at(100), at(0), Some(60_000)), Some(at(160)));
        assert_eq!(lost_at(at(100), at(5000), Some(60_000)), Some(at(5060)));
        assert_eq!(lost_at(at(100), at(0), None), None);
    }

    #[test]
    fn each_task_has_its_fate() {
        let running = AwayTask { created_at: at(0), awaits_interface: false };
        let waiting = AwayTask { created_at: at(100), awaits_interface: true };
        let lost = Some(at(600));
        for (task, lost_at, now, expected) in [
            (running, lost, 599, Fate::Kept(lost)),
            (running, lost, 600, Fate::Lost),
            (running, None, 1_000_000, Fate::Kept(None)),
            (waiting, lost, 279, Fate::Kept(Some(at(280)))),
            (waiting, lost, 280, Fate::InterfaceTimedOut),
            (waiting, None, 280, Fate::InterfaceTimedOut),
            (waiting, Some(at(200)), 150, Fate::Kept(Some(at(200)))),
            (waiting, Some(at(200)), 300, Fate::Lost),
        ] {
            assert_eq!(fate(task, at(0), lost_at, at(now)), expected, "{task:?} {lost_at:?} {now}");
        }
        assert_eq!(fate(waiting, at(1000), None, at(1100)), Fate::Kept(Some(at(1180))));
    }
}
