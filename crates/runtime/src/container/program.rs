//! The last step before a container's program: filter, capabilities, signals, `execve`; and the small init that may
//! stand above it as process 1.
//!
//! The order matters. The filter goes in while CAP_SYS_ADMIN is still there (so that no_new_privs need not be set),
//! then every capability that the container does not have is given up, then the program is executed. If any step
//! fails the program is not executed.

use std::{
    collections::BTreeSet,
    ffi::CString,
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{message::Failure, seccomp::Filter, spec::capabilities, sys, user::Identity};

/// A program about to be executed, and under what restrictions.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) uid: u32,
    /// Without `CAP_`.
    pub(super) capabilities: BTreeSet<String>,
    /// `None` only for privileged containers.
    pub(super) filter: Option<Filter>,
    /// Put an init above it.
    pub(super) init: bool,
    /// Closed by a successful `execve`; receives the [`Failure`] otherwise.
    pub(super) report: OwnedFd,
}

impl Program {
    /// The file to execute, looked up as a shell would, with the errors that runc has for it.
    fn executable(&self) -> Result<PathBuf, Failure> {
        let name = self.args.first().map_or("", String::as_str);
        let path = self.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        find_executable(name, path)
    }

    /// Becomes the program; returns only why that was not possible.
    pub(super) fn execute(&self) -> Failure {
        match self.try_execute() {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn try_execute(&self) -> Result<std::convert::Infallible, Failure> {
        if self.is_pause() {
            let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
            self.restrict()?;
            run_pause();
        }
        let executable = self.executable()?;
        let strings = |list: &[String]| {
            let strings: Result<Vec<CString>, _> = list.iter().map(|text| CString::new(text.as_str())).collect();
            strings.map_err(|_| Failure::Spec("a NUL byte in an argument or a variable".to_owned()))
        };
        let path = CString::new(executable.as_os_str().as_encoded_bytes())
            .map_err(|_| Failure::Spec("a NUL byte in the program's path".to_owned()))?;
        let (args, env) = (strings(&self.args)?, strings(&self.env)?);
        let child = if self.init { Some(fork_below_init()?) } else { None };
        self.restrict()?;
        if let Some(sys::Forked::Parent(child)) = child {
            run_init(child);
        }
        reset_signals();
        match nix::unistd::execve(&path, &args, &env) {
            Ok(never) => Ok(never),
            Err(error) => Err(exec_failure(&executable, error)),
        }
    }

    /// Only the init, to hold namespaces.
    fn is_pause(&self) -> bool {
        self.init && self.args.is_empty()
    }

    /// Filter first, while we may; then capabilities.
    fn restrict(&self) -> Result<(), Failure> {
        if let Some(filter) = &self.filter {
            filter.install().map_err(|error| Failure::Runtime(error.to_string()))?;
        }
        let failure = |error: rustix::io::Errno| Failure::io("giving up capabilities", &error.into());
        for number in 0..64_u32 {
            let bit = CapabilitySet::from_bits_retain(1 << number);
            // EINVAL: beyond what this kernel knows.
            match rustix::thread::capability_is_in_bounding_set(bit) {
                Ok(true) if capabilities::mask(&self.capabilities) & 1 << number == 0 => {
                    rustix::thread::remove_capability_from_bounding_set(bit).map_err(failure)?;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // As `execve` would leave them for a user other than root.
        let mask = if self.uid == 0 { capabilities::mask(&self.capabilities) } else { 0 };
        let set = CapabilitySet::from_bits_retain(mask);
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets).map_err(failure)
    }

    pub(super) fn report(&self, failure: &Failure) {
        send_failure(&self.report, failure);
    }
}

/// Writes why nothing was executed into the pipe that [`await_execution`] reads.
pub(super) fn send_failure(report: &OwnedFd, failure: &Failure) {
    if let Ok(text) = serde_json::to_vec(failure)
        && let Ok(copy) = report.try_clone()
    {
        let _ = std::fs::File::from(copy).write_all(&text);
    }
}

/// The lookup of `execvp`, with runc's sentences.
fn find_executable(name: &str, path: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return match check_executable(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(why) => Err(Failure::Command(format!("exec: \"{name}\": {why}"))),
        };
    }
    let found = path
        .split(':')
        .map(|directory| Path::new(if directory.is_empty() { "." } else { directory }).join(name))
        .find(|candidate| !name.is_empty() && check_executable(candidate).is_ok());
    found.ok_or_else(|| Failure::Command(format!("exec: \"{name}\": executable file not found in $PATH")))
}

fn check_executable(path: &Path) -> Result<(), String> {
    use rustix::fs::{Access, AtFlags, CWD};
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("stat {}: no such file or directory", path.display()),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    })?;
    if metadata.is_dir() {
        return Err("is a directory".to_owned());
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|_| "permission denied".to_owned())
}

fn exec_failure(path: &Path, error: nix::errno::Errno) -> Failure {
    let path = path.display();
    match error {
        nix::errno::Errno::ENOEXEC => Failure::Command(format!("exec {path}: exec format error")),
        // The file is there: its interpreter or loader is not.
        nix::errno::Errno::ENOENT => Failure::Command(format!("exec {path}: no such file or directory")),
        nix::errno::Errno::EACCES => Failure::Command(format!("exec: \"{path}\": permission denied")),
        nix::errno::Errno::E2BIG => Failure::Command(format!("exec {path}: argument list too long")),
        other => Failure::io(format!("exec {path}"), &std::io::Error::from(other)),
    }
}

/// The shim blocks signals, Rust ignores SIGPIPE, and whoever started the agent may ignore others; programs expect
/// none of that.
pub(super) fn reset_signals() {
    sys::default_all_signals();
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Undoes the zygote's disinterest in its children, so that this process can wait for its own.
pub(super) fn own_children() -> std::io::Result<()> {
    #[expect(unsafe_code, reason = "nix marks every change of a handler unsafe")]
    // SAFETY: the default action runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(())
}

/// After a change of user that kept the permitted capabilities: makes them effective again.
fn raise_permitted_capabilities() -> Result<(), Failure> {
    let failure = |error: rustix::io::Errno| Failure::io("raising capabilities", &error.into());
    let sets = rustix::thread::capabilities(None).map_err(failure)?;
    rustix::thread::set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets }).map_err(failure)
}

