//! Commands through an OCI binary: attached to it for a check, detached from it for a session.
//!
//! What the binary reads and writes for a command is in memory only: secrets may be in it, and a full disk is in
//! nobody's way.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{sys::wait::waitpid, unistd::Pid};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::MemfdFlags,
    io::Errno,
};
use serde_json::{Value, json};

use super::{Streams, asker, session::complete_environment};
use crate::container::{
    ContainerSpec,
    console::Console,
    embedded::mount::new_filesystem,
    message::{ExecPlan, Failure, Purpose},
    oci_binary::{ID, OciContainer, facts_of},
    process, program, spec, zygote,
};

fn failure(error: impl Into<io::Error>) -> Failure {
    Failure::io("running a command", &error.into())
}

/// Runs a check in the container; returns the pid of the binary that stands for it, a child of ours, and what the binary
/// reads, which is to be held until it has ended.
pub(super) fn attached(
    oci: &OciContainer,
    plan: &ExecPlan,
    spec: &ContainerSpec,
    output: OwnedFd,
) -> Result<(Pid, OwnedFd), Failure> {
    program::reset_signals();
    let document = document(plan, spec, None)?;
    let mut command = oci.command();
    command.arg("exec").arg("--process").arg(path_of(&document)).arg(ID);
    command.stdout(output.try_clone().map_err(failure)?).stderr(output);
    let child = spawn(oci, &mut command)?;
    Ok((child, document))
}

/// Starts a session's command; returns its pid, a child of ours once the binary, which only starts it, has ended.
/// Nothing is started once the asker is gone.
pub(super) fn detached(
    oci: &OciContainer,
    plan: &ExecPlan,
    spec: &ContainerSpec,
    streams: Streams,
    asker: &OwnedFd,
) -> Result<Pid, Failure> {
    program::reset_signals();
    process::open(plan.pid, plan.start_time).map_err(|_| Failure::NotRunning(spec.id.clone()))?;
    let scratch = new_filesystem("tmpfs", "tmpfs", &["mode=700", "size=1m"]).map_err(failure)?;
    let (log, pid_file) = (path_of(&scratch).join("log"), path_of(&scratch).join("pid"));
    let size = match &streams {
        Streams::Terminal { size, .. } => Some(*size),
        Streams::Pipes { .. } | Streams::Output(_) => None,
    };
    let document = document(plan, spec, size.map(|size| json!({"height": size.rows, "width": size.columns})))?;
    let mut command = oci.command_logging_to(&log);
    command.args(["exec", "--detach", "--process"]).arg(path_of(&document)).arg("--pid-file").arg(&pid_file);
    let console = match streams {
        Streams::Terminal { console, .. } => {
            let listening = Console::listen(&scratch)?;
            command.arg("--console-socket").arg(listening.path());
            Some((listening, console))
        }
        Streams::Pipes { input, output, error } => {
            command.stdin(input).stdout(output).stderr(error);
            None
        }
        Streams::Output(output) => {
            command.stdout(output.try_clone().map_err(failure)?).stderr(output);
            None
        }
    };
    // Whose parent ends is a child of ours then, until nothing more is started.
    let adopt = |whether: bool| {
        let own = whether.then(rustix::process::getpid);
        rustix::process::set_child_subreaper(own).map_err(failure)
    };
    adopt(true)?;
    let binary = spawn(oci, command.arg(ID))?;
    // The other ends of the streams are the command's alone.
    drop(command);
    let status = await_end(binary, asker)?;
    let started = || {
        adopt(false)?;
        if status != 0 {
            let gone = process::open(plan.pid, plan.start_time).is_err();
            let why = || oci.failure(&log, &format!("exit status {status}"));
            return Err(if gone { Failure::NotRunning(spec.id.clone()) } else { why() });
        }
        if let Some((listening, console)) = console {
            let terminal = listening.receive()?;
            zygote::send_with_fd(console.as_fd(), b"terminal", Some(terminal.as_fd())).map_err(failure)?;
        }
        let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok()).map(Pid::from_raw);
        pid.ok_or_else(|| Failure::Runtime("the OCI runtime wrote no pid".to_owned()))
    };
    started().inspect_err(|_| asker::kill_children())
}

/// What `exec --process` takes, on a terminal if it has a size.
fn document(plan: &ExecPlan, spec: &ContainerSpec, terminal_size: Option<Value>) -> Result<OwnedFd, Failure> {
    let user = if plan.user.is_empty() { &spec.user } else { &plan.user };
    let root = PathBuf::from(format!("/proc/{}/root", plan.pid));
    let facts = facts_of(spec, user, &root, None)?;
    let mut spec = ContainerSpec { args: plan.args.clone(), terminal: terminal_size.is_some(), ..spec.clone() };
    if matches!(plan.purpose, Purpose::Session { .. }) {
        complete_environment(&mut spec.env);
    }
    let mut process = spec::process(&spec, &facts)?;
    if let Some(size) = terminal_size {
        process["consoleSize"] = size;
    }
    let document = rustix::fs::memfd_create("gantry-exec", MemfdFlags::CLOEXEC).map_err(failure)?;
    let mut file = File::from(document.try_clone().map_err(failure)?);
    file.write_all(process.to_string().as_bytes()).map_err(failure)?;
    Ok(document)
}

/// How another process finds what a descriptor of this one stands for.
fn path_of(descriptor: &OwnedFd) -> PathBuf {
    Path::new("/proc").join(std::process::id().to_string()).join("fd").join(descriptor.as_raw_fd().to_string())
}

/// Starts the binary, without the shim's protection against the kernel's memory killer: that is not for the container.
fn spawn(oci: &OciContainer, command: &mut Command) -> Result<Pid, Failure> {
    const SCORE: &str = "/proc/self/oom_score_adj";
    let protected = fs::read_to_string(SCORE).unwrap_or_default();
    let _ = fs::write(SCORE, "0");
    let child = command.spawn();
    let _ = fs::write(SCORE, protected.trim());
    let child = child.map_err(|error| oci.not_started(&error))?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(|error| failure(io::Error::other(error)))
}

/// Waits for the end of the binary and returns its exit code. When nobody waits for the command any more, what was
/// started for it is taken back.
fn await_end(binary: Pid, asker: &OwnedFd) -> Result<i32, Failure> {
    let ended = process::open_child(binary.as_raw().unsigned_abs()).map_err(failure)?;
    loop {
        // Nothing is ever sent to us by the asker: readable means closed.
        let mut polled = [PollFd::new(&ended, PollFlags::IN), PollFd::new(asker, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failure(error)),
        }
        let [has_ended, unwanted] = polled.map(|fd| !fd.revents().is_empty());
        if has_ended {
            return Ok(match waitpid(binary, None) {
                Ok(nix::sys::wait::WaitStatus::Exited(_, code)) => code,
                _ => -1,
            });
        }
        if unwanted {
            asker::take_back(binary);
            return Err(Failure::Runtime("nobody waits for the command any more".to_owned()));
        }
    }
}
