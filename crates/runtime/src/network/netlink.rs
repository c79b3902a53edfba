//! Netlink on a blocking socket: messages, attributes, acknowledgements.
//!
//! Our own because both users need what the async crates do not give: a socket that stays in the network namespace it
//! was opened in while other threads use it, and nftables batches, for which there is no library under a licence that
//! we can take. Values are built from ours only; answers of the kernel are parsed with bounds all the same.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
        sockopt,
    },
    time::{TimeVal, TimeValLike},
};

const HEADER_BYTES: usize = 16;
/// The kernel answers at once; this only keeps a bug from hanging a thread for ever.
const TIMEOUT_SECONDS: i64 = 20;
const RECEIVE_BYTES: usize = 64 << 10;

pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const REPLACE: u16 = 0x100;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;
pub(super) const DUMP: u16 = 0x300;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NESTED: u16 = 0x8000;

/// One message without its header, which is written when it is sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// `fixed` is the family's own header.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut message = Self { kind, flags: REQUEST | flags, body: Vec::with_capacity(128) };
        message.body.extend_from_slice(fixed);
        message.pad();
        message
    }

    /// Only a refusal is answered.
    pub(super) fn expect_no_answer(&mut self) {
        self.flags &= !ACK;
    }

    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    /// A string with the zero at its end.
    pub(super) fn string(mut self, kind: u16, value: &str) -> Self {
        self.push(kind, &[value.as_bytes(), &[0]].concat());
        self
    }

    /// Netfilter's integers are big-endian.
    pub(super) fn be32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// rtnetlink's are not.
    pub(super) fn ne32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub(super) fn nest(mut self, kind: u16, content: impl FnOnce(Self) -> Self) -> Self {
        let start = self.body.len();
        self.push(kind | NESTED, &[]);
        let mut message = content(self);
        let length = u16::try_from(message.body.len() - start).expect("requests are short");
        message.body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        message
    }

    /// A header inside an attribute, as VETH_INFO_PEER has one.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self.pad();
        self
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("attributes are short");
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    fn write(&self, sequence: u32, buffer: &mut Vec<u8>) {
        let length = u32::try_from(HEADER_BYTES + self.body.len()).expect("requests are short");
        buffer.extend_from_slice(&length.to_ne_bytes());
        buffer.extend_from_slice(&self.kind.to_ne_bytes());
        buffer.extend_from_slice(&self.flags.to_ne_bytes());
        buffer.extend_from_slice(&sequence.to_ne_bytes());
        buffer.extend_from_slice(&0u32.to_ne_bytes());
        buffer.extend_from_slice(&self.body);
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Family {
    Route,
    Netfilter,
}

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// One message of an answer.
struct Answer<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Netlink {
    pub(super) fn open(family: Family) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends `messages` at once and returns the first refusal. Every message that carries the ACK flag is waited for.
    /// After an error the socket may still have answers under way: open a new one.
    pub(super) fn request(&mut self, messages: &[Message]) -> io::Result<()> {
        let first = self.send(messages)?;
        let Some(last) = messages.iter().rposition(|message| message.flags & ACK != 0) else { return Ok(()) };
        let last = first.wrapping_add(u32::try_from(last).unwrap_or(u32::MAX));
        self.receive(|answer| match answer.kind {
            ERROR => match error_of(answer.body) {
                Some(error) => Err(error),
                None => Ok(answer.sequence == last),
            },
            _ => Ok(false),
        })
    }

    /// Sends one message and returns the bodies of the answer (all of them for a dump).
    pub(super) fn query(&mut self, message: &Message) -> io::Result<Vec<Vec<u8>>> {
        let sequence = self.send(std::slice::from_ref(message))?;
        let mut bodies = Vec::new();
        let dump = message.flags & DUMP == DUMP;
        self.receive(|answer| match answer.kind {
            _ if answer.sequence != sequence => Ok(false),
            ERROR => error_of(answer.body).map_or(Ok(true), Err),
            DONE => Ok(true),
            _ => {
                bodies.push(answer.body.to_vec());
                Ok(!dump)
            }
        })?;
        Ok(bodies)
    }

    fn send(&mut self, messages: &[Message]) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut buffer = Vec::with_capacity(1024);
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.write(self.sequence, &mut buffer);
        }
        send(self.socket.as_raw_fd(), &buffer, MsgFlags::empty())?;
        Ok(first)
    }

    /// Reads messages until `each` is satisfied or fails.
    fn receive(&mut self, mut each: impl FnMut(Answer<'_>) -> io::Result<bool>) -> io::Result<()> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            let mut rest = &buffer[..length];
            while let Some((answer, next)) = split_message(rest) {
                if each(answer)? {
                    return Ok(());
                }
                rest = next;
            }
        }
    }
}

fn split_message(bytes: &[u8]) -> Option<(Answer<'_>, &[u8])> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let length = usize::try_from(word(0)?).ok()?;
    let body = bytes.get(HEADER_BYTES..length)?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((Answer { kind, sequence: word(8)?, body }, next))
}

/// `None` is an acknowledgement.
fn error_of(body: &[u8]) -> Option<io::Error> {
    let code = body.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes);
    (code != 0).then(|| io::Error::from_raw_os_error(code.saturating_neg()))
}

/// The attributes in `bytes`, flags of their kinds removed. Ends at the first that is malformed.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let message = Message::new(16, ACK, &[1, 2]).string(3, "lo").nest(18, |m| m.ne32(1, 7).attribute(2, &[9]));
        let mut bytes = Vec::new();
        message.write(5, &mut bytes);
        assert_eq!(bytes.len() % 4, 0);
        let (answer, rest) = split_message(&bytes).expect("a whole message");
        assert_eq!((answer.kind, answer.sequence, rest.len()), (16, 5, 0));
        let outer: Vec<_> = attributes(&answer.body[4..]).collect();
        assert_eq!(outer[0], (3, &b"lo\0"[..]));
        let inner: Vec<_> = attributes(outer[1].1).collect();
        assert_eq!(inner, [(1, &7u32.to_ne_bytes()[..]), (2, &[9][..])]);
    }

    #[test]
    fn a_malformed_answer_ends_the_parse() {
        assert!(split_message(&[0; 15]).is_none());
        assert!(split_message(&[255; 64]).is_none());
        assert!(split_message(&[0; 64]).is_none());
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 1]).count(), 0);
    }
}
