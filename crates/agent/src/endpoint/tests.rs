//! The endpoint over real connections, on the fake host.

#![allow(clippy::unwrap_used)]

mod faults;

use std::net::SocketAddr;

use futures_util::FutureExt;
use gantry_api::agent::{RoleCredentials, RoleGrant, RoleKind};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    engine::state::runtime_id,
    engine_tests::{Bed, container, task},
    task::{RestartPolicy, TaskNetwork, TaskSpec},
};

/// Asks with a connection of its own; status and JSON.
async fn ask(at: SocketAddr, request: &str, body: &str) -> (u16, Value) {
    ask_by(at, "localhost", request, body).await
}

/// The same with another name of the host.
async fn ask_by(at: SocketAddr, host: &str, request: &str, body: &str) -> (u16, Value) {
    let mut connection = TcpStream::connect(at).await.unwrap();
    let length = body.len();
    let text =
        format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    connection.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn credentials(task: &TaskSpec, key: &str) -> RoleGrant {
    let credentials = RoleCredentials {
        role_arn: "arn:aws:iam::000000000000:role/app".into(),
        access_key_id: key.into(),
        secret_access_key: "a secret".into(),
        session_token: "a token".into(),
        expires_at_ms: 1_700_000_000_000,
    };
    RoleGrant { task_arn: task.arn.clone(), role: RoleKind::Task, credentials: Some(credentials) }
}

fn with_role(mut spec: TaskSpec) -> TaskSpec {
    spec.roles.task = Some("app".into());
    spec
}

/// A variable of the task's container.
fn variable(bed: &Bed, task: &TaskSpec, name: &str) -> Option<String> {
    let spec = bed.host.spec(&runtime_id(task.id(), "app")).unwrap();
    spec.env.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

fn path(url: &str) -> &str {
    url.strip_prefix("http://169.254.170.2").unwrap()
}

#[tokio::test]
async fn a_task_reads_its_credentials_and_nobody_elses() {
    let mut bed = Bed::new().await;
    let mine = with_role(task(vec![container("app")]));
    let other = TaskSpec { arn: mine.arn.replace("0123456789abcdef0123456789abcdef", &"f".repeat(32)), ..mine.clone() };
    bed.want(&mine, false);
    // Nothing of it starts before it can act in its role.
    while bed.agent().host.endpoints.task(&mine.arn).is_none() {
        tokio::task::yield_now().await;
    }
    assert!(bed.host.running().is_empty());
    bed.agent().host.credentials.take_in(credentials(&mine, "ASIA1"));
    bed.until_running().await;
    let at = bed.host.endpoint(&runtime_id(mine.id(), "app")).unwrap();
    let own = variable(&bed, &mine, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").unwrap();
    let (status, document) = ask(at, &format!("GET {own}"), "").await;
    assert_eq!(status, 200);
    assert_eq!(
        document,
        json!({"RoleArn": "arn:aws:iam::000000000000:role/app", "AccessKeyId": "ASIA1", "SecretAccessKey": "a secret",
            "Token": "a token", "Expiration": "2023-11-14T22:13:20Z"})
    );
    bed.agent().host.credentials.take_in(credentials(&mine, "ASIA2"));
    assert_eq!(ask(at, &format!("GET {own}"), "").await.1["AccessKeyId"], "ASIA2");
    let (status, refusal) = ask(at, "GET /v2/credentials/", "").await;
    assert_eq!((status, &refusal["code"]), (400, &json!("NoIdInRequest")));

    // Another task's id means nothing at this listener.
    bed.agent().host.credentials.expect(&other.arn);
    bed.agent().host.credentials.take_in(credentials(&other, "ASIA9"));
    let inbox = tokio::sync::mpsc::unbounded_channel().0;
    let mut state = crate::engine::state::TaskState::new(&other, "boot", 0);
    state.name_endpoints(|| "known-to-all".to_owned());
    bed.agent().host.endpoints.register(&std::sync::Arc::new(other.clone()), &state, inbox);
    let (status, refusal) = ask(at, "GET /v2/credentials/known-to-all", "").await;
    assert_eq!((status, &refusal["code"]), (400, &json!("InvalidIdInRequest")));
    assert_eq!(ask(at, "GET /v4/known-to-all/task", "").await.0, 404);

    // A record on disk holds no secret, and the next agent serves the same ids.
    let record = bed.data_text(mine.id());
    assert!(record.contains(own.rsplit('/').next().unwrap()) && !record.contains("a secret"));
    bed.kill_agent().await;
    assert!(TcpStream::connect(at).await.is_err(), "the listener goes with the agent");
    bed.start_agent().await;
    bed.agent().host.credentials.take_in(credentials(&mine, "ASIA3"));
    let again = loop {
        let again = bed.host.endpoint(&runtime_id(mine.id(), "app")).unwrap();
        if again != at {
            break again;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ask(again, &format!("GET {own}"), "").await.1["AccessKeyId"], "ASIA3");
    bed.want(&mine, true);
    bed.until_stopped().await;
    bed.until_taken_apart().await;
    assert!(TcpStream::connect(again).await.is_err(), "a task that has ended has no endpoint");
}

#[tokio::test]
async fn introspection_shows_tasks_and_answers_for_none_of_them() {
    let bed = Bed::new().await;
    let mut app = container("app");
    app.restart_policy = Some(RestartPolicy { ignored_exit_codes: Vec::new(), attempt_period_seconds: 60 });
    let mut spec = task(vec![app]);
    spec.network = TaskNetwork::Host;
    bed.want(&spec, false);
    bed.until_running().await;
    let host = std::sync::Arc::clone(&bed.agent().host);
    *host.container_instance.lock() = Some("arn:aws:ecs:r:1:container-instance/default/i".into());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(super::serve::listen(std::sync::Arc::downgrade(&host), listener, super::Clients::Operator));

    let (_, about) = ask(at, "GET /v1/metadata", "").await;
    assert_eq!(about["ContainerInstanceArn"], "arn:aws:ecs:r:1:container-instance/default/i");
    let (_, all) = ask(at, "GET /v1/tasks", "").await;
    let shown = &all["Tasks"][0];
    assert_eq!(
        (&shown["Arn"], &shown["Version"], &shown["KnownStatus"]),
        (&json!(spec.arn), &json!("1"), &json!("RUNNING"))
    );
    let id = runtime_id(spec.id(), "app");
    assert_eq!(shown["Containers"][0]["DockerId"], json!(id));
    assert_eq!(shown["Containers"][0]["RestartCount"], json!(0));
    for query in [format!("taskarn={}", spec.arn), format!("dockerid={id}"), format!("dockerid={}", &id[..12])] {
        assert_eq!(&ask(at, &format!("GET /v1/tasks?{query}"), "").await.1, shown, "{query}");
    }
    for query in ["taskarn=arn:aws:ecs:r:1:task/default/other", "dockerid=", "dockerid=0", "dockerid=ffffffffffff"] {
        assert_eq!(ask(at, &format!("GET /v1/tasks?{query}"), "").await.0, 404, "{query}");
    }
    // Nothing of what is for the task alone.
    let v4 = variable(&bed, &spec, "ECS_CONTAINER_METADATA_URI_V4").unwrap();
    let (_, other) = ask(at, &format!("GET {}", path(&v4)), "").await;
    assert!(other["AvailableCommands"].is_array() && !all.to_string().contains(v4.rsplit('/').next().unwrap()));
    assert_eq!(ask(at, "POST /v1/tasks", "").await.0, 404);
    assert_eq!(ask_by(at, "evil.example", "GET /v1/tasks", "").await.0, 403);
}

#[tokio::test]
async fn introspection_collects_tasks_once_for_all_who_ask_at_once() {
    let bed = Bed::new().await;
    let spec = task(vec![container("app")]);
    bed.want(&spec, false);
    bed.until_running().await;
    let host = std::sync::Arc::clone(&bed.agent().host);
    let asked = async || {
        let answer = super::introspection::answer(&host, "/v1/tasks", None).await;
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    tokio::time::pause();
    let first = asked().await;
    assert_eq!(first["Tasks"][0]["Arn"], json!(spec.arn));
    host.endpoints.close(&spec.arn);
    assert_eq!(asked().await, first);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(asked().await, json!({"Tasks": []}));
}

#[tokio::test]
async fn a_metadata_file_is_whole_once_its_container_runs_also_after_a_restart() {
    let mut bed = Bed::with(|config| config.container_metadata = true).await;
    let mut spec = task(vec![container("app")]);
    spec.containers[0].ports.push(crate::task::PortMapping {
        container_ports: (80, 80),
        host_port: Some(8080),
        udp: false,
        is_range: false,
    });
    bed.want(&spec, false);
    bed.until_running().await;
    let id = runtime_id(spec.id(), "app");
    let path = variable(&bed, &spec, "ECS_CONTAINER_METADATA_FILE").unwrap();
    let (target, name) = path.rsplit_once('/').unwrap();
    let mounts = bed.host.spec(&id).unwrap().mounts;
    let mount = mounts.iter().find(|mount| mount.target == target).unwrap();
    assert!(mount.readonly);
    let gantry_runtime::container::MountSource::Bind(directory) = &mount.source else { panic!("{mount:?}") };
    let file = directory.join(name);
    let read = || serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap();
    while read()["MetadataFileStatus"] != "READY" {
        tokio::task::yield_now().await;
    }
    let whole = read();
    assert_eq!((&whole["TaskARN"], &whole["ContainerID"]), (&json!(spec.arn), &json!(id)));
    assert_eq!(
        whole["PortMappings"],
        json!([{"ContainerPort": 80, "HostPort": 8080, "BindIp": "0.0.0.0", "Protocol": "tcp"}])
    );
    assert_eq!(whole["Networks"][0]["NetworkMode"], "bridge");

    // Killed after the start, before the file was written.
    bed.kill_agent().await;
    std::fs::write(&file, "{}").unwrap();
    bed.start_agent().await;
    while read() != whole {
        tokio::task::yield_now().await;
    }
    bed.want(&spec, true);
    bed.until_stopped().await;
    bed.until_taken_apart().await;
    while file.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_metadata_file_that_cannot_be_written_is_tried_again() {
    let mut bed = Bed::with(|config| config.container_metadata = true).await;
    let spec = task(vec![container("app")]);
    bed.want(&spec, false);
    bed.until_running().await;
    let mounts = bed.host.spec(&runtime_id(spec.id(), "app")).unwrap().mounts;
    let source = mounts.into_iter().find(|mount| mount.target.starts_with("/opt/ecs/metadata/")).unwrap().source;
    let gantry_runtime::container::MountSource::Bind(directory) = source else { panic!("{source:?}") };
    let file = directory.join("ecs-container-metadata.json");
    let is_ready = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("READY"));
    while !is_ready() {
        tokio::task::yield_now().await;
    }
    bed.kill_agent().await;
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let changed = || std::fs::metadata(&directory).unwrap().modified().unwrap();
    let before = changed();
    bed.start_agent().await;
    // What it wrote aside is gone again.
    while changed() == before || std::fs::read_dir(&directory).unwrap().count() > 1 {
        tokio::task::yield_now().await;
    }
    std::fs::remove_dir(&file).unwrap();
    while !is_ready() {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_task_whose_role_is_refused_does_not_start() {
    let bed = Bed::new().await;
    let spec = with_role(task(vec![container("app")]));
    bed.agent().host.credentials.expect(&spec.arn);
    bed.agent().host.credentials.take_in(RoleGrant {
        task_arn: spec.arn.clone(),
        role: RoleKind::Task,
        credentials: None,
    });
    bed.want(&spec, false);
    let stopped = bed.until_stopped().await;
    let reason = stopped.stopped.unwrap();
    assert_eq!(reason.code, "TaskFailedToStart");
    assert!(reason.reason.starts_with("ResourceInitializationError: ECS was unable to assume the role"), "{reason:?}");
}

#[tokio::test]
async fn metadata_protection_and_the_allowance() {
    let bed = Bed::new().await;
    let mut spec = task(vec![container("app")]);
    spec.network = TaskNetwork::Host;
    bed.want(&spec, false);
    bed.until_running().await;
    let at = bed.host.endpoint("").unwrap();
    assert_eq!(variable(&bed, &spec, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), None, "it has no task role");
    let v4 = variable(&bed, &spec, "ECS_CONTAINER_METADATA_URI_V4").unwrap();
    let (status, shown) = ask(at, &format!("GET {}/task", path(&v4)), "").await;
    assert_eq!((status, &shown["TaskARN"]), (200, &json!(spec.arn)));
    let (_, shown) = ask(at, &format!("GET {}", path(&v4)), "").await;
    assert_eq!((&shown["Name"], &shown["KnownStatus"]), (&json!("app"), &json!("RUNNING")));
    let (status, unknown) = ask(at, "GET /v4/nobody", "").await;
    assert_eq!(status, 404);
    assert!(unknown.as_str().unwrap().ends_with("unable to get docker ID from v3 endpoint ID: nobody"));
    assert_eq!(ask(at, "GET /v3/nobody", "").await.0, 500);
    assert_eq!(ask(at, "POST /v4/nobody", "").await.0, 404);

    let agent = variable(&bed, &spec, "ECS_AGENT_URI").unwrap();
    let state = format!("{}/task-protection/v1/state", path(&agent));
    for (request, body, status, code) in [
        ("PUT", "{", 400, "InvalidParameterException"),
        ("PUT", "{}", 400, "InvalidParameterException"),
        ("PUT", r#"{"ProtectionEnabled":true,"Other":1}"#, 400, "InvalidParameterException"),
        ("GET", "", 403, "AccessDeniedException"),
    ] {
        let (found, refusal) = ask(at, &format!("{request} {state}"), body).await;
        assert_eq!((found, &refusal["error"]["Code"]), (status, &json!(code)), "{request} {body}");
    }
    let unknown = ask(at, "GET /api/nobody/task-protection/v1/state", "").await;
    assert_eq!((unknown.0, &unknown.1["error"]["Code"]), (404, &json!("ResourceNotFoundException")));
    let fault = format!("POST {}/fault/v1/network-latency/status", path(&agent));
    let (status, refusal) = ask(at, &fault, "{}").await;
    assert_eq!(
        (status, refusal),
        (400, json!({"Error": format!("enableFaultInjection is not enabled for task: {}", spec.arn)}))
    );

    let mut refused = 0;
    for _ in 0..200 {
        refused += u32::from(ask(at, &format!("GET {}", path(&v4)), "").await.0 == 429);
    }
    assert!(refused > 0, "a task may not ask without end");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answer_keeps_its_place_for_a_bounded_time() {
    let bed = Bed::new().await;
    let host = std::sync::Arc::downgrade(&bed.agent().host);
    // Room for the request, not for the answer.
    let (mut client, connection) = tokio::io::duplex(64);
    client.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let served = super::serve::converse(host, connection, super::Clients::TasksOfHost);
    let patience = 2 * super::serve::CONNECTION_TIME_MAX;
    assert!(tokio::time::timeout(patience, served).await.is_ok(), "it would be served for ever");
}

#[tokio::test]
async fn tasks_that_come_and_go_together_share_one_listener_on_the_host() {
    let bed = Bed::new().await;
    let agent = std::sync::Arc::clone(&bed.agent().host);
    let register = |digit: &str| {
        let arn = task(Vec::new()).arn.replace("0123456789abcdef0123456789abcdef", &digit.repeat(32));
        let spec = TaskSpec { arn: arn.clone(), network: TaskNetwork::Host, ..task(vec![container("app")]) };
        let mut state = crate::engine::state::TaskState::new(&spec, "boot", 0);
        state.name_endpoints(|| format!("id-{digit}"));
        agent.endpoints.register(&std::sync::Arc::new(spec), &state, tokio::sync::mpsc::unbounded_channel().0);
        arn
    };
    let (first, second, third) = (register("a"), register("b"), "c");
    let slow = bed.host.crash_at(1);
    let opening = {
        let (agent, first) = (std::sync::Arc::clone(&agent), first.clone());
        tokio::spawn(async move { super::open(&agent, &first, None).await })
    };
    slow.await.unwrap();
    let mut another = Box::pin(super::open(&agent, &second, None));
    assert!((&mut another).now_or_never().is_none(), "it would be in the way of the first");
    opening.abort();
    another.await.unwrap();
    let at = bed.host.endpoint("").unwrap();
    super::open(&agent, &first, None).await.unwrap();
    assert_eq!(bed.host.endpoint("").unwrap(), at);

    agent.endpoints.close(&first);
    agent.endpoints.close(&second);
    super::open(&agent, &register(third), None).await.unwrap();
    assert_ne!(bed.host.endpoint("").unwrap(), at);
    assert!(std::net::TcpStream::connect(at).is_err(), "two cannot listen at one place");
}
