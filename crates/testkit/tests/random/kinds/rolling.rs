//! One service whose images are good and bad, updated again before it is steady.

use super::{Dice, HOSTS, IMAGES, Kind};

pub(super) const KIND: Kind = Kind {
    name: "a service and its deployments",
    beginning: &[
        HOSTS,
        IMAGES,
        "
        task-definition web image=ok
        service web task-definition=web desired=3
    ",
    ],
    commands,
    healing: "
        task-definition web image=ok
        update web task-definition=web desired=4 min=50 max=150
    ",
    end: &[("show service web", "ACTIVE desired 4 running 4 pending 0\nPRIMARY")],
};

pub(super) fn commands(dice: &Dice) -> Vec<String> {
    let one = |command: String| vec![command];
    match dice.below(13) {
        0 | 1 => one(format!("update web desired={}", dice.below(8))),
        2 => one(format!("update web {}", dice.of(&["min=100 max=200", "min=50 max=100", "min=0 max=150"]))),
        3 => one("update web force".into()),
        4 => vec![
            format!(
                "task-definition web image={} cpu={}",
                dice.of(&["ok", "slow", "missing", "crash"]),
                256 << dice.below(2)
            ),
            "update web task-definition=web".into(),
        ],
        5 => vec![
            format!("task-definition web image={} health", dice.of(&["checked", "flaky", "sick"])),
            "update web task-definition=web".into(),
        ],
        6 => one(format!("update web breaker={}", dice.of(&["rollback", "on"]))),
        _ => dice.accident(),
    }
}
