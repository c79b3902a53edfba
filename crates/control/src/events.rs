//! Tells what happens to tasks, container instances and services as EventBridge events (`source: aws.ecs`).
//!
//! A follower of the store: it sees every transaction in order, compares each row with what it knew of it, and tells
//! the difference. How far it has told is kept, and after a restart it goes on from there ([`position`]): every event
//! is told at least once, and an event that is told again has the same id. Only when the store no longer holds the
//! transactions in between, states that came and went meanwhile are not told; the newest ones are.

mod detail;
mod known;
mod position;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use gantry_api::event::{Event as Told, EventSink};
use gantry_domain::{Timestamp, arn::Scope};
use gantry_store::{Batch, Event, Revision, StoreError, TxnError, Watch, WatchError};
use serde_json::Value;

use crate::{
    Control,
    keys::{self, InstanceKey, Key, ServiceKey, ServiceKind, TaskKey},
    records::{InstanceRecord, ServiceRecord, TaskRecord, decode},
};
use known::{Changed, Known};
use position::Position;

/// How long to wait before a broken watch is begun again, or events are told again that nobody took.
const RETRY: Duration = Duration::from_secs(1);
/// How long the position may be behind what was told: what a restart tells again at most.
const POSITION_LAG: Duration = Duration::from_millis(500);
/// Events that are told together.
const TOGETHER_MAX: usize = 200;

/// What happens after this is told, also when the process ends before [`tell`] has begun.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn begin(control: &Control) -> Result<(), TxnError> {
    if Position::read(&control.store).await?.is_some() {
        return Ok(());
    }
    Position::new(control.store.revision(), control.now()).write(&control.store).await
}

/// Tells events until the future is dropped.
pub async fn tell(control: Control, sink: Arc<dyn EventSink>) {
    let mut position = None;
    loop {
        let begun = match position {
            Some(position) => Ok(Some(position)),
            None => Position::read(&control.store).await,
        };
        let error = match begun {
            Ok(begun) => Follower::new(&control, sink.as_ref(), begun).follow(&mut position).await,
            Err(error) => error.into(),
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "events are told later");
        tokio::time::sleep(RETRY).await;
    }
}

struct Follower<'a> {
    control: &'a Control,
    sink: &'a dyn EventSink,
    known: Known,
    /// The position that was written last.
    kept: Position,
    /// When the picture was of that it began with.
    since: Timestamp,
    /// What is to be told.
    news: Vec<Told>,
}

impl<'a> Follower<'a> {
    fn new(control: &'a Control, sink: &'a dyn EventSink, begun: Option<Position>) -> Self {
        // Who never told anything begins with what happens from now on.
        let kept = begun.unwrap_or_else(|| Position::new(control.store.revision(), control.now()));
        Self { control, sink, known: Known::default(), kept, since: kept.at(), news: Vec::new() }
    }

    /// Tells what happens after the position where it began, and writes `reached` on.
    async fn follow(mut self, reached: &mut Option<Position>) -> WatchError {
        let mut watch = self.control.store.watch(keys::PREFIX, self.kept.revision + 1);
        // What the picture knows from before is not news; what came after is in the watch.
        self.known.load(&self.control.read(), self.kept);
        loop {
            let batch = match self.next(&mut watch, reached).await {
                Ok(batch) => batch,
                Err(WatchError::Compacted { .. }) => match self.catch_up(reached).await {
                    Ok(revision) => {
                        watch = self.control.store.watch(keys::PREFIX, revision + 1);
                        continue;
                    }
                    Err(error) => return error.into(),
                },
                Err(error) => return error,
            };
            if let Err(error) = self.take(batch, &mut watch, reached).await {
                return error;
            }
        }
    }

    /// The next transaction. While there is none, the position is written.
    async fn next(&mut self, watch: &mut Watch, reached: &mut Option<Position>) -> Result<Batch, WatchError> {
        if let Some(position) = reached.filter(|position| position.revision > self.kept.revision) {
            tokio::select! {
                batch = watch.next() => return batch,
                () = tokio::time::sleep(POSITION_LAG) => self.keep(position).await,
            }
        }
        watch.next().await
    }

    /// Tells of a transaction and of those that have come meanwhile.
    async fn take(
        &mut self,
        mut batch: Batch,
        watch: &mut Watch,
        reached: &mut Option<Position>,
    ) -> Result<(), WatchError> {
        loop {
            // Details are read from the picture, which must not be older than the change.
            self.control.view.wait_for(batch.revision).await?;
            self.look_at(&batch);
            let more = tokio::select! {
                biased;
                more = watch.next(), if self.news.len() < TOGETHER_MAX => Some(more?),
                () = std::future::ready(()) => None,
            };
            match more {
                Some(more) => batch = more,
                None => break,
            }
        }
        self.tell(batch.revision, reached).await;
        Ok(())
    }

    /// Tells the newest states of what changed since the position: what came between is no longer known.
    async fn catch_up(&mut self, reached: &mut Option<Position>) -> Result<Revision, StoreError> {
        let since = reached.unwrap_or(self.kept);
        self.since = since.at();
        tracing::warn!("some events are not told: the store no longer has what happened since the last one");
        let (changed, revision) = {
            let view = self.control.read();
            self.known = Known::default();
            self.known.load(&view, since);
            (Changed::since(&view, since), view.revision())
        };
        let mut instances: BTreeSet<InstanceKey> = changed.instances.iter().map(|(key, _)| key.clone()).collect();
        for (key, row) in changed.tasks {
            self.task(revision, &key, Some(row.record.clone()), &mut instances);
            self.hand_over_many().await;
        }
        for (key, row) in changed.services {
            self.service(revision, &key, Some(row.record.clone()));
            self.hand_over_many().await;
        }
        for (key, row) in &changed.instances {
            self.known.instance_changed(key, Some(row));
        }
        for key in &instances {
            self.instance(revision, key);
            self.hand_over_many().await;
        }
        self.tell(revision, reached).await;
        Ok(revision)
    }

