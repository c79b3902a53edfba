//! What containers print: where the shim writes it, and its delivery.
//!
//! - [`options`]: the log configuration, and the bounds of the files. Pure.
//! - [`tail`]: reads a file that is written and rotated.
//! - [`event`], [`multiline`]: from lines to events and batches. Pure.
//! - [`destination`]: where events go: [`cloudwatch`], or what one of Docker's [`drivers`] sends to.
//! - [`shipper`]: one per container whose output is delivered somewhere.
//! - [`watcher`]: wakes shippers.

mod cloudwatch;
mod destination;
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
use regex::Regex;
use tokio::{
    sync::watch,
    task::{AbortHandle, spawn},
    time::timeout,
};
use tracing::warn;

use cloudwatch::CloudWatch;
use destination::{DeliveryError, Destination};
use drivers::Described;
use options::AwsLogs;
pub(crate) use options::log_file_of;
use shipper::Shipper;
pub(crate) use sink::LogSink;
use watcher::Watcher;

use crate::{
    clock::Clock,
    firelens,
    reason::ContainerReason,
    record::blocking,
    task::{LaunchType, TaskSpec},
};

/// How long a stopped task waits for its logs; with the control plane away they follow later.
const FLUSH_MAX: Duration = Duration::from_secs(10);
/// How long a start waits for its log stream when the control plane does not answer.
const CREATE_MAX: Duration = Duration::from_secs(3);

pub(crate) struct Logs {
    sinks: Option<LogSinks>,
    dir: PathBuf,
    /// Where the sockets of tasks' log routers are.
    firelens_dir: PathBuf,
    region: String,
    clock: Clock,
    watcher: Watcher,
    following: Mutex<HashMap<String, Following>>,
}

/// In whose name the logs of a task are delivered.
pub(crate) type LogSinks = Arc<dyn Fn(&TaskSpec) -> Arc<dyn LogSink> + Send + Sync>;

/// Docker cuts lines at this length for the drivers that send.
const DRIVER_MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Whom to deliver to, and what makes an event.
struct Delivery {
    to: Arc<dyn Destination>,
    event_start: Option<Regex>,
    message_bytes_max: usize,
}

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
    pub(crate) fn open(dir: PathBuf, region: &str, sinks: Option<LogSinks>, clock: Clock) -> io::Result<Self> {
        fs::create_dir_all(dir.join("positions"))?;
        let watcher = Watcher::new(&dir);
        let firelens_dir = dir.parent().unwrap_or(&dir).join(firelens::DIRECTORY);
        Ok(Self { sinks, dir, firelens_dir, region: region.to_owned(), clock, watcher, following: Mutex::default() })
    }

    /// The log file of a container; rotated ones beside it.
    pub(crate) fn file(&self, container_id: &str) -> PathBuf {
        self.dir.join(file_name(container_id))
    }

    /// Makes the log stream before the container starts, or connects to where its output goes. A control plane that is
    /// away does not keep it from starting; what Docker's drivers cannot reach does, as on Docker.
    pub(crate) async fn prepare(&self, task: &TaskSpec, index: usize, id: &str) -> Result<(), ContainerReason> {
        let delivery = self.delivery(task, index, id, None, None).map_err(|error| not_initialized(task, &error))?;
        let Some(delivery) = delivery else { return Ok(()) };
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
    /// `created_ms` when it was made.
    pub(crate) fn follow(
        &self,
        task: &TaskSpec,
        index: usize,
        id: &str,
        spec: Option<&ContainerSpec>,
        created_ms: Option<u64>,
    ) {
        let delivery = match self.delivery(task, index, id, spec, created_ms) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return,
            // It could be made when the container was started: a file that it needs is gone since.
            Err(error) => return warn!(container = id, error, "what a container prints is not delivered"),
        };
        let mut following = self.following.lock();
        if following.contains_key(id) {
            return;
        }
        let definition = &task.containers[index];
        let (ended, has_ended) = watch::channel(false);
        let (done, delivered) = watch::channel(false);
        let shipper = Shipper {
            to: delivery.to,
            event_start: delivery.event_start,
            message_bytes_max: delivery.message_bytes_max,
            file: log_file_of(&definition.log, task.launch_type, self.file(id)),
            position_file: self.position_file(id),
            clock: self.clock,
            changed: self.watcher.reader(&file_name(id)),
            ended: has_ended,
        };
        let shipper = spawn(async move {
            shipper.run().await;
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

    fn position_file(&self, id: &str) -> PathBuf {
        self.dir.join("positions").join(format!("{id}.json"))
    }

    /// Where the container's output is to be delivered, if anywhere.
    fn delivery(
        &self,
        task: &TaskSpec,
        index: usize,
        id: &str,
        spec: Option<&ContainerSpec>,
        created_ms: Option<u64>,
    ) -> Result<Option<Delivery>, String> {
        let definition = &task.containers[index];
        if definition.log.driver == "awslogs" {
            let to = AwsLogs::parse(task, index, id, &self.region)?;
            let Some(sinks) = &self.sinks else { return Ok(None) };
            let sink = sinks(task);
            let event_start = to.event_start.clone();
            let retried = task.launch_type == LaunchType::Fargate;
            let to = Arc::new(CloudWatch { sink, to, retried });
            return Ok(Some(Delivery { to, event_start, message_bytes_max: event::MESSAGE_BYTES_MAX }));
        }
        let created_ms = created_ms.unwrap_or_else(|| self.clock.now_ms());
        let mut container = Described::new(task, definition, id, created_ms);
        if let Some(spec) = spec {
            container.env.clone_from(&spec.env);
            container.labels.clone_from(&spec.labels);
        }
        let socket = firelens::socket(&self.firelens_dir, task.id());
        let wanted = drivers::Wanted { task, definition, container, firelens_socket: &socket };
        let to = drivers::destination(&wanted)?;
        Ok(to.map(|to| Delivery { to, event_start: None, message_bytes_max: DRIVER_MESSAGE_BYTES_MAX }))
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
