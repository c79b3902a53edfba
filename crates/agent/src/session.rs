//! The agent's one connection: desired tasks come in, observed tasks go out.
//!
//! A connection begins with everything that is known on either side, so nothing is lost with the one before it. While
//! there is none, tasks go on, and what happens to them waits in the outbox.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use gantry_api::agent::{AgentMessage, ControlMessage, DesiredTask, ObservedStatus, PROTOCOL_VERSION};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue};
use tracing::{debug, info, warn};

use crate::{
    aws::{AwsClient, AwsError},
    engine::supervisor::Desired,
    host::Host,
    managed_volumes,
    outbox::{Outbox, Versions},
    overlay,
    record::blocking,
    task::task_id,
    websocket::{self, Socket},
    wire,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Heartbeats that may go unanswered before the other side is taken for gone, and a moment for the last answer.
const HEARTBEATS_UNANSWERED_MAX: u32 = 3;
const LAST_ANSWER_TIME: Duration = Duration::from_secs(5);
/// Tasks in one message, and messages not yet acknowledged: bounds what a slow control plane makes us hold.
const TASKS_PER_MESSAGE: usize = 256;
const MESSAGES_IN_FLIGHT: usize = 64;

/// What the session tells the engine.
#[derive(Debug)]
pub(crate) enum Order {
    /// The full desired set.
    Set(Vec<Desired>),
    /// Changes of it, and ARNs of tasks to forget.
    Change(Vec<Desired>, Vec<String>),
    /// Stop every task.
    StopAll,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("control plane did not answer in time")]
    ConnectTimeout,
    #[error("no credentials for the connection")]
    Credentials(#[source] AwsError),
    #[error("connection failed")]
    Connection(#[source] Box<tungstenite::Error>),
    #[error("control plane was silent for too long")]
    Silent,
    #[error("control plane closed the connection")]
    Closed,
    #[error("control plane ended the connection: {reason}")]
    Goodbye { reason: String, register: bool },
    #[error("agent is shutting down")]
    EngineGone,
}

impl From<tungstenite::Error> for SessionEnd {
    fn from(error: tungstenite::Error) -> Self {
        Self::Connection(Box::new(error))
    }
}

/// Connects and serves until the connection ends.
pub(crate) async fn serve(
    host: &Arc<Host>,
    client: &AwsClient,
    container_instance: &str,
    orders: &mpsc::Sender<Order>,
) -> SessionEnd {
    let (socket, local) = match timeout(CONNECT_TIMEOUT, connect(client, "/agent/v1/connect")).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(end)) => {
            // A server that is busy or a proxy that is alone says nothing about credentials.
            if let SessionEnd::Connection(error) = &end
                && let tungstenite::Error::Http(response) = &**error
                && matches!(response.status().as_u16(), 400 | 401 | 403)
            {
                client.upgrade_refused();
            }
            return end;
        }
        Err(_) => return SessionEnd::ConnectTimeout,
    };
    info!("connected to the control plane");
    let (outbox, in_flight) = (&host.outbox, BTreeMap::new());
    let mut session = Session { socket, host, outbox, orders, sequence: 0, in_flight, set: Vec::new() };
    match session.converse(container_instance, local).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

/// The connection to a path of the control plane, and this end of it.
pub(crate) async fn connect(client: &AwsClient, path: &str) -> Result<(Socket, Option<SocketAddr>), SessionEnd> {
    let (url, headers) = client.sign_upgrade(path).await.map_err(SessionEnd::Credentials)?;
    let mut request = url.into_client_request()?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value).map_err(tungstenite::http::Error::from);
        request.headers_mut().insert(name, value.map_err(tungstenite::Error::from)?);
    }
    Ok(websocket::open(request).await?)
}

struct Session<'a> {
    socket: Socket,
    host: &'a Host,
    outbox: &'a Outbox,
    orders: &'a mpsc::Sender<Order>,
    sequence: u64,
    /// Sequence → what the message carried.
    in_flight: BTreeMap<u64, Versions>,
    /// The parts of the full set so far, until its last one is here.
    set: Vec<Desired>,
}

enum Never {}

