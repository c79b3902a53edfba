//! The bundle directory of a container, as the agent sees it: its files are listed in `message.rs`, who holds its FIFO
//! open and why is told in `supervisor.rs`.

use std::{fs, io, os::unix::fs::OpenOptionsExt, path::Path};

use super::{
    ContainerError, ContainerSpec,
    message::{Failure, file},
};

/// Fills the new directory of a container that is to be started.
pub(super) fn write_bundle(bundle: &Path, spec: &ContainerSpec) -> io::Result<()> {
    // Not atomically: nobody looks at it before the request names it.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(bundle.join(file::SPEC))?;
    io::Write::write_all(&mut file, &serde_json::to_vec(spec)?)?;
    nix::unistd::mkfifo(&bundle.join(file::ALIVE), nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    Ok(())
}

/// The read end of a bundle's FIFO, when a shim holds the other.
fn open_alive(bundle: &Path) -> Option<fs::File> {
    let fifo = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(bundle.join(file::ALIVE)).ok()?;
    match rustix::io::read(&fifo, &mut [0_u8; 1]) {
        // Nothing to read, but somebody who could write.
        Err(rustix::io::Errno::AGAIN) => Some(fifo),
        _ => None,
    }
}

/// Whether a shim holds the bundle.
pub(super) fn is_alive(bundle: &Path) -> bool {
    open_alive(bundle).is_some()
}

/// Waits until no shim holds the FIFO any more.
pub(super) async fn wait_for_shim(bundle: &Path) -> Result<(), ContainerError> {
    let Some(fifo) = open_alive(bundle) else { return Ok(()) };
    let failure = |error: io::Error| ContainerError::from(Failure::io("waiting for a container", &error));
    let fifo = tokio::net::unix::pipe::Receiver::from_file(fifo).map_err(failure)?;
    loop {
        fifo.readable().await.map_err(failure)?;
        match fifo.try_read(&mut [0_u8; 1]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return Ok(()),
        }
    }
}
