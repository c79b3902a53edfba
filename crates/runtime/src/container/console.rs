//! The terminal of a container that an OCI binary makes: where it sends the other side.

use std::{
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use super::message::Failure;

/// Where the OCI binary sends the terminal's other side.
pub(super) struct Console {
    path: PathBuf,
    listener: UnixListener,
    /// The path leads through it.
    _directory: OwnedFd,
}

impl Console {
    /// Listens in a directory that this call alone uses.
    pub(super) fn listen(directory: &OwnedFd) -> Result<Self, Failure> {
        let failure = |error: std::io::Error| Failure::io("listening for the terminal", &error);
        let directory = directory.try_clone().map_err(failure)?;
        // Socket paths are limited to 107 bytes: a short one through /proc, for the binary too.
        let path = format!("/proc/{}/fd/{}/console.sock", std::process::id(), directory.as_raw_fd());
        let path = PathBuf::from(path);
        let listener = UnixListener::bind(&path).map_err(failure)?;
        Ok(Self { path, listener, _directory: directory })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes what a binary that has succeeded sent: nothing is waited for.
    pub(super) fn receive(self) -> Result<OwnedFd, Failure> {
        let failure = |error: std::io::Error| Failure::io("receiving the terminal", &error);
        self.listener.set_nonblocking(true).map_err(failure)?;
        let (stream, _) = self.listener.accept().map_err(failure)?;
        let (_, fd) = super::zygote::receive_with_fd(stream.as_fd(), &mut [0; 256]).map_err(failure)?;
        fd.ok_or_else(|| Failure::Runtime("the terminal did not arrive".to_owned()))
    }
}
