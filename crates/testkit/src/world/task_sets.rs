//! Commands on task sets, which a scenario names by their external ids.

use std::fmt::Write as _;

use gantry_api::ecs::{self, Ecs};
use gantry_control::records::ServiceRecord;

use super::{World, refusal, script::Words};

impl World {
    /// `task-set SERVICE NAME task-definition=web scale=50`
    pub(super) async fn create_task_set(&mut self, service: &str, name: &str, words: &Words<'_>) -> String {
        let input = ecs::CreateTaskSetRequest {
            cluster: Some(self.cluster.to_string()),
            service: Some(service.to_owned()),
            external_id: Some(name.to_owned()),
            task_definition: words.named.get("task-definition").map(|text| (*text).to_owned()),
            scale: scale(words),
            ..Default::default()
        };
        told(self.ecs().create_task_set(&self.caller(), input).await)
    }

    /// `scale-set SERVICE NAME scale=100`
    pub(super) async fn scale_task_set(&mut self, service: &str, name: &str, words: &Words<'_>) -> String {
        let input = ecs::UpdateTaskSetRequest {
            cluster: Some(self.cluster.to_string()),
            service: Some(service.to_owned()),
            task_set: Some(self.task_set(service, name)),
            scale: scale(words),
        };
        told(self.ecs().update_task_set(&self.caller(), input).await)
    }

    /// `primary-set SERVICE NAME`
    pub(super) async fn promote_task_set(&mut self, service: &str, name: &str) -> String {
        let input = ecs::UpdateServicePrimaryTaskSetRequest {
            cluster: Some(self.cluster.to_string()),
            service: Some(service.to_owned()),
            primary_task_set: Some(self.task_set(service, name)),
        };
        told(self.ecs().update_service_primary_task_set(&self.caller(), input).await)
    }

    /// `delete-set SERVICE NAME [force]`
    pub(super) async fn delete_task_set(&mut self, service: &str, name: &str, words: &Words<'_>) -> String {
        let input = ecs::DeleteTaskSetRequest {
            cluster: Some(self.cluster.to_string()),
            service: Some(service.to_owned()),
            task_set: Some(self.task_set(service, name)),
            force: words.has("force").then_some(true),
        };
        told(self.ecs().delete_task_set(&self.caller(), input).await)
    }

    /// `delete-sets SERVICE`: all of them, whatever their scale.
    pub(super) async fn delete_task_sets(&mut self, service: &str) -> String {
        let record = service.parse().ok().and_then(|service| self.record(&service));
        for set in record.into_iter().flat_map(|record| record.task_sets) {
            let input = ecs::DeleteTaskSetRequest {
                cluster: Some(self.cluster.to_string()),
                service: Some(service.to_owned()),
                task_set: Some(set.id.to_string()),
                force: Some(true),
            };
            if let Err(fault) = self.ecs().delete_task_set(&self.caller(), input).await {
                return refusal(&fault);
            }
        }
        String::new()
    }

    fn task_set(&self, service: &str, name: &str) -> String {
        let found = service.parse().ok().and_then(|service| self.record(&service)).and_then(|record| {
            record.task_sets.iter().find(|set| set.external_id.as_deref() == Some(name)).map(|set| set.id)
        });
        found.map_or_else(|| "ecs-svc/0".to_owned(), |id| id.to_string())
    }

    /// The lines of a service's task sets.
    pub(super) fn show_task_sets(&self, record: &ServiceRecord) -> String {
        let view = self.control().read();
        let cluster = view.cluster(&self.scope, &self.cluster);
        let mut shown = String::new();
        for set in &record.task_sets {
            let group = cluster.and_then(|cluster| cluster.tasks().started_by(&set.id.to_string()));
            let counts = group.map(|group| *group.counts()).unwrap_or_default();
            // Writing into a string cannot fail.
            let _ = writeln!(
                shown,
                "{:<8} {} {} desired {} running {} pending {} {}",
                set.status.as_str(),
                set.external_id.as_deref().unwrap_or("-"),
                set.revision.task_definition,
                set.computed_desired_count(record.desired_count),
                counts.running(),
                counts.pending(),
                if set.steady_since.is_some() { "STEADY_STATE" } else { "STABILIZING" }
            );
        }
        shown
    }
}

fn scale(words: &Words<'_>) -> Option<ecs::Scale> {
    words.number("scale").map(|value| ecs::Scale { value: Some(value), unit: Some(ecs::ScaleUnit::Percent) })
}

pub(super) fn told<T>(answer: Result<T, gantry_api::Fault>) -> String {
    answer.map_or_else(|fault| refusal(&fault), |_| String::new())
}
