//! The door over a WebSocket: JSON messages as text frames.

use axum::{
    Extension, Router,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::{any, get},
};
use gantry_api::{
    Caller,
    agent::{AgentMessage, ControlMessage},
    task_values::{LOG_OPTIONS_PATH, TASK_VALUES_PATH},
};
use tokio::time::timeout;

use super::{Door, Ended, Session, values};

/// Bytes of one message: a hello names every task of a host.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Longest time for the last words to an agent.
const GOODBYE_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves `/agent/v1/connect` and the values of tasks. The layer before it has checked the signature and left the [`Caller`] as an extension.
pub fn router(door: Door) -> Router {
    let of_task = |path: &str| format!("{path}/{{cluster}}/{{task}}");
    Router::new()
        .route("/agent/v1/connect", any(connect))
        .route(&of_task(TASK_VALUES_PATH), get(values::answer))
        .route(&of_task(LOG_OPTIONS_PATH), get(values::answer_log_options))
        .with_state(door)
}

async fn connect(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // By default each connection keeps 128 KiB to read into; what agents say is mostly small.
    let upgrade = upgrade.read_buffer_size(READ_BUFFER_BYTES).max_message_size(MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(async move |mut socket| {
        let end = serve(&door, &caller, &mut socket).await;
        if let Some(ended) = end {
            tracing::info!(reason = %ended, "an agent's connection ends");
            // The agent may be gone already.
            sent(&mut socket, &ended.goodbye(), GOODBYE_TIME_MAX).await;
        }
    })
}

/// Runs a session until it ends; none when the agent hung up or fell silent.
async fn serve(door: &Door, caller: &Caller, socket: &mut WebSocket) -> Option<Ended> {
    let patience = door.shared.control.settings.agent_timeout;
    let hello = match timeout(patience, receive(socket)).await.ok()?? {
        Ok(hello) => hello,
        Err(ended) => return Some(ended),
    };
    let mut session = match door.begin(caller, hello).await {
        Ok(session) => session,
        Err(ended) => return Some(ended),
    };
    tracing::info!(instance = %session.instance().id, "an agent is connected");
    converse(&mut session, socket, patience).await.err()
}

async fn converse(session: &mut Session, socket: &mut WebSocket, patience: std::time::Duration) -> Result<(), Ended> {
    // The full set goes first: deltas and acknowledgements mean nothing without it.
    loop {
        let part = session.next().await?;
        if !sent(socket, &part, patience).await {
            return Ok(());
        }
        if !matches!(part, ControlMessage::DesiredSet { more: true, .. }) {
            break;
        }
    }
    let mut heard = tokio::time::Instant::now();
    loop {
        let answer = tokio::select! {
            message = receive(socket) => {
                let Some(message) = message else { return Ok(()) };
                heard = tokio::time::Instant::now();
                session.receive(message?).await?
            }
            message = session.next() => Some(message?),
            () = tokio::time::sleep_until(heard + patience) => return Ok(()),
        };
        if let Some(answer) = answer
            && !sent(socket, &answer, patience).await
        {
            return Ok(());
        }
    }
}

/// The next message; none at the end of the connection. Cancel safe: a frame is taken as a whole or not at all.
async fn receive(socket: &mut WebSocket) -> Option<Result<AgentMessage, Ended>> {
    loop {
        match socket.recv().await? {
            Ok(Message::Text(text)) => {
                let parsed = serde_json::from_str(&text);
                return Some(parsed.map_err(|error| Ended::Refused(format!("message was not understood: {error}"))));
            }
            Ok(Message::Binary(_)) => return Some(Err(Ended::Refused("messages are text".to_owned()))),
            // Pings are answered by the library; receiving one proves life, which the next heartbeat does as well.
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Close(_)) | Err(_) => return None,
        }
    }
}

/// Whether the agent took the message: one that reads nothing any more is gone, like one that says nothing.
async fn sent(socket: &mut WebSocket, message: &ControlMessage, patience: std::time::Duration) -> bool {
    matches!(timeout(patience, send(socket, message)).await, Ok(Ok(())))
}

async fn send(socket: &mut WebSocket, message: &ControlMessage) -> Result<(), axum::Error> {
    // Messages have string keys only; writing them cannot fail.
    let text = serde_json::to_string(message).unwrap_or_default();
    socket.send(Message::text(text)).await
}
