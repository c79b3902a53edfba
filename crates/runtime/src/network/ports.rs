//! Host ports that are ours.
//!
//! A published port never reaches a socket of the host: the packet filter sends it on before. All the same every one
//! is held by a listening socket of this process. The kernel then refuses the port to everybody else, does not choose
//! it for outgoing connections, and tells us when somebody else has it. That is also all that is lost when this process
//! dies: the port stays published, and is held again when the next process starts.

use std::{
    collections::HashMap,
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::OwnedFd,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

use super::{NetworkError, Protocol, Publish};

/// When the kernel's own range cannot be read.
const FALLBACK_RANGE: (u16, u16) = (49153, 65535);

/// Keeps a port from everybody else.
#[derive(Debug)]
enum Holder {
    Tcp(#[expect(dead_code, reason = "held, never used")] OwnedFd),
    Udp(#[expect(dead_code, reason = "held, never used")] UdpSocket),
}

#[derive(Debug)]
pub(super) struct Ports {
    held: HashMap<(Protocol, u16), Option<Holder>>,
    range: (u16, u16),
    /// Dynamic ports go round, so that one that was just released is not reused at once.
    next: u16,
}

impl Ports {
    /// Instances side by side start at different places, given by `seed`, so that they seldom ask for the same port.
    pub(super) fn new(seed: u16) -> Self {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let range = parse_range(&text).unwrap_or(FALLBACK_RANGE);
        let next = range.0 + seed % (range.1 - range.0).max(1);
        Self { held: HashMap::new(), range, next }
    }

    /// Takes over a port that an earlier process published. When somebody else has got hold of it meanwhile it stays
    /// published, because the packet filter comes first.
    pub(super) fn adopt(&mut self, protocol: Protocol, port: u16) {
        let holder = hold(protocol, port)
            .inspect_err(|error| tracing::warn!(port, ?protocol, %error, "cannot hold a published port"))
            .ok();
        self.held.insert((protocol, port), holder);
    }

    pub(super) fn release(&mut self, protocol: Protocol, port: u16) {
        self.held.remove(&(protocol, port));
    }

    /// Holds a host port for each of `wanted`, or none at all. Neighbours that want any port for consecutive container
    /// ports get consecutive host ports, which is what a `containerPortRange` needs.
    pub(super) fn take(&mut self, wanted: &[Publish]) -> Result<Vec<u16>, NetworkError> {
        let mut taken: Vec<(Protocol, u16)> = Vec::with_capacity(wanted.len());
        let mut rest = wanted;
        while !rest.is_empty() {
            let run = run_length(rest);
            let protocol = rest[0].protocol;
            let result = match rest[0].host_port {
                0 => self.take_block(protocol, run),
                port => self.take_one(protocol, port).map(|()| port),
            };
            match result {
                Ok(first) => taken.extend((0..run).map(|offset| (protocol, first + offset as u16))),
                Err(error) => {
                    taken.iter().for_each(|(protocol, port)| self.release(*protocol, *port));
                    return Err(error);
                }
            }
            rest = &rest[run..];
        }
        Ok(taken.into_iter().map(|(_, port)| port).collect())
    }

    fn take_one(&mut self, protocol: Protocol, port: u16) -> Result<(), NetworkError> {
        if self.held.contains_key(&(protocol, port)) {
            return Err(NetworkError::PortTaken { port });
        }
        match hold(protocol, port) {
            Ok(holder) => {
                self.held.insert((protocol, port), Some(holder));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(NetworkError::PortTaken { port }),
            Err(error) => Err(NetworkError::Kernel { action: format!("hold port {port}"), detail: error.to_string() }),
        }
    }

    /// Tries every start in the range once, upward from the last one.
    fn take_block(&mut self, protocol: Protocol, length: usize) -> Result<u16, NetworkError> {
        let (first, last) = (usize::from(self.range.0), usize::from(self.range.1));
        let exhausted = NetworkError::Exhausted { what: "port" };
        let mut start = usize::from(self.next);
        let mut tried = 0;
        while tried <= last - first {
            if start < first || start + length - 1 > last {
                tried += (last + 1).saturating_sub(start.max(first)).max(1);
                start = first;
                if length > last - first + 1 {
                    return Err(exhausted);
                }
                continue;
            }
            match self.try_block(protocol, start as u16, length)? {
                None => {
                    let next = start + length;
                    self.next = if next > last { self.range.0 } else { next as u16 };
                    return Ok(start as u16);
                }
                // No block that contains the taken port can work.
                Some(taken) => {
                    tried += usize::from(taken) + 1 - start;
                    start = usize::from(taken) + 1;
                }
            }
        }
        Err(exhausted)
    }

    /// `None` when the whole block is held now, else the port that was taken.
    fn try_block(&mut self, protocol: Protocol, first: u16, length: usize) -> Result<Option<u16>, NetworkError> {
        for offset in 0..length as u16 {
            match self.take_one(protocol, first + offset) {
                Ok(()) => {}
                Err(error) => {
                    (0..offset).for_each(|held| self.release(protocol, first + held));
                    return match error {
                        NetworkError::PortTaken { port } => Ok(Some(port)),
                        other => Err(other),
                    };
                }
            }
        }
        Ok(None)
    }
}

fn hold(protocol: Protocol, port: u16) -> io::Result<Holder> {
    if protocol == Protocol::Udp {
        return Ok(Holder::Udp(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?));
    }
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Connections of an earlier holder that are still closing are no reason to refuse a port; a listener is.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let address = SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &address)?;
    listen(&socket, Backlog::new(1)?)?;
    Ok(Holder::Tcp(socket))
}

/// How many of `wanted`, from its first on, have to be neighbours.
fn run_length(wanted: &[Publish]) -> usize {
    let follows = |pair: &&[Publish]| {
        let [a, b] = pair else { return false };
        a.host_port == 0
            && b.host_port == 0
            && a.protocol == b.protocol
            && a.container_port.checked_add(1) == Some(b.container_port)
    };
    1 + wanted.windows(2).take_while(follows).count()
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn any(container_port: u16) -> Publish {
        Publish { host_port: 0, container_port, protocol: Protocol::Tcp }
    }

    #[test]
    fn a_range_of_container_ports_is_one_run() {
        assert_eq!(run_length(&[any(80)]), 1);
        assert_eq!(run_length(&[any(80), any(81), any(82), any(90)]), 3);
        assert_eq!(run_length(&[any(80), any(82)]), 1);
        assert_eq!(run_length(&[any(65535), any(0)]), 1);
        assert_eq!(run_length(&[any(80), Publish { protocol: Protocol::Udp, ..any(81) }]), 1);
        assert_eq!(run_length(&[Publish { host_port: 8080, ..any(80) }, any(81)]), 1);
    }

    #[test]
    fn the_kernels_range_is_read() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32768, 60999)));
        for bad in ["", "1", "2 1", "0 5", "x y", "1 99999"] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_port_has_one_holder() {
        let somebody = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = somebody.local_addr().unwrap().port();
        let mut ports = Ports::new(std::process::id() as u16);
        let wanted = [any(1), Publish { host_port: port, ..any(80) }];
        assert!(matches!(ports.take(&wanted), Err(NetworkError::PortTaken { port: taken }) if taken == port));
        assert!(ports.held.is_empty(), "all or nothing");
        drop(somebody);
        assert_eq!(ports.take(&wanted).unwrap()[1], port);
        assert!(matches!(ports.take(&wanted[1..]), Err(NetworkError::PortTaken { .. })));
        assert!(std::net::TcpListener::bind(("0.0.0.0", port)).is_err(), "held against other processes");
        ports.release(Protocol::Tcp, port);
        std::net::TcpListener::bind(("0.0.0.0", port)).unwrap();
    }

    #[test]
    fn dynamic_ports_go_round_and_blocks_skip_what_is_taken() {
        // Ports below the kernel's dynamic range, so that nothing else on the machine takes them meanwhile.
        let mut ports = Ports { held: HashMap::new(), range: (20_400, 20_409), next: 20_400 };
        let free = |port: u16| std::net::TcpListener::bind(("0.0.0.0", port)).is_ok();
        assert!((20_400..=20_409).all(free), "this test needs ports 20400 to 20409");
        assert_eq!(ports.take(&[any(80)]).unwrap(), [20_400]);
        assert_eq!(ports.take(&[any(80)]).unwrap(), [20_401]);
        ports.release(Protocol::Tcp, 20_400);
        assert_eq!(ports.take(&[any(80)]).unwrap(), [20_402]);
        let somebody = std::net::TcpListener::bind("0.0.0.0:20404").unwrap();
        let block: Vec<Publish> = (0..5).map(|offset| any(100 + offset)).collect();
        assert_eq!(ports.take(&block).unwrap(), [20_405, 20_406, 20_407, 20_408, 20_409]);
        drop(somebody);
        assert!(matches!(ports.take(&block), Err(NetworkError::Exhausted { what: "port" })));
        assert_eq!(ports.take(&[any(80)]).unwrap(), [20_400]);
        assert_eq!(ports.take(&[any(80)]).unwrap(), [20_403]);
        assert_eq!(ports.take(&[any(80)]).unwrap(), [20_404]);
        assert!(matches!(ports.take(&[any(80)]), Err(NetworkError::Exhausted { what: "port" })));
        let too_many: Vec<Publish> = (0..11).map(|offset| any(100 + offset)).collect();
        assert!(matches!(ports.take(&too_many), Err(NetworkError::Exhausted { .. })));
    }
}
