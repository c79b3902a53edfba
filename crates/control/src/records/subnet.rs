//! Subnets: pools of task addresses, made when a request first names them.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// A subnet; its id is in the key. Which addresses are taken follows from the tasks that are not STOPPED.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetRecord {
    /// The block it owns, see [`SubnetBlockRecord`].
    pub block: u16,
    /// The address given out last: the search for a free one goes on from here, so that an address rests before it is
    /// used again. Every allocation writes it, which makes two plans for the same address conflict.
    pub last_address: Ipv4Addr,
}

/// Who owns a block of addresses; its number is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetBlockRecord {
    /// Account of the subnet.
    pub account: String,
    /// Region of the subnet.
    pub region: String,
    /// The subnet's id.
    pub subnet: String,
}
