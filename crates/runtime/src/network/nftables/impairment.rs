//! The table of a namespace's impairment:
//!
//! ```text
//! table netdev NAME {
//!   chain network-packet-loss { hook egress device eth0 priority filter
//!     meta protocol ip ip daddr 10.0.0.7 accept                    # for each block that is spared
//!     meta protocol ip ip daddr 10.0.0.0/8 goto impaired           # for each block that is not
//!   }
//!   chain impaired {
//!     jhash ip saddr . ip daddr . th sport . th dport mod 100 < 30 # when not all flows are meant
//!     numgen random mod 100 < 50                                   # when not all packets are lost
//!     ether daddr set 01:80:c2:00:00:01
//!   }
//! }
//! ```
//!
//! With `network-latency` the end is `meta priority set 1:1`. Frames are at their way out of the namespace there:
//! whatever stays on its loopback interface, the tasks' endpoint above all, does not come by.

use std::io;

use gantry_domain::address_block::AddressBlock;

use super::{
    super::{
        faults::{Effect, Impairment, ImpairmentKind},
        netlink::CREATE,
        queueing::DELAYED,
    },
    NEW_TABLE, Table,
    expression::{Expression as E, Register},
};

const IMPAIRED: &str = "impaired";
const HOOK_EGRESS: u32 = 1;
const PRIORITY_FILTER: u32 = 0;
const PROTOCOL_IP: [u8; 2] = [8, 0];
const HUNDRED: u32 = 100;
/// Where bridges end their talk with each other (IEEE 802.1D): no bridge lets a frame for it through. What is dropped in
/// the namespace itself its sender would be told of, by an error or by sending again at once, as of no packet that is
/// lost on its way.
const NOWHERE: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 1];

impl Table {
    /// Which impairment there is in the network namespace of the calling thread.
    pub(in super::super) fn impairment(&self) -> io::Result<Option<ImpairmentKind>> {
        for kind in ImpairmentKind::ALL {
            if self.has_chain(kind.chain())? {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// Makes the table anew in the network namespace of the calling thread, in one step.
    pub(in super::super) fn impair(&mut self, impairment: &Impairment) -> io::Result<()> {
        let chain = impairment.effect.kind().chain();
        let mut messages = self.delete_messages();
        messages.extend([
            self.message(NEW_TABLE, CREATE).string(1, &self.name),
            self.hooked_chain(chain, "filter", |message| {
                message.be32(1, HOOK_EGRESS).be32(2, PRIORITY_FILTER).string(3, "eth0")
            }),
            self.bare_chain(IMPAIRED),
        ]);
        messages.extend(impairment.spared.iter().map(|block| self.rule(chain, towards(*block, E::accept()))));
        messages.extend(impairment.peers.iter().map(|block| self.rule(chain, towards(*block, E::goto(IMPAIRED)))));
        messages.push(self.rule(IMPAIRED, impaired(impairment)));
        self.commit(messages)
    }
}

fn towards(block: AddressBlock, then: E) -> Vec<E> {
    let mut expressions = vec![E::protocol(), E::is(Register::One, &PROTOCOL_IP), E::destination_address()];
    expressions.extend(E::is_in(block));
    expressions.push(then);
    expressions
}

fn impaired(impairment: &Impairment) -> Vec<E> {
    let mut expressions = Vec::new();
    let flows = u32::from(impairment.flows_percent);
    if flows < HUNDRED {
        expressions.extend(E::flow(HUNDRED));
        expressions.extend(E::is_below(flows));
    }
    match impairment.effect {
        Effect::Latency { .. } => expressions.extend(E::set_class(DELAYED)),
        Effect::PacketLoss { percent } => {
            if u32::from(percent) < HUNDRED {
                expressions.push(E::random(HUNDRED));
                expressions.extend(E::is_below(percent.into()));
            }
            expressions.extend(E::set_hardware_destination(NOWHERE));
        }
    }
    expressions
}
