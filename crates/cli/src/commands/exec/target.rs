//! Which task and container are meant.

use anyhow::Result;
use gantry_api::ecs::{self, DescribeTasksResponse, ListTasksResponse, Task};
use gantry_domain::arn::TaskId;
use serde_json::json;

use crate::{
    Hint,
    arguments::ExecOptions,
    client::{Client, Refused},
};

/// A hint lists no more than this.
const LISTED_MAX: usize = 5;

/// A container to run a command in.
pub(super) struct Target {
    pub(super) task_arn: String,
    pub(super) container: String,
}

/// Finds the task by its whole id or ARN, as the only one of a service of this very name, or by the beginning of its id.
pub(super) async fn find(client: &Client, options: &ExecOptions) -> Result<Target> {
    let wanted = id(&options.task);
    if wanted.is_empty() {
        return Err(Hint::error("no task is named", "`gantry status` lists tasks and services"));
    }
    let by_id = match wanted.parse::<TaskId>() {
        Ok(_) => described(client, options, wanted).await?,
        Err(_) => None,
    };
    let task = match by_id {
        Some(task) => task,
        None => {
            let arn = by_name(client, options, wanted).await?;
            described(client, options, &arn).await?.ok_or_else(|| unknown(options))?
        }
    };
    let task_arn = task.task_arn.clone().unwrap_or_default();
    if task.enable_execute_command != Some(true) {
        return Err(Hint::error(
            format!("task {} was started without ECS Exec", id(&task_arn)),
            "start it with `aws ecs run-task --enable-execute-command`; for a service, `aws ecs update-service \
             --enable-execute-command --force-new-deployment`; for a daemon, `aws ecs update-daemon \
             --enable-execute-command`",
        ));
    }
    let container = container(options, &task)?;
    Ok(Target { task_arn, container })
}

fn container(options: &ExecOptions, task: &Task) -> Result<String> {
    let containers = task.containers.as_deref().unwrap_or_default();
    let names: Vec<&str> = containers.iter().filter_map(|container| container.name.as_deref()).collect();
    let (problem, hint) = match (options.container.as_deref(), names.as_slice()) {
        (Some(name), _) if names.contains(&name) => return Ok(name.to_owned()),
        (None, [only]) => return Ok((*only).to_owned()),
        (Some(name), _) => (format!("the task has no container {name}"), "it has"),
        (None, _) => ("the task has several containers".to_owned(), "name one after the task:"),
    };
    Err(Hint::error(problem, format!("{hint} {}", names.join(", "))))
}

async fn described(client: &Client, options: &ExecOptions, task: &str) -> Result<Option<Task>> {
    let input = json!({"cluster": options.cluster, "tasks": [task]});
    let described: DescribeTasksResponse = client.call(&ecs::SERVICE, "DescribeTasks", &input).await?;
    Ok(described.tasks.unwrap_or_default().into_iter().next())
}

/// The ARN of a service's only task, or of the only task whose id begins so.
async fn by_name(client: &Client, options: &ExecOptions, wanted: &str) -> Result<String> {
    let of_service = list(client, &options.cluster, Some(&options.task)).await;
    let (is_service, found) = match of_service {
        Ok(tasks) => (true, tasks),
        Err(error) if is_no_service(&error) => {
            let running = list(client, &options.cluster, None).await?;
            (false, running.into_iter().filter(|arn| id(arn).starts_with(wanted)).collect())
        }
        Err(error) => return Err(error),
    };
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] if is_service => Err(Hint::error(
            format!("service {} runs no task", options.task),
            "look at `gantry status`, or at the service's events",
        )),
        [] => Err(unknown(options)),
        many => Err(several(options, many)),
    }
}

/// Whether the text names no service: none is called so, or none can be.
fn is_no_service(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|no| matches!(no.code.as_str(), "ServiceNotFoundException" | "InvalidParameterException"))
}

fn several(options: &ExecOptions, arns: &[String]) -> anyhow::Error {
    let all: Vec<&str> = arns.iter().map(|arn| id(arn)).collect();
    let more = if all.len() > LISTED_MAX { ", …" } else { "" };
    let some = all.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
    Hint::error(format!("{} may be any of {} tasks", options.task, all.len()), format!("name one: {some}{more}"))
}

fn unknown(options: &ExecOptions) -> anyhow::Error {
    let problem = format!("no running task and no service of cluster {} is called {}", options.cluster, options.task);
    Hint::error(problem, "`gantry status` lists them; name the cluster with --cluster")
}

/// ARNs of running tasks.
async fn list(client: &Client, cluster: &str, service: Option<&str>) -> Result<Vec<String>> {
    let (mut all, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut input = json!({"cluster": cluster, "desiredStatus": "RUNNING"});
        if let Some(service) = service {
            input["serviceName"] = service.into();
        }
        if let Some(token) = token {
            input["nextToken"] = token.into();
        }
        let page: ListTasksResponse = client.call(&ecs::SERVICE, "ListTasks", &input).await?;
        all.extend(page.task_arns.unwrap_or_default());
        token = page.next_token;
        if token.is_none() {
            return Ok(all);
        }
    }
}

fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}
