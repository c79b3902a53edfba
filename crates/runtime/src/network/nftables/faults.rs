//! The table of a namespace's faults, one chain for each:
//!
//! ```text
//! table ip NAME {
//!   chain egress-tcp-5432 { hook output priority filter
//!     ip daddr 169.254.170.2 accept
//!     ip daddr 10.0.0.0/24 accept                                               # for each block that is spared
//!     meta l4proto tcp th dport 5432 drop
//!   }
//! }
//! ```
//!
//! `ingress-…` hooks input, and spares sources. A chain comes and goes with its rules in one step.

use std::io;

use gantry_domain::address_block::AddressBlock;

use super::{
    super::{
        TASK_ENDPOINT,
        faults::{Blackhole, Direction, FaultChange},
        netlink::{CREATE, Message},
    },
    HOOK_OUTPUT, NEW_TABLE, Table,
    expression::{Expression as E, Register},
};

const DELETE_CHAIN: u16 = 5;
const HOOK_INPUT: u32 = 1;
const PRIORITY_FILTER: i32 = 0;

impl Table {
    /// Changes a blackhole in the network namespace of the calling thread; returns whether it is there afterwards.
    pub(in super::super) fn blackhole(&mut self, hole: Blackhole, change: &FaultChange) -> io::Result<bool> {
        let chain = hole.chain();
        let runs = self.has_chain(&chain)?;
        match change {
            FaultChange::Start(spared) if !runs => {
                self.commit(self.start(&chain, hole, spared))?;
                Ok(true)
            }
            FaultChange::Stop if runs => {
                // Its rules go with it.
                self.commit(vec![self.message(DELETE_CHAIN, 0).string(1, &self.name).string(3, &chain)])?;
                Ok(false)
            }
            FaultChange::Start(_) | FaultChange::Stop | FaultChange::Look => Ok(runs),
        }
    }

    fn start(&self, chain: &str, hole: Blackhole, spared: &[AddressBlock]) -> Vec<Message> {
        let (hook, peer): (_, fn() -> E) = match hole.direction {
            Direction::Ingress => (HOOK_INPUT, E::source_address),
            Direction::Egress => (HOOK_OUTPUT, E::destination_address),
        };
        let mut messages = vec![
            self.message(NEW_TABLE, CREATE).string(1, &self.name),
            self.chain(chain, "filter", hook, PRIORITY_FILTER),
            // What stops the fault must stay in reach.
            self.rule(
                chain,
                vec![E::destination_address(), E::is(Register::One, &TASK_ENDPOINT.octets()), E::accept()],
            ),
        ];
        messages.extend(spared.iter().map(|block| {
            let mut expressions = vec![peer()];
            expressions.extend(E::is_in(*block));
            expressions.push(E::accept());
            self.rule(chain, expressions)
        }));
        messages.push(self.rule(
            chain,
            vec![
                E::layer4_protocol(),
                E::is(Register::Word0, &[hole.protocol.number()]),
                E::destination_port(),
                E::is(Register::Word1, &hole.port.to_be_bytes()),
                E::drop(),
            ],
        ));
        messages
    }
}
