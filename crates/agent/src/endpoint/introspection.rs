//! What runs on this machine, for whoever works on it: http://127.0.0.1:51678, as the container agent has it. Other
//! machines and containers with a network of their own do not reach it, and it tells nothing secret.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, time::sleep};
use tracing::info;

use super::{Clients, TaskEndpoint, answer::Answer, metadata, route::Version, serve};
use crate::host::Host;

/// Another agent may have the port.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// An id may be shortened to as many characters, as Docker does.
const SHORT_ID_CHARS: usize = 12;

/// Answers for as long as it is polled, if it is to answer at all.
pub(crate) async fn run(host: &Arc<Host>) {
    let Some(port) = host.config.introspection_port else { return std::future::pending().await };
    let mut told = false;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => {
                info!(port, "introspection is open");
                return serve::listen(Arc::downgrade(host), listener, Clients::Operator).await;
            }
            Err(error) if !told => info!(%error, port, "introspection is not open; it is tried again"),
            Err(_) => {}
        }
        told = true;
        sleep(AGAIN_AFTER).await;
    }
}

/// Answers one request.
pub(super) async fn answer(host: &Host, path: &str, query: Option<&str>) -> Answer {
    match path {
        "/v1/metadata" => Answer::ok(&about(host)),
        "/v1/tasks" => tasks(host, &asked_for(query.unwrap_or_default())).await,
        _ => Answer::ok(&json!({"AvailableCommands": ["/v1/metadata", "/v1/tasks"]})),
    }
}

fn about(host: &Host) -> Value {
    json!({
        "Cluster": host.config.cluster,
        "ContainerInstanceArn": *host.container_instance.lock(),
        "Version": format!("Gantry Agent - v{}", env!("CARGO_PKG_VERSION")),
    })
}

/// Which tasks are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    All,
    TaskArn(String),
    ContainerId(String),
}

fn asked_for(query: &str) -> Asked {
    // Only the query is read.
    let Ok(url) = reqwest::Url::parse(&format!("http://localhost/?{query}")) else { return Asked::All };
    let value = |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    let container = value("dockerid").map(Asked::ContainerId);
    container.or_else(|| value("taskarn").map(Asked::TaskArn)).unwrap_or(Asked::All)
}

async fn tasks(host: &Host, asked: &Asked) -> Answer {
    let mut found = Vec::new();
    for endpoint in host.endpoints.all() {
        if matches!(asked, Asked::TaskArn(arn) if *arn != endpoint.task.arn) {
            continue;
        }
        let Some(task) = task(host, &endpoint).await else { continue };
        if matches!(asked, Asked::ContainerId(id) if !has_container(&task, id)) {
            continue;
        }
        found.push(task);
    }
    match (asked, found.as_slice()) {
        (Asked::All, _) => Answer::ok(&json!({ "Tasks": found })),
        (_, [task]) => Answer::ok(task),
        (_, []) => Answer::new(StatusCode::NOT_FOUND, &nothing()),
        (_, [_, _, ..]) => Answer::new(StatusCode::BAD_REQUEST, &nothing()),
    }
}

fn nothing() -> Value {
    json!({"Arn": "", "KnownStatus": "", "Family": "", "Version": "", "Containers": null})
}

fn has_container(task: &Value, id: &str) -> bool {
    let has = |container: &Value| {
        let known = container["DockerId"].as_str().unwrap_or_default();
        known == id || (id.len() >= SHORT_ID_CHARS && known.starts_with(id))
    };
    task["Containers"].as_array().is_some_and(|containers| containers.iter().any(has))
}

/// A task as it is shown; none when it has ended meanwhile.
async fn task(host: &Host, endpoint: &TaskEndpoint) -> Option<Value> {
    let state = endpoint.look().await?;
    let shown = json!(metadata::task(Version::V3, &endpoint.task, &state, &host.zone()));
    let mut task = Map::new();
    for (theirs, ours) in [
        ("TaskARN", "Arn"),
        ("DesiredStatus", "DesiredStatus"),
        ("KnownStatus", "KnownStatus"),
        ("Family", "Family"),
        ("Revision", "Version"),
    ] {
        task.insert(ours.to_owned(), shown[theirs].clone());
    }
    let containers = shown["Containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    task.insert("Containers".to_owned(), containers.iter().map(container).collect());
    Some(Value::Object(task))
}

fn container(shown: &Value) -> Value {
    let members = [
        "DockerId",
        "DockerName",
        "Name",
        "Image",
        "ImageID",
        "CreatedAt",
        "StartedAt",
        "Ports",
        "Networks",
        "Volumes",
        "RestartCount",
    ];
    let there = members.into_iter().filter_map(|name| Some((name.to_owned(), shown.get(name)?.clone())));
    Value::Object(there.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        for (query, expected) in [
            ("", Asked::All),
            ("other=1", Asked::All),
            ("taskarn=arn:aws:ecs:r:1:task/c/1", Asked::TaskArn("arn:aws:ecs:r:1:task/c/1".into())),
            ("taskarn=arn%3Aaws", Asked::TaskArn("arn:aws".into())),
            ("dockerid=0123", Asked::ContainerId("0123".into())),
        ] {
            assert_eq!(asked_for(query), expected, "{query}");
        }
    }
}
