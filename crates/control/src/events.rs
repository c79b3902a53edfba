//! Tells what happens to tasks, container instances and services as EventBridge events (`source: aws.ecs`).
//!
//! A follower of the store: it sees every transaction in order, compares each row with what it knew of it, and tells
//! the difference. What the follower has not seen when the process ends is not told; events are best effort.

mod detail;
mod known;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use gantry_api::event::{Event as Told, EventSink};
use gantry_domain::{Timestamp, arn::Scope};
use gantry_store::{Event, WatchError};
use serde_json::Value;

use crate::{
    Control,
    keys::{self, InstanceKey, Key, ServiceKey, TaskKey},
    records::{InstanceRecord, ServiceRecord, TaskRecord, decode},
};
use known::Known;

/// How long to wait before a broken watch is begun again.
const RETRY: Duration = Duration::from_secs(1);

/// Tells events until the future is dropped.
pub async fn tell(control: Control, sink: Arc<dyn EventSink>) {
    loop {
        let follower = Follower { control: &control, sink: sink.as_ref(), known: Known::default() };
        let error = follower.follow().await;
        tracing::warn!(error = &error as &dyn std::error::Error, "events of a while are not told");
        tokio::time::sleep(RETRY).await;
    }
}

struct Follower<'a> {
    control: &'a Control,
    sink: &'a dyn EventSink,
    known: Known,
}

impl Follower<'_> {
    async fn follow(mut self) -> WatchError {
        let mut watch = self.control.store.watch(keys::PREFIX, self.control.store.revision() + 1);
        // The picture may be newer than the watch's beginning: what is known already is not told again.
        self.known.load(&self.control.read());
        loop {
            let batch = match watch.next().await {
                Ok(batch) => batch,
                Err(error) => return error,
            };
            // Details are read from the picture, which must not be older than the change.
            if self.control.view.wait_for(batch.revision).await.is_err() {
                continue;
            }
            let mut instances = BTreeSet::new();
            for event in &batch.events {
                self.look_at(event, &mut instances);
            }
            for instance in &instances {
                self.instance(instance);
            }
        }
    }

    fn look_at(&mut self, event: &Event, instances: &mut BTreeSet<InstanceKey>) {
        let Some((scope, key)) = Key::parse(event.key()) else { return };
        let value = match event {
            Event::Put(kv) => Some(&kv.value),
            Event::Delete { .. } => None,
        };
        match key {
            Key::Task { cluster, id } => {
                let record: Option<TaskRecord> = value.and_then(|value| decode(value).ok());
                self.task(&TaskKey { scope, cluster, id }, record, instances);
            }
            Key::Service { cluster, name } => {
                let record: Option<ServiceRecord> = value.and_then(|value| decode(value).ok());
                self.service(&ServiceKey { scope, cluster, service: name }, record);
            }
            Key::Instance { cluster, id } => {
                let record: Option<InstanceRecord> = value.and_then(|value| decode(value).ok());
                let key = InstanceKey { scope, cluster, id };
                if self.known.instance_changed(&key, record.as_ref()) {
                    instances.insert(key);
                }
            }
            _ => {}
        }
    }

    fn task(&mut self, key: &TaskKey, record: Option<TaskRecord>, instances: &mut BTreeSet<InstanceKey>) {
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
            self.say(&key.scope, "ECS Task State Change", key.arn(), detail);
        }
    }

    fn instance(&self, key: &InstanceKey) {
        let detail = detail::instance(&self.control.read(), key, self.control.now());
        if let Some(detail) = detail {
            self.say(&key.scope, "ECS Container Instance State Change", key.arn(), detail);
        }
    }

    fn service(&mut self, key: &ServiceKey, record: Option<ServiceRecord>) {
        let Some(record) = record else { return self.known.forget_service(key) };
        let news = self.known.service_news(key, &record);
        for event in news.events {
            if let Some(detail) = detail::service_action(key, event) {
                self.say(&key.scope, "ECS Service Action", key.arn(), detail);
            }
        }
        for deployment in news.deployments {
            let detail = detail::deployment(deployment);
            self.say(&key.scope, "ECS Deployment State Change", key.arn(), detail);
        }
    }

    fn say(&self, scope: &Scope, detail_type: &str, resource: String, detail: Value) {
        let now: Timestamp = self.control.now();
        self.sink.emit(Told {
            id: self.control.random.uuid(),
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
