//! `ListTasks`: every filter has an index, and the narrowest index leads.

use std::sync::Arc;

use gantry_api::{
    Caller, Fault,
    ecs::{DesiredStatus, ListTasksRequest, ListTasksResponse},
};
use gantry_domain::{
    arn::{ContainerInstanceId, Name, Scope, TaskId},
    limits::PAGE_SIZE_MAX,
};

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    fault,
    keys::{ClusterKey, InstanceKey, ServiceKind},
    paging::Listing,
    records::LaunchType,
    view::{ClusterView, EcsView, Group, Phase, TaskRow},
};

struct Filter {
    phases: &'static [Phase],
    instance: Option<ContainerInstanceId>,
    family: Option<String>,
    started_by: Option<String>,
    service: Option<Name>,
    daemon: Option<Name>,
    launch_type: Option<LaunchType>,
}

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListTasksRequest,
) -> Result<ListTasksResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let question = serde_json::to_string(&ListTasksRequest { next_token: None, max_results: None, ..input.clone() });
    let question = format!("ListTasks {}", question.unwrap_or_default());
    let sizes = (PAGE_SIZE_MAX, PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), input.max_results, sizes)?;
    let filter = Filter::parse(&scope, &cluster, input)?;
    let after: Option<TaskId> = listing.after().and_then(|after| after.parse().ok());

    let view = control.read();
    let (entry, _) = active_cluster(&view, &scope, &cluster)?;
    let rows = filter.rows(&view, entry, &scope, &cluster, after)?;
    let (page, next_token) = listing.page(rows, |row| row.id.to_string());
    let arns = page.iter().map(|row| scope.task_arn(cluster.as_str(), row.id)).collect();
    Ok(ListTasksResponse { task_arns: Some(arns), next_token })
}

impl Filter {
    fn parse(scope: &Scope, cluster: &Name, input: ListTasksRequest) -> Result<Self, Fault> {
        let text = |value: Option<String>| value.filter(|text| !text.is_empty());
        let instance = text(input.container_instance)
            .map(|reference| scope.container_instance(cluster.as_str(), &reference))
            .transpose()
            .map_err(|error| fault::elsewhere(&error))?;
        let service = text(input.service_name)
            .map(|reference| scope.service(cluster.as_str(), &reference))
            .transpose()
            .map_err(|error| fault::elsewhere(&error))?;
        let launch_type = match input.launch_type {
            None => None,
            Some(asked) => {
                let known = LaunchType::ALL.into_iter().find(|known| known.to_wire() == asked);
                Some(known.ok_or_else(|| fault::unsupported(&format!("launchType '{}'", asked.as_str())))?)
            }
        };
        let daemon = text(input.daemon_name);
        let daemon = daemon.map(|name| name.parse().map_err(|_| fault::daemon_name())).transpose()?;
        let filter = Self {
            phases: phases(input.desired_status.as_ref()),
            instance,
            family: text(input.family),
            started_by: text(input.started_by),
            service,
            daemon,
            launch_type,
        };
        let others = filter.instance.is_some()
            || filter.family.is_some()
            || filter.service.is_some()
            || filter.daemon.is_some()
            || filter.launch_type.is_some();
        if filter.started_by.is_some() && others {
            return Err(fault::invalid("When startedBy is specified, it must be the only filter."));
        }
        Ok(filter)
    }

    /// The tasks, in the order of their ids, beginning after `after`.
    fn rows<'a>(
        &'a self,
        view: &'a EcsView,
        entry: &'a ClusterView,
        scope: &Scope,
        cluster: &Name,
        after: Option<TaskId>,
    ) -> Result<Box<dyn Iterator<Item = &'a Arc<TaskRow>> + 'a>, Fault> {
        if let Some(service) = &self.service
            && !entry.services().contains_key(service)
        {
            return Err(fault::service_not_found());
        }
        if let Some(daemon) = &self.daemon
            && !entry.kept(ServiceKind::Daemon).rows().contains_key(daemon)
        {
            return Err(fault::daemon_not_found());
        }
        if let Some(id) = self.instance {
            let key = InstanceKey { scope: scope.clone(), cluster: cluster.clone(), id };
            let host = view.host(&key).filter(|host| host.row.is_some()).ok_or_else(fault::instance_not_found)?;
            let cluster = ClusterKey { scope: scope.clone(), cluster: cluster.clone() };
            let own = host.tasks().range(first_after(after)..).map(|(_, task)| task);
            let shown = own.filter(move |(of, task)| **of == cluster && task.launch_type != LaunchType::Fargate);
            return Ok(Box::new(shown.map(|(_, task)| task).filter(|task| self.keeps(task))));
        }
        match self.narrowest(entry) {
            None => Ok(Box::new(std::iter::empty())),
            Some(group) => Ok(Box::new(entry.tasks().walk(group, self.phases, after).filter(|task| self.keeps(task)))),
        }
    }

    /// The smallest of the groups that hold every task asked for; none when one of them is empty.
    fn narrowest<'a>(&self, entry: &'a ClusterView) -> Option<&'a Group> {
        let tasks = entry.tasks();
        let mut groups = vec![tasks.all()];
        if let Some(family) = &self.family {
            groups.push(tasks.of_family(family)?);
        }
        if let Some(service) = &self.service {
            groups.push(tasks.of_service(service.as_str())?);
        }
        if let Some(daemon) = &self.daemon {
            groups.push(tasks.kept_by(ServiceKind::Daemon, daemon.as_str())?);
        }
        if let Some(started_by) = &self.started_by {
            groups.push(tasks.started_by(started_by)?);
        }
        if let Some(launch_type) = self.launch_type {
            groups.push(tasks.of_launch_type(launch_type)?);
        }
        let size = |group: &&Group| self.phases.iter().map(|phase| group.in_phase(*phase).len()).sum::<usize>();
        groups.into_iter().min_by_key(size)
    }

    fn keeps(&self, task: &TaskRow) -> bool {
        self.phases.contains(&Phase::of(task))
            && self.family.as_deref().is_none_or(|family| is_of_family(task, family))
            && self.service.as_ref().is_none_or(|service| task.service.as_deref() == Some(service.as_str()))
            && self.daemon.as_ref().is_none_or(|daemon| task.daemon.as_deref() == Some(daemon.as_str()))
            && self.started_by.as_ref().is_none_or(|started_by| task.started_by.as_ref() == Some(started_by))
            && self.launch_type.is_none_or(|launch_type| task.launch_type == launch_type)
    }
}

/// Families of daemon task definitions are others.
fn is_of_family(task: &TaskRow, family: &str) -> bool {
    task.kind() == ServiceKind::Service && task.task_definition.family.as_str() == family
}

/// There is no desired PENDING: asking for it lists nothing.
fn phases(asked: Option<&DesiredStatus>) -> &'static [Phase] {
    match asked {
        None | Some(DesiredStatus::Running) => &[Phase::Wanted],
        Some(DesiredStatus::Stopped) => &[Phase::Stopping, Phase::Stopped],
        Some(_) => &[],
    }
}

/// The smallest id greater than `after`.
fn first_after(after: Option<TaskId>) -> TaskId {
    let next = after.map_or(0, |after| u128::from_be_bytes(*after.as_bytes()).saturating_add(1));
    TaskId::from_bytes(next.to_be_bytes())
}