/// Sets one resource limit by its name in Docker; -1 is unlimited.
pub(super) fn set_ulimit(name: &str, soft: i64, hard: i64) -> Result<(), Failure> {
    use nix::sys::resource::Resource;
    let resource = match name {
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "locks" => Resource::RLIMIT_LOCKS,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rss" => Resource::RLIMIT_RSS,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "rttime" => Resource::RLIMIT_RTTIME,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return Err(Failure::Spec(format!("invalid ulimit type: {name}"))),
    };
    let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    nix::sys::resource::setrlimit(resource, value(soft), value(hard))
        .map_err(|error| Failure::io(format!("setting ulimit {name}"), &error.into()))
}

/// Goes to the working directory, which must be in the container: `/proc/self/fd/N` could name another place.
pub(super) fn enter_directory(directory: &str) -> Result<(), Failure> {
    let failure = |error: std::io::Error| Failure::io(format!("chdir {directory}"), &error);
    std::env::set_current_dir(directory).map_err(failure)?;
    match std::env::current_dir() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(Failure::Spec(format!("chdir {directory}: the directory is outside of the container"))),
    }
}

/// Becomes the user, keeping the permitted capabilities for the last step; sets `no_new_privs` if it is wanted.
pub(super) fn become_user(identity: &Identity, no_new_privileges: bool) -> Result<(), Failure> {
    use nix::unistd::{Gid, Uid};
    let failure = |action: &'static str| move |error: nix::errno::Errno| Failure::io(action, &error.into());
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (gid, uid) = (Gid::from_raw(identity.gid), Uid::from_raw(identity.uid));
    rustix::thread::set_keep_capabilities(true).map_err(|error| Failure::io("keeping capabilities", &error.into()))?;
    nix::unistd::setgroups(&groups).map_err(failure("setgroups"))?;
    nix::unistd::setresgid(gid, gid, gid).map_err(failure("setgid"))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(failure("setuid"))?;
    raise_permitted_capabilities()?;
    if no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|error| Failure::io("no_new_privs", &error.into()))?;
    }
    Ok(())
}

