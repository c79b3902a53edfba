//! The bundle directory of a container, as the agent sees it: its files are listed in `message.rs`, who holds its FIFO
//! open and why is told in `supervisor.rs`.

use std::{fs, io, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use super::{
    ContainerError, ContainerSpec, Hook,
    message::{self, Failure, file},
};

/// How long a start that an earlier agent asked for may still take before it counts as lost, beside its hooks.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(30);
/// A bound for all: hooks may name any time.
const START_PATIENCE_MAX: Duration = Duration::from_secs(600);

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

/// How long a start that an earlier agent asked for may still take.
pub(super) fn start_patience(bundle: &Path) -> Duration {
    let spec: Option<ContainerSpec> = message::read_json(&bundle.join(file::SPEC));
    patience(spec.as_ref().map(|spec| spec.hooks.as_slice()).unwrap_or_default())
}

/// Each hook has time of its own.
fn patience(hooks: &[Hook]) -> Duration {
    let all = hooks.iter().fold(START_PATIENCE, |patience, hook| patience.saturating_add(hook.timeout));
    all.min(START_PATIENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_may_take_as_long_as_its_hooks() {
        let hook = |seconds: &u64| Hook {
            path: "/hook".into(),
            args: Vec::new(),
            env: Vec::new(),
            timeout: Duration::from_secs(*seconds),
        };
        let seconds = |hooks: &[u64]| patience(&hooks.iter().map(hook).collect::<Vec<_>>()).as_secs();
        assert_eq!([seconds(&[]), seconds(&[60, 5]), seconds(&[u64::MAX, 1])], [30, 95, 600]);
    }
}
