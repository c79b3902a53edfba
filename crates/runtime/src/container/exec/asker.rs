//! Whoever asked for a command, while it starts: a command that nobody waits for any more is taken back before its
//! program runs, even when what was forked for it is frozen with its container and goes on later.

use std::os::fd::{AsFd, OwnedFd};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use crate::container::{message::Failure, process, program};

/// Waits until the command runs: its pid, or why it does not run. `pids` and `report` are pipes that what was forked
/// for it closes on its way.
pub(super) fn await_start(asker: &OwnedFd, joiner: Pid, pids: &OwnedFd, report: &OwnedFd) -> Result<Pid, Failure> {
    let (Some(pid), Some(report)) = (read_to_end(asker, pids)?, read_to_end(asker, report)?) else {
        take_back(joiner);
        return Err(Failure::Runtime("nobody waits for the command any more".to_owned()));
    };
    // It closed the report by ending.
    let _ = waitpid(joiner, None);
    program::execution(&report)?;
    let pid = std::str::from_utf8(&pid).ok().and_then(|text| text.parse().ok());
    pid.map(Pid::from_raw).ok_or_else(|| Failure::Runtime("the command's process did not start".to_owned()))
}

/// Reads a pipe to its end; none when the asker is gone.
fn read_to_end(asker: &OwnedFd, pipe: &OwnedFd) -> Result<Option<Vec<u8>>, Failure> {
    let failure = |error: Errno| Failure::io("waiting for the program", &error.into());
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // Nothing is ever sent to us by the asker: readable means closed.
        let mut polled = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN), PollFd::new(asker, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failure(error)),
        }
        let [readable, unwanted] = polled.map(|fd| !fd.revents().is_empty());
        if readable {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => return Ok(Some(text)),
                Ok(length) => text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failure(error)),
            }
        } else if unwanted {
            return Ok(None);
        }
    }
}

/// Kills what was forked for a command, and waits for its end: what is frozen may die only when it goes on, but it does
/// nothing else then.
pub(super) fn take_back(joiner: Pid) {
    // It first, so that it forks nothing more.
    let _ = kill(joiner, Signal::SIGKILL);
    kill_children();
}

/// Kills whatever descends from this process, and waits for its end.
pub(super) fn kill_children() {
    let own = std::process::id();
    let forked: Vec<process::Named> = process::tree(own).into_iter().filter(|(pid, _)| *pid != own).collect();
    process::kill_known(&forked);
    while waitpid(None, None).is_ok() {}
}