fn fork_below_init() -> Result<sys::Forked, Failure> {
    // Before the fork, so that no signal to the child or end of it is missed.
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    sys::fork().map_err(|error| Failure::io("starting the program below its init", &error))
}

/// Process 1: forwards signals to the program, reaps everything, ends as the program ends.
fn run_init(child: nix::unistd::Pid) -> ! {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    // The end of the report pipe among them: it has to close for the start to be known.
    close_all_but_stdio();
    let _ = std::env::set_current_dir("/");
    let signals = SigSet::all();
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::Exited(pid, code)) if pid == child => std::process::exit(code),
                    Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => std::process::exit(128 + signal as i32),
                    Ok(WaitStatus::StillAlive) | Err(_) => break,
                    Ok(_) => {}
                }
            },
            Ok(other) => {
                let _ = nix::sys::signal::kill(child, other);
            }
            // Real-time signals have no name here; the program does not get them.
            Err(_) => {}
        }
    }
}

/// Process 1 of namespaces that others join: reaps until it is told to end.
fn run_pause() -> ! {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    close_all_but_stdio();
    let _ = std::env::set_current_dir("/");
    let signals = SigSet::all();
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                while !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_)) {}
            }
            Ok(Signal::SIGTERM | Signal::SIGINT) => std::process::exit(0),
            _ => {}
        }
    }
}

/// `gantry shim init -- PROGRAM…`: the init of containers started by an OCI binary, which has put every restriction in
/// place already.
pub(super) fn run_as_init(args: &[&str]) -> std::io::Result<()> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    if args.is_empty() {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
        run_pause();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let fail = |failure: Failure| std::io::Error::other(format!("{failure:?}"));
    let executable = find_executable(args.first().map_or("", String::as_str), &path).map_err(fail)?;
    if let sys::Forked::Parent(child) = fork_below_init().map_err(fail)? {
        run_init(child);
    }
    reset_signals();
    let mut command = std::process::Command::new(executable);
    Err(std::os::unix::process::CommandExt::exec(command.args(&args[1..])))
}

fn close_all_but_stdio() {
    sys::close_from(3);
}

/// Waits until the program is executed (the pipe closes empty) or says why it was not.
pub(super) fn await_execution(report: OwnedFd) -> Result<(), Failure> {
    let mut text = Vec::new();
    let mut file = std::fs::File::from(report);
    std::io::Read::read_to_end(&mut file, &mut text).map_err(|error| Failure::io("waiting for the program", &error))?;
    execution(&text)
}

/// What all that came through the pipe says.
pub(super) fn execution(report: &[u8]) -> Result<(), Failure> {
    if report.is_empty() {
        return Ok(());
    }
    Err(serde_json::from_slice(report)
        .unwrap_or_else(|_| Failure::Runtime(String::from_utf8_lossy(report).into_owned())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn failure(name: &str) -> String {
        match find_executable(name, "/usr/bin:/bin").unwrap_err() {
            Failure::Command(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn programs_are_found_as_in_a_shell() {
        assert!(find_executable("sh", "/nowhere:/bin").unwrap().ends_with("sh"));
        assert_eq!(find_executable("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn the_sentences_are_runcs() {
        assert_eq!(failure("nope"), "exec: \"nope\": executable file not found in $PATH");
        assert_eq!(failure(""), "exec: \"\": executable file not found in $PATH");
        assert_eq!(failure("/nope"), "exec: \"/nope\": stat /nope: no such file or directory");
        assert_eq!(failure("/etc"), "exec: \"/etc\": is a directory");
        assert_eq!(failure("/etc/passwd"), "exec: \"/etc/passwd\": permission denied");
    }
}
