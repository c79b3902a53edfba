//! The whole agent on the fake host, against a small control plane: registration, the connection and its loss.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::HeaderMap,
    response::IntoResponse,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_api::{
    agent::{AgentMessage, ControlMessage, DesiredStatus, DesiredTask, ObservedStatus, ObservedTask},
    ecs,
    machine::{
        JOIN_PATH, JoinProof, JoinRequest, JoinResponse, SESSION_PATH, SessionRequest, SessionResponse,
        session_statement,
    },
};
use gantry_testkit::fake_runtime::FakeHost;
use parking_lot::Mutex;
use ring::signature::{ED25519, UnparsedPublicKey};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use crate::{Config, Join, RuntimeParts, run};

const INSTANCE: &str = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/1";
const TASK: &str = "arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef";

/// A control plane that answers registrations and hands connections to the test.
struct ControlPlane {
    endpoint: String,
    connections: mpsc::UnboundedReceiver<WebSocket>,
    registrations: Arc<Mutex<Vec<serde_json::Value>>>,
    joins: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    connections: mpsc::UnboundedSender<WebSocket>,
    registrations: Arc<Mutex<Vec<serde_json::Value>>>,
    /// Public keys.
    joins: Arc<Mutex<Vec<String>>>,
}

impl ControlPlane {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, connections) = mpsc::unbounded_channel();
        let (registrations, joins) = (Arc::default(), Arc::default());
        let shared =
            Shared { connections: sender, registrations: Arc::clone(&registrations), joins: Arc::clone(&joins) };
        let app = Router::new().route("/", post(api)).route("/agent/v1/connect", get(connect));
        let app = app.route(JOIN_PATH, post(join)).route(SESSION_PATH, post(session)).with_state(shared);
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { endpoint, connections, registrations, joins, serving }
    }

    async fn connection(&mut self) -> Connection {
        Connection(tokio::time::timeout(Duration::from_secs(20), self.connections.recv()).await.unwrap().unwrap())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn api(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let target = headers["x-amz-target"].to_str().unwrap();
    assert_eq!(target, "AmazonEC2ContainerServiceV20141113.RegisterContainerInstance");
    assert!(headers["authorization"].to_str().unwrap().contains("/us-east-1/ecs/aws4_request"));
    let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
    shared.registrations.lock().push(request);
    serde_json::json!({"containerInstance": {"containerInstanceArn": INSTANCE}}).to_string()
}

async fn join(State(shared): State<Shared>, body: Bytes) -> impl IntoResponse {
    let request: JoinRequest = serde_json::from_slice(&body).unwrap();
    shared.joins.lock().push(request.public_key);
    let joined = JoinResponse {
        machine_id: "i-1".into(),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        cluster: None,
        external: false,
    };
    serde_json::to_string(&joined).unwrap()
}

async fn session(State(shared): State<Shared>, body: Bytes) -> impl IntoResponse {
    let request: SessionRequest = serde_json::from_slice(&body).unwrap();
    let key = STANDARD.decode(shared.joins.lock().last().unwrap()).unwrap();
    let statement = session_statement(&request.machine_id, request.at_ms);
    let signature = STANDARD.decode(request.signature).unwrap();
    UnparsedPublicKey::new(&ED25519, key).verify(statement.as_bytes(), &signature).unwrap();
    let session = SessionResponse {
        access_key_id: "AKID".into(),
        secret_access_key: "secret".into(),
        session_token: "token".into(),
        expires_at_ms: request.at_ms + 3_600_000,
    };
    serde_json::to_string(&session).unwrap()
}

async fn connect(State(shared): State<Shared>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> impl IntoResponse {
    assert!(headers["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256 Credential=AKID/"));
    upgrade.on_upgrade(async move |socket| drop(shared.connections.send(socket)))
}

struct Connection(WebSocket);

impl Connection {
    async fn hear(&mut self) -> AgentMessage {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), self.0.recv()).await.unwrap();
            match message.unwrap().unwrap() {
                Message::Text(text) => match serde_json::from_str(&text).unwrap() {
                    AgentMessage::Heartbeat { .. } | AgentMessage::Usage { .. } => {}
                    message => return message,
                },
                Message::Close(_) => panic!("closed"),
                _ => {}
            }
        }
    }

    async fn hello(&mut self) -> Vec<ObservedTask> {
        match self.hear().await {
            AgentMessage::Hello { container_instance_arn, tasks, boot_id, .. } => {
                assert_eq!(container_instance_arn, INSTANCE);
                assert!(!boot_id.is_empty());
                tasks
            }
            other => panic!("{other:?}"),
        }
    }

    /// Acknowledges reports until the task has the status.
    async fn until(&mut self, status: ObservedStatus) -> ObservedTask {
        let mut expected = None;
        loop {
            let AgentMessage::Observed { sequence, tasks } = self.hear().await else { panic!("not a report") };
            assert_eq!(sequence, *expected.get_or_insert(sequence), "sequence grows by one");
            expected = Some(sequence + 1);
            self.say(&ControlMessage::Acknowledged { sequence }).await;
            if let Some(task) = tasks.into_iter().find(|task| task.last_status == status) {
                return task;
            }
        }
    }

    async fn say(&mut self, message: &ControlMessage) {
        self.0.send(Message::text(serde_json::to_string(message).unwrap())).await.unwrap();
    }
}

