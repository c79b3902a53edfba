//! Runs a reconciler: one key, one run at a time; wake-ups of the same key merge; errors back off per key; a slow sweep
//! looks at every key, so that a missed wake-up is only a delay.
//!
//! An activation carries no input but the key. What a run needs it reads itself, the same way after a crash as always.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    sync::Arc,
    time::Duration,
};

use gantry_domain::Timestamp;
use tokio::{
    sync::{broadcast, mpsc},
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use crate::{control::Control, view::Change};

/// How many keys of one reconciler run at the same time. Runs are short; the bound keeps a burst from taking every
/// connection of a slow store.
const CONCURRENCY: usize = 64;
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// When a key should be looked at again although nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Not before something changes (or the sweep comes by).
    OnChange,
    /// At this moment: time alone will change the answer.
    At(Timestamp),
    /// At once: there was more to do than one transaction holds.
    Again,
}

impl From<Option<Timestamp>> for Wake {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::OnChange, Self::At)
    }
}

/// One kind of gap to close.
pub trait Reconciler: Send + Sync + 'static {
    /// What one run is about.
    type Key: Clone + Ord + fmt::Debug + Send + Sync + 'static;
    /// Why a run failed; logged, and tried again later.
    type Error: fmt::Display + Send + 'static;

    /// Name in logs.
    const NAME: &'static str;

    /// Every key, for the sweep.
    fn keys(&self) -> Vec<Self::Key>;

    /// The keys a change concerns.
    fn keys_of(&self, change: &Change) -> Vec<Self::Key>;

    /// Observe, decide, act.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Wake, Self::Error>> + Send;
}

/// A running reconciler; it ends when this is dropped.
#[derive(Debug)]
pub struct Runner<K> {
    wakes: mpsc::UnboundedSender<K>,
    task: AbortHandle,
}

impl<K> Runner<K> {
    /// Looks at `key` soon.
    pub fn wake(&self, key: K) {
        // Fails only when the runner has ended with its runtime.
        let _ = self.wakes.send(key);
    }
}

impl<K> Drop for Runner<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K> Runner<K> {
    /// Starts `reconciler` on the changes of `control`'s picture. The first sweep is immediate.
    pub fn start<R: Reconciler<Key = K>>(control: &Control, reconciler: R) -> Self
    where
        K: Clone + Ord + fmt::Debug + Send + Sync + 'static,
    {
        let (wakes, requested) = mpsc::unbounded_channel();
        let feed = control.read().subscribe();
        let engine = Engine {
            control: control.clone(),
            reconciler: Arc::new(reconciler),
            ready: BTreeSet::new(),
            running: BTreeMap::new(),
            later: BTreeSet::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
            runs: JoinSet::new(),
        };
        let task = tokio::spawn(engine.run(feed, requested)).abort_handle();
        Self { wakes, task }
    }
}

struct Engine<R: Reconciler> {
    control: Control,
    reconciler: Arc<R>,
    /// To run as soon as there is room.
    ready: BTreeSet<R::Key>,
    /// Running; `true` when it was woken meanwhile and must run again.
    running: BTreeMap<R::Key, bool>,
    /// To run at a moment, earliest first.
    later: BTreeSet<(Instant, R::Key)>,
    /// The moment in `later` of each key: a key has one at most.
    due: BTreeMap<R::Key, Instant>,
    /// Failures in a row.
    failures: BTreeMap<R::Key, u32>,
    runs: JoinSet<(R::Key, Result<Wake, String>)>,
}

impl<R: Reconciler> Engine<R> {
    async fn run(mut self, mut feed: broadcast::Receiver<Change>, mut requested: mpsc::UnboundedReceiver<R::Key>) {
        let mut sweep = tokio::time::interval(self.control.settings.sweep_interval);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.start_ready();
            let next_due = self.later.first().map(|(at, _)| *at);
            tokio::select! {
                change = feed.recv() => match change {
                    Ok(change) => self.wake_all(self.reconciler.keys_of(&change)),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.wake_all(self.reconciler.keys()),
                    Err(broadcast::error::RecvError::Closed) => {
                        // The picture was loaded afresh: follow the new one and look at everything.
                        feed = self.control.read().subscribe();
                        self.wake_all(self.reconciler.keys());
                    }
                },
                key = requested.recv() => match key {
                    Some(key) => self.wake(key),
                    None => return,
                },
                Some(ended) = self.runs.join_next() => self.ended(ended),
                () = sleep_until(next_due) => self.wake_due(),
                _ = sweep.tick() => self.wake_all(self.reconciler.keys()),
            }
        }
    }

    fn wake_all(&mut self, keys: Vec<R::Key>) {
        keys.into_iter().for_each(|key| self.wake(key));
    }

    fn wake(&mut self, key: R::Key) {
        // A failing key keeps its distance: changes caused by its own attempts would otherwise undo the backoff.
        if self.failures.contains_key(&key) && self.due.contains_key(&key) {
            return;
        }
        match self.running.get_mut(&key) {
            Some(again) => *again = true,
            None => {
                self.ready.insert(key);
            }
        }
    }

    fn wake_due(&mut self) {
        let now = Instant::now();
        while let Some((at, key)) = self.later.pop_first() {
            if at > now {
                self.later.insert((at, key));
                return;
            }
            self.due.remove(&key);
            self.wake(key);
        }
    }

    fn start_ready(&mut self) {
        while self.runs.len() < CONCURRENCY {
            let Some(key) = self.ready.pop_first() else { return };
            if let Some(at) = self.due.remove(&key) {
                self.later.remove(&(at, key.clone()));
            }
            self.running.insert(key.clone(), false);
            let reconciler = self.reconciler.clone();
            self.runs.spawn(async move {
                // A task of its own: a panic costs this run and not the runner.
                let run = tokio::spawn({
                    let (reconciler, key) = (reconciler, key.clone());
                    async move { reconciler.reconcile(&key).await.map_err(|error| error.to_string()) }
                });
                let result = AbortOnDrop(run).await.unwrap_or_else(|error| Err(error.to_string()));
                (key, result)
            });
        }
    }

    fn ended(&mut self, ended: Result<(R::Key, Result<Wake, String>), tokio::task::JoinError>) {
        // The outer task neither panics nor is cancelled while the runner lives.
        let Ok((key, result)) = ended else { return };
        let again = self.running.remove(&key).unwrap_or(false);
        match result {
            Ok(wake) => {
                self.failures.remove(&key);
                match wake {
                    Wake::Again => self.wake(key),
                    _ if again => self.wake(key),
                    Wake::OnChange => {}
                    Wake::At(at) => {
                        let wait = at.as_millis().saturating_sub(self.control.now().as_millis()).max(0);
                        self.schedule(key, Duration::from_millis(wait.unsigned_abs()));
                    }
                }
            }
            Err(error) => {
                let failures = self.failures.entry(key.clone()).or_default();
                *failures = failures.saturating_add(1);
                let wait = backoff(*failures);
                tracing::warn!(
                    reconciler = R::NAME,
                    ?key,
                    error,
                    wait_ms = wait.as_millis(),
                    "run failed, trying again"
                );
                self.schedule(key, wait);
            }
        }
    }

    fn schedule(&mut self, key: R::Key, wait: Duration) {
        let at = Instant::now() + wait;
        if let Some(old) = self.due.insert(key.clone(), at) {
            self.later.remove(&(old, key.clone()));
        }
        self.later.insert((at, key));
    }
}

/// 0.2 s, 0.4 s, 0.8 s … 30 s.
fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
