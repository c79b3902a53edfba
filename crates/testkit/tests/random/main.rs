//! Random worlds: whatever is done to services and their instances, the invariants hold after every step, and once the
//! world is left alone everything becomes steady. The control plane is killed now and then, also in the middle of what
//! it does. See `docs/simulation.md`.
//!
//! `cargo xtask simulate` runs many of them; `GANTRY_SEED=N` runs one seed, `GANTRY_SEEDS=N` that many, from
//! `GANTRY_FROM` on. A failing run prints its commands; a seed that once failed belongs into `REGRESSIONS` with the fix.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod dice;
mod kinds;

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dice::Dice;
use gantry_testkit::World;
use kinds::{HOSTS_BACK, KINDS, Kind};

/// A fifth of the time went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds that once found something.
const REGRESSIONS: &[u64] = &[6305, 8375];
const SEEDS: u64 = 24;
const STEPS: u64 = 32;

/// A seed that broke a rule, with all that happened before.
struct Failure {
    seed: u64,
    log: String,
}

/// Runs one world; how much time passed in it, and what happened.
fn run(seed: u64) -> Result<(Duration, String), Failure> {
    let mut log = String::new();
    match catch_unwind(AssertUnwindSafe(|| live(seed, &mut log))) {
        Ok(passed) => Ok((passed, log)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            let _ = writeln!(log, "{text}");
            Err(Failure { seed, log })
        }
    }
}

fn live(seed: u64, log: &mut String) -> Duration {
    let kind = &KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
    let _ = writeln!(log, "seed {seed}: {}", kind.name);
    runtime(seed).block_on(async {
        let mut world = World::new(seed).await;
        let dice = Dice::new(!seed);
        log.push_str(&world.run_script(&kind.beginning.concat(), false).await);
        for _ in 0..STEPS {
            for command in (kind.commands)(&dice).into_iter().chain([dice.pause()]) {
                let _ = writeln!(log, "{command}");
                let answer = world.run_command(&command).await;
                if !answer.is_empty() {
                    let _ = writeln!(log, "    {}", answer.trim_end());
                }
                world.check().await;
            }
        }
        log.push_str("healing\n");
        heal(&mut world, kind, log).await;
        world.elapsed()
    })
}

/// One thread, a clock that waits for nobody, and the order of what could happen at once drawn from the seed (where
/// tokio was built for that; `cargo xtask simulate` does).
fn runtime(seed: u64) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    #[cfg(not(tokio_unstable))]
    let _ = seed;
    builder.enable_all().start_paused(true).build().unwrap()
}

/// Leaves the world alone, with everything that is needed, and looks whether it becomes what was asked for.
async fn heal(world: &mut World, kind: &Kind, log: &mut String) {
    for line in HOSTS_BACK.lines().chain(kind.healing.lines()).chain(["run until steady"]) {
        let answer = world.run_command_line(line).await;
        log.push_str(&answer);
    }
    for (question, answer) in kind.end {
        let shown = world.run_command(question).await;
        assert!(shown.starts_with(answer), "{question} should be {answer:?}:\n{shown}\n{}", world.show_all());
    }
}

/// Runs all seeds on all cores; the first failure ends it.
fn run_all(seeds: impl Iterator<Item = u64> + Send) -> Result<(), Failure> {
    let begin = Instant::now();
    let seeds = Mutex::new(seeds);
    let (stop, count, passed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let failure = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(seed) = seeds.lock().unwrap().next() else { return };
                    match run(seed) {
                        Ok((time, _)) => {
                            count.fetch_add(1, Ordering::Relaxed);
                            passed.fetch_add(time.as_secs(), Ordering::Relaxed);
                        }
                        Err(found) => {
                            stop.store(true, Ordering::Relaxed);
                            failure.lock().unwrap().get_or_insert(found);
                        }
                    }
                }
            });
        }
    });
    let days = passed.into_inner() as f64 / 86_400.0;
    println!("{} worlds lived {days:.1} days in {:.1} s", count.into_inner(), begin.elapsed().as_secs_f64());
    failure.into_inner().unwrap().map_or(Ok(()), Err)
}

#[test]
fn whatever_happens_the_invariants_hold_and_it_ends() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let ran = match number("GANTRY_SEED") {
        Some(seed) => run(seed).map(|(_, log)| println!("{log}")),
        None => {
            let from = number("GANTRY_FROM").unwrap_or(0);
            let seeds = from..from + number("GANTRY_SEEDS").unwrap_or(SEEDS);
            run_all(REGRESSIONS.iter().copied().chain(seeds))
        }
    };
    if let Err(Failure { seed, log }) = ran {
        panic!("{log}\nseed {seed} broke a rule; `cargo xtask simulate --seed {seed}` repeats it");
    }
}