fn task(desired_status: DesiredStatus) -> DesiredTask {
    let app = ecs::ContainerDefinition {
        name: Some("app".into()),
        image: Some("busybox".into()),
        port_mappings: Some(vec![ecs::PortMapping { container_port: Some(80), ..Default::default() }]),
        environment: Some(vec![ecs::KeyValuePair { name: Some("A".into()), value: Some("1".into()) }]),
        ..Default::default()
    };
    let change = ecs::ContainerOverride {
        name: Some("app".into()),
        command: Some(vec!["sleep".into(), "9".into()]),
        environment: Some(vec![ecs::KeyValuePair { name: Some("A".into()), value: Some("2".into()) }]),
        ..Default::default()
    };
    DesiredTask {
        gpu_ids: Default::default(),
        managed_volume: None,
        task_arn: TASK.into(),
        cluster_arn: "arn:aws:ecs:us-east-1:000000000000:cluster/default".into(),
        desired_status,
        launch_type: "EC2".into(),
        group: "family:web".into(),
        started_by: None,
        task_definition: ecs::TaskDefinition {
            family: Some("web".into()),
            revision: Some(3),
            container_definitions: Some(vec![app]),
            ..Default::default()
        },
        overrides: ecs::TaskOverride { container_overrides: Some(vec![change]), ..Default::default() },
        container_arns: BTreeMap::new(),
        cpu_units: None,
        memory_mib: None,
        ephemeral_storage_gib: None,
        network_interface: None,
        tags: Vec::new(),
    }
}

fn start_agent(endpoint: &str, data: &TempDir, host: &Arc<FakeHost>) -> JoinHandle<()> {
    let proof = JoinProof::Token { token: "gjt-1-secret".into() };
    let config = Config::new(endpoint, Join::Proof(proof), data.path().into());
    let runtime = RuntimeParts { images: host.clone(), containers: host.clone(), networks: host.clone() };
    tokio::spawn(async move { run(config, runtime, std::future::pending()).await.unwrap() })
}

fn full_set(tasks: Vec<DesiredTask>, more: bool) -> ControlMessage {
    ControlMessage::DesiredSet { revision: 1, tasks, more }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_registers_runs_reports_and_reconnects() {
    let mut control_plane = ControlPlane::start().await;
    let (data, host) = (TempDir::new().unwrap(), FakeHost::new());
    let agent = start_agent(&control_plane.endpoint, &data, &host);

    let mut connection = control_plane.connection().await;
    assert_eq!(connection.hello().await, []);
    connection.say(&full_set(vec![task(DesiredStatus::Running)], false)).await;
    let running = connection.until(ObservedStatus::Running).await;
    assert_eq!(running.containers[0].network_bindings[0].container_port, Some(80));
    let spec = host.spec(running.containers[0].runtime_id.as_ref().unwrap()).unwrap();
    assert_eq!(spec.args, ["sleep", "9"]);
    assert!(spec.env.contains(&"A=2".to_owned()) && spec.env.contains(&"AWS_REGION=us-east-1".to_owned()));

    // The connection is lost, and the agent is killed and started again.
    drop(connection);
    let mut connection = control_plane.connection().await;
    assert_eq!(connection.hello().await[0].last_status, ObservedStatus::Running);
    agent.abort();
    drop(agent.await);
    let agent = start_agent(&control_plane.endpoint, &data, &host);
    let mut connection = control_plane.connection().await;
    assert_eq!(connection.hello().await[0].last_status, ObservedStatus::Running);
    assert_eq!(control_plane.registrations.lock()[1]["containerInstanceArn"], INSTANCE);
    assert_eq!(control_plane.joins.lock().len(), 1, "a machine joins once");

    // A set that comes in parts says at its end only what is in none of them.
    connection.say(&full_set(vec![], true)).await;
    connection.say(&full_set(vec![task(DesiredStatus::Running)], false)).await;
    let changed = vec![task(DesiredStatus::Stopped)];
    connection.say(&ControlMessage::Delta { revision: 3, changed, removed: vec![] }).await;
    let stopped = connection.until(ObservedStatus::Stopped).await;
    assert_eq!(stopped.containers[0].exit_code, Some(143));
    assert_eq!(host.starts().values().copied().collect::<Vec<_>>(), [1]);

    connection.say(&ControlMessage::Goodbye { reason: "unknown instance".into(), register: true }).await;
    drop(connection);
    control_plane.connection().await.hello().await;
    assert_eq!(control_plane.registrations.lock()[2]["containerInstanceArn"], serde_json::Value::Null);
    agent.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_tells_what_the_machine_has_and_can() {
    let mut control_plane = ControlPlane::start().await;
    let (data, host) = (TempDir::new().unwrap(), FakeHost::new());
    let agent = start_agent(&control_plane.endpoint, &data, &host);
    control_plane.connection().await;
    let registration = control_plane.registrations.lock()[0].clone();
    let resources = registration["totalResources"].as_array().unwrap();
    let named = |name: &str| resources.iter().find(|resource| resource["name"] == name).unwrap();
    assert!(named("CPU")["integerValue"].as_i64().unwrap() >= 1024);
    assert!(named("MEMORY")["integerValue"].as_i64().unwrap() > 0);
    assert_eq!(named("PORTS")["stringSetValue"][0], "22");
    let attributes = registration["attributes"].as_array().unwrap();
    assert!(attributes.iter().any(|attribute| attribute["name"] == "ecs.capability.task-eni"));
    assert!(attributes.iter().any(|attribute| attribute["name"] == "ecs.os-type" && attribute["value"] == "linux"));
    agent.abort();
}
