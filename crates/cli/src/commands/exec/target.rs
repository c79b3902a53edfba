//! Which task and container are meant.

use anyhow::Result;
use gantry_api::ecs::{self, DescribeTasksResponse, ListTasksResponse, Task};
use serde_json::json;

use crate::{Hint, arguments::ExecOptions, client::Client};

/// A hint lists no more than this.
const LISTED_MAX: usize = 5;

/// A container to run a command in.
pub(super) struct Target {
    pub(super) task_arn: String,
    pub(super) container: String,
}

/// Finds the task by id, by the beginning of its id, by ARN, or as the only one of a service.
pub(super) async fn find(client: &Client, options: &ExecOptions) -> Result<Target> {
    let running = list(client, &options.cluster, None).await?;
    let wanted = options.task.rsplit('/').next().unwrap_or_default();
    let named: Vec<&String> = running.iter().filter(|arn| id(arn).starts_with(wanted)).collect();
    let task_arn = match named.as_slice() {
        [only] => (*only).clone(),
        [] => of_service(client, options).await?,
        many => match many.iter().find(|arn| id(arn) == wanted) {
            Some(exact) => (**exact).clone(),
            None => return Err(several(options, many.iter().map(|arn| arn.as_str()))),
        },
    };
    let input = json!({"cluster": options.cluster, "tasks": [task_arn]});
    let described: DescribeTasksResponse = client.call(&ecs::SERVICE, "DescribeTasks", &input).await?;
    let Some(task) = described.tasks.unwrap_or_default().into_iter().next() else { return Err(unknown(options)) };
    if task.enable_execute_command != Some(true) {
        return Err(Hint::error(
            format!("task {} was started without ECS Exec", id(&task_arn)),
            "start it with `aws ecs run-task --enable-execute-command`; for a service, `aws ecs update-service \
             --enable-execute-command --force-new-deployment`",
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

async fn of_service(client: &Client, options: &ExecOptions) -> Result<String> {
    // A service that is not there is no task either.
    let running = list(client, &options.cluster, Some(&options.task)).await.map_err(|_| unknown(options))?;
    match running.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Hint::error(
            format!("service {} runs no task", options.task),
            "look at `gantry status`, or at the service's events",
        )),
        many => Err(several(options, many.iter().map(String::as_str))),
    }
}

fn several<'a>(options: &ExecOptions, arns: impl Iterator<Item = &'a str>) -> anyhow::Error {
    let all: Vec<&str> = arns.map(id).collect();
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
