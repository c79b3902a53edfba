//! The world as a scenario shows it: short names instead of ids, seconds since the beginning instead of dates.

use std::{fmt::Write as _, sync::Arc};

use gantry_control::{keys::ServiceKind, records::ServiceRecord, view::TaskRow};
use gantry_domain::{Timestamp, arn::Name};

use super::{BEGINNING, World};

impl World {
    /// Everything, for a failure.
    pub fn show_all(&self) -> String {
        let view = self.control().read();
        let (services, daemons): (Vec<Name>, Vec<Name>) = match view.cluster(&self.scope, &self.cluster) {
            Some(cluster) => {
                let names = |kind| cluster.kept(kind).rows().keys().cloned().collect();
                (names(ServiceKind::Service), names(ServiceKind::Daemon))
            }
            None => Default::default(),
        };
        drop(view);
        let mut shown = self.show_tasks();
        for service in services {
            let row = self.show_service(ServiceKind::Service, &service);
            shown += &format!("service {service}\n{row}{}", self.show_events(&service));
        }
        for daemon in daemons {
            shown += &format!("managed daemon {daemon}\n{}", self.show_service(ServiceKind::Daemon, &daemon));
        }
        shown
    }

    pub(super) fn show(&self, what: &[&str]) -> String {
        let service = || -> Name { what.get(1).and_then(|name| name.parse().ok()).expect("the name of a service") };
        match what.first().copied() {
            Some("tasks") => self.show_tasks(),
            Some("service") => self.show_service(ServiceKind::Service, &service()),
            Some("managed-daemon") => self.show_service(ServiceKind::Daemon, &service()),
            Some("events") => self.show_events(&service()),
            Some("all") => self.show_all(),
            _ => panic!("show tasks, service NAME, managed-daemon NAME or events NAME"),
        }
    }

    /// Gives every new task a name, in the order of their creation.
    pub(super) fn name_tasks(&mut self) {
        let mut new: Vec<Arc<TaskRow>> = {
            let view = self.control().read();
            let Some(cluster) = view.cluster(&self.scope, &self.cluster) else { return };
            let tasks = cluster.tasks();
            use gantry_control::view::Phase::{Stopped, Stopping, Wanted};
            let all = tasks.walk(tasks.all(), &[Wanted, Stopping, Stopped], None);
            all.filter(|task| !self.names.contains_key(&task.id)).cloned().collect()
        };
        new.sort_by_key(|task| (task.life.times.created_at, self.instance_name(task), task.id));
        for task in new {
            let name = format!("t{}", self.names.len() + 1);
            self.names.insert(task.id, name);
        }
    }

    pub(super) fn since_beginning(&self, at: Timestamp) -> String {
        let ms = at.millis_since(BEGINNING);
        format!("{:>7}.{}s", ms / 1000, ms / 100 % 10)
    }

    fn instance_name(&self, task: &TaskRow) -> String {
        let found = self.agents.iter().find(|(_, agent)| Some(&agent.key) == task.host.as_ref());
        found.map_or_else(|| "-".to_owned(), |(name, _)| name.clone())
    }

    fn show_tasks(&self) -> String {
        let view = self.control().read();
        let Some(cluster) = view.cluster(&self.scope, &self.cluster) else { return String::new() };
        let mut rows: Vec<(usize, String)> = Vec::new();
        for (id, name) in &self.names {
            let Some(task) = cluster.tasks().get(*id) else { continue };
            let life = &task.life;
            let reason = life.stop.as_ref().map(|stop| format!("{}: {}", stop.code.as_str(), stop.reason));
            let health = match task.health {
                gantry_domain::task::HealthStatus::Unknown => "",
                health => health.as_str(),
            };
            let row = format!(
                "{name:<4} {:<8} {:<3} {:<8} {health} {}",
                task.task_definition.to_string(),
                self.instance_name(task),
                life.last_status.as_str(),
                self.shorten(&reason.unwrap_or_default())
            );
            let order = name[1..].parse().unwrap_or(usize::MAX);
            rows.push((order, row.trim_end().to_owned()));
        }
        rows.sort();
        rows.into_iter().map(|(_, row)| row + "\n").collect()
    }

    pub(super) fn record(&self, service: &Name) -> Option<ServiceRecord> {
        self.record_of(ServiceKind::Service, service)
    }

    pub(super) fn record_of(&self, kind: ServiceKind, name: &Name) -> Option<ServiceRecord> {
        let view = self.control().read();
        view.cluster(&self.scope, &self.cluster)?.kept(kind).rows().get(name).map(|row| row.record.clone())
    }

    fn show_service(&self, kind: ServiceKind, service: &Name) -> String {
        let Some(record) = self.record_of(kind, service) else { return "no such service\n".to_owned() };
        let view = self.control().read();
        let Some(cluster) = view.cluster(&self.scope, &self.cluster) else { return String::new() };
        let group = cluster.tasks().kept_by(kind, service.as_str());
        let counts = group.map(|group| *group.counts()).unwrap_or_default();
        let mut shown = format!(
            "{} desired {} running {} pending {}\n",
            record.status.as_str(),
            record.desired_count,
            counts.running(),
            counts.pending()
        );
        for (index, deployment) in record.deployments.iter().enumerate() {
            let revision =
                cluster.kept(kind).revisions().get(&(service.clone(), format!("{:019}", deployment.revision)));
            let definition = revision.map(|row| row.task_definition.to_string()).unwrap_or_default();
            let group = cluster.tasks().started_by(&deployment.id.to_string());
            let counts = group.map(|group| *group.counts()).unwrap_or_default();
            // Writing into a string cannot fail.
            let _ = writeln!(
                shown,
                "{} {definition} running {} pending {} failed {} {}: {}",
                if index == 0 { "PRIMARY" } else { "ACTIVE " },
                counts.running(),
                counts.pending(),
                deployment.failures.failed_tasks,
                deployment.rollout.as_str(),
                self.shorten(&deployment.rollout_reason)
            );
        }
        shown + &self.show_task_sets(&record)
    }

    fn show_events(&self, service: &Name) -> String {
        let Some(record) = self.record(service) else { return "no such service\n".to_owned() };
        let line = |event: &gantry_control::records::EventRecord| {
            format!("{} {}\n", self.since_beginning(event.at), self.shorten(&event.message))
        };
        record.events.iter().rev().map(line).collect()
    }

    /// Replaces ids by names.
    pub(super) fn shorten(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.names {
            text = text.replace(&id.to_string(), name);
        }
        for (name, agent) in &self.agents {
            text = text.replace(&agent.key.id.to_string(), name);
        }
        while let Some(at) = text.find("ecs-svc/") {
            let digits = text[at + 8..].find(|character: char| !character.is_ascii_digit());
            let end = digits.map_or(text.len(), |digits| at + 8 + digits);
            text.replace_range(at..end, "ecs-svc*");
        }
        text
    }
}
