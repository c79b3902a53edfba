//! Many agents that run nothing, and a client, for `benches/scale.py`: `fleet ENDPOINT ACCESS_KEY_ID SECRET`.
//!
//! The agents speak the real protocol over a WebSocket each: they register through the API, say hello, and report every
//! task RUNNING (or STOPPED) as soon as they are told of it. A connection that is lost is made again. Commands come on
//! standard input, one a line; each is answered with one JSON line on standard output.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use gantry_api::agent::{AgentMessage, ObservedContainer, ObservedStatus, ObservedTask, PROTOCOL_VERSION};
use gantry_domain::capabilities;
use gantry_protocol::signer::{Credentials, sign};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::Mutex, time::interval};
use tokio_tungstenite::tungstenite::Message;

/// What agents say with a value, here without.
const OPERATING_SYSTEM: [&str; 3] = ["ecs.os-type", "ecs.os-family", "ecs.cpu-architecture"];
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Connections being made at a time.
const CONNECTING: usize = 32;

struct Fleet {
    authority: String,
    credentials: Credentials,
    connected: AtomicUsize,
    /// Tasks whose RUNNING is acknowledged, which is to say durable.
    running: AtomicUsize,
    stopped: AtomicU64,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, access_key_id, secret] = &arguments[..] else { panic!("fleet ENDPOINT ACCESS_KEY_ID SECRET") };
    let fleet = Arc::new(Fleet {
        authority: endpoint.trim_start_matches("http://").to_owned(),
        credentials: Credentials {
            access_key_id: access_key_id.clone(),
            secret: secret.clone(),
            region: "us-east-1".into(),
        },
        connected: AtomicUsize::new(0),
        running: AtomicUsize::new(0),
        stopped: AtomicU64::new(0),
    });
    let (sender, mut lines) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            sender.blocking_send(line.unwrap()).unwrap();
        }
    });
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words[index].parse::<usize>().unwrap();
        let answer = match words[0] {
            "agents" => agents(&fleet, number(1)).await,
            "services" => services(&fleet, number(1), number(2), words[3]).await,
            "running" => until(&fleet, |fleet| fleet.running.load(Ordering::Relaxed) == number(1)).await,
            "connected" => until(&fleet, |fleet| fleet.connected.load(Ordering::Relaxed) == number(1)).await,
            "calls" => calls(&fleet, words[1], number(2), number(3), &words[4..].join(" ")).await,
            "state" => state(&fleet),
            other => panic!("unknown command {other}"),
        };
        println!("{answer}");
    }
}

fn state(fleet: &Fleet) -> Value {
    json!({
        "connected": fleet.connected.load(Ordering::Relaxed),
        "running": fleet.running.load(Ordering::Relaxed),
        "stopped": fleet.stopped.load(Ordering::Relaxed),
    })
}

/// Polls, since nothing is told when a number is reached; the answer is exact to a millisecond.
async fn until(fleet: &Fleet, reached: impl Fn(&Fleet) -> bool) -> Value {
    let start = Instant::now();
    while !reached(fleet) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    json!({ "seconds": start.elapsed().as_secs_f64() })
}

/// Registers and connects so many agents.
async fn agents(fleet: &Arc<Fleet>, count: usize) -> Value {
    let start = Instant::now();
    let registered = stream::iter(0..count).map(|number| register(fleet.clone(), number));
    let arns: Vec<String> = registered.buffer_unordered(CONNECTING).collect().await;
    let registered = start.elapsed().as_secs_f64();
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTING));
    for arn in arns {
        tokio::spawn(agent(fleet.clone(), arn, slots.clone()));
    }
    until(fleet, |fleet| fleet.connected.load(Ordering::Relaxed) == count).await;
    json!({ "registered_seconds": registered, "seconds": start.elapsed().as_secs_f64() })
}

