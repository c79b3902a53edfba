//! Makes what delivers a container's output out of its log configuration.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use gantry_runtime::container::ContainerSpec;
use regex::Regex;

use super::{
    LogSinks,
    cloudwatch::CloudWatch,
    destination::Destination,
    discreet::{Discreet, Hidden},
    drivers::{self, Described},
    event,
    options::AwsLogs,
};
use crate::{
    firelens,
    held_values::LogOptions,
    task::{ContainerDefinition, LaunchType, LogConfiguration, TaskSpec},
};

/// Docker cuts lines at this length for the drivers that send.
const DRIVER_MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What every delivery of this host is made with.
pub(super) struct Deliveries {
    pub(super) sinks: Option<LogSinks>,
    /// Where the sockets of tasks' log routers are.
    pub(super) firelens_dir: PathBuf,
    pub(super) region: String,
}

/// Whether a delivery takes values that are asked for. Those of a sender to the task's log router are the router's.
pub(super) fn takes_secrets(log: &LogConfiguration) -> bool {
    !log.secret_options.is_empty() && log.driver != firelens::DRIVER
}

/// A container whose output is delivered.
pub(super) struct Source {
    pub(super) id: String,
    pub(super) created_ms: u64,
    /// Variables and labels that it was started with; none before.
    pub(super) started_with: Option<(Vec<String>, BTreeMap<String, String>)>,
}

impl Source {
    pub(super) fn new(id: &str, spec: Option<&ContainerSpec>, created_ms: u64) -> Self {
        let started_with = spec.map(|spec| (spec.env.clone(), spec.labels.clone()));
        Self { id: id.to_owned(), created_ms, started_with }
    }
}

/// Whom to deliver to, and what makes an event.
pub(super) struct Delivery {
    pub(super) to: Arc<dyn Destination>,
    pub(super) event_start: Option<Regex>,
    pub(super) message_bytes_max: usize,
}

impl Deliveries {
    /// Where the container's output is to be delivered, if anywhere. `secret` are the options that its definition only
    /// names; nothing that is told of the delivery says their values.
    pub(super) fn make(
        &self,
        task: &TaskSpec,
        index: usize,
        source: &Source,
        secret: LogOptions,
    ) -> Result<Option<Delivery>, String> {
        let definition = &task.containers[index];
        if secret.is_empty() {
            return self.open(task, definition, &definition.log.options, source);
        }
        let hidden = Hidden::new(secret.iter().map(|(_, value)| value.as_str()));
        let mut options = definition.log.options.clone();
        options.extend(secret);
        let delivery = self.open(task, definition, &options, source).map_err(|error| hidden.hide(&error))?;
        Ok(delivery.map(|delivery| Delivery { to: Arc::new(Discreet { to: delivery.to, hidden }), ..delivery }))
    }

    fn open(
        &self,
        task: &TaskSpec,
        definition: &ContainerDefinition,
        options: &BTreeMap<String, String>,
        source: &Source,
    ) -> Result<Option<Delivery>, String> {
        if definition.log.driver == "awslogs" {
            let to = AwsLogs::parse(task, definition, options, &source.id, &self.region)?;
            let Some(sinks) = &self.sinks else { return Ok(None) };
            let sink = sinks(task);
            let event_start = to.event_start.clone();
            let retried = task.launch_type == LaunchType::Fargate;
            let to = Arc::new(CloudWatch { sink, to, retried });
            return Ok(Some(Delivery { to, event_start, message_bytes_max: event::MESSAGE_BYTES_MAX }));
        }
        let mut container = Described::new(task, definition, &source.id, source.created_ms);
        if let Some((env, labels)) = &source.started_with {
            container.env.clone_from(env);
            container.labels.clone_from(labels);
        }
        let socket = firelens::socket(&self.firelens_dir, task.id());
        let wanted = drivers::Wanted { task, definition, options, container, firelens_socket: &socket };
        let to = drivers::destination(&wanted)?;
        Ok(to.map(|to| Delivery { to, event_start: None, message_bytes_max: DRIVER_MESSAGE_BYTES_MAX }))
    }
}
