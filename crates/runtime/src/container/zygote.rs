//! The process that shims are forked from.
//!
//! `gantry shim zygote` is executed once by the agent and stays single-threaded. For each request it forks: the copy
//! becomes the shim of a container (or runs one command in one), without another `exec` and sharing every page that
//! it does not write with all other shims. That is what makes a shim cheap, in milliseconds and in memory. The zygote
//! ends when its agent does; shims do not.

use std::{
    collections::BTreeSet,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use super::{
    ContainerSpec,
    cgroup::Hierarchies,
    embedded, exec,
    message::{Failure, Reply, Request, ShimConfig},
    seccomp::{Filter, SeccompError},
    supervisor, sys,
};

/// Longest request: a bundle path, or a command line for `exec`.
pub(super) const REQUEST_BYTES_MAX: usize = 192 * 1024;

/// What every shim gets from the zygote by being forked from it.
pub(super) struct Inheritance {
    pub(super) config: ShimConfig,
    pub(super) hierarchies: Hierarchies,
    pub(super) filters: CompiledFilters,
    /// A mount namespace with nothing in it.
    pub(super) empty: OwnedFd,
}

/// Filters compiled before anybody needs them.
pub(super) struct CompiledFilters(Vec<(BTreeSet<String>, Filter)>);

impl CompiledFilters {
    fn compile_usual() -> Self {
        let mut spec_sets = vec![super::spec::capabilities::default_set()];
        // What a container without any capability (`drop: ALL`) gets.
        spec_sets.push(BTreeSet::new());
        Self(spec_sets.into_iter().filter_map(|set| Filter::compile(&set).ok().map(|filter| (set, filter))).collect())
    }

    pub(super) fn get(&self, capabilities: &BTreeSet<String>) -> Result<Filter, SeccompError> {
        match self.0.iter().find(|(set, _)| set == capabilities) {
            Some((_, filter)) => Ok(filter.clone()),
            None => Filter::compile(capabilities),
        }
    }
}

/// The filter of a container with these capabilities; none for a privileged one.
pub(super) fn filter_for(
    spec: &ContainerSpec,
    capabilities: &BTreeSet<String>,
    compiled: &CompiledFilters,
) -> Result<Option<Filter>, Failure> {
    if spec.privileged {
        return Ok(None);
    }
    compiled.get(capabilities).map(Some).map_err(|error| Failure::Runtime(error.to_string()))
}

/// Serves requests that arrive on `socket` until the agent is gone.
pub(super) fn run(config: ShimConfig, socket: OwnedFd) -> io::Result<()> {
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    ignore_children()?;
    // Without its shim a container is lost: let the kernel take anybody else first when the host is out of memory.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-999");
    let hierarchies = Hierarchies::detect()?;
    hierarchies.move_self(&config.shim_cgroup)?;
    let inheritance =
        Inheritance { config, hierarchies, filters: CompiledFilters::compile_usual(), empty: embedded::empty::make()? };
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    loop {
        let (length, reply) = match receive_with_fd(socket.as_fd(), &mut buffer) {
            Ok((0, _)) => return Ok(()),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let Some(reply) = reply else { continue };
        let request = match serde_json::from_slice::<Request>(&buffer[..length]) {
            Ok(request) => request,
            Err(error) => {
                answer(&reply, &Reply::Failed(Failure::Runtime(format!("request to the shim: {error}"))));
                continue;
            }
        };
        match sys::fork() {
            Ok(sys::Forked::Parent(_)) => {}
            Ok(sys::Forked::Child) => {
                drop(socket);
                drop(buffer);
                match request {
                    Request::Start { bundle, held_bytes } => supervisor::run(bundle, held_bytes, reply, &inheritance),
                    Request::Exec(plan) => exec::run(&plan, reply, &inheritance),
                }
            }
            Err(error) => answer(&reply, &Reply::Failed(Failure::io("starting a shim", &error))),
        }
    }
}

/// Children of the zygote are nobody's to wait for: the kernel reaps them.
fn ignore_children() -> io::Result<()> {
    #[expect(unsafe_code, reason = "nix marks every change of a handler unsafe")]
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    Ok(())
}

/// Sends the one answer to a request. Whoever asked may be gone; that is no error.
pub(super) fn answer(reply: &OwnedFd, answer: &Reply) {
    if let Ok(text) = serde_json::to_vec(answer) {
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            match rustix::net::send(reply, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// Receives one datagram, or what a stream has, with the descriptor that may come with it.
pub(super) fn receive_with_fd(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fd = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fd = fds.last();
        }
    }
    Ok((received.bytes, fd))
}

/// Sends one datagram with a descriptor.
pub(super) fn send_with_fd(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
