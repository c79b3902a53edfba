//! One service whose images are good and bad, updated again before it is steady.

use super::{Dice, Kind};

pub(super) const KIND: Kind = Kind {
    name: "a service and its deployments",
    beginning: "
        cluster prod
        instances i1 i2 zone=us-east-1a cpu=2048 memory=2048
        instances i3 zone=us-east-1b cpu=2048 memory=2048
        image ok start=800ms stop=700ms
        image slow start=20s stop=30s
        image missing fails=pull_access_denied
        image crash exit=3s
        image checked healthy=6s
        image flaky healthy=4s unhealthy=30s
        image sick unhealthy=5s
        task-definition web image=ok
        service web task-definition=web desired=3
    ",
    commands,
    healing: "
        return i1
        return i2
        return i3
        activate i1
        activate i2
        activate i3
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