async fn register(fleet: Arc<Fleet>, number: usize) -> String {
    let zone = ["us-east-1a", "us-east-1b", "us-east-1c"][number % 3];
    let mut attributes: Vec<Value> = capabilities::OF_EVERY_HOST.iter().map(|name| json!({ "name": name })).collect();
    attributes.extend(OPERATING_SYSTEM.map(|name| json!({ "name": name })));
    attributes.push(json!({ "name": "ecs.availability-zone", "value": zone }));
    attributes.push(json!({ "name": "rack", "value": format!("r{}", number % 50) }));
    let input = json!({
        "cluster": "default",
        "totalResources": [
            { "name": "CPU", "type": "INTEGER", "integerValue": 8192 },
            { "name": "MEMORY", "type": "INTEGER", "integerValue": 32768 },
            { "name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2375", "2376", "51678"] },
        ],
        "attributes": attributes,
        "versionInfo": { "agentVersion": "1.0.0" },
    });
    let mut client = Client::connect(&fleet).await;
    let answer = client.call(&fleet, "RegisterContainerInstance", &input).await;
    answer["containerInstance"]["containerInstanceArn"].as_str().unwrap().to_owned()
}

/// One agent, for ever.
async fn agent(fleet: Arc<Fleet>, arn: String, slots: Arc<tokio::sync::Semaphore>) {
    let mut tasks = BTreeMap::new();
    loop {
        let slot = slots.acquire().await.unwrap();
        if serve(&fleet, &arn, &mut tasks, slot).await.is_some() {
            fleet.connected.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A message of the control plane, as far as an agent that runs nothing reads it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Told {
    DesiredSet {
        tasks: Vec<Wanted>,
        #[serde(default)]
        more: bool,
    },
    Delta {
        changed: Vec<Wanted>,
        removed: Vec<String>,
    },
    Acknowledged {
        sequence: u64,
    },
    Goodbye {
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    task_arn: String,
    desired_status: gantry_api::agent::DesiredStatus,
    container_arns: BTreeMap<String, serde::de::IgnoredAny>,
}

/// One connection; none when it was not made.
async fn serve(
    fleet: &Fleet,
    arn: &str,
    tasks: &mut BTreeMap<String, ObservedTask>,
    slot: tokio::sync::SemaphorePermit<'_>,
) -> Option<()> {
    let tcp = TcpStream::connect(&fleet.authority).await.ok()?;
    tcp.set_nodelay(true).ok()?;
    let request = http::Request::get(format!("ws://{}/agent/v1/connect", fleet.authority))
        .header("host", &fleet.authority)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let request = sign(request.body("").unwrap(), &fleet.credentials, "ecs", now()).unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request.map(|_| ()), tcp).await.ok()?;
    let hello = AgentMessage::Hello {
        underlay_address: None,
        volume_room_gib: None,
        protocol_version: PROTOCOL_VERSION,
        container_instance_arn: arn.to_owned(),
        agent_version: "1.0.0".into(),
        boot_id: "boot-1".into(),
        tasks: tasks.values().cloned().collect(),
    };
    socket.send(Message::text(serde_json::to_string(&hello).unwrap())).await.ok()?;
    let (mut sequence, mut reported) = (0_u64, BTreeMap::new());
    let mut heartbeat = interval(HEARTBEAT);
    let mut slot = Some(slot);
    loop {
        let text = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
            _ = heartbeat.tick() => {
                if socket.send(Message::text(r#"{"type":"heartbeat"}"#)).await.is_err() {
                    break;
                }
                continue;
            }
        };
        let changed = match serde_json::from_str(&text).unwrap() {
            Told::DesiredSet { tasks, more } => {
                if !more {
                    slot.take();
                    fleet.connected.fetch_add(1, Ordering::Relaxed);
                }
                tasks
            }
            Told::Delta { changed, removed } => {
                removed.iter().for_each(|arn| drop(tasks.remove(arn)));
                changed
            }
            Told::Acknowledged { sequence } => {
                let (running, stopped) = reported.remove(&sequence).unwrap_or_default();
                fleet.running.fetch_add(running, Ordering::Relaxed);
                fleet.running.fetch_sub(stopped, Ordering::Relaxed);
                fleet.stopped.fetch_add(stopped as u64, Ordering::Relaxed);
                continue;
            }
            Told::Goodbye { reason } => {
                eprintln!("goodbye: {reason}");
                break;
            }
        };
        let (mut observed, mut counts) = (Vec::new(), (0, 0));
        for task in changed {
            let status = match task.desired_status {
                gantry_api::agent::DesiredStatus::Running => ObservedStatus::Running,
                gantry_api::agent::DesiredStatus::Stopped => ObservedStatus::Stopped,
            };
            let before = tasks.get(&task.task_arn).map(|task| task.last_status);
            if before == Some(status) {
                continue;
            }
            counts.0 += usize::from(status == ObservedStatus::Running);
            counts.1 += usize::from(status == ObservedStatus::Stopped && before == Some(ObservedStatus::Running));
            let report = observe(&task, status);
            tasks.insert(task.task_arn, report.clone());
            observed.push(report);
        }
        if !observed.is_empty() {
            sequence += 1;
            reported.insert(sequence, counts);
            let message = AgentMessage::Observed { sequence, tasks: observed };
            if socket.send(Message::text(serde_json::to_string(&message).unwrap())).await.is_err() {
                break;
            }
        }
    }
    slot.is_none().then_some(())
}

fn observe(task: &Wanted, status: ObservedStatus) -> ObservedTask {
    let stopped = status == ObservedStatus::Stopped;
    let container = |name: &String| ObservedContainer {
        name: name.clone(),
        last_status: if stopped { "STOPPED" } else { "RUNNING" }.into(),
        runtime_id: Some(format!("{}-{name}", task.task_arn.rsplit('/').next().unwrap())),
        image_digest: Some("sha256:2b8fd9751c4c0f5dd266fcae00707e67a2545ef34f9a29354585f93dac906749".into()),
        exit_code: stopped.then_some(0),
        health: "UNKNOWN".into(),
        ..ObservedContainer::default()
    };
    let at = Some(now() * 1000);
    ObservedTask {
        task_arn: task.task_arn.clone(),
        last_status: status,
        stopped: None,
        pull_started_at_ms: at,
        pull_stopped_at_ms: at,
        started_at_ms: at,
        stopping_at_ms: None,
        execution_stopped_at_ms: stopped.then_some(at).flatten(),
        stopped_at_ms: stopped.then_some(at).flatten(),
        health: "UNKNOWN".into(),
        containers: task.container_arns.keys().map(container).collect(),
        volume: None,
    }
}

/// Creates so many services of so many tasks each, eight at a time, and waits until all run.
async fn services(fleet: &Arc<Fleet>, count: usize, tasks: usize, definition: &str) -> Value {
    let start = Instant::now();
    let before = fleet.running.load(Ordering::Relaxed);
    let inputs = (0..count).map(|number| {
        json!({ "serviceName": format!("s{number}-{definition}").replace(':', "-"), "taskDefinition": definition,
                "desiredCount": tasks })
    });
    let took = many(fleet, "CreateService", inputs.collect(), 8).await;
    let created = start.elapsed().as_secs_f64();
    until(fleet, |fleet| fleet.running.load(Ordering::Relaxed) == before + count * tasks).await;
    json!({ "created_seconds": created, "seconds": start.elapsed().as_secs_f64(), "call_ms": took })
}

/// The same call again and again.
async fn calls(fleet: &Arc<Fleet>, operation: &str, count: usize, clients: usize, input: &str) -> Value {
    let input: Value = serde_json::from_str(input).unwrap();
    let start = Instant::now();
    let took = many(fleet, operation, vec![input; count], clients).await;
    json!({ "seconds": start.elapsed().as_secs_f64(), "call_ms": took })
}

/// Makes calls on so many connections; p50, p99 and the longest in ms.
async fn many(fleet: &Arc<Fleet>, operation: &str, inputs: Vec<Value>, clients: usize) -> Value {
    let inputs = Arc::new(Mutex::new(inputs.into_iter()));
    let calls = (0..clients).map(|_| {
        let (fleet, inputs, operation) = (fleet.clone(), inputs.clone(), operation.to_owned());
        tokio::spawn(async move {
            let (mut client, mut took) = (Client::connect(&fleet).await, Vec::new());
            loop {
                let Some(input) = inputs.lock().await.next() else { return took };
                let start = Instant::now();
                client.call(&fleet, &operation, &input).await;
                took.push(start.elapsed());
            }
        })
    });
    let mut took = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        took.extend(call.await.unwrap());
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    json!({ "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}

struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn connect(fleet: &Fleet) -> Self {
        let tcp = TcpStream::connect(&fleet.authority).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn call(&mut self, fleet: &Fleet, operation: &str, input: &Value) -> Value {
        let request = http::Request::post("/")
            .header("host", &fleet.authority)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"));
        let request = request.body(Bytes::from(serde_json::to_vec(input).unwrap())).unwrap();
        let request = sign(request, &fleet.credentials, "ecs", now()).unwrap().map(Full::new);
        self.0.ready().await.unwrap();
        let answer = self.0.send_request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{operation}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
