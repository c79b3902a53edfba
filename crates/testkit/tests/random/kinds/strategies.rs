//! Deployments of every strategy, with hooks, alarms and stops that come at any moment.

use super::{Dice, Kind};

pub(super) const KIND: Kind = Kind {
    name: "deployments of every strategy",
    beginning: &["
        cluster prod
        instances i1 i2 i3 cpu=4096 memory=4096
        image ok start=800ms stop=700ms
        image slow start=20s stop=30s
        image missing fails=pull_access_denied
        image crash exit=3s
        hook http://good SUCCEEDED
        hook http://bad FAILED
        hook http://later IN_PROGRESS
        task-definition web image=ok
        service web task-definition=web desired=3
    "],
    commands,
    healing: "
        hook http://later SUCCEEDED
        alarm high OK
        task-definition web image=ok
        run 1s
        update web rollout=rolling min=50 max=150 bake=0
        update web task-definition=web desired=3
    ",
    end: &[
        ("show service web", "ACTIVE desired 3 running 3 pending 0\nPRIMARY"),
        ("deployment web", "SUCCESSFUL stage -"),
    ],
};

fn commands(dice: &Dice) -> Vec<String> {
    let one = |command: String| vec![command];
    match dice.below(16) {
        0 | 1 => one(format!(
            "update web {}",
            dice.of(&[
                "rollout=rolling bake=1",
                "rollout=blue-green bake=0",
                "rollout=blue-green bake=2",
                "rollout=linear step=30 step-bake=1 bake=0",
                "rollout=canary step=10 step-bake=1 bake=1",
                "min=0 max=100",
                "min=100 max=200",
            ])
        )),
        // Refused while the strategy is ROLLING, which is as well.
        2 | 3 => one(format!(
            "update web timeout=2 on-timeout={} hooks={}:{}",
            dice.of(&["continue", "rollback"]),
            dice.of(&["PRE_SCALE_UP", "POST_SCALE_UP", "PRE_PRODUCTION_TRAFFIC_SHIFT", "RECONCILE_SERVICE"]),
            dice.of(&["pause", "http://good", "http://bad", "http://later", "http://nobody"]),
        )),
        4..=6 => one("update web force".into()),
        7 | 8 => vec![
            format!("task-definition web image={}", dice.of(&["ok", "slow", "missing", "crash"])),
            "update web task-definition=web".into(),
        ],
        9 => one(format!("update web breaker={}", dice.of(&["rollback", "on"]))),
        10 => one("update web alarms=high".into()),
        11 => one(format!("alarm high {}", dice.of(&["ALARM", "OK"]))),
        12 => one(format!("stop-deployment web {}", dice.of(&["", "abort"]))),
        13 => one(format!("update web desired={}", dice.below(5))),
        14 => one(format!("run {}s", 30 + dice.below(90))),
        _ => dice.accident(),
    }
}