impl Session<'_> {
    async fn converse(&mut self, container_instance: &str, local: Option<SocketAddr>) -> Result<Never, SessionEnd> {
        let host = self.host;
        let hello = AgentMessage::Hello {
            protocol_version: PROTOCOL_VERSION,
            container_instance_arn: container_instance.to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: host.boot_id.clone(),
            tasks: self.outbox.everything(),
            underlay_address: overlay::local_address(host.config.advertise_address, local),
            volume_room_gib: self.volume_room_gib().await,
        };
        self.send(&hello).await?;
        // What was under way on the last connection may not have arrived.
        self.outbox.unsend();
        let mut published = self.outbox.watch_published();
        let mut usage = host.usage.subscribe();
        let every = host.config.heartbeat_interval;
        let mut heartbeat = interval(every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            published.borrow_and_update();
            self.report().await?;
            tokio::select! {
                message = self.socket.next() => {
                    heard = Instant::now();
                    self.receive(message.ok_or(SessionEnd::Closed)??).await?;
                }
                changed = published.changed() => changed.map_err(|_| SessionEnd::EngineGone)?,
                changed = usage.changed() => {
                    changed.map_err(|_| SessionEnd::EngineGone)?;
                    let tasks = usage.borrow_and_update().clone();
                    self.send(&AgentMessage::Usage { tasks }).await?;
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > every * HEARTBEATS_UNANSWERED_MAX + LAST_ANSWER_TIME {
                        return Err(SessionEnd::Silent);
                    }
                    let volume_room_gib = self.volume_room_gib().await;
                    self.send(&AgentMessage::Heartbeat { volume_room_gib }).await?;
                    // The answer is the proof of life.
                    self.socket.send(Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    /// None when the disk cannot be looked at: then only making a volume finds out whether it fits.
    async fn volume_room_gib(&self) -> Option<u32> {
        let alive = self.outbox.everything().into_iter().filter(|task| task.last_status != ObservedStatus::Stopped);
        let alive = alive.map(|task| task_id(&task.task_arn).to_owned()).collect();
        let agent_dir = self.host.dirs.root.clone();
        let room = blocking(move || managed_volumes::room_gib(&agent_dir, &alive)).await;
        room.inspect_err(|error| warn!(%error, "the disk was not looked at")).ok()
    }

    /// Sends what changed, as far as the bound on unacknowledged messages allows.
    async fn report(&mut self) -> Result<(), SessionEnd> {
        while self.in_flight.len() < MESSAGES_IN_FLIGHT {
            let (tasks, versions) = self.outbox.changes(TASKS_PER_MESSAGE);
            if tasks.is_empty() {
                return Ok(());
            }
            self.sequence += 1;
            self.in_flight.insert(self.sequence, versions);
            self.send(&AgentMessage::Observed { sequence: self.sequence, tasks }).await?;
        }
        Ok(())
    }

    async fn receive(&mut self, message: Message) -> Result<(), SessionEnd> {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(SessionEnd::Closed),
            _ => return Ok(()),
        };
        let message: ControlMessage = match serde_json::from_str(&text) {
            Ok(message) => message,
            Err(error) => {
                // A newer control plane may say more than this agent understands; the next full set makes it good.
                warn!(%error, "message of the control plane was not understood");
                return Ok(());
            }
        };
        match message {
            ControlMessage::DesiredSet { revision, tasks, more } => {
                debug!(revision, tasks = tasks.len(), more, "desired set");
                self.expect_roles(&tasks);
                self.set.extend(tasks.into_iter().map(wire::desired));
                if more {
                    return Ok(());
                }
                let set = std::mem::take(&mut self.set);
                self.order(Order::Set(set)).await
            }
            ControlMessage::Delta { revision, changed, removed } => {
                debug!(revision, changed = changed.len(), removed = removed.len(), "desired tasks changed");
                self.expect_roles(&changed);
                self.order(Order::Change(changed.into_iter().map(wire::desired).collect(), removed)).await
            }
            ControlMessage::Overlay { local_address, peers, networks } => {
                debug!(peers = peers.len(), networks = networks.len(), "networks over hosts");
                self.host.overlay.send_replace(Some(overlay::wanted(local_address, peers, networks)));
                Ok(())
            }
            ControlMessage::Roles { grants } => {
                debug!(grants = grants.len(), "credentials of roles");
                grants.into_iter().for_each(|grant| self.host.credentials.take_in(grant));
                Ok(())
            }
            ControlMessage::ExecSessions { sessions } => {
                debug!(sessions = sessions.len(), "exec sessions");
                self.host.exec_sessions.send_replace(Some(sessions));
                Ok(())
            }
            ControlMessage::Acknowledged { sequence } => {
                let later = self.in_flight.split_off(&(sequence + 1));
                for versions in std::mem::replace(&mut self.in_flight, later).into_values() {
                    self.outbox.acknowledge(&versions);
                }
                Ok(())
            }
            ControlMessage::Goodbye { reason, register } => Err(SessionEnd::Goodbye { reason, register }),
        }
    }

    /// Their credentials may be here before the engine has looked at them.
    fn expect_roles(&self, tasks: &[DesiredTask]) {
        tasks.iter().for_each(|task| self.host.credentials.expect(&task.task_arn));
    }

    async fn order(&self, order: Order) -> Result<(), SessionEnd> {
        self.orders.send(order).await.map_err(|_| SessionEnd::EngineGone)
    }

    async fn send(&mut self, message: &AgentMessage) -> Result<(), SessionEnd> {
        #[expect(clippy::expect_used, reason = "messages have string keys only")]
        let text = serde_json::to_string(message).expect("messages have string keys only");
        self.socket.send(Message::text(text)).await.map_err(SessionEnd::from)
    }
}
