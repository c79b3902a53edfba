//! What containers print: where the shim writes it, and its delivery to CloudWatch Logs.
//!
//! - [`options`]: the log configuration, and the bounds of the files. Pure.
//! - [`tail`]: reads a file that is written and rotated.
//! - [`event`], [`multiline`]: from lines to events and batches. Pure.
//! - [`shipper`]: one per container that logs to CloudWatch Logs.
//! - [`watcher`]: wakes shippers.

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

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::{AbortHandle, spawn},
    time::timeout,
};
use tracing::warn;

use options::AwsLogs;
pub(crate) use options::log_file_of;
use shipper::Shipper;
pub(crate) use sink::LogSink;
use watcher::Watcher;

use crate::{
    aws::AwsError,
    clock::Clock,
    reason::{ContainerReason, chain},
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
    region: String,
    clock: Clock,
    watcher: Watcher,
    following: Mutex<HashMap<String, Following>>,
}

/// In whose name the logs of a task are delivered.
pub(crate) type LogSinks = Arc<dyn Fn(&TaskSpec) -> Arc<dyn LogSink> + Send + Sync>;

/// Whom to deliver to, and under which names.
type Destination = (Arc<dyn LogSink>, AwsLogs);

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
        Ok(Self { sinks, dir, region: region.to_owned(), clock, watcher, following: Mutex::default() })
    }

    /// The log file of a container; rotated ones beside it.
    pub(crate) fn file(&self, container_id: &str) -> PathBuf {
        self.dir.join(file_name(container_id))
    }

    /// Makes the log stream before the container starts. A control plane that is away does not keep it from starting.
    pub(crate) async fn prepare(&self, task: &TaskSpec, index: usize, id: &str) -> Result<(), ContainerReason> {
        let Some((sink, to)) = self.destination(task, index, id).map_err(|error| not_initialized(task, &error))? else {
            return Ok(());
        };
        match timeout(CREATE_MAX, sink.create(&to)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.is_transient() => {
                warn!(stream = to.stream, error = chain(&error), "log stream follows later");
                Ok(())
            }
            Ok(Err(error)) => Err(not_created(task, &error)),
            Err(_) => Ok(()),
        }
    }

    /// Delivers what the container prints from now on, and what it printed before.
    pub(crate) fn follow(&self, task: &TaskSpec, index: usize, id: &str) {
        let Ok(Some((sink, to))) = self.destination(task, index, id) else { return };
        let mut following = self.following.lock();
        if following.contains_key(id) {
            return;
        }
        let definition = &task.containers[index];
        let (ended, has_ended) = watch::channel(false);
        let (done, delivered) = watch::channel(false);
        let shipper = Shipper {
            sink,
            to,
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
    fn destination(&self, task: &TaskSpec, index: usize, id: &str) -> Result<Option<Destination>, String> {
        if task.containers[index].log.driver != "awslogs" {
            return Ok(None);
        }
        let to = AwsLogs::parse(task, index, id, &self.region)?;
        Ok(self.sinks.as_ref().map(|sinks| (sinks(task), to)))
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

fn not_created(task: &TaskSpec, error: &AwsError) -> ContainerReason {
    let error = format!("failed to create Cloudwatch log stream: {}", chain(error));
    match task.launch_type {
        LaunchType::Fargate => not_initialized(task, &format!("create stream has been retried 1 times: {error}")),
        LaunchType::Ec2 | LaunchType::External => not_initialized(task, &error),
    }
}
