//! The connection of one session: opened again whenever it is lost, until nobody holds the other end.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use gantry_api::exec::{self, ExecOrder, ExecReport};
use tokio::{
    sync::mpsc,
    time::{interval, sleep, timeout},
};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use crate::{
    aws::AwsClient,
    reason::chain,
    session::{self, SessionEnd},
    websocket::Socket,
};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Between attempts; it doubles up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A side that is silent for so long is gone: each pings the other more often.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Events that the session has not looked at yet, and frames that wait for the connection: more than a session's window.
const EVENTS_WAITING_MAX: usize = 256;
const FRAMES_WAITING_MAX: usize = 2048;

/// What happens on the connection.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// It is open; what is to be sent goes here until [`LinkEvent::Down`].
    Up(Sender),
    /// A frame of the client.
    Frame(Vec<u8>),
    /// The control plane says.
    Order(ExecOrder),
    /// It is lost.
    Down,
    /// The control plane knows no such session any more.
    Gone,
}

/// Sends over one connection. On one that is lost everything goes nowhere, which [`LinkEvent::Down`] tells.
#[derive(Debug, Clone)]
pub(super) struct Sender(mpsc::Sender<Message>);

impl Sender {
    /// Sends a frame to the client, if there is room: the channel's ends make good what is lost.
    pub(super) fn frame(&self, frame: Vec<u8>) {
        let _ = self.0.try_send(Message::binary(frame));
    }

    /// Sends a piece of the transcript.
    pub(super) async fn transcript(&self, piece: Vec<u8>) {
        let _ = self.0.send(Message::binary(piece)).await;
    }

    /// Tells the control plane something.
    pub(super) async fn report(&self, report: &ExecReport) {
        // Reports have string keys only; writing them cannot fail.
        let _ = self.0.send(Message::text(serde_json::to_string(report).unwrap_or_default())).await;
    }
}

/// Keeps the connection of a session open; ends when the events are not wanted any more.
pub(super) fn open(client: Arc<AwsClient>, session_id: &str) -> mpsc::Receiver<LinkEvent> {
    let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let path = exec::path(session_id);
    tokio::spawn(async move {
        let closed = events.clone();
        tokio::select! {
            () = stay_connected(&client, &path, events) => {}
            () = closed.closed() => {}
        }
    });
    receiver
}

async fn stay_connected(client: &AwsClient, path: &str, events: mpsc::Sender<LinkEvent>) {
    let mut delay = RETRY_MIN;
    loop {
        match timeout(CONNECT_TIME_MAX, session::connect(client, path)).await {
            Ok(Ok((socket, _))) => {
                delay = RETRY_MIN;
                carry(socket, &events).await;
                if events.send(LinkEvent::Down).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) if is_gone(&error) => {
                if events.send(LinkEvent::Gone).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => debug!(error = chain(&error), path, "a session's connection was not opened"),
            Err(_) => debug!(path, "a session's connection was not opened in time"),
        }
        sleep(delay).await;
        delay = (delay * 2).min(RETRY_MAX);
    }
}

fn is_gone(error: &SessionEnd) -> bool {
    matches!(error, SessionEnd::Connection(error)
        if matches!(&**error, tungstenite::Error::Http(response) if response.status().as_u16() == 404))
}

/// Carries frames both ways until the connection ends. Neither direction waits for the other.
async fn carry(socket: Socket, events: &mpsc::Sender<LinkEvent>) {
    let (mut writer, mut reader) = socket.split();
    let (sender, mut outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
    if events.send(LinkEvent::Up(Sender(sender))).await.is_err() {
        return;
    }
    let write = async {
        let mut pings = interval(PING_INTERVAL);
        loop {
            let message = tokio::select! {
                message = outgoing.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
                _ = pings.tick() => Message::Ping(Default::default()),
            };
            if writer.send(message).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        while let Ok(Some(Ok(message))) = timeout(SILENCE_MAX, reader.next()).await {
            let event = match message {
                Message::Binary(frame) => LinkEvent::Frame(frame.into()),
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(order) => LinkEvent::Order(order),
                    // A newer control plane may say more than this agent understands.
                    Err(error) => {
                        debug!(%error, "an order for a session was not understood");
                        continue;
                    }
                },
                Message::Close(_) => return,
                _ => continue,
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}
