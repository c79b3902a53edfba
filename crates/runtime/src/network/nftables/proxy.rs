//! The table that leads a task's connections to its proxy, as the CNI plug-in of App Mesh leads them:
//!
//! ```text
//! table ip NAME {
//!   chain output { hook output priority dstnat
//!     fib daddr type local accept
//!     meta skuid 1337 accept                           # the proxy's own, by its user or its group
//!     ip daddr 169.254.170.2 accept                    # for each address and port that is ignored
//!     meta l4proto tcp th dport 22 accept
//!     meta l4proto tcp redirect to :15001
//!   }
//!   chain prerouting { hook prerouting priority dstnat
//!     fib saddr type local accept
//!     meta l4proto tcp th dport 80 redirect to :15000  # for each port of the application
//!   }
//! }
//! ```

use std::io;

use gantry_domain::task_definition::Proxy;

use super::{
    super::{
        Protocol,
        netlink::{CREATE, Message},
    },
    HOOK_OUTPUT, HOOK_PREROUTING, NEW_TABLE, PRIORITY_DNAT, Table,
    expression::{Expression as E, Register},
};

/// The kernel's number of addresses that are a host's own.
const LOCAL: [u8; 4] = 2u32.to_ne_bytes();

impl Table {
    /// Makes the table, which is not there yet, in the network namespace of the calling thread.
    pub(in super::super) fn redirect_to_proxy(&mut self, proxy: &Proxy) -> io::Result<()> {
        let mut messages = vec![self.message(NEW_TABLE, CREATE).string(1, &self.name)];
        messages.extend(self.leaving(proxy));
        messages.extend(self.coming(proxy));
        self.commit(messages)
    }

    fn leaving(&self, proxy: &Proxy) -> Vec<Message> {
        let mut rules = vec![vec![E::destination_is_local(), E::is(Register::One, &LOCAL), E::accept()]];
        let owners = [(E::socket_user(), proxy.ignored_uid), (E::socket_group(), proxy.ignored_gid)];
        rules.extend(owners.into_iter().filter_map(|(owner, ignored)| {
            Some(vec![owner, E::is(Register::One, &ignored?.to_ne_bytes()), E::accept()])
        }));
        rules.extend(proxy.ignored_blocks.iter().map(|block| {
            let mut rule = vec![E::destination_address()];
            rule.extend(E::is_in(*block));
            rule.push(E::accept());
            rule
        }));
        rules.extend(proxy.ignored_ports.iter().map(|port| {
            let mut rule = to_port(*port);
            rule.push(E::accept());
            rule
        }));
        let mut others = tcp();
        others.extend(E::redirect(proxy.egress_port));
        rules.push(others);
        self.nat("output", HOOK_OUTPUT, rules)
    }

    fn coming(&self, proxy: &Proxy) -> Vec<Message> {
        let mut rules = vec![vec![E::source_is_local(), E::is(Register::One, &LOCAL), E::accept()]];
        rules.extend(proxy.app_ports.iter().map(|port| {
            let mut rule = to_port(*port);
            rule.extend(E::redirect(proxy.ingress_port));
            rule
        }));
        self.nat("prerouting", HOOK_PREROUTING, rules)
    }

    fn nat(&self, chain: &str, hook: u32, rules: Vec<Vec<E>>) -> Vec<Message> {
        let mut messages = vec![self.chain(chain, "nat", hook, PRIORITY_DNAT)];
        messages.extend(rules.into_iter().map(|rule| self.rule(chain, rule)));
        messages
    }
}

fn tcp() -> Vec<E> {
    vec![E::layer4_protocol(), E::is(Register::Word0, &[Protocol::Tcp.number()])]
}

fn to_port(port: u16) -> Vec<E> {
    let mut expressions = tcp();
    expressions.extend([E::destination_port(), E::is(Register::Word1, &port.to_be_bytes())]);
    expressions
}
