//! The end beside the process: asks for the handshake, orders what the user types, keeps what the process prints until
//! it arrived.

use super::{
    flow::{Incoming, Outgoing, acknowledgement},
    message::{FLAGS_WHOLE, Message, MessageType, derived_id, flag, payload_type},
    payload::{self, Size, Wishes},
};

/// What the real agent puts into one message …
const CHUNK_BYTES: usize = 1024;
/// … and what a client of ours takes: a hundredth of the messages for a long output.
const CHUNK_BYTES_OURS: usize = 32 * 1024;

/// What the client wants of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// The handshake is over: start it, on a terminal or on pipes.
    Begin {
        /// On a terminal.
        terminal: bool,
    },
    /// For its standard input.
    Input(Vec<u8>),
    /// No more of it will come.
    EndOfInput,
    /// The user's terminal has this size.
    Resize(Size),
    /// End it.
    Terminate,
}

/// What follows from something that happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To send, in this order.
    pub frames: Vec<Vec<u8>>,
    /// To do, in this order.
    pub events: Vec<HostEvent>,
}

/// The end beside the process.
#[derive(Debug)]
pub struct HostEnd {
    session: String,
    target: String,
    outgoing: Outgoing,
    incoming: Incoming,
    /// When the handshake was asked for; none before the first client.
    asked_ms: Option<u64>,
    /// After the handshake; what the client is able to do.
    client: Option<Client>,
    attached: bool,
    taking_input: bool,
}

#[derive(Debug, Clone, Copy)]
struct Client {
    /// None of the plugin.
    wishes: Option<Wishes>,
}

impl HostEnd {
    /// Before the first client. `target` is `ecs:CLUSTER_TASK_RUNTIME-ID`.
    pub fn new(session: &str, target: &str) -> Self {
        Self {
            session: session.to_owned(),
            target: target.to_owned(),
            outgoing: Outgoing::new(MessageType::OutputStreamData, session),
            incoming: Incoming::default(),
            asked_ms: None,
            client: None,
            attached: false,
            taking_input: true,
        }
    }

    /// A client is there, for the first time or again.
    pub fn attach(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        self.attached = true;
        if self.asked_ms.is_some() {
            return self.outgoing.again(now_ms);
        }
        self.asked_ms = Some(now_ms);
        vec![self.outgoing.send(payload_type::HANDSHAKE_REQUEST, payload::handshake_request(), now_ms)]
    }

    /// The client's connection is lost.
    pub fn detach(&mut self) {
        self.attached = false;
    }

    /// Whether a client is there.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Whether the user's input is taken; while it is not, the client keeps it.
    pub fn take_input(&mut self, take: bool) {
        self.taking_input = take;
    }

    /// Takes in a frame of the client. What is no message is nothing: others follow.
    pub fn receive(&mut self, frame: &[u8], now_ms: u64) -> Step {
        let mut step = Step::default();
        let Ok(message) = Message::decode(frame) else { return step };
        match message.kind {
            MessageType::Acknowledge => drop(self.outgoing.acknowledge(&message)),
            MessageType::InputStreamData if self.taking_input => {
                let taken = acknowledgement(&message, now_ms);
                let Some(contents) = self.incoming.receive(message) else { return step };
                step.frames.push(taken);
                for (kind, payload) in contents {
                    self.content(kind, payload, now_ms, &mut step);
                }
            }
            _ => {}
        }
        step
    }

    fn content(&mut self, kind: u32, payload: Vec<u8>, now_ms: u64, step: &mut Step) {
        let event = match kind {
            payload_type::HANDSHAKE_RESPONSE if self.client.is_none() => {
                let client = Client { wishes: payload::read_handshake_response(&payload) };
                self.client = Some(client);
                let nanoseconds = now_ms.saturating_sub(self.asked_ms.unwrap_or(now_ms)).saturating_mul(1_000_000);
                let complete = payload::handshake_complete(nanoseconds);
                step.frames.push(self.outgoing.send(payload_type::HANDSHAKE_COMPLETE, complete, now_ms));
                Some(HostEvent::Begin { terminal: client.wishes.is_none_or(|wishes| wishes.terminal) })
            }
            payload_type::OUTPUT if payload.is_empty() => Some(HostEvent::EndOfInput),
            payload_type::OUTPUT => Some(HostEvent::Input(payload)),
            payload_type::SIZE => serde_json::from_slice(&payload).ok().map(HostEvent::Resize),
            payload_type::FLAG => {
                let number = payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                (number == Some(flag::TERMINATE_SESSION)).then_some(HostEvent::Terminate)
            }
            _ => None,
        };
        step.events.extend(event);
    }

    /// Whether more of the process's output may be taken; otherwise it has to wait.
    pub fn has_room(&self) -> bool {
        self.client.is_some() && self.outgoing.has_room()
    }

    /// How much output goes into one message.
    pub fn chunk_bytes(&self) -> usize {
        if self.wishes().is_some() { CHUNK_BYTES_OURS } else { CHUNK_BYTES }
    }

    /// Sends output. [`payload_type::STDERR`] is for clients that want it apart.
    pub fn output(&mut self, kind: u32, bytes: &[u8], now_ms: u64) -> Vec<Vec<u8>> {
        let chunk = self.chunk_bytes();
        let kind = if self.wishes().is_some() { kind } else { payload_type::OUTPUT };
        bytes.chunks(chunk).map(|part| self.outgoing.send(kind, part.to_vec(), now_ms)).collect()
    }

    /// Tells the exit code, in order with the output; only to a client that understands it.
    pub fn exit_code(&mut self, code: i32, now_ms: u64) -> Option<Vec<u8>> {
        self.wishes()?;
        Some(self.outgoing.send(payload_type::EXIT_CODE, code.to_string().into_bytes(), now_ms))
    }

    /// Whether the client has everything.
    pub fn is_drained(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// What is to be sent again now.
    pub fn due(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if self.attached { self.outgoing.due(now_ms) } else { None }
    }

    /// When to ask [`HostEnd::due`] again.
    pub fn due_ms(&self) -> Option<u64> {
        if self.attached { self.outgoing.due_ms() } else { None }
    }

    /// The last message: the client prints `text`, or that the session ends when it is empty.
    pub fn close(&self, text: &str, now_ms: u64) -> Vec<u8> {
        closing(&self.session, &self.target, text, now_ms)
    }

    fn wishes(&self) -> Option<Wishes> {
        self.client.and_then(|client| client.wishes)
    }
}

/// The frame that ends a session for its client.
pub fn closing(session: &str, target: &str, text: &str, now_ms: u64) -> Vec<u8> {
    let id = derived_id(session, MessageType::ChannelClosed.as_str(), 0);
    let mut message = Message {
        kind: MessageType::ChannelClosed,
        created_ms: now_ms.max(1),
        sequence: 0,
        flags: FLAGS_WHOLE,
        id,
        payload_type: 0,
        payload: Vec::new(),
    };
    message.payload = payload::channel_closed(&message.id_text(), session, target, now_ms, text);
    message.encode()
}
