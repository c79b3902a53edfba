//! Starts a container: one fork, straight into its control groups and namespaces, and the new process makes its own
//! view of the file system and becomes the program.
//!
//! What must hold: nothing of the host is reachable once the program runs. Every path of the image is resolved inside
//! the image's root (`openat2`), every mount is made by descriptor, no descriptor but the standard streams survives,
//! and the last step (`program.rs`) executes nothing whose filter and capabilities are not in place.
//!
//! The shim itself only forks and waits, so that what a start allocates ends with it.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use nix::{sys::wait::waitpid, unistd::Pid};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType},
    pipe::{PipeFlags, pipe_with},
};

use super::{
    ContainerSpec, Namespace,
    cgroup::{Cgroup, Version},
    facts,
    message::Failure,
    process,
    program::{self, Program},
    spec, sys,
    zygote::{self, Inheritance, filter_for},
};

pub(super) mod empty;
mod filesystem;
mod hooks;
pub(super) mod mount;
pub(super) mod terminal;

use filesystem::Parts;

/// The container's ends of its standard streams.
pub(super) struct Stdio {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// A started container.
pub(super) struct Launched {
    pub(super) pid: i32,
    /// The terminal's other side, when it has one.
    pub(super) console: Option<OwnedFd>,
}

/// Descriptors of the process that becomes the container, after its standard streams.
const REPORT: i32 = 3;
const CONSOLE: i32 = 4;
const EMPTY: i32 = 5;

/// Everything up to the executed program, a child of the calling process.
pub(super) fn start(
    (spec, bundle): (&ContainerSpec, &Path),
    cgroup: &Cgroup,
    inheritance: &Inheritance,
    stdio: Stdio,
) -> Result<Launched, Failure> {
    let failure = |action: &'static str| move |error: std::io::Error| Failure::io(action, &error);
    let (reported, report) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| Failure::io("making a pipe", &error.into()))?;
    let (console, sender) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| Failure::io("making a socket", &error.into()))?;
    let directory = cgroup.open().map_err(failure("opening the container's cgroup"))?;
    if let Namespace::Path(path) = &spec.pid {
        // For children only; this shim forks no other.
        join(path, libc::CLONE_NEWPID)?;
    }
    let forked = sys::fork_into_namespaces(new_namespaces(spec), directory.as_ref().map(AsFd::as_fd));
    match forked.map_err(failure("starting a process"))? {
        sys::Forked::Child => become_program(spec, cgroup, inheritance, &stdio, &report, &sender),
        sys::Forked::Parent(pid) => {
            drop((stdio, report, sender));
            let hooks = match spec.hooks.is_empty() {
                true => Ok(()),
                false => hooks::run_when_ready(spec, bundle, pid, &console),
            };
            if let Err(failure) = hooks {
                // The process that waits for them ends without the other side of its socket.
                drop(console);
                let _ = waitpid(pid, None);
                return Err(failure);
            }
            if let Err(failure) = await_program(reported, pid, spec) {
                let _ = waitpid(pid, None);
                return Err(failure);
            }
            let console = if spec.terminal { Some(terminal::receive(&console)?) } else { None };
            Ok(Launched { pid: pid.as_raw(), console })
        }
    }
}

fn await_program(reported: OwnedFd, pid: Pid, spec: &ContainerSpec) -> Result<(), Failure> {
    program::await_execution(reported)?;
    // A process that dies closes its descriptors too. An init stays what was forked.
    if !spec.init_process && !process::has_executed(pid.as_raw().unsigned_abs()) {
        return Err(Failure::Runtime("the container's process ended before its program was executed".to_owned()));
    }
    Ok(())
}

/// All but the mount and the cgroup namespace, which are entered later.
fn new_namespaces(spec: &ContainerSpec) -> i32 {
    let private =
        [(&spec.network, libc::CLONE_NEWNET), (&spec.pid, libc::CLONE_NEWPID), (&spec.ipc, libc::CLONE_NEWIPC)];
    private
        .iter()
        .filter(|(namespace, _)| **namespace == Namespace::Private)
        .fold(libc::CLONE_NEWUTS, |flags, (_, flag)| flags | flag)
}

fn join(path: &Path, flag: i32) -> Result<(), Failure> {
    File::open(path)
        .and_then(|namespace| sys::join_namespaces(namespace.as_fd(), flag))
        .map_err(|error| Failure::io(format!("joining the namespace {}", path.display()), &error))
}

