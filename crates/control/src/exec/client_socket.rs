//! The user's end: the data channel that session-manager-plugin and `gantry exec` open.
//!
//! Nobody signs here. The first frame carries the token that ExecuteCommand, StartSession or ResumeSession gave to a
//! caller who may have the session; it is good once. Whoever is refused is told so in the channel's own words and not
//! just hung up on, which the plugin would wait on for ever.

use std::time::Duration;

use axum::{
    Router,
    extract::{
        Path, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::any,
};
use futures_util::{SinkExt, StreamExt};
use gantry_api::{
    Fault,
    data_channel::{host::closing, payload::Opening},
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{agent_socket::FRAME_BYTES_MAX, change, hub::Side, token};
use crate::{Control, records::ExecSessionRecord};

/// How long a client may take to say which token it has.
const OPENING_TIME_MAX: Duration = Duration::from_secs(10);
/// Clients answer pings; one that does not for so long is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_secs(70);
/// Longest time for one frame to be taken.
const WRITE_TIME_MAX: Duration = Duration::from_secs(60);

/// Serves `/v1/data-channel/SESSION`.
pub fn router(control: Control) -> Router {
    Router::new().route("/v1/data-channel/{session}", any(connect)).with_state(control)
}

async fn connect(State(control): State<Control>, Path(session): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.max_message_size(FRAME_BYTES_MAX);
    upgrade.on_upgrade(async move |mut socket| {
        match admit(&control, &session, &mut socket).await {
            Ok(()) => carry(&control, &session, socket).await,
            Err(text) => {
                let now_ms = u64::try_from(control.now().as_millis()).unwrap_or(0);
                let goodbye = closing(&session, "", &text, now_ms);
                // The client may be gone already.
                let _ = timeout(OPENING_TIME_MAX, socket.send(Message::Binary(goodbye.into()))).await;
                let _ = timeout(OPENING_TIME_MAX, socket.send(Message::Close(None))).await;
            }
        }
    })
}

/// Checks the token and uses it up. The error is what the client is told.
async fn admit(control: &Control, session: &str, socket: &mut WebSocket) -> Result<(), String> {
    let first = timeout(OPENING_TIME_MAX, socket.recv()).await;
    let Ok(Some(Ok(Message::Text(text)))) = first else {
        return Err("The session was not opened: its token did not come.".to_owned());
    };
    let opening: Opening = serde_json::from_str(&text)
        .map_err(|_| "The session was not opened: the first message was not understood.".to_owned())?;
    let now = control.now();
    let used = change(control, session, |record: &mut ExecSessionRecord| {
        if !token::is_good(&opening.token_value, record.token.as_ref(), now) {
            return Err(Fault::new("AccessDeniedException", 400, BAD_TOKEN));
        }
        record.token = None;
        Ok(())
    });
    match used.await {
        // One that is over has no token.
        Ok(Some(_)) => {
            tracing::info!(session, client = opening.client_id, "a client opens a session");
            Ok(())
        }
        Ok(None) => Err(BAD_TOKEN.to_owned()),
        Err(fault) => Err(fault.message),
    }
}

const BAD_TOKEN: &str = "The session was not opened: its token is not valid, was used before or has expired.";

/// Carries frames both ways; neither direction waits for the other.
async fn carry(control: &Control, session: &str, socket: WebSocket) {
    let mut seat = control.exec_hub.enter(session, Side::Client);
    let (mut writer, mut reader) = socket.split();
    let mut frames = std::mem::replace(&mut seat.frames, tokio::sync::mpsc::channel(1).1);
    let write = async {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => Message::Binary(frame),
                    // Another connection took over, or the session is over.
                    None => break,
                },
                _ = pings.tick() => Message::Ping(Default::default()),
            };
            if !matches!(timeout(WRITE_TIME_MAX, writer.send(message)).await, Ok(Ok(()))) {
                return;
            }
        }
        let _ = timeout(WRITE_TIME_MAX, writer.send(Message::Close(None))).await;
    };
    let read = async {
        while let Ok(Some(Ok(message))) = timeout(SILENCE_MAX, reader.next()).await {
            match message {
                Message::Binary(frame) => seat.hand_over(frame).await,
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}
