//! The reconciler runner: one run at a time per key, merged wake-ups, backoff, sweeps.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use gantry_control::{
    Control, Settings, TokioClock,
    reconcile::{Reconciler, Runner, Wake},
    view::Change,
};
use gantry_domain::Timestamp;
use gantry_store::Memory;
use tokio::time::{Instant, sleep};

/// What happened to each key.
#[derive(Default)]
struct Log {
    runs: BTreeMap<u32, Vec<Duration>>,
    running: BTreeMap<u32, u32>,
    most_at_once: u32,
}

struct Recorder {
    start: Instant,
    log: Arc<Mutex<Log>>,
    keys: Vec<u32>,
    takes: Duration,
    answer: fn(&Control, usize) -> Result<Wake, String>,
    control: Control,
}

impl Reconciler for Recorder {
    type Key = u32;
    type Error = String;
    const NAME: &'static str = "recorder";

    fn keys(&self) -> Vec<u32> {
        self.keys.clone()
    }

    fn keys_of(&self, _: &Change) -> Vec<u32> {
        Vec::new()
    }

    async fn reconcile(&self, key: &u32) -> Result<Wake, String> {
        let run = {
            let mut log = self.log.lock().unwrap();
            let running = log.running.entry(*key).or_default();
            *running += 1;
            let running = *running;
            log.most_at_once = log.most_at_once.max(running);
            log.runs.entry(*key).or_default().push(self.start.elapsed());
            log.runs[key].len()
        };
        sleep(self.takes).await;
        *self.log.lock().unwrap().running.get_mut(key).unwrap() -= 1;
        (self.answer)(&self.control, run)
    }
}

struct World {
    log: Arc<Mutex<Log>>,
    runner: Runner<u32>,
}

async fn world(keys: &[u32], takes: Duration, answer: fn(&Control, usize) -> Result<Wake, String>) -> World {
    let clock = Arc::new(TokioClock::starting_at(Timestamp::from_seconds(1_700_000_000)));
    let control = Control::open(Memory::store(), clock, Settings::default()).await.unwrap();
    let log = Arc::new(Mutex::new(Log::default()));
    let recorder = Recorder {
        start: Instant::now(),
        log: log.clone(),
        keys: keys.to_vec(),
        takes,
        answer,
        control: control.clone(),
    };
    World { log, runner: Runner::start(&control, recorder) }
}

impl World {
    fn seconds(&self, key: u32) -> Vec<f64> {
        let log = self.log.lock().unwrap();
        log.runs.get(&key).into_iter().flatten().map(|at| (at.as_secs_f64() * 10.0).round() / 10.0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn wake_ups_during_a_run_become_one_run_after_it() {
    let world = world(&[], Duration::from_secs(1), |_, _| Ok(Wake::OnChange)).await;
    world.runner.wake(1);
    sleep(Duration::from_millis(500)).await;
    for _ in 0..10 {
        world.runner.wake(1);
    }
    world.runner.wake(2);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.seconds(1), [0.0, 1.0]);
    assert_eq!(world.seconds(2), [0.5]);
    assert_eq!(world.log.lock().unwrap().most_at_once, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_backs_off_and_others_go_on() {
    let world = world(&[], Duration::ZERO, |_, run| if run < 5 { Err("no".into()) } else { Ok(Wake::OnChange) }).await;
    world.runner.wake(1);
    sleep(Duration::from_millis(100)).await;
    // Wake-ups do not undo the distance.
    world.runner.wake(1);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.seconds(1), [0.0, 0.2, 0.6, 1.4, 3.0]);
    // After success, it is quick again.
    world.runner.wake(1);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.seconds(1).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_key() {
    let world =
        world(&[7], Duration::ZERO, |_, run| if run == 1 { panic!("on purpose") } else { Ok(Wake::OnChange) }).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seconds(7), [0.0, 0.2]);
}

#[tokio::test(start_paused = true)]
async fn every_key_is_looked_at_now_and_then_and_when_it_asked_for_it() {
    let later = |control: &Control, run: usize| {
        Ok(if run == 1 { Wake::At(control.now().plus_seconds(5)) } else { Wake::OnChange })
    };
    let world = world(&[3], Duration::ZERO, later).await;
    sleep(Duration::from_secs(65)).await;
    assert_eq!(world.seconds(3), [0.0, 5.0, 30.0, 60.0]);
    let log = world.log.clone();
    drop(world);
    sleep(Duration::from_secs(100)).await;
    assert_eq!(log.lock().unwrap().runs[&3].len(), 4);
}
