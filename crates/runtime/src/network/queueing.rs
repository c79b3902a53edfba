//! The queue of `eth0` in the network namespace of the calling thread, as these commands would change it:
//!
//! ```text
//! tc qdisc replace dev eth0 root handle 1: prio priomap 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2
//! tc qdisc replace dev eth0 parent 1:1 handle 10: netem delay 100ms 10ms
//! tc qdisc del dev eth0 root handle 1:
//! ```
//!
//! What is not of class [`DELAYED`] takes the last of the three bands, and is not delayed. Packets get the class from
//! the packet filter, so there are no filters here.

use std::io;

use super::{
    link,
    netlink::{ACK, CREATE, Family, Message, Netlink, REPLACE},
};

const NEWQDISC: u16 = 36;
const DELQDISC: u16 = 37;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const ROOT: u32 = u32::MAX;
const PRIO: u32 = 1 << 16;
const NETEM: u32 = 0x10 << 16;
/// `1:1`, the first band.
pub(super) const DELAYED: u32 = PRIO | 1;
/// How many packets may be on their way, as many as with `tc`.
const LIMIT: u32 = 1000;
/// The scheduler counts in units of 64 ns.
const TICKS_PER_MS: u32 = 15_625;

/// Delays what is of class [`DELAYED`].
pub(super) fn delay(delay_ms: u32, jitter_ms: u32) -> io::Result<()> {
    let mut netlink = Netlink::open(Family::Route)?;
    let interface = link::index(&mut netlink, "eth0")?;
    let made = netlink.request(&[bands(interface), netem(interface, delay_ms, jitter_ms)]);
    if made.is_err() {
        // Bands without delays do no harm; the first failure is what has to be told.
        let _ = restore();
    }
    made
}

/// Gives `eth0` the queue back that it had; no error when it has it.
pub(super) fn restore() -> io::Result<()> {
    let mut netlink = Netlink::open(Family::Route)?;
    let interface = link::index(&mut netlink, "eth0")?;
    match netlink.request(&[Message::new(DELQDISC, ACK, &header(interface, PRIO, ROOT))]) {
        // What is there is not ours.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
        other => other,
    }
}

/// `struct tcmsg`
fn header(interface: u32, handle: u32, parent: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&interface.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    header
}

fn bands(interface: u32) -> Message {
    // `struct tc_prio_qopt`: how many bands there are, and the one of each priority.
    let mut options = [2; 20];
    options[..4].copy_from_slice(&3u32.to_ne_bytes());
    Message::new(NEWQDISC, ACK | CREATE | REPLACE, &header(interface, PRIO, ROOT))
        .string(TCA_KIND, "prio")
        .attribute(TCA_OPTIONS, &options)
}

fn netem(interface: u32, delay_ms: u32, jitter_ms: u32) -> Message {
    let ticks = |ms: u32| ms.saturating_mul(TICKS_PER_MS);
    // `struct tc_netem_qopt`: latency, limit, loss, gap, duplicate, jitter.
    let options = [ticks(delay_ms), LIMIT, 0, 0, 0, ticks(jitter_ms)].map(u32::to_ne_bytes).concat();
    Message::new(NEWQDISC, ACK | CREATE | REPLACE, &header(interface, NETEM, DELAYED))
        .string(TCA_KIND, "netem")
        .attribute(TCA_OPTIONS, &options)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    /// What `strace` shows of the commands above with iproute2 6.1.
    #[test]
    fn messages_are_those_of_tc() {
        assert_eq!(
            netem(2, 100, 10).body(),
            b"\0\0\0\0\x02\0\0\0\0\0\x10\0\x01\0\x01\0\0\0\0\0\
              \x0a\0\x01\0netem\0\0\0\
              \x1c\0\x02\0\x84\xd7\x17\0\xe8\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x5a\x62\x02\0"
        );
        // tc puts an empty attribute behind the options, which says nothing.
        assert_eq!(
            bands(2).body(),
            b"\0\0\0\0\x02\0\0\0\0\0\x01\0\xff\xff\xff\xff\0\0\0\0\
              \x09\0\x01\0prio\0\0\0\0\
              \x18\0\x02\0\x03\0\0\0\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02"
        );
        assert_eq!(header(2, PRIO, ROOT), *b"\0\0\0\0\x02\0\0\0\0\0\x01\0\xff\xff\xff\xff\0\0\0\0");
    }

    #[test]
    fn the_longest_delay_fits() {
        assert!(super::super::faults::DELAY_MAX_MS.checked_mul(TICKS_PER_MS).is_some());
    }
}
