//! The agent's end of the zygote: starts it, sends it requests, replaces it when it died.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::AsyncReadExt;

use super::{
    ContainerError,
    message::{Failure, Reply, Request, ShimConfig},
    sys, zygote,
};

pub(super) struct ZygoteClient {
    config: ShimConfig,
    running: Mutex<Option<Zygote>>,
}

struct Zygote {
    socket: OwnedFd,
    process: Child,
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It ends by itself when the socket closes, but a field is dropped only after this: be explicit.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = self.process.wait();
    }
}

impl ZygoteClient {
    /// Starts the zygote, so that a wrong program shows now.
    pub(super) fn open(config: ShimConfig) -> Result<Self, ContainerError> {
        let zygote = spawn(&config)?;
        Ok(Self { config, running: Mutex::new(Some(zygote)) })
    }

    /// Ends it; the next request starts it again.
    pub(super) fn close(&self) {
        *self.running.lock() = None;
    }

    /// Sends a request with a socket to answer on; returns our end of it. A zygote that died is replaced once.
    pub(super) fn ask(&self, request: &Request) -> Result<OwnedFd, ContainerError> {
        let failure = |error: io::Error| ContainerError::from(Failure::io("asking for a shim", &error));
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|error| failure(error.into()))?;
        let text = serde_json::to_vec(request).map_err(|error| failure(error.into()))?;
        if text.len() >= zygote::REQUEST_BYTES_MAX {
            return Err(Failure::Spec("argument list too long".to_owned()).into());
        }
        let mut zygote = self.running.lock();
        if let Some(running) = zygote.as_ref()
            && zygote::send_with_fd(running.socket.as_fd(), &text, Some(theirs.as_fd())).is_ok()
        {
            return Ok(ours);
        }
        if zygote.take().is_some() {
            tracing::warn!("the shim program ended; starting it again");
        }
        let fresh = spawn(&self.config)?;
        zygote::send_with_fd(fresh.socket.as_fd(), &text, Some(theirs.as_fd())).map_err(failure)?;
        *zygote = Some(fresh);
        Ok(ours)
    }
}

fn spawn(config: &ShimConfig) -> Result<Zygote, ContainerError> {
    let failure = |error: io::Error| ContainerError::from(Failure::io("starting the shim program", &error));
    let (socket, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| failure(error.into()))?;
    for end in [&socket, &theirs] {
        rustix::net::sockopt::set_socket_send_buffer_size(end, zygote::REQUEST_BYTES_MAX)
            .map_err(|error| failure(error.into()))?;
    }
    let program = protected_program(&config.program).map_err(failure)?;
    let process = Command::new(program.path())
        .arg("shim")
        .arg("zygote")
        .arg(serde_json::to_string(config).map_err(|error| failure(error.into()))?)
        .env_clear()
        .stdin(theirs)
        .stdout(std::process::Stdio::null())
        .spawn()
        .map_err(failure)?;
    Ok(Zygote { socket, process })
}

/// Reads the one answer.
pub(super) async fn read_reply(socket: OwnedFd) -> Result<Reply, ContainerError> {
    let failure = |error: io::Error| ContainerError::from(Failure::io("waiting for a shim", &error));
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true).map_err(failure)?;
    let mut socket = tokio::net::UnixStream::from_std(socket).map_err(failure)?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text).await.map_err(failure)?;
    if text.is_empty() {
        return Err(Failure::Runtime("the shim ended without an answer".to_owned()).into());
    }
    match serde_json::from_slice(&text) {
        Ok(Reply::Failed(reason)) => Err(reason.into()),
        Ok(reply) => Ok(reply),
        Err(error) => Err(failure(error.into())),
    }
}

/// The shim program as seen through a read-only mount of its own. What runs inside a container before its program
/// does is this very file (`/proc/PID/exe`); the container must not be able to write to it.
struct ProtectedProgram(Option<OwnedFd>, PathBuf);

impl ProtectedProgram {
    fn path(&self) -> PathBuf {
        match &self.0 {
            Some(fd) => format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd)).into(),
            None => self.1.clone(),
        }
    }
}

fn protected_program(program: &Path) -> io::Result<ProtectedProgram> {
    use rustix::{
        fs::{CWD, Mode, OFlags},
        mount::OpenTreeFlags,
    };
    let tree =
        rustix::mount::open_tree(CWD, program, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    let read_only = sys::MountAttributes { set: sys::mount_attribute::RDONLY, ..Default::default() };
    if let Ok(tree) = tree
        && sys::set_mount_attributes(tree.as_fd(), read_only, false).is_ok()
    {
        // Through the descriptor of the mount itself, so that what is executed is on that mount.
        return Ok(ProtectedProgram(Some(tree), program.to_owned()));
    }
    // Kernels before 5.12: a sealed copy in memory.
    let copy = rustix::fs::memfd_create(
        "gantry-shim",
        rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
    )?;
    io::copy(&mut fs::File::open(program)?, &mut fs::File::from(copy.try_clone()?))?;
    rustix::fs::fcntl_add_seals(
        &copy,
        rustix::fs::SealFlags::WRITE
            | rustix::fs::SealFlags::SHRINK
            | rustix::fs::SealFlags::GROW
            | rustix::fs::SealFlags::SEAL,
    )?;
    // A file that is open for writing cannot be executed: take a descriptor that only reads.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
    let reader = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(ProtectedProgram(Some(reader), program.to_owned()))
}
