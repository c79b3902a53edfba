//! The terminal of a container: made inside, so that it belongs to the container's devpts; its other side goes to the
//! shim.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::{
    fcntl::OFlag,
    pty::{posix_openpt, ptsname_r, unlockpt},
};
use rustix::{
    fs::{CWD, Mode, OFlags},
    mount::{MoveMountFlags, OpenTreeFlags},
};

use super::{
    super::{TerminalSize, message::Failure},
    zygote,
};

/// Makes a terminal, the controlling one of this session, with `uid` as its owner, on the standard streams and on
/// /dev/console; sends its other side to `console`.
pub(super) fn attach(console: &OwnedFd, uid: u32) -> Result<(), Failure> {
    let terminal = make(uid)?;
    show_as_console(&terminal.name).map_err(|error| Failure::io("making a terminal", &error.into()))?;
    take_up(terminal, console)
}

/// The same for a command that runs beside the container's program: /dev/console is not its own.
pub(in crate::container) fn attach_session(console: &OwnedFd, uid: u32, size: TerminalSize) -> Result<(), Failure> {
    let terminal = make(uid)?;
    super::super::set_terminal_size(&terminal.master, size)
        .map_err(|error| Failure::io("setting the terminal's size", &error))?;
    take_up(terminal, console)
}

struct Terminal {
    master: nix::pty::PtyMaster,
    slave: OwnedFd,
    name: String,
}

fn make(uid: u32) -> Result<Terminal, Failure> {
    let failure = |error: std::io::Error| Failure::io("making a terminal", &error);
    let errno = |error: nix::errno::Errno| failure(error.into());
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).map_err(errno)?;
    unlockpt(&master).map_err(errno)?;
    let name = ptsname_r(&master).map_err(errno)?;
    let slave = rustix::fs::open(name.as_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failure(error.into()))?;
    rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(uid)), None).map_err(|error| failure(error.into()))?;
    Ok(Terminal { master, slave, name })
}

/// Puts it on the standard streams, makes it the session's, and sends its other side away.
fn take_up(Terminal { master, slave, .. }: Terminal, console: &OwnedFd) -> Result<(), Failure> {
    let failure = |error: std::io::Error| Failure::io("making a terminal", &error);
    for stream in 0..3 {
        nix::unistd::dup2(slave.as_raw_fd(), stream).map_err(|error| failure(error.into()))?;
    }
    rustix::process::ioctl_tiocsctty(&slave).map_err(|error| failure(error.into()))?;
    zygote::send_with_fd(console.as_fd(), b"terminal", Some(master.as_fd())).map_err(failure)
}

fn show_as_console(terminal: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open("/dev/console", flags, Mode::from_raw_mode(0o600))?;
    let tree =
        rustix::mount::open_tree(CWD, terminal, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    rustix::mount::move_mount(&tree, "", CWD, "/dev/console", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// The shim's side: the program runs, so the terminal has been sent.
pub(in crate::container) fn receive(console: &OwnedFd) -> Result<OwnedFd, Failure> {
    let failure = |error: std::io::Error| Failure::io("receiving the terminal", &error);
    let (_, terminal) = zygote::receive_with_fd(console.as_fd(), &mut [0; 64]).map_err(failure)?;
    terminal.ok_or_else(|| Failure::Runtime("the terminal did not arrive".to_owned()))
}
