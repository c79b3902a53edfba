//! The table that leads from port 80 of the tasks' endpoint to its listener:
//!
//! ```text
//! table ip NAME {
//!   chain output { hook output priority dstnat: ip daddr 169.254.170.2 tcp dport 80 dnat to 169.254.170.2:51679 }
//! }
//! ```

use std::io;

use super::{
    super::{Protocol, TASK_ENDPOINT, endpoint::LISTENER_PORT},
    CREATE, HOOK_OUTPUT, NEW_TABLE, PRIORITY_DNAT, Table,
    expression::{Expression as E, Register},
};

const HTTP: u16 = 80;

impl Table {
    /// Makes the table, which is not there yet, in the network namespace of the calling thread.
    pub(in super::super) fn redirect_endpoint(&mut self) -> io::Result<()> {
        let rule = vec![
            E::destination_address(),
            E::is(Register::One, &TASK_ENDPOINT.octets()),
            E::layer4_protocol(),
            E::is(Register::Word0, &[Protocol::Tcp.number()]),
            E::destination_port(),
            E::is(Register::Word1, &HTTP.to_be_bytes()),
            E::load(Register::Word0, &TASK_ENDPOINT.octets()),
            E::load(Register::Word1, &LISTENER_PORT.to_be_bytes()),
            E::destination_nat(),
        ];
        self.commit(vec![
            self.message(NEW_TABLE, CREATE).string(1, &self.name),
            self.chain("output", "nat", HOOK_OUTPUT, PRIORITY_DNAT),
            self.rule("output", rule),
        ])
    }
}