    /// Hands over what is to be told when it is enough for one go: there may be a hundred thousand tasks.
    async fn hand_over_many(&mut self) {
        if self.news.len() >= TOGETHER_MAX {
            self.hand_over().await;
        }
    }

    /// Hands over what is to be told until it is taken.
    async fn hand_over(&mut self) {
        while !self.news.is_empty() {
            match self.sink.tell(self.news.clone()).await {
                Ok(()) => self.news.clear(),
                Err(error) => {
                    tracing::warn!(%error, waiting = self.news.len(), "events are told later");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Hands over what is left to be told: everything up to `revision` is told then.
    async fn tell(&mut self, revision: Revision, reached: &mut Option<Position>) {
        self.hand_over().await;
        let position = Position::new(revision, self.control.now());
        let lag = Duration::from_millis(position.at().millis_since(self.kept.at()).max(0).unsigned_abs());
        *reached = Some(position);
        // Never idle, it would never be written.
        if lag > 2 * POSITION_LAG {
            self.keep(position).await;
        }
    }

    async fn keep(&mut self, position: Position) {
        match position.write(&self.control.store).await {
            Ok(()) => self.kept = position,
            Err(error) => tracing::warn!(%error, "some events will be told again after a restart"),
        }
    }

    fn look_at(&mut self, batch: &Batch) {
        let mut instances = BTreeSet::new();
        for event in &batch.events {
            self.look_at_row(batch.revision, event, &mut instances);
        }
        for instance in &instances {
            self.instance(batch.revision, instance);
        }
    }

    fn look_at_row(&mut self, revision: Revision, event: &Event, instances: &mut BTreeSet<InstanceKey>) {
        let Some((scope, key)) = Key::parse(event.key()) else { return };
        let value = match event {
            Event::Put(kv) => Some(&kv.value),
            Event::Delete { .. } => None,
        };
        match key {
            Key::Task { cluster, id } => {
                let record: Option<TaskRecord> = value.and_then(|value| decode(value).ok());
                self.task(revision, &TaskKey { scope, cluster, id }, record, instances);
            }
            Key::Service { kind, cluster, name } => {
                let record: Option<ServiceRecord> = value.and_then(|value| decode(value).ok());
                self.service(revision, &ServiceKey { kind, scope, cluster, service: name }, record);
            }
            Key::Instance { cluster, id } => {
                let record: Option<InstanceRecord> = value.and_then(|value| decode(value).ok());
                let key = InstanceKey { scope, cluster, id };
                if self.known.instance_changed(&key, record.as_ref()) {
                    instances.insert(key);
                }
            }
            // A session is told when it is opened; what becomes of it is no call of the API.
            Key::ExecSession { id } => {
                let opened = match event {
                    Event::Put(kv) if kv.create_revision == kv.mod_revision => decode(&kv.value).ok(),
                    _ => None,
                };
                if let Some(record) = opened {
                    let detail = detail::exec_session(&scope, &id, &record);
                    self.say(revision, &scope, "AWS API Call via CloudTrail", record.task_arn.clone(), detail);
                }
            }
            _ => {}
        }
    }

    fn task(
        &mut self,
        revision: Revision,
        key: &TaskKey,
        record: Option<TaskRecord>,
        instances: &mut BTreeSet<InstanceKey>,
    ) {
        let Some(record) = record else { return self.known.forget_task(key) };
        let change = self.known.task_changed(key, &record);
        if change.resources
            && let Some(host) =
                record.host.clone().filter(|_| record.launch_type != crate::records::LaunchType::Fargate)
        {
            instances.insert(host);
        }
        if change.told {
            let detail = detail::task(&self.control.read(), key, record, self.control.now());
            self.say(revision, &key.scope, "ECS Task State Change", key.arn(), detail);
        }
    }

    fn instance(&mut self, revision: Revision, key: &InstanceKey) {
        let detail = detail::instance(&self.control.read(), key, self.control.now());
        if let Some(detail) = detail {
            self.say(revision, &key.scope, "ECS Container Instance State Change", key.arn(), detail);
        }
    }

    fn service(&mut self, revision: Revision, key: &ServiceKey, record: Option<ServiceRecord>) {
        let Some(record) = record else { return self.known.forget_service(key) };
        let news = self.known.service_news(key, &record, self.since);
        let actions = news.events.into_iter().filter_map(|event| detail::service_action(key, event));
        let deployments = news.deployments.into_iter().map(|deployment| detail::deployment(key.kind, deployment));
        let actions: Vec<Value> = actions.collect();
        let deployments: Vec<Value> = deployments.collect();
        let (action, state_change) = match key.kind {
            ServiceKind::Service => ("ECS Service Action", "ECS Deployment State Change"),
            ServiceKind::Daemon => ("ECS Daemon Service Action", "ECS Daemon Deployment State Change"),
        };
        for detail in actions {
            self.say(revision, &key.scope, action, key.arn(), detail);
        }
        for detail in deployments {
            self.say(revision, &key.scope, state_change, key.arn(), detail);
        }
    }

    fn say(&mut self, revision: Revision, scope: &Scope, detail_type: &str, resource: String, detail: Value) {
        let now: Timestamp = self.control.now();
        self.news.push(Told {
            id: detail::id(revision, detail_type, &resource, &detail),
            source: "aws.ecs".to_owned(),
            detail_type: detail_type.to_owned(),
            account: scope.account.clone(),
            region: scope.region.clone(),
            time_ms: now.as_millis(),
            resources: vec![resource],
            detail,
        });
    }
}
