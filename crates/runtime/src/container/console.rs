//! The terminal of a container that an OCI binary makes: where it sends the other side.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use super::message::Failure;

/// Where the OCI binary sends the terminal's other side.
pub(super) struct Console {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
}

impl Console {
    pub(super) fn listen(scratch: &Path) -> Result<Self, Failure> {
        // Socket paths are limited to 107 bytes: bind by a short path through /proc.
        let directory = File::open(scratch).map_err(|error| Failure::io("opening the bundle", &error))?;
        let path = scratch.join("console.sock");
        let short = format!("/proc/self/fd/{}/console.sock", std::os::fd::AsRawFd::as_raw_fd(&directory));
        let listener = std::os::unix::net::UnixListener::bind(short)
            .map_err(|error| Failure::io("listening for the terminal", &error))?;
        Ok(Self { path, listener })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn receive(self) -> Result<OwnedFd, Failure> {
        let failure = |error: std::io::Error| Failure::io("receiving the terminal", &error);
        let (stream, _) = self.listener.accept().map_err(failure)?;
        let (_, fd) = super::zygote::receive_with_fd(stream.as_fd(), &mut [0; 256]).map_err(failure)?;
        fd.ok_or_else(|| Failure::Runtime("the terminal did not arrive".to_owned()))
    }
}
