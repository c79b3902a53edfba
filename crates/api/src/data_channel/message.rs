//! One message: a header of 120 bytes, big-endian, and a payload.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | 116: where the payload's length stands |
//! | 4 | 32 | message type, padded with blanks |
//! | 36 | 4 | 1: version of the layout |
//! | 40 | 8 | creation, milliseconds since the epoch |
//! | 48 | 8 | sequence number |
//! | 56 | 8 | flags: 1 first, 2 last |
//! | 64 | 16 | message id: a UUID with its halves swapped |
//! | 80 | 32 | SHA-256 of the payload |
//! | 112 | 4 | payload type |
//! | 116 | 4 | payload length |

use sha2::{Digest, Sha256};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 120;
/// Where the payload's length stands, which is what the first field says.
const HEADER_LENGTH: u32 = 116;
const SCHEMA_VERSION: u32 = 1;
const TYPE_BYTES: usize = 32;
/// Longest payload that is taken: clients send at most a kilobyte at a time, ours a little more.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// Client → host.
    InputStreamData,
    /// Host → client.
    OutputStreamData,
    /// Either way.
    Acknowledge,
    /// Host → client: the session is over.
    ChannelClosed,
    /// Host may send (again). Taken and not needed.
    StartPublication,
    /// Host should wait. Taken and not needed.
    PausePublication,
}

const TYPES: [(MessageType, &str); 6] = [
    (MessageType::InputStreamData, "input_stream_data"),
    (MessageType::OutputStreamData, "output_stream_data"),
    (MessageType::Acknowledge, "acknowledge"),
    (MessageType::ChannelClosed, "channel_closed"),
    (MessageType::StartPublication, "start_publication"),
    (MessageType::PausePublication, "pause_publication"),
];

impl MessageType {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        TYPES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// What a payload is.
pub mod payload_type {
    /// Bytes of the terminal, or of standard input and output. Empty from a client: the end of input.
    pub const OUTPUT: u32 = 1;
    /// `{"cols":80,"rows":24}`.
    pub const SIZE: u32 = 3;
    /// What the host asks of the client first.
    pub const HANDSHAKE_REQUEST: u32 = 5;
    /// Its answer.
    pub const HANDSHAKE_RESPONSE: u32 = 6;
    /// From here on the user's bytes flow.
    pub const HANDSHAKE_COMPLETE: u32 = 7;
    /// A number, see [`super::flag`].
    pub const FLAG: u32 = 10;
    /// Standard error, for clients that asked for it.
    pub const STDERR: u32 = 11;
    /// The exit code in decimal digits, for clients that asked for it: others would print it.
    pub const EXIT_CODE: u32 = 12;
}

/// Payloads of [`payload_type::FLAG`], four bytes big-endian.
pub mod flag {
    /// The client ends the session.
    pub const TERMINATE_SESSION: u32 = 2;
}

/// Flags of a message that is neither the first nor the last of a stream.
pub const FLAGS_DATA: u64 = 0;
/// Flags of acknowledgements.
pub const FLAGS_WHOLE: u64 = 3;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: MessageType,
    /// Milliseconds since the epoch; clients refuse 0.
    pub created_ms: u64,
    /// Counts the stream messages of a direction from 0; 0 on others.
    pub sequence: i64,
    /// [`FLAGS_DATA`] and its like; not looked at.
    pub flags: u64,
    /// A UUID.
    pub id: [u8; 16],
    /// One of [`payload_type`].
    pub payload_type: u32,
    /// At most [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Shorter than a header.
    #[error("the message is shorter than its header")]
    Short,
    /// Of another layout.
    #[error("the message has another layout")]
    Layout,
    /// Its type is not known.
    #[error("the message is of an unknown type")]
    Type,
    /// The number of bytes is not what the header says, or too large.
    #[error("the payload has another length than the message says")]
    Length,
    /// The digest is another.
    #[error("the payload has another digest than the message says")]
    Digest,
}

impl Message {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.extend_from_slice(&HEADER_LENGTH.to_be_bytes());
        let mut name = [b' '; TYPE_BYTES];
        for (to, from) in name.iter_mut().zip(self.kind.as_str().bytes()) {
            *to = from;
        }
        bytes.extend_from_slice(&name);
        bytes.extend_from_slice(&SCHEMA_VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.created_ms.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.flags.to_be_bytes());
        let (first, second) = self.id.split_at(8);
        bytes.extend_from_slice(second);
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(&Sha256::digest(&self.payload));
        bytes.extend_from_slice(&self.payload_type.to_be_bytes());
        // Payloads are bounded far below the field's range.
        bytes.extend_from_slice(&u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`MessageError`] for bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut header = Fields(bytes);
        let length = u32::from_be_bytes(header.take()?);
        let name: [u8; TYPE_BYTES] = header.take()?;
        let version = u32::from_be_bytes(header.take()?);
        if length != HEADER_LENGTH || version != SCHEMA_VERSION {
            return Err(MessageError::Layout);
        }
        let created_ms = u64::from_be_bytes(header.take()?);
        let sequence = i64::from_be_bytes(header.take()?);
        let flags = u64::from_be_bytes(header.take()?);
        let id = id_of(header.take()?);
        let digest: [u8; 32] = header.take()?;
        let payload_type = u32::from_be_bytes(header.take()?);
        let payload_length = u32::from_be_bytes(header.take()?);
        let payload = header.0;
        if u32::try_from(payload.len()) != Ok(payload_length) || payload.len() > PAYLOAD_BYTES_MAX {
            return Err(MessageError::Length);
        }
        if !payload.is_empty() && Sha256::digest(payload).as_slice() != digest {
            return Err(MessageError::Digest);
        }
        let kind = kind_of(&name).ok_or(MessageError::Type)?;
        Ok(Self { kind, created_ms, sequence, flags, id, payload_type, payload: payload.to_vec() })
    }

    /// The id as text.
    pub fn id_text(&self) -> String {
        let hex: String = self.id.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
        [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
    }
}

fn id_of(swapped: [u8; 16]) -> [u8; 16] {
    let mut id = swapped;
    id.rotate_left(8);
    id
}

fn kind_of(name: &[u8]) -> Option<MessageType> {
    let name = std::str::from_utf8(name).ok()?.trim_matches([' ', '\0']);
    TYPES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
}

/// What of a header is not read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], MessageError> {
        let (field, rest) = self.0.split_first_chunk::<LENGTH>().ok_or(MessageError::Short)?;
        self.0 = rest;
        Ok(*field)
    }
}

/// An id for the message `sequence` of one direction of a session: always the same one, and a UUID to look at.
pub(super) fn derived_id(session: &str, name: &str, sequence: i64) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update(session)
        .chain_update([0])
        .chain_update(name)
        .chain_update(sequence.to_be_bytes())
        .finalize();
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}
