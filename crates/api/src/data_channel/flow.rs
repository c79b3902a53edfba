//! One direction of a channel: the sender's memory of what was not acknowledged, and the receiver's order.

use std::collections::{BTreeMap, VecDeque};

use super::{
    message::{FLAGS_DATA, FLAGS_WHOLE, Message, MessageType, derived_id},
    payload::{Acknowledgement, bytes},
};

/// Unacknowledged messages at a time, and their bytes: what a slow reader makes a sender hold.
const MESSAGES_IN_FLIGHT_MAX: usize = 512;
const BYTES_IN_FLIGHT_MAX: usize = 1024 * 1024;
/// After this long without an acknowledgement a message is sent again; it doubles up to the maximum.
const RESEND_AFTER_MS: u64 = 200;
const RESEND_AFTER_MS_MAX: u64 = 1000;
/// A message that was sent again so often while later ones were acknowledged has arrived: clients do not acknowledge
/// what they have taken before, so that a lost acknowledgement is never made good. As long as nothing later is
/// acknowledged either, the client may just be slow.
const RESENDS_MAX: u32 = 10;
/// Messages that came too early and are kept, and their bytes.
const MESSAGES_HELD_MAX: usize = 1024;
const BYTES_HELD_MAX: usize = 2 * 1024 * 1024;

/// What is on its way to the other end.
#[derive(Debug)]
pub struct Outgoing {
    kind: MessageType,
    session: String,
    next: i64,
    in_flight: VecDeque<Sent>,
    bytes: usize,
}

#[derive(Debug)]
struct Sent {
    sequence: i64,
    frame: Vec<u8>,
    at_ms: u64,
    resends: u32,
    /// A later message was acknowledged.
    overtaken: bool,
}

impl Outgoing {
    /// Nothing sent yet.
    pub fn new(kind: MessageType, session: &str) -> Self {
        Self { kind, session: session.to_owned(), next: 0, in_flight: VecDeque::new(), bytes: 0 }
    }

    /// Whether more may be sent before something is acknowledged. What is sent without room is sent all the same: the
    /// few messages that are not the user's bytes need not wait.
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < MESSAGES_IN_FLIGHT_MAX && self.bytes < BYTES_IN_FLIGHT_MAX
    }

    /// Whether everything was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The frame of the next message.
    pub fn send(&mut self, payload_type: u32, payload: Vec<u8>, now_ms: u64) -> Vec<u8> {
        let sequence = self.next;
        self.next += 1;
        let message = Message {
            kind: self.kind,
            created_ms: now_ms.max(1),
            sequence,
            flags: FLAGS_DATA,
            id: derived_id(&self.session, self.kind.as_str(), sequence),
            payload_type,
            payload,
        };
        let frame = message.encode();
        self.bytes += frame.len();
        self.in_flight.push_back(Sent { sequence, frame: frame.clone(), at_ms: now_ms, resends: 0, overtaken: false });
        frame
    }

    /// Takes in an acknowledgement; whether it was news.
    pub fn acknowledge(&mut self, message: &Message) -> bool {
        let Ok(said) = serde_json::from_slice::<Acknowledgement>(&message.payload) else { return false };
        let number = said.acknowledged_message_sequence_number;
        // Mostly the oldest.
        let Some(index) = self.in_flight.iter().position(|sent| sent.sequence == number) else { return false };
        self.forget(index);
        // Once one is overtaken, so are those before it.
        for earlier in self.in_flight.iter_mut().take(index).rev().take_while(|earlier| !earlier.overtaken) {
            earlier.overtaken = true;
        }
        true
    }

    /// What is to be sent again now: the oldest message, when it is due.
    pub fn due(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        while self.in_flight.front().is_some_and(|sent| sent.overtaken && sent.resends >= RESENDS_MAX) {
            self.forget(0);
        }
        let oldest = self.in_flight.front_mut().filter(|sent| now_ms >= sent.due_ms())?;
        oldest.at_ms = now_ms;
        oldest.resends += 1;
        Some(oldest.frame.clone())
    }

    /// When [`Outgoing::due`] will have something.
    pub fn due_ms(&self) -> Option<u64> {
        self.in_flight.front().map(Sent::due_ms)
    }

    /// Everything again, over a new connection.
    pub fn again(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        for sent in &mut self.in_flight {
            (sent.at_ms, sent.resends, sent.overtaken) = (now_ms, 0, false);
        }
        self.in_flight.iter().map(|sent| sent.frame.clone()).collect()
    }

    fn forget(&mut self, index: usize) {
        if let Some(sent) = self.in_flight.remove(index) {
            self.bytes = self.bytes.saturating_sub(sent.frame.len());
        }
    }
}

impl Sent {
    fn due_ms(&self) -> u64 {
        let wait = RESEND_AFTER_MS.checked_shl(self.resends).unwrap_or(u64::MAX).min(RESEND_AFTER_MS_MAX);
        self.at_ms.saturating_add(wait)
    }
}

/// What came from the other end.
#[derive(Debug, Default)]
pub struct Incoming {
    expected: i64,
    held: BTreeMap<i64, Content>,
    bytes_held: usize,
}

/// Payload type and payload of a message.
pub type Content = (u32, Vec<u8>);

impl Incoming {
    /// Takes in a stream message and returns what is now next in order; none when it is not taken at all, and so not to
    /// be acknowledged: the other end will send it again.
    pub fn receive(&mut self, message: Message) -> Option<Vec<Content>> {
        let sequence = message.sequence;
        if sequence < self.expected || self.held.contains_key(&sequence) {
            // Taken before. Said again, in case the first acknowledgement was lost.
            return Some(Vec::new());
        }
        if sequence > self.expected {
            let full = self.held.len() >= MESSAGES_HELD_MAX || self.bytes_held >= BYTES_HELD_MAX;
            if full {
                return None;
            }
            self.bytes_held += message.payload.len();
            self.held.insert(sequence, (message.payload_type, message.payload));
            return Some(Vec::new());
        }
        let mut next = vec![(message.payload_type, message.payload)];
        self.expected += 1;
        while let Some(content) = self.held.remove(&self.expected) {
            self.bytes_held = self.bytes_held.saturating_sub(content.1.len());
            next.push(content);
            self.expected += 1;
        }
        Some(next)
    }
}

/// The frame that acknowledges a message.
pub fn acknowledgement(of: &Message, now_ms: u64) -> Vec<u8> {
    let said = Acknowledgement {
        acknowledged_message_type: of.kind.as_str().to_owned(),
        acknowledged_message_id: of.id_text(),
        acknowledged_message_sequence_number: of.sequence,
        is_sequential_message: true,
    };
    let message = Message {
        kind: MessageType::Acknowledge,
        created_ms: now_ms.max(1),
        sequence: 0,
        flags: FLAGS_WHOLE,
        id: derived_id(&of.id_text(), MessageType::Acknowledge.as_str(), of.sequence),
        payload_type: 0,
        payload: bytes(&said),
    };
    message.encode()
}
