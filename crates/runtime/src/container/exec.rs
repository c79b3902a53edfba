//! One command inside a running container: health checks, and (in [`session`]) what users run.
//!
//! The process forked for it (the monitor) stays outside. A second one joins the container's control groups and
//! namespaces and forks the third, which becomes the command and is a child of the monitor, so nothing is left to
//! reap for anybody else. An OCI binary does the joining itself.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
};

use super::{
    ContainerSpec, TerminalSize, embedded, facts,
    held_env::HeldEnv,
    message::{self, ExecPlan, Failure, Purpose, Reply, Runtime, file},
    oci_binary, process,
    program::{self, Program},
    spec::{self, capabilities},
    sys,
    user::Identity,
    zygote::{self, Inheritance},
};

mod asker;
mod oci;
mod session;

/// How much of the end of the output is kept.
const OUTPUT_BYTES_MAX: usize = 4096;

/// The container's namespaces that a command joins. Those that are the host's anyway make no difference.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Runs the command in a process forked for it, and answers.
pub(super) fn run(plan: &ExecPlan, reply: OwnedFd, inheritance: &Inheritance) -> ! {
    let outcome = program::own_children()
        .map_err(|error| Failure::io("running a command", &error))
        .and_then(|()| read_spec(plan))
        .and_then(|spec| match plan.purpose {
            Purpose::Check { timeout_ms } => check(plan, &spec, timeout_ms, &reply, inheritance),
            Purpose::Session { terminal } => session::run(plan, &spec, terminal, &reply, inheritance),
        });
    let answer = match outcome {
        Ok((exit_code, output)) => Reply::Exec { exit_code, output },
        Err(failure) => Reply::Failed(failure),
    };
    zygote::answer(&reply, &answer);
    std::process::exit(0)
}

/// Exit code (none when it was killed) and the end of the output.
type Outcome = Result<(Option<i32>, String), Failure>;

/// Where a command's standard streams go.
enum Streams {
    /// Output and error together; no input.
    Output(OwnedFd),
    /// Each apart.
    Pipes { input: OwnedFd, output: OwnedFd, error: OwnedFd },
    /// A terminal of the container's, whose other side is sent through the socket.
    Terminal { console: OwnedFd, size: TerminalSize },
}

fn read_spec(plan: &ExecPlan) -> Result<ContainerSpec, Failure> {
    let mut spec: ContainerSpec = message::read_json(&plan.bundle.join(file::SPEC))
        .ok_or_else(|| Failure::Runtime("the container's specification is not readable".to_owned()))?;
    let held = HeldEnv::of_running(&plan.bundle).map_err(|error| Failure::io("reading what the shim keeps", &error))?;
    held.merge_into(&mut spec.env);
    Ok(spec)
}

fn make_pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|error| Failure::io("making a pipe", &error.into()))
}

fn check(
    plan: &ExecPlan,
    spec: &ContainerSpec,
    timeout_ms: u64,
    reply: &OwnedFd,
    inheritance: &Inheritance,
) -> Outcome {
    let (output, writer) = make_pipe()?;
    let (pid, _document) = match &inheritance.config.runtime {
        Runtime::Embedded => (start(plan, spec, Streams::Output(writer), reply, inheritance)?, None),
        Runtime::OciBinary(program) => {
            let oci = oci_binary::OciContainer::new(program.clone(), &plan.bundle);
            let (pid, document) = oci::attached(&oci, plan, spec, writer)?;
            (pid, Some(document))
        }
    };
    // From here on: that joining took its time on a busy host is not the command's fault.
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    Monitor { pid, output, kept: Vec::new(), reply, deadline }.watch()
}

/// Joins the container and starts the command; returns its pid, a child of ours. Nothing is started once whoever has
/// the other end of `reply` has closed it.
fn start(
    plan: &ExecPlan,
    spec: &ContainerSpec,
    streams: Streams,
    reply: &OwnedFd,
    inheritance: &Inheritance,
) -> Result<Pid, Failure> {
    let failure = |action: &str| {
        let action = action.to_owned();
        move |error: io::Error| Failure::io(action, &error)
    };
    let handle = process::open(plan.pid, plan.start_time).map_err(|_| Failure::NotRunning(spec.id.clone()))?;
    let cgroup = inheritance.hierarchies.cgroup(&format!("{}/{}", spec.task_cgroup, spec.id));
    let capabilities = capabilities::capabilities(spec, &facts::available_capabilities())?;
    let filter = super::zygote::filter_for(spec, &capabilities, &inheritance.filters)?;
    let (reported, report) = make_pipe()?;
    let (pids, pid_writer) = make_pipe()?;
    let forked = match cgroup.open().map_err(failure("opening the container's cgroup"))? {
        Some(directory) => sys::fork_into_cgroup(directory.as_fd()),
        None => sys::fork(),
    };
    match forked.map_err(failure("starting a process"))? {
        sys::Forked::Parent(joiner) => {
            drop((report, pid_writer, streams));
            asker::await_start(reply, joiner, &pids, &reported)
        }
        sys::Forked::Child => {
            drop((reported, pids));
            let program =
                Program { args: plan.args.clone(), env: Vec::new(), uid: 0, capabilities, filter, init: false, report };
            join_and_start(plan, spec, &cgroup, &handle, &streams, program, pid_writer);
            std::process::exit(0)
        }
    }
}

