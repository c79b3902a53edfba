//! A managed daemon that other tasks wait for, on the instances of a capacity provider.

use super::{Dice, IMAGES, Kind, rolling};

pub(super) const KIND: Kind = Kind {
    name: "a managed daemon beside a service",
    beginning: &[
        "
        cluster prod
        provider workers
        provider others
        instances i1 i2 zone=us-east-1a cpu=2048 memory=2048 provider=workers
        instances i3 zone=us-east-1b cpu=2048 memory=2048 provider=workers
        instances i4 zone=us-east-1b cpu=2048 memory=2048 provider=others
    ",
        IMAGES,
        "
        task-definition web image=ok
        daemon-definition agent image=ok cpu=128
        managed-daemon agent definition=agent providers=workers drain=34
        service web task-definition=web desired=3
    ",
    ],
    commands,
    healing: "
        run 120s
        daemon-definition agent image=ok cpu=128
        managed-daemon agent definition=agent providers=workers
        update-daemon agent definition=agent providers=workers drain=34 bake=0
        task-definition web image=ok
        update web task-definition=web desired=4 min=50 max=150
    ",
    end: &[
        ("show service web", "ACTIVE desired 4 running 4 pending 0\nPRIMARY"),
        ("show managed-daemon agent", "ACTIVE desired 3 running 3 pending 0\nPRIMARY"),
    ],
};

fn commands(dice: &Dice) -> Vec<String> {
    let update = |dice: &Dice| {
        let providers = dice.of(&["workers", "workers", "others", "workers,others"]);
        let (drain, bake) = (dice.of(&["0", "34", "50", "100"]), dice.below(2));
        format!("update-daemon agent definition=agent providers={providers} drain={drain} bake={bake}")
    };
    match dice.below(9) {
        0 => vec![update(dice)],
        1..4 => {
            let image = dice.of(&["ok", "ok", "slow", "missing", "crash"]);
            vec![format!("daemon-definition agent cpu=128 image={image}"), update(dice)]
        }
        4 => vec!["delete-daemon agent".into()],
        5 => vec![format!(
            "managed-daemon agent definition=agent providers=workers {}",
            dice.of(&["", "uncritical", "drain=50"])
        )],
        _ => rolling::commands(dice),
    }
}
