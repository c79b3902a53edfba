//! Naming processes so that a reused pid is never mistaken for the one we mean.

use std::{fs, io, os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Field 22 of /proc/PID/stat: when the process started, in clock ticks since boot.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    start_time_of(&stat)
}

fn start_time_of(stat: &str) -> Option<u64> {
    // The name in parentheses may itself contain blanks and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a child of ours, dead or alive, has executed a program since it was forked. True when that cannot be found
/// out.
pub(super) fn has_executed(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| has_executed_by(&stat))
}

fn has_executed_by(stat: &str) -> bool {
    const PF_FORKNOEXEC: u64 = 0x40;
    let flags = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(6)?.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & PF_FORKNOEXEC == 0)
}

/// A handle on a child that nobody has waited for: its pid cannot be another's.
pub(super) fn open_child(pid: u32) -> io::Result<OwnedFd> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    Ok(pidfd_open(raw, PidfdFlags::empty())?)
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

/// A handle on the process with this pid *and* start time.
pub(super) fn open(pid: u32, started: u64) -> io::Result<OwnedFd> {
    let handle = open_child(pid)?;
    // Checked after the handle was taken: if the pid had been reused before, the time differs; afterwards the handle
    // stays with its process.
    if start_time(pid) == Some(started) { Ok(handle) } else { Err(gone()) }
}

/// Sends a signal, real-time ones too, to the process behind a handle.
pub(super) fn send_signal(handle: &OwnedFd, signal: i32) -> io::Result<()> {
    super::sys::pidfd_send_signal(handle, signal)
}

/// Waits until the process behind a handle has ended; false when it has not after `patience`.
pub(super) fn wait_for_end(handle: &OwnedFd, patience: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec::try_from(patience).ok();
    let mut polled = [PollFd::new(handle, PollFlags::IN)];
    loop {
        match poll(&mut polled, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => return false,
        }
    }
}

/// Kills a process and everything that descends from it, stopping each first so that none escapes by forking.
pub(super) fn kill_tree(root: u32) {
    let signal = |pid: u32, signal: nix::sys::signal::Signal| {
        if let Ok(pid) = i32::try_from(pid) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
    };
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        signal(pid, nix::sys::signal::Signal::SIGSTOP);
        found.extend(children(pid));
        next += 1;
    }
    for pid in found {
        signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

/// A process by its pid and start time.
pub(super) type Named = (u32, u64);

/// A process and everything that descends from it now.
pub(super) fn tree(root: u32) -> Vec<Named> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found.into_iter().filter_map(|pid| Some((pid, start_time(pid)?))).collect()
}

/// Kills what is left of processes that were found before, and what descends from it.
pub(super) fn kill_known(known: &[Named]) {
    let left = known.iter().filter(|(pid, started)| start_time(*pid) == Some(*started));
    left.for_each(|(pid, _)| kill_tree(*pid));
}

/// Kills every process of the session that `leader` leads, and what descends from it. The leader must be there still,
/// dead or alive, so that its number is nobody else's.
pub(super) fn kill_session(leader: u32) {
    const ROUNDS_MAX: u32 = 400;
    const ROUND: Duration = Duration::from_millis(5);
    kill_tree(leader);
    // Until none is left: a process that forks while we look is found the next time.
    for _ in 0..ROUNDS_MAX {
        let members = members_of(leader);
        if members.is_empty() {
            return;
        }
        members.into_iter().for_each(kill_tree);
        std::thread::sleep(ROUND);
    }
}

/// The processes of a session that are alive.
fn members_of(session: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        live_session_of(&stat) == Some(session)
    })
    .collect()
}

/// The session of a process that has not ended.
fn live_session_of(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let alive = !matches!(fields.next()?, "Z" | "X");
    fields.nth(2)?.parse().ok().filter(|_| alive)
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let tail = (4..=52).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(start_time_of(&format!("7 (a) b (c) S {tail}")), Some(22));
        assert_eq!(start_time_of("garbage"), None);
    }

    #[test]
    fn the_session_of_a_live_process_is_read() {
        assert_eq!(live_session_of("7 (a) b) S 1 7 5 0 -1 4194304 1"), Some(5));
        assert_eq!(live_session_of("7 (a) b) Z 1 7 5 0 -1 4194304 1"), None);
        assert_eq!(live_session_of(""), None);
    }

    #[test]
    fn a_forked_process_has_not_executed() {
        assert!(has_executed(std::process::id()));
        assert!(has_executed_by("7 (a) b) R 1 7 7 0 -1 4194304 1"));
        assert!(!has_executed_by("7 (a) b) Z 1 7 7 0 -1 4194368 1"));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let pid = std::process::id();
        let started = start_time(pid).unwrap();
        assert!(open(pid, started).is_ok());
        assert_eq!(open(pid, started + 1).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
