//! Services that compete for ports, GPUs and room under strategies and constraints, come and go, on instances that do too.

use super::{Dice, Kind};

pub(super) const KIND: Kind = Kind {
    name: "services that compete for ports, GPUs and room",
    beginning: &["
        cluster prod
        instances i1 i2 zone=us-east-1a cpu=1024 memory=2048 gpus=2
        instances i3 zone=us-east-1b cpu=1024 memory=1024
        image ok start=800ms stop=700ms
        image slow start=5s stop=20s
        image stuck never-stops
        task-definition web image=ok port=8080
        task-definition api image=ok cpu=128 memory=256
        task-definition both image=slow port=8080 cpu=512
        task-definition draw image=slow cpu=64 memory=64 gpus=1
        service web task-definition=web desired=2
        service api task-definition=api desired=3 strategy=spread(attribute:ecs.availability-zone),binpack(memory)
        service draw task-definition=draw desired=3
    "],
    commands,
    healing: "
        delete both force
        delete web force
        delete api force
        delete draw force
        instances i4 i5 zone=us-east-1b cpu=1024 memory=2048 gpus=2
        run until steady
        service web task-definition=web:1 desired=2
        service api task-definition=api desired=3 strategy=random
        service draw task-definition=draw:1 desired=4
    ",
    end: &[
        ("show service web", "ACTIVE desired 2 running 2 pending 0\nPRIMARY"),
        ("show service api", "ACTIVE desired 3 running 3 pending 0\nPRIMARY"),
        ("show service draw", "ACTIVE desired 4 running 4 pending 0\nPRIMARY"),
    ],
};

fn commands(dice: &Dice) -> Vec<String> {
    let service = dice.of(&["web", "api", "both", "draw"]);
    let command = match dice.below(14) {
        0..3 => format!("update {service} desired={}", dice.below(6)),
        3 => format!("update {service} {}", dice.of(&["min=100 max=200", "min=50 max=100", "min=0 max=100 force"])),
        4 => format!("delete {service} force"),
        5 | 6 => format!(
            "service {service} task-definition={service} desired={} strategy={}",
            dice.below(4),
            dice.of(&["random", "binpack(cpu)", "spread(instanceId)", "spread(attribute:ecs.availability-zone)"])
        ),
        7 => "service both task-definition=both desired=1 member-of=not(task:group_==_service:web)".into(),
        8 => "deregister i3".into(),
        9 => return vec!["deregister i3".into(), "instances i3 zone=us-east-1b cpu=1024 memory=1024".into()],
        _ => return dice.accident(),
    };
    vec![command]
}
