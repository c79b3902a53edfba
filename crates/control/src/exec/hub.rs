//! Who is connected to which session: at most one agent and one client each. In memory only.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Frames that wait for a connection; the reader of the other one waits when there are more.
const FRAMES_WAITING_MAX: usize = 64;

/// The two ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Agent,
    Client,
}

/// Whether a client is connected, and which one: it changes with every connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) number: u64,
    pub(super) attached: bool,
}

/// Transcripts on their way at a time.
const TRANSCRIPTS_MAX: usize = 4;

/// Everybody who is connected.
#[derive(Debug)]
pub(crate) struct Hub {
    sessions: Mutex<Sessions>,
    transcripts: Arc<Semaphore>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { sessions: Mutex::default(), transcripts: Arc::new(Semaphore::new(TRANSCRIPTS_MAX)) }
    }
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: BTreeMap<String, Ends>,
    last_number: u64,
}

#[derive(Debug, Default)]
struct Ends {
    agent: Option<End>,
    client: Option<End>,
    attachment: watch::Sender<Attachment>,
}

#[derive(Debug)]
struct End {
    number: u64,
    frames: mpsc::Sender<Bytes>,
}

/// A connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Arc<Hub>,
    session: String,
    side: Side,
    number: u64,
    /// What the other side sends; it ends when another connection takes the seat, or with the session.
    pub(super) frames: mpsc::Receiver<Bytes>,
    /// For the agent.
    pub(super) attachment: watch::Receiver<Attachment>,
}

impl Hub {
    /// Takes a seat, from whoever has it.
    pub(super) fn enter(self: &Arc<Self>, session: &str, side: Side) -> Seat {
        let (sender, frames) = mpsc::channel(FRAMES_WAITING_MAX);
        let mut sessions = self.sessions.lock();
        sessions.last_number += 1;
        let number = sessions.last_number;
        let ends = sessions.by_id.entry(session.to_owned()).or_default();
        let end = Some(End { number, frames: sender });
        match side {
            Side::Agent => ends.agent = end,
            Side::Client => {
                ends.client = end;
                ends.attachment.send_replace(Attachment { number, attached: true });
            }
        }
        let attachment = ends.attachment.subscribe();
        Seat { hub: Arc::clone(self), session: session.to_owned(), side, number, frames, attachment }
    }

    /// Waits for the turn of a transcript.
    pub(super) async fn transcript_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.transcripts).acquire_owned().await.ok()
    }

    /// Sends the client away with `goodbye`, once it has what was sent to it: the session is over.
    pub(super) fn end_client(&self, session: &str, goodbye: Bytes) {
        let client = self.sessions.lock().by_id.get_mut(session).and_then(|ends| ends.client.take());
        if let Some(client) = client {
            // A client that is slow is waited for by nobody but its own connection.
            tokio::spawn(async move { client.frames.send(goodbye).await });
        }
    }
}

impl Seat {
    /// Hands a frame to the other side, and waits for room there; without another side it goes nowhere.
    pub(super) async fn hand_over(&self, frame: Bytes) {
        let other = {
            let sessions = self.hub.sessions.lock();
            let ends = sessions.by_id.get(&self.session);
            let other = ends.and_then(|ends| match self.side {
                Side::Agent => ends.client.as_ref(),
                Side::Client => ends.agent.as_ref(),
            });
            other.map(|end| end.frames.clone())
        };
        if let Some(other) = other {
            // An error says that the other side left meanwhile.
            let _ = other.send(frame).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.hub.sessions.lock();
        let Some(ends) = sessions.by_id.get_mut(&self.session) else { return };
        let is_mine = |end: &Option<End>| end.as_ref().is_some_and(|end| end.number == self.number);
        match self.side {
            Side::Agent if is_mine(&ends.agent) => ends.agent = None,
            Side::Client if ends.attachment.borrow().number == self.number => {
                ends.client = None;
                ends.attachment.send_replace(Attachment { number: self.number, attached: false });
            }
            _ => {}
        }
        if ends.agent.is_none() && ends.client.is_none() {
            sessions.by_id.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn frames_go_to_the_other_side_and_nowhere_without_one() {
        let hub = Arc::new(Hub::default());
        let mut agent = hub.enter("s", Side::Agent);
        agent.hand_over(Bytes::from_static(b"lost")).await;
        let mut client = hub.enter("s", Side::Client);
        let mut other = hub.enter("t", Side::Client);
        agent.hand_over(Bytes::from_static(b"out")).await;
        client.hand_over(Bytes::from_static(b"in")).await;
        assert_eq!(client.frames.recv().await.unwrap(), "out");
        assert_eq!(agent.frames.recv().await.unwrap(), "in");
        assert!(other.frames.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_later_client_takes_the_seat_and_the_agent_is_told() {
        let hub = Arc::new(Hub::default());
        let agent = hub.enter("s", Side::Agent);
        let state = |agent: &Seat| *agent.attachment.borrow();
        assert!(!state(&agent).attached);
        let mut first = hub.enter("s", Side::Client);
        let before = state(&agent);
        let second = hub.enter("s", Side::Client);
        assert!(before.attached && state(&agent).attached && before != state(&agent));
        assert_eq!(first.frames.recv().await, None);
        drop(first);
        assert!(state(&agent).attached, "the seat was not the first one's any more");
        drop(second);
        assert!(!state(&agent).attached);
    }

    #[tokio::test]
    async fn a_client_is_sent_away_after_its_last_frame() {
        let hub = Arc::new(Hub::default());
        let agent = hub.enter("s", Side::Agent);
        let mut client = hub.enter("s", Side::Client);
        agent.hand_over(Bytes::from_static(b"bye")).await;
        hub.end_client("s", Bytes::from_static(b"over"));
        assert_eq!(client.frames.recv().await.unwrap(), "bye");
        assert_eq!(client.frames.recv().await.unwrap(), "over");
        assert_eq!(client.frames.recv().await, None);
        drop((agent, client));
        assert!(hub.sessions.lock().by_id.is_empty());
    }
}
