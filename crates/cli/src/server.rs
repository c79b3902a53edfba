//! The server: everything behind the one port.

mod door;
mod http;
mod identities;
mod tls;

pub(crate) use door::{Door, Shutdown};
pub(crate) use identities::Identities;
