//! Where tasks find their credentials and metadata: port 80 of [`TASK_ENDPOINT`].
//!
//! The listener is at another port of that address, and the packet filter leads there: somebody who listens at port 80
//! of every address, as web servers do, would otherwise be in its way. A namespace is made with that rule. In a
//! namespace the address is on the loopback interface, so nobody outside has a way to it. On the host the listener takes
//! connections from the loopback interface only, for the same effect.

use std::{
    ffi::OsString,
    io,
    net::{SocketAddrV4, TcpListener},
    os::fd::AsRawFd,
    path::Path,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

use super::{TASK_ENDPOINT, link, namespace::in_namespace, netlink::Netlink, nftables::Table};

/// The port that container agents have for it; AWS has tasks keep away from it as well.
pub(super) const LISTENER_PORT: u16 = 51679;
/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Opens the listener of the namespace at `path`.
pub(super) fn open_inside(path: &Path) -> io::Result<TcpListener> {
    in_namespace(path, || {
        let listener = TcpListener::bind((TASK_ENDPOINT, LISTENER_PORT))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })
}

/// Opens the listener of the host itself; `table` becomes the name of its own table of the packet filter.
pub(super) fn open_on_host(netlink: &mut Netlink, table: &str) -> io::Result<TcpListener> {
    link::add_to_loopback(netlink, TASK_ENDPOINT)?;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &OsString::from("lo"))?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(TASK_ENDPOINT, LISTENER_PORT)))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    let mut table = Table::new(table);
    table.delete()?;
    table.redirect_endpoint()?;
    Ok(TcpListener::from(fd))
}

/// What the table on the host is called.
pub(super) fn host_table(table: &str) -> String {
    format!("{table}-endpoint")
}
