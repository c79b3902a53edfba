//! From the queues to the targets.
//!
//! A worker per target takes what is due, oldest first, and tries it. What the target takes is deleted; what fails
//! goes behind the others and the target rests, longer with each failure; what the target refuses for good, or what
//! the retry policy gives up, is deleted with a warning. A worker ends when nothing waits for its target.

mod http;
mod log_group;
mod task;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gantry_api::events::Target;
use gantry_api::{Caller, Fault};
use gantry_domain::networks::Network;
use gantry_store::{Txn, TxnError};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::queues::{Entry, Next, encode};
use super::rows::{DeliveryRow, TargetKey};
use super::target_kind::{self, Kind};
use super::{EventBridge, Inner};
use crate::iam::Iam;
use crate::logs::Logs;

/// Deliveries under way at the same time.
const UNDER_WAY_MAX: usize = 256;
/// What a target's retry policy is unless it says otherwise.
const ATTEMPTS_DEFAULT: u32 = 185;
const AGE_SECONDS_DEFAULT: i64 = 86_400;

/// Runs tasks as somebody.
#[async_trait]
pub trait RunTasks: Send + Sync {
    /// RunTask with `input`, which `caller` has to be allowed; its output.
    async fn run_task(&self, caller: &Caller, input: Value) -> Result<Value, Fault>;
}

/// How targets are reached.
pub struct Ways {
    logs: Logs,
    iam: Iam,
    tasks: Arc<dyn RunTasks>,
    http: http::Endpoints,
}

impl Ways {
    /// Log groups of `logs`, tasks by `tasks` with roles of `iam`, and HTTP endpoints in networks up to `reach`.
    pub fn new(logs: Logs, iam: Iam, tasks: Arc<dyn RunTasks>, reach: Network) -> Self {
        Self { logs, iam, tasks, http: http::Endpoints::new(reach) }
    }

    async fn deliver(&self, key: &TargetKey, target: &Target, kind: &Kind, row: &DeliveryRow) -> Outcome {
        match kind {
            Kind::Http { url, parameters } => self.http.post(url, parameters, &row.input).await,
            Kind::LogGroup { name } => log_group::put(&self.logs, key, name, &row.input).await,
            Kind::Ecs { cluster_arn, role_arn, parameters } => {
                let task = task::Task { cluster_arn, role_arn, parameters, has_input: task::has_input(target) };
                task.run(&self.iam, self.tasks.as_ref(), key, row).await
            }
        }
    }
}

/// What came of an attempt.
enum Outcome {
    Delivered,
    /// It may go better later.
    Retry(String),
    /// It will not.
    Refused(String),
}

impl EventBridge {
    /// Delivers what waits until the future is dropped.
    pub async fn deliver(self, ways: Ways) {
        let ways = Arc::new(ways);
        let permits = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut workers = JoinSet::new();
        loop {
            for key in self.inner.queues.take_idle() {
                let worker = Worker {
                    inner: Arc::clone(&self.inner),
                    ways: Arc::clone(&ways),
                    permits: Arc::clone(&permits),
                    key,
                };
                workers.spawn(worker.run());
            }
            while let Some(ended) = workers.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "the worker of a target broke down");
                }
            }
            self.inner.queues.idle_target.notified().await;
        }
    }
}

struct Worker {
    inner: Arc<Inner>,
    ways: Arc<Ways>,
    permits: Arc<Semaphore>,
    key: TargetKey,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.inner.queues.left(&self.key);
        }
    }
}

impl Worker {
    async fn run(self) {
        loop {
            let now = self.inner.now_ms();
            match self.inner.queues.next(&self.key, now) {
                Next::Empty => return,
                Next::Due(entry) => {
                    let Ok(_permit) = self.permits.acquire().await else { return };
                    self.attempt(entry).await;
                }
                Next::Wait(until, changed) => {
                    let wait = Duration::from_millis(u64::try_from(until - now).unwrap_or(0).max(1));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = changed.notified() => {}
                    }
                }
            }
        }
    }

    async fn attempt(&self, entry: Entry) {
        let path = self.key.delivery(entry.position);
        let row: DeliveryRow = match self.inner.store.get(&path).await {
            Ok(Some(kv)) => match serde_json::from_slice(&kv.value) {
                Ok(row) => row,
                Err(error) => return self.give_up(entry, &path, "", &format!("its row cannot be read: {error}")).await,
            },
            // Its target was removed.
            Ok(None) => return self.inner.queues.done(&self.key, entry, false),
            Err(error) => return self.store_failed(entry, &error.to_string()),
        };
        let target = {
            let picture = self.inner.view.read();
            let rule = picture.rules.get(&self.key.rule);
            rule.and_then(|rule| rule.row.targets.get(&self.key.target)).cloned()
        };
        let Some(target) = target else { return self.delete(entry, &path, false).await };
        let kind = match target_kind::kind(&self.key.rule.scope, &target) {
            Ok(kind) => kind,
            Err(reason) => return self.give_up(entry, &path, &row.event_id, &reason).await,
        };
        match self.ways.deliver(&self.key, &target, &kind, &row).await {
            Outcome::Delivered => self.delete(entry, &path, true).await,
            Outcome::Refused(reason) => self.give_up(entry, &path, &row.event_id, &reason).await,
            Outcome::Retry(reason) => self.try_again(entry, &path, &target, row, &reason).await,
        }
    }

    async fn try_again(&self, entry: Entry, path: &str, target: &Target, row: DeliveryRow, reason: &str) {
        let policy = target.retry_policy.clone().unwrap_or_default();
        let retries = policy.maximum_retry_attempts.and_then(|most| u32::try_from(most).ok());
        let age = policy.maximum_event_age_in_seconds.map_or(AGE_SECONDS_DEFAULT, i64::from);
        let now = self.inner.now_ms();
        let row = DeliveryRow { attempts: row.attempts + 1, ..row };
        if row.attempts > retries.unwrap_or(ATTEMPTS_DEFAULT) || now - row.at_ms > age.saturating_mul(1000) {
            return self.give_up(entry, path, &row.event_id, reason).await;
        }
        let (rule, target) = (self.key.rule.arn(), &self.key.target);
        tracing::debug!(rule, target, event = row.event_id, attempts = row.attempts, reason, "a delivery failed");
        let Some(value) = encode(&row) else { return self.give_up(entry, path, &row.event_id, reason).await };
        match self.inner.store.txn(Txn::new().require_exists(path).put(path, value)).await {
            Ok(_) => self.inner.queues.failed(&self.key, entry, row.attempts, now),
            Err(TxnError::Conflict { .. }) => self.inner.queues.done(&self.key, entry, false),
            Err(TxnError::Store(error)) => self.store_failed(entry, &error.to_string()),
        }
    }

    async fn give_up(&self, entry: Entry, path: &str, event: &str, reason: &str) {
        tracing::warn!(
            rule = self.key.rule.arn(),
            target = self.key.target,
            event,
            reason,
            "an event is not delivered"
        );
        self.delete(entry, path, false).await;
    }

    async fn delete(&self, entry: Entry, path: &str, took_it: bool) {
        match self.inner.store.txn(Txn::new().delete(path)).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => self.inner.queues.done(&self.key, entry, took_it),
            // It is delivered again when the store is back.
            Err(TxnError::Store(error)) => self.store_failed(entry, &error.to_string()),
        }
    }

    fn store_failed(&self, entry: Entry, error: &str) {
        tracing::warn!(rule = self.key.rule.arn(), target = self.key.target, error, "a delivery waits for the store");
        self.inner.queues.failed(&self.key, entry, 1, self.inner.now_ms());
    }
}
