//! The data channel of an ECS Exec session: what goes over the WebSocket between a client (the session-manager-plugin,
//! or `gantry exec`) and the end in the container's host.
//!
//! Pure: bytes and the time go in, bytes and events come out. Both ends count their stream messages, acknowledge the
//! other's, and send again what was not acknowledged, so that a message lost on the way, or with a connection, is made
//! good: whoever carries the frames may drop some, double some and change their order.
//!
//! - [`message`]: the binary layout of one message.
//! - [`payload`]: the payloads that are JSON.
//! - [`flow`]: numbers, acknowledgements and resending of one direction.
//! - [`host`]: the end beside the process. [`client`]: the end beside the user.

pub mod client;
pub mod flow;
pub mod host;
pub mod message;
pub mod payload;

#[cfg(test)]
mod tests;

pub use client::{ClientEnd, ClientEvent};
pub use host::{HostEnd, HostEvent, Step};
pub use message::{Message, MessageError, MessageType};
