//! What containers print: where the shim writes it, and its delivery.
//!
//! - [`options`]: the log configuration, and the bounds of the files. Pure.
//! - [`tail`]: reads a file that is written and rotated.
//! - [`event`], [`multiline`]: from lines to events and batches. Pure.
//! - [`destination`]: where events go: [`cloudwatch`], or what one of Docker's [`drivers`] sends to; [`deliveries`] makes
//!   it, and [`discreet`] keeps options that are secrets out of its words.
//! - [`shipper`]: one per container whose output is delivered somewhere.
//! - [`watcher`]: wakes shippers.

mod cloudwatch;
mod deliveries;
mod destination;
mod discreet;
mod drivers;
mod event;
mod multiline;
mod options;
mod shipper;
mod sink;
mod tail;
#[cfg(test)]
mod tests;
mod watcher;

use std::{collections::HashMap, fs, io, path::PathBuf, sync::Arc, time::Duration};

use gantry_runtime::container::ContainerSpec;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::{AbortHandle, spawn},
    time::timeout,
};
use tracing::warn;

use deliveries::{Deliveries, Delivery, Source, takes_secrets};
use destination::DeliveryError;
pub(crate) use options::log_file_of;
use shipper::Shipper;
pub(crate) use sink::LogSink;
use watcher::Watcher;

use crate::{
    clock::Clock,
    firelens,
    held_values::{HeldValues, LogOptions, log_options},
    reason::ContainerReason,
    record::blocking,
    task::{LaunchType, TaskSpec},
};

/// How long a stopped task waits for its logs; with the control plane away they follow later.
const FLUSH_MAX: Duration = Duration::from_secs(10);
/// How long a start waits for its log stream when the control plane does not answer.
const CREATE_MAX: Duration = Duration::from_secs(3);

pub(crate) struct Logs {
    dir: PathBuf,
    deliveries: Arc<Deliveries>,
    /// Options that are secrets.
    values: Arc<HeldValues>,
    clock: Clock,
    watcher: Watcher,
    following: Mutex<HashMap<String, Following>>,
}

/// In whose name the logs of a task are delivered.
pub(crate) type LogSinks = Arc<dyn Fn(&TaskSpec) -> Arc<dyn LogSink> + Send + Sync>;

/// A shipper at work.
struct Following {
    ended: watch::Sender<bool>,
    delivered: watch::Receiver<bool>,
    shipper: AbortHandle,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.shipper.abort();
    }
}

