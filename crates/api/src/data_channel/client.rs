//! The end beside the user, as `gantry exec` has it.

use super::{
    flow::{Incoming, Outgoing, acknowledgement},
    message::{Message, MessageType, flag, payload_type},
    payload::{self, Size, Wishes},
};

/// Input in one message.
const CHUNK_BYTES: usize = 32 * 1024;

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The process runs, or is about to: input may follow.
    Ready,
    /// For standard output.
    Output(Vec<u8>),
    /// For standard error.
    Error(Vec<u8>),
    /// The process ended.
    ExitCode(i32),
    /// The session is over, with a text for the user (or none).
    Closed(String),
}

/// The end beside the user.
#[derive(Debug)]
pub struct ClientEnd {
    wishes: Wishes,
    outgoing: Outgoing,
    incoming: Incoming,
}

impl ClientEnd {
    /// Before the host's first message.
    pub fn new(session: &str, wishes: Wishes) -> Self {
        Self { wishes, outgoing: Outgoing::new(MessageType::InputStreamData, session), incoming: Incoming::default() }
    }

    /// Takes in a frame: what to send, and what happened.
    pub fn receive(&mut self, frame: &[u8], now_ms: u64) -> (Vec<Vec<u8>>, Vec<ClientEvent>) {
        let Ok(message) = Message::decode(frame) else { return (Vec::new(), Vec::new()) };
        let (mut frames, mut events) = (Vec::new(), Vec::new());
        match message.kind {
            MessageType::Acknowledge => drop(self.outgoing.acknowledge(&message)),
            MessageType::ChannelClosed => events.push(ClientEvent::Closed(payload::closing_text(&message.payload))),
            MessageType::OutputStreamData => {
                let taken = acknowledgement(&message, now_ms);
                let Some(contents) = self.incoming.receive(message) else { return (frames, events) };
                frames.push(taken);
                for (kind, payload) in contents {
                    match kind {
                        payload_type::HANDSHAKE_REQUEST => {
                            let answer = payload::handshake_response(self.wishes);
                            frames.push(self.outgoing.send(payload_type::HANDSHAKE_RESPONSE, answer, now_ms));
                        }
                        payload_type::HANDSHAKE_COMPLETE => events.push(ClientEvent::Ready),
                        payload_type::STDERR => events.push(ClientEvent::Error(payload)),
                        payload_type::EXIT_CODE => events.extend(exit_code(&payload)),
                        payload_type::OUTPUT => events.push(ClientEvent::Output(payload)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        (frames, events)
    }

    /// Whether more input may be taken from the user.
    pub fn has_room(&self) -> bool {
        self.outgoing.has_room()
    }

    /// Sends input.
    pub fn input(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Vec<u8>> {
        let part = |part: &[u8]| self.outgoing.send(payload_type::OUTPUT, part.to_vec(), now_ms);
        bytes.chunks(CHUNK_BYTES).map(part).collect()
    }

    /// Says that no input follows.
    pub fn end_of_input(&mut self, now_ms: u64) -> Vec<u8> {
        self.outgoing.send(payload_type::OUTPUT, Vec::new(), now_ms)
    }

    /// Tells the size of the user's terminal.
    pub fn resize(&mut self, size: Size, now_ms: u64) -> Vec<u8> {
        self.outgoing.send(payload_type::SIZE, payload::bytes(&size), now_ms)
    }

    /// Asks for the end of the session.
    pub fn terminate(&mut self, now_ms: u64) -> Vec<u8> {
        self.outgoing.send(payload_type::FLAG, flag::TERMINATE_SESSION.to_be_bytes().to_vec(), now_ms)
    }

    /// Whether the host has everything that was sent.
    #[cfg(test)]
    pub(super) fn is_drained(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Everything that was not acknowledged, for a new connection.
    pub fn again(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        self.outgoing.again(now_ms)
    }

    /// What is to be sent again now.
    pub fn due(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        self.outgoing.due(now_ms)
    }
}

fn exit_code(payload: &[u8]) -> Option<ClientEvent> {
    std::str::from_utf8(payload).ok()?.parse().ok().map(ClientEvent::ExitCode)
}