/// The process that becomes the container.
fn become_program(
    spec: &ContainerSpec,
    cgroup: &Cgroup,
    inheritance: &Inheritance,
    stdio: &Stdio,
    report: &OwnedFd,
    console: &OwnedFd,
) -> ! {
    if let Err(error) = arrange_descriptors(stdio, [report, console, &inheritance.empty]) {
        program::send_failure(report, &Failure::io("arranging descriptors", &error));
        std::process::exit(1);
    }
    let (report, console, empty) = (sys::inherited(REPORT), sys::inherited(CONSOLE), sys::inherited(EMPTY));
    let failure = match prepare(spec, cgroup, inheritance, &report, &console, empty) {
        Ok(program) => program.execute(),
        Err(failure) => failure,
    };
    program::send_failure(&report, &failure);
    std::process::exit(1)
}

/// The container's streams at 0 to 2, ours right after them, nothing else open. The descriptors that this copy of the
/// shim knows by their old numbers are gone: nobody may use or drop them, which is why the caller never returns.
fn arrange_descriptors(stdio: &Stdio, ours: [&OwnedFd; 3]) -> std::io::Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    const OUT_OF_THE_WAY: i32 = 100;
    let moved: Vec<i32> = [&stdio.stdin, &stdio.stdout, &stdio.stderr]
        .into_iter()
        .chain(ours)
        .map(|descriptor| fcntl(descriptor.as_raw_fd(), FcntlArg::F_DUPFD_CLOEXEC(OUT_OF_THE_WAY)))
        .collect::<Result<_, _>>()?;
    for (number, descriptor) in (0..).zip(moved) {
        let flags = if number < REPORT { nix::fcntl::OFlag::empty() } else { nix::fcntl::OFlag::O_CLOEXEC };
        nix::unistd::dup3(descriptor, number, flags)?;
    }
    sys::close_from(EMPTY + 1);
    Ok(())
}

/// Everything before the last step, in the order in which each step needs what later ones take away.
fn prepare(
    spec: &ContainerSpec,
    cgroup: &Cgroup,
    inheritance: &Inheritance,
    report: &OwnedFd,
    console: &OwnedFd,
    empty: OwnedFd,
) -> Result<Program, Failure> {
    // Processes that share the pid namespace must not look into this one while it still sees the host.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // The shim's protection against the kernel's memory killer is not for the container.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    if cgroup.version() == Version::V1 {
        cgroup.attach_self().map_err(|error| Failure::io("joining the container's cgroup", &error))?;
    }
    facts::check_mount_sources(spec)?;
    facts::check_sysctls(spec)?;
    spec::check_ulimits(spec)?;
    let capabilities = spec::capabilities::capabilities(spec, &facts::available_capabilities())?;
    let filter = filter_for(spec, &capabilities, &inheritance.filters)?;
    let parts = Parts::collect(spec, cgroup, &inheritance.config.skeletons)?;
    enter_namespaces(spec)?;
    let root = parts.enter(empty)?;
    let identity = facts::identity(&spec.user, root.as_fd())?.in_groups(&spec.additional_groups);
    // Below a mount of the caller it cannot be made here, but then it is the caller's directory that should have it.
    root.create_directory(spec::working_directory(spec))?;
    root.mount_all()?;
    root.create_devices(&identity)?;
    if !spec.hooks.is_empty() {
        root.share_mounts(true)?;
        hooks::await_hooks(console)?;
        root.share_mounts(false)?;
    }
    drop(root);
    filesystem::set_sysctls(&spec.sysctls)?;
    if spec.terminal {
        terminal::attach(console, identity.uid)?;
    } else if !spec.stdin_open {
        filesystem::replace_null_input()?;
    }
    filesystem::restrict(spec)?;
    for (name, (soft, hard)) in &spec.ulimits {
        program::set_ulimit(name, *soft, *hard)?;
    }
    program::enter_directory(spec::working_directory(spec))?;
    program::become_user(&identity, spec.no_new_privileges)?;
    let report = report.try_clone().map_err(|error| Failure::io("starting the program", &error))?;
    Ok(Program {
        args: spec.args.clone(),
        env: spec::environment(spec, &identity),
        uid: identity.uid,
        capabilities,
        filter,
        init: spec.init_process,
        report,
    })
}

/// The namespaces that are others', the cgroup namespace (whose root is where we are now), and what a new one is told.
fn enter_namespaces(spec: &ContainerSpec) -> Result<(), Failure> {
    for (namespace, flag) in [(&spec.network, libc::CLONE_NEWNET), (&spec.ipc, libc::CLONE_NEWIPC)] {
        if let Namespace::Path(path) = namespace {
            join(path, flag)?;
        }
    }
    #[expect(deprecated, reason = "its replacement is unsafe only for CLONE_FILES, which is not used")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWCGROUP)
        .map_err(|error| Failure::io("making a cgroup namespace", &error.into()))?;
    let _ = rustix::process::setsid();
    if let Some(hostname) = &spec.hostname {
        nix::unistd::sethostname(hostname)
            .map_err(|error| Failure::Spec(format!("sethostname {hostname:?}: {}", std::io::Error::from(error))))?;
    }
    Ok(())
}
