//! A daemon beside a service: the daemon's room is kept for it.

use super::{Dice, HOSTS, IMAGES, Kind, rolling};

pub(super) const KIND: Kind = Kind {
    name: "a daemon beside a service",
    beginning: &[
        HOSTS,
        IMAGES,
        "
        task-definition web image=ok
        service web task-definition=web desired=3
        task-definition agent image=ok cpu=128
        service agent daemon task-definition=agent
    ",
    ],
    commands,
    healing: "
        task-definition web image=ok
        update web task-definition=web desired=4 min=50 max=150
        task-definition agent image=ok cpu=128
        update agent task-definition=agent
    ",
    end: &[
        ("show service web", "ACTIVE desired 4 running 4 pending 0\nPRIMARY"),
        ("show service agent", "ACTIVE desired 3 running 3 pending 0\nPRIMARY"),
    ],
};

fn commands(dice: &Dice) -> Vec<String> {
    match dice.below(5) {
        0 => vec!["update agent force".into()],
        1 => vec![
            format!("task-definition agent cpu=128 image={}", dice.of(&["ok", "slow", "crash"])),
            "update agent task-definition=agent".into(),
        ],
        _ => rolling::commands(dice),
    }
}
