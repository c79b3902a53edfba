//! An agent's connection for one session.

use std::{ops::ControlFlow, time::Duration};

use axum::{
    Extension, Router,
    extract::{
        Path, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use gantry_api::{
    Caller, Fault,
    data_channel::message::{HEADER_BYTES, PAYLOAD_BYTES_MAX},
    ecs::fault::server_exception,
    exec::{ExecOrder, ExecReport},
};
use gantry_domain::limits::EXEC_TRANSCRIPT_PAUSE_SECONDS;

use super::{
    change,
    hub::{Attachment, Seat, Side},
    send_client_away,
    transcript::Received,
};
use crate::{
    Control,
    instances::owner,
    records::{ExecSessionStatus, TranscriptStatus},
};

/// Bytes of one frame.
pub(super) const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// An agent pings more often than this.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Serves `/agent/v1/exec/SESSION`. The layer before it has checked the signature and left the [`Caller`] as an
/// extension.
pub fn router(control: Control) -> Router {
    Router::new().route("/agent/v1/exec/{session}", any(connect)).with_state(control)
}

async fn connect(
    State(control): State<Control>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !is_its_agent(&control, &caller, &session) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let upgrade = upgrade.max_message_size(FRAME_BYTES_MAX);
    upgrade.on_upgrade(async move |socket| {
        if let Err(fault) = serve(&control, &session, socket).await {
            tracing::warn!(session, %fault, "an agent's connection for a session ends");
        }
    })
}

/// Whether there is such a session, on an instance that the caller speaks for.
fn is_its_agent(control: &Control, caller: &Caller, session: &str) -> bool {
    let view = control.read();
    let entry = view.exec_session(session).filter(|entry| entry.row.concerns_agent());
    let host = entry.and_then(|entry| view.host(entry.row.host.as_ref()?));
    host.and_then(|host| host.row.as_ref()).is_some_and(|row| owner::speaks_for(caller, row))
}

async fn serve(control: &Control, session: &str, socket: WebSocket) -> Result<(), Fault> {
    let begun = change(control, session, |record| {
        if record.status == ExecSessionStatus::Waiting {
            record.status = ExecSessionStatus::Running;
        }
        Ok(())
    });
    let Some(record) = begun.await? else { return Ok(()) };
    let mut seat = control.exec_hub.enter(session, Side::Agent);
    let (mut writer, mut reader) = socket.split();
    if record.is_live() && !send(&mut writer, &ExecOrder::Begin).await {
        return Ok(());
    }
    let mut attachment = seat.attachment.clone();
    // The first look is news if a client was there before.
    attachment.mark_changed();
    let mut frames = std::mem::replace(&mut seat.frames, tokio::sync::mpsc::channel(1).1);
    let write = async {
        loop {
            let sent = tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => writer.send(Message::Binary(frame)).await.is_ok(),
                    None => return,
                },
                changed = attachment.changed() => {
                    let Attachment { number, attached } = *attachment.borrow_and_update();
                    let order = if attached { ExecOrder::Attached } else { ExecOrder::Detached };
                    changed.is_ok() && (number == 0 || send(&mut writer, &order).await)
                }
            };
            if !sent {
                return;
            }
        }
    };
    let read = async {
        let mut frames = Frames::Client;
        loop {
            let next = tokio::time::timeout(frames.patience(), reader.next()).await;
            if frames.patience().is_zero() {
                tracing::warn!(session, "an agent takes too long to hand a transcript over");
                return Ok(());
            }
            let Ok(Some(Ok(message))) = next else { return Ok(()) };
            match message {
                Message::Binary(frame) => frames.take(&seat, frame).await,
                Message::Text(text) => {
                    if report(control, session, &text, &mut frames).await?.is_break() {
                        return Ok(());
                    }
                }
                Message::Close(_) => return Ok(()),
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    };
    tokio::select! {
        () = write => Ok(()),
        read = read => read,
    }
}

/// Where the frames of an agent go.
#[derive(Debug)]
enum Frames {
    /// To the client.
    Client,
    /// After the end, into the transcript.
    Transcript(Received),
    /// Nobody wants them: the session is over, and its transcript is not waited for.
    Nowhere,
}

impl Frames {
    async fn take(&mut self, seat: &Seat, frame: Bytes) {
        match self {
            Self::Client => seat.hand_over(frame).await,
            Self::Transcript(received) => received.add(&frame),
            Self::Nowhere => {}
        }
    }

    /// How long the next message is waited for.
    fn patience(&self) -> Duration {
        match self {
            Self::Transcript(received) => received.time_left().min(SILENCE_MAX),
            Self::Client | Self::Nowhere => SILENCE_MAX,
        }
    }
}

/// Breaks where the agent is to connect again and to tell it again.
async fn report(control: &Control, session: &str, text: &str, frames: &mut Frames) -> Result<ControlFlow<()>, Fault> {
    match serde_json::from_str(text) {
        Ok(ExecReport::Ended { text }) => {
            let now = control.now();
            let ended = change(control, session, |record| {
                if record.is_live() && record.destination.is_some() {
                    record.transcript = TranscriptStatus::Wanted;
                }
                record.end(text.clone(), now);
                Ok(())
            });
            let ended = ended.await?;
            if let Some(record) = &ended {
                send_client_away(control, session, record);
            }
            // Told again, it begins again.
            *frames = Frames::Nowhere;
            if ended.is_some_and(|record| record.transcript == TranscriptStatus::Wanted) {
                *frames = Frames::Transcript(begin(control).await?);
            }
        }
        Ok(report @ (ExecReport::TranscriptWhole | ExecReport::TranscriptLost)) => {
            let Frames::Transcript(received) = std::mem::replace(frames, Frames::Nowhere) else {
                return Ok(ControlFlow::Continue(()));
            };
            let entry = control.read().exec_session(session).cloned();
            let Some(entry) = entry.filter(|entry| entry.row.transcript == TranscriptStatus::Wanted) else {
                return Ok(ControlFlow::Continue(()));
            };
            let stored = if report == ExecReport::TranscriptWhole {
                received.store(control, session, &entry).await?
            } else {
                tracing::error!(session, "the transcript of a session is lost: its agent could not keep or read it");
                TranscriptStatus::Lost
            };
            if stored == TranscriptStatus::Wanted {
                tokio::time::sleep(Duration::from_secs(EXEC_TRANSCRIPT_PAUSE_SECONDS)).await;
                return Ok(ControlFlow::Break(()));
            }
            change(control, session, |record| {
                record.transcript = stored;
                Ok(())
            })
            .await?;
        }
        // A newer agent may say more than this server understands.
        Err(error) => tracing::debug!(session, %error, "a report on a session was not understood"),
    }
    Ok(ControlFlow::Continue(()))
}

/// Waits for the turn of a transcript for as long as an agent may be silent: meanwhile nobody hears whether it is still
/// there. The fault ends its connection, and it tells its end again with the next one.
async fn begin(control: &Control) -> Result<Received, Fault> {
    let turn = tokio::time::timeout(SILENCE_MAX, Received::begin(control)).await;
    turn.ok().flatten().ok_or_else(|| server_exception("too many transcripts are on their way"))
}

async fn send(writer: &mut SplitSink<WebSocket, Message>, order: &ExecOrder) -> bool {
    // Orders have string keys only; writing them cannot fail.
    let text = serde_json::to_string(order).unwrap_or_default();
    writer.send(Message::text(text)).await.is_ok()
}

#[cfg(test)]
mod tests;