impl Logs {
    /// Log files are in `dir`. Without sinks (tests) nothing is delivered.
    pub(crate) fn open(
        dir: PathBuf,
        region: &str,
        sinks: Option<LogSinks>,
        values: Arc<HeldValues>,
        clock: Clock,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir.join("positions"))?;
        let watcher = Watcher::new(&dir);
        let firelens_dir = dir.parent().unwrap_or(&dir).join(firelens::DIRECTORY);
        let deliveries = Arc::new(Deliveries { sinks, firelens_dir, region: region.to_owned() });
        Ok(Self { dir, deliveries, values, clock, watcher, following: Mutex::default() })
    }

    /// The log file of a container; rotated ones beside it.
    pub(crate) fn file(&self, container_id: &str) -> PathBuf {
        self.dir.join(file_name(container_id))
    }

    /// Makes the log stream before the container starts, or connects to where its output goes. A control plane that is
    /// away does not keep it from starting; what Docker's drivers cannot reach does, as on Docker.
    pub(crate) async fn prepare(&self, task: &TaskSpec, index: usize, id: &str) -> Result<(), ContainerReason> {
        let secret = match takes_secrets(&task.containers[index].log) {
            true => log_options(task, index, &*self.values.of(task).await?),
            false => LogOptions::new(),
        };
        let source = Source::new(id, None, self.clock.now_ms());
        let delivery = self.deliveries.make(task, index, &source, secret);
        let Some(delivery) = delivery.map_err(|error| not_initialized(task, &error))? else { return Ok(()) };
        match timeout(CREATE_MAX, delivery.to.prepare()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(DeliveryError::Later(error))) => {
                warn!(to = delivery.to.describe(), error, "log stream follows later");
                Ok(())
            }
            Ok(Err(DeliveryError::Never(error))) => Err(not_initialized(task, &error)),
            Err(_) => Ok(()),
        }
    }

    /// Delivers what the container prints from now on, and what it printed before. `spec` is what was started, and
    /// `created_ms` when it was made. Output whose destination is a secret that has to be asked for again waits for it.
    pub(crate) fn follow(
        &self,
        task: &Arc<TaskSpec>,
        index: usize,
        id: &str,
        spec: Option<&ContainerSpec>,
        created_ms: Option<u64>,
    ) {
        let definition = &task.containers[index];
        let mut following = self.following.lock();
        if following.contains_key(id) || !drivers::delivers(&definition.log.driver) {
            return;
        }
        let source = Source::new(id, spec, created_ms.unwrap_or_else(|| self.clock.now_ms()));
        let delivery = self.delivery(Arc::clone(task), index, source);
        let (ended, has_ended) = watch::channel(false);
        let (done, delivered) = watch::channel(false);
        let file = log_file_of(&definition.log, task.launch_type, self.file(id));
        let (position_file, clock) = (self.position_file(id), self.clock);
        let changed = self.watcher.reader(&file_name(id));
        let shipper = spawn(async move {
            let Some(Delivery { to, event_start, message_bytes_max }) = delivery.await else { return };
            let ended = has_ended;
            Shipper { to, event_start, message_bytes_max, file, position_file, clock, changed, ended }.run().await;
            done.send_replace(true);
        });
        following.insert(id.to_owned(), Following { ended, delivered, shipper: shipper.abort_handle() });
    }

    /// The container has ended: waits until everything is delivered, for a bounded time. What is left follows.
    pub(crate) async fn flush(&self, id: &str) {
        let delivered = {
            let following = self.following.lock();
            let Some(following) = following.get(id) else { return };
            following.ended.send_replace(true);
            following.delivered.clone()
        };
        let mut delivered = delivered;
        if timeout(FLUSH_MAX, delivered.wait_for(|delivered| *delivered)).await.is_err() {
            warn!(container = id, "logs are not delivered yet; the task stops without waiting for them");
        }
    }

    /// Gives up delivery and removes the files.
    pub(crate) async fn forget(&self, ids: &[String]) {
        let mut paths = Vec::new();
        for id in ids {
            self.following.lock().remove(id);
            self.watcher.forget(&file_name(id));
            paths.push(self.position_file(id));
            let path = self.file(id);
            paths.extend((1..=MAX_FILES_EVER).map(|nth| tail::numbered(&path, nth)));
            paths.push(path);
        }
        let removed = blocking(move || {
            paths.iter().map(fs::remove_file).for_each(drop);
            Ok(())
        });
        drop(removed.await);
    }

    /// How what a container prints is delivered, as soon as that is known.
    fn delivery(
        &self,
        task: Arc<TaskSpec>,
        index: usize,
        source: Source,
    ) -> impl Future<Output = Option<Delivery>> + use<> {
        let (deliveries, values) = (Arc::clone(&self.deliveries), Arc::clone(&self.values));
        async move {
            let secret = match takes_secrets(&task.containers[index].log) {
                true => values.log_options(&task, index).await,
                false => Some(LogOptions::new()),
            };
            // What cannot be made now could be when the container was started: a file that it needs is gone since.
            let made = match secret {
                Some(secret) => deliveries.make(&task, index, &source, secret),
                None => Err("the options of its log driver are not to be had".to_owned()),
            };
            made.unwrap_or_else(|error| {
                warn!(container = source.id, error, "what a container prints is not delivered");
                None
            })
        }
    }

    fn position_file(&self, id: &str) -> PathBuf {
        self.dir.join("positions").join(format!("{id}.json"))
    }
}

/// More files than any configuration makes.
const MAX_FILES_EVER: u32 = 16;

fn file_name(container_id: &str) -> String {
    format!("{container_id}.log")
}

fn not_initialized(task: &TaskSpec, error: &str) -> ContainerReason {
    match task.launch_type {
        LaunchType::Fargate => {
            ContainerReason::ResourceInitialization(format!("failed to validate logger args: {error} : exit status 1"))
        }
        LaunchType::Ec2 | LaunchType::External => ContainerReason::CannotStart(format!(
            "Error response from daemon: failed to initialize logging driver: {error}"
        )),
    }
}
