//! The launcher: takes launches as they come, plans what waits as one batch, commits, answers.

use gantry_store::{Store, TxnError, View};
use tokio::sync::{mpsc, oneshot};

use super::{
    Launch, LaunchError, Launched,
    plan::{Batch, Planned},
};
use crate::{clock::SharedClock, control::commit, fault, random::Random, view::EcsView};

/// Launches that may wait. Beyond it callers wait for room: the answer comes later, not wrong.
const QUEUE: usize = 1024;
/// Tasks in one transaction: each takes an operation and two compares, and a transaction has a bound.
const TASKS_MAX: usize = 200;
/// How often a batch may lose before it is refused; see [`crate::control`].
const ATTEMPTS_MAX: usize = 32;

type Answer = Result<Launched, LaunchError>;

struct Job {
    launch: Launch,
    random: Random,
    answer: oneshot::Sender<Answer>,
}

/// The sending end; the launcher ends with its last clone.
#[derive(Debug, Clone)]
pub(crate) struct Launcher(mpsc::Sender<Job>);

impl Launcher {
    pub(crate) async fn launch(&self, launch: Launch, random: Random) -> Answer {
        let (answer, answered) = oneshot::channel();
        let closed = |_| LaunchError::Fault(fault::store(gantry_store::StoreError::Closed));
        self.0.send(Job { launch, random, answer }).await.map_err(|_| closed(()))?;
        answered.await.map_err(|_| closed(()))?
    }
}

/// Starts the launcher of a control plane.
pub(crate) fn start(store: Store, view: View<EcsView>, clock: SharedClock, subnet_seed: String) -> Launcher {
    let (sender, jobs) = mpsc::channel(QUEUE);
    tokio::spawn(Worker { store, view, clock, subnet_seed }.run(jobs));
    Launcher(sender)
}

struct Worker {
    store: Store,
    view: View<EcsView>,
    clock: SharedClock,
    subnet_seed: String,
}

impl Worker {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                match jobs.recv().await {
                    Some(job) => waiting.push(job),
                    None => return,
                }
            }
            while let Ok(job) = jobs.try_recv() {
                waiting.push(job);
            }
            waiting = self.round(waiting).await;
        }
    }

    /// Plans and commits what fits into one transaction; returns what has to wait for the next.
    async fn round(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        for _ in 0..ATTEMPTS_MAX {
            let mut later = Vec::new();
            let (batch, planned) = self.plan(jobs, &mut later);
            if batch.is_empty() {
                planned.into_iter().for_each(|(job, launched)| reply(job, Ok(launched)));
                return later;
            }
            match commit(&self.store, &self.view, batch.into_txn()).await {
                Ok(_) => {
                    planned.into_iter().for_each(|(job, launched)| reply(job, Ok(launched)));
                    return later;
                }
                Err(TxnError::Conflict { key }) => {
                    tracing::debug!(key, launches = planned.len(), "placement was overtaken, planning again");
                    let (overtaken, rest) = split_overtaken(planned, &key);
                    overtaken.into_iter().for_each(|job| reply(job, Err(LaunchError::Overtaken { key: key.clone() })));
                    jobs = rest;
                    jobs.extend(later);
                }
                Err(TxnError::Store(error)) => {
                    let cause = std::sync::Arc::new(error);
                    planned.into_iter().for_each(|(job, _)| reply(job, Err(fault::store_shared(&cause).into())));
                    return later;
                }
            }
        }
        jobs.into_iter().for_each(|job| reply(job, Err(fault::overtaken().into())));
        Vec::new()
    }

    fn plan(&self, jobs: Vec<Job>, later: &mut Vec<Job>) -> (Batch, Vec<(Job, Launched)>) {
        let now = self.clock.now();
        let view = self.view.read();
        let (mut batch, mut planned, mut table) = (Batch::new(&self.subnet_seed), Vec::new(), None);
        for job in jobs {
            if batch.tasks() + job.launch.count > TASKS_MAX && !batch.is_empty() {
                later.push(job);
                continue;
            }
            match batch.plan((&view, now), &mut table, &job.launch, &job.random) {
                Ok(Planned::Done(launched)) => planned.push((job, launched)),
                Ok(Planned::Later) => later.push(job),
                Err(error) => reply(job, Err(error)),
            }
        }
        (batch, planned)
    }
}

/// Launches whose own transaction named the key are over; the others try again.
fn split_overtaken(planned: Vec<(Job, Launched)>, key: &str) -> (Vec<Job>, Vec<Job>) {
    let jobs = planned.into_iter().map(|(job, _)| job);
    jobs.partition(|job| job.launch.with.compares.iter().any(|compare| compare.key() == key))
}

fn reply(job: Job, answer: Answer) {
    // The caller may be gone; its tasks are running all the same, as after any lost answer.
    let _ = job.answer.send(answer);
}
