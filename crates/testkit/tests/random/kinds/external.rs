//! A service whose task sets somebody else moves: more of them than ever come to rest.

use super::{Dice, HOSTS, Kind};

pub(super) const KIND: Kind = Kind {
    name: "task sets under foreign control",
    beginning: &[
        HOSTS,
        "
        image ok start=800ms stop=700ms
        image crash exit=3s
        task-definition web image=ok
        service web external desired=4
        task-set web a task-definition=web
        primary-set web a
    ",
    ],
    commands,
    healing: "
        delete-sets web
        run 60s
        task-definition web image=ok
        update web desired=3
        task-set web last task-definition=web scale=100
    ",
    end: &[("show service web", "ACTIVE desired 3 running 3 pending 0\n")],
};

fn commands(dice: &Dice) -> Vec<String> {
    let set = dice.of(&["a", "b", "c"]);
    let command = match dice.below(12) {
        0 | 1 => format!("update web desired={}", dice.below(7)),
        2 => format!("task-set web {set} task-definition=web scale={}", dice.of(&["0", "25", "50", "100"])),
        3..6 => format!("scale-set web {set} scale={}", dice.of(&["0", "10", "50", "100"])),
        6 => format!("primary-set web {set}"),
        7 => format!("delete-set web {set}"),
        8 => format!("task-definition web image={}", dice.of(&["ok", "crash"])),
        _ => return dice.accident(),
    };
    vec![command]
}
