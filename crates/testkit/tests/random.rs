//! Random scenarios: whatever is done to a service and its instances, the invariants hold, and once the world is left
//! alone the service becomes steady. The control plane is killed now and then, also in the middle of what it does.
//!
//! `GANTRY_SEED=N` runs one seed, `GANTRY_SEEDS=N` that many. The commands of a failing run are in its output; a seed
//! that once failed belongs into `REGRESSIONS` with the fix.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use gantry_control::Random;
use gantry_testkit::World;

/// Seeds that once found something.
const REGRESSIONS: &[u64] = &[];
const SEEDS: u64 = 10;
const STEPS: u64 = 40;

const BEGINNING: &str = "
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
    task-definition agent image=ok cpu=128
    service agent daemon task-definition=agent
";

/// After this everything can become steady.
const HEALING: &str = "
    return i1
    return i2
    return i3
    activate i1
    activate i2
    activate i3
    task-definition web image=ok
    update web task-definition=web desired=4 min=50 max=150
    task-definition agent image=ok cpu=128
    update agent task-definition=agent
    run until steady
";

struct Dice(Random);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.0.bits() % bound
    }

    fn of<'a>(&self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    fn command(&self) -> Vec<String> {
        let instance = self.of(&["i1", "i2", "i3"]);
        let one = |command: String| vec![command];
        match self.below(19) {
            0 | 1 => one(format!("update web desired={}", self.below(8))),
            2 => one(format!("update web {}", self.of(&["min=100 max=200", "min=50 max=100", "min=0 max=150"]))),
            3 => one("update web force".into()),
            4 => vec![
                format!(
                    "task-definition web image={} cpu={}",
                    self.of(&["ok", "slow", "missing", "crash"]),
                    256 << self.below(2)
                ),
                "update web task-definition=web".into(),
            ],
            5 => vec![
                format!("task-definition web image={} health", self.of(&["checked", "flaky", "sick"])),
                "update web task-definition=web".into(),
            ],
            6 => one(format!("update web breaker={}", self.of(&["rollback", "on"]))),
            7 => one(format!("kill {instance}")),
            8 => one(format!("return {instance}")),
            9 => one(format!("reboot {instance}")),
            10 => one(format!("drain {instance}")),
            11 => one(format!("activate {instance}")),
            12 => one("restart control".into()),
            13 => one(format!("crash after {}", 1 + self.below(6))),
            14 => one(format!("stop any {}", self.below(8))),
            15 => one("update agent force".into()),
            16 => vec![
                format!("task-definition agent cpu=128 image={}", self.of(&["ok", "slow", "crash"])),
                "update agent task-definition=agent".into(),
            ],
            17 => one(format!("run {}ms", 100 * (1 + self.below(20)))),
            _ => one(format!("run {}s", 1 + self.below(60))),
        }
    }
}

fn run(seed: u64) {
    println!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed).await;
        let dice = Dice(Random::seeded(!seed));
        print!("{}", world.run_script(BEGINNING, false).await);
        for _ in 0..STEPS {
            for command in dice.command() {
                println!("{command}");
                world.run_command(&command).await;
                world.check().await;
            }
        }
        println!("healing");
        print!("{}", world.run_script(HEALING, false).await);
        let service = world.run_command("show service web").await;
        assert!(service.starts_with("ACTIVE desired 4 running 4 pending 0\n"), "{service}");
        assert_eq!(service.lines().count(), 2, "one deployment is left: {service}");
        let daemon = world.run_command("show service agent").await;
        assert!(daemon.starts_with("ACTIVE desired 3 running 3 pending 0\n"), "{daemon}");
    });
}

#[test]
fn whatever_happens_the_invariants_hold_and_it_ends() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("GANTRY_SEED") {
        return run(seed);
    }
    let seeds = 0..number("GANTRY_SEEDS").unwrap_or(SEEDS);
    REGRESSIONS.iter().copied().chain(seeds).for_each(run);
}