fn join_and_start(
    plan: &ExecPlan,
    spec: &ContainerSpec,
    cgroup: &super::cgroup::Cgroup,
    handle: &OwnedFd,
    streams: &Streams,
    mut program: Program,
    pid_writer: OwnedFd,
) {
    let identity = match join(plan, spec, cgroup, handle, &mut program) {
        Ok(identity) => identity,
        Err(failure) => return program.report(&failure),
    };
    match sys::fork_sibling() {
        Err(error) => program.report(&Failure::io("starting the command", &error)),
        Ok(sys::Forked::Parent(pid)) => {
            let _ = io::Write::write_all(&mut File::from(pid_writer), pid.as_raw().to_string().as_bytes());
        }
        Ok(sys::Forked::Child) => {
            drop(pid_writer);
            let failure = match become_user(spec, &identity, streams) {
                Ok(()) => {
                    sys::close_on_exec_from(3);
                    program.execute()
                }
                Err(failure) => failure,
            };
            program.report(&failure);
            std::process::exit(126)
        }
    }
}

/// Into control groups and namespaces; then, seeing the container's files, finds the user.
fn join(
    plan: &ExecPlan,
    spec: &ContainerSpec,
    cgroup: &super::cgroup::Cgroup,
    handle: &OwnedFd,
    program: &mut Program,
) -> Result<Identity, Failure> {
    // Processes of the container must not look into this one while it still holds what the host gave it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // The shim's protection against the kernel's memory killer is not for the container.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    if cgroup.version() == super::cgroup::Version::V1 {
        cgroup.attach_self().map_err(|error| Failure::io("joining the container's cgroup", &error))?;
    }
    sys::join_namespaces(handle.as_fd(), NAMESPACES)
        .map_err(|error| Failure::io("joining the container's namespaces", &error))?;
    let user = if plan.user.is_empty() { &spec.user } else { &plan.user };
    let identity = facts::identity_at(user, Path::new("/"))?.in_groups(&spec.additional_groups);
    program.uid = identity.uid;
    program.env = spec::environment(spec, &identity);
    if matches!(plan.purpose, Purpose::Session { .. }) {
        session::complete_environment(&mut program.env);
    }
    Ok(identity)
}

fn become_user(spec: &ContainerSpec, identity: &Identity, streams: &Streams) -> Result<(), Failure> {
    let _ = rustix::process::setsid();
    let take = |from: &OwnedFd, stream: i32| {
        let taken = nix::unistd::dup2(std::os::fd::AsRawFd::as_raw_fd(from), stream);
        taken.map(drop).map_err(|error| Failure::io("setting up output", &error.into()))
    };
    match streams {
        Streams::Output(output) => [1, 2].into_iter().try_for_each(|stream| take(output, stream))?,
        Streams::Pipes { input, output, error } => {
            [(input, 0), (output, 1), (error, 2)].into_iter().try_for_each(|(from, stream)| take(from, stream))?;
        }
        Streams::Terminal { console, size } => embedded::terminal::attach_session(console, identity.uid, *size)?,
    }
    for (name, (soft, hard)) in &spec.ulimits {
        program::set_ulimit(name, *soft, *hard)?;
    }
    program::enter_directory(spec::working_directory(spec))?;
    program::become_user(identity, spec.no_new_privileges)
}

struct Monitor<'a> {
    pid: Pid,
    output: OwnedFd,
    kept: Vec<u8>,
    /// Whose other end the asker closes when it loses interest.
    reply: &'a OwnedFd,
    deadline: Instant,
}

impl Monitor<'_> {
    fn watch(mut self) -> Result<(Option<i32>, String), Failure> {
        let failure = |error: rustix::io::Errno| Failure::io("watching a command", &error.into());
        rustix::io::ioctl_fionbio(&self.output, true).map_err(failure)?;
        let raw = rustix::process::Pid::from_raw(self.pid.as_raw())
            .ok_or_else(|| Failure::Runtime("the command has no process".to_owned()))?;
        let ended = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).map_err(failure)?;
        let mut output_open = true;
        let exit_code = loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let mut polled = vec![
                PollFd::new(&ended, PollFlags::IN),
                // Nothing is ever sent to us here: readable means closed.
                PollFd::new(self.reply, PollFlags::IN),
            ];
            if output_open {
                polled.push(PollFd::new(&self.output, PollFlags::IN));
            }
            let timeout = Timespec::try_from(left).ok();
            let _ = poll(&mut polled, timeout.as_ref());
            let ready = |index: usize| polled.get(index).is_some_and(|fd| !fd.revents().is_empty());
            let (has_ended, unwanted) = (ready(0), ready(1));
            if has_ended {
                break exit_code(self.pid);
            }
            if unwanted || left.is_zero() {
                process::kill_tree(self.pid.as_raw().unsigned_abs());
                let _ = waitpid(self.pid, None);
                break None;
            }
            output_open = output_open && self.read();
        };
        while self.read() {}
        Ok((exit_code, String::from_utf8_lossy(&self.kept).into_owned()))
    }

    /// False when there is nothing (more) to read.
    fn read(&mut self) -> bool {
        let mut buffer = [0; OUTPUT_BYTES_MAX];
        match rustix::io::read(&self.output, &mut buffer) {
            Ok(length) if length > 0 => {
                self.kept.extend_from_slice(&buffer[..length]);
                let surplus = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
                self.kept.drain(..surplus);
                true
            }
            _ => false,
        }
    }
}

fn exit_code(pid: Pid) -> Option<i32> {
    match waitpid(pid, Some(WaitPidFlag::empty())) {
        Ok(WaitStatus::Exited(_, code)) => Some(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 + signal as i32),
        _ => Some(255),
    }
}
