//! What runs on this machine, for whoever works on it: http://127.0.0.1:51678, as the container agent has it. Other
//! machines and containers with a network of their own do not reach it, and it tells nothing secret. Who asks names it
//! as 127.0.0.1 or localhost: a page in a browser on the machine asks by a name of its own, and may not read it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use hyper::{HeaderMap, StatusCode, header::HOST, http::uri::Authority};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, time::sleep};
use tracing::info;

use super::{Clients, TaskEndpoint, answer::Answer, metadata, recent::Recent, route::Version, serve};
use crate::host::Host;

/// Another agent may have the port.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// An id may be shortened to as many characters, as Docker does.
const SHORT_ID_CHARS: usize = 12;
/// How old what is shown of tasks may be: to ask is cheap, to answer is not.
const AGE_MAX: Duration = Duration::from_secs(1);
/// The names that it is asked by.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// The tasks as they were shown last.
pub(super) type KnownTasks = Recent<Arc<[Value]>>;

async fn all(host: &Host) -> Arc<[Value]> {
    let mut tasks = Vec::new();
    for endpoint in host.endpoints.all() {
        tasks.extend(task(host, &endpoint).await);
    }
    tasks.into()
}

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

/// Whether a request names this machine as a program on it does.
pub(super) fn is_asked_by_name(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).into_iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    Authority::try_from(host.as_bytes())
        .is_ok_and(|authority| NAMES.iter().any(|name| authority.host().eq_ignore_ascii_case(name)))
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
    let known = host.endpoints.shown.get(AGE_MAX, all(host)).await;
    let is_asked_for = |task: &&Value| match asked {
        Asked::All => true,
        Asked::TaskArn(arn) => task["Arn"] == **arn,
        Asked::ContainerId(id) => has_container(task, id),
    };
    let found: Vec<&Value> = known.iter().filter(is_asked_for).collect();
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
        // One that is not made yet has none.
        (known == id && !id.is_empty()) || (id.len() >= SHORT_ID_CHARS && known.starts_with(id))
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
    let restarts = |shown: &Value| {
        let index = endpoint.task.containers.iter().position(|container| shown["Name"] == *container.name)?;
        metadata::restart_count(&endpoint.task, &state, index)
    };
    let containers = containers.iter().map(|shown| container(shown, restarts(shown)));
    task.insert("Containers".to_owned(), containers.collect());
    Some(Value::Object(task))
}

fn container(shown: &Value, restarts: Option<u32>) -> Value {
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
    ];
    let there = members.into_iter().filter_map(|name| Some((name.to_owned(), shown.get(name)?.clone())));
    Value::Object(there.chain(restarts.map(|count| ("RestartCount".to_owned(), json!(count)))).collect())
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

    #[test]
    fn it_is_asked_by_the_names_of_the_machine_itself_alone() {
        let asked = |hosts: &[&'static str]| {
            let host = |host: &&'static str| (HOST, hyper::header::HeaderValue::from_static(host));
            is_asked_by_name(&hosts.iter().map(host).collect())
        };
        for host in ["127.0.0.1", "127.0.0.1:51678", "localhost", "LOCALHOST:51678"] {
            assert!(asked(&[host]), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:51678", "localhost.evil.example", "localhost@evil.example", "a b"]
        {
            assert!(!asked(&[host]), "{host}");
        }
        assert!(!asked(&[]));
    }
}
