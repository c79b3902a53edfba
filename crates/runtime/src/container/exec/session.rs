//! A user's command: on a terminal or on pipes that the agent gets the other ends of, until it ends or the agent loses
//! its interest. Nothing of it lives on.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{AddressFamily, SocketFlags, SocketType},
};

use super::{Outcome, Streams, exit_code, make_pipe, oci};
use crate::container::{
    ContainerSpec, TerminalSize, embedded,
    message::{ExecPlan, Failure, Runtime, stream},
    oci_binary::OciContainer,
    process,
    zygote::{Inheritance, send_with_fd},
};

/// How long a command may take to end by itself once its terminal hung up.
const HANG_UP_PATIENCE: Duration = Duration::from_secs(2);

/// The agent's ends.
enum Ours {
    Terminal { console: OwnedFd },
    Pipes { input: OwnedFd, output: OwnedFd, error: OwnedFd },
}

pub(super) fn run(
    plan: &ExecPlan,
    spec: &ContainerSpec,
    terminal: Option<TerminalSize>,
    reply: &OwnedFd,
    inheritance: &Inheritance,
) -> Outcome {
    // Number 0 is free in what the zygote forks. Something must have it, or a pipe would, and could not become the
    // command's input by being put there.
    let _standard_input = File::open("/dev/null").map_err(|error| Failure::io("opening /dev/null", &error))?;
    let (streams, ours) = streams(terminal)?;
    let pid = match &inheritance.config.runtime {
        Runtime::Embedded => super::start(plan, spec, streams, reply, inheritance)?,
        Runtime::OciBinary(program) => {
            let oci = OciContainer::new(program.clone(), &plan.bundle);
            oci::detached(&oci, plan, spec, streams, reply)?
        }
    };
    let handed = hand_over(ours, reply);
    let code = match handed {
        Ok(terminal) => watch(pid, reply, terminal),
        Err(failure) => {
            end(pid);
            return Err(failure);
        }
    }?;
    Ok((code, String::new()))
}

fn streams(terminal: Option<TerminalSize>) -> Result<(Streams, Ours), Failure> {
    if let Some(size) = terminal {
        let (ours, console) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| Failure::io("making a socket", &error.into()))?;
        return Ok((Streams::Terminal { console, size }, Ours::Terminal { console: ours }));
    }
    let ((input, our_input), (our_output, output), (our_error, error)) = (make_pipe()?, make_pipe()?, make_pipe()?);
    let ours = Ours::Pipes { input: our_input, output: our_output, error: our_error };
    Ok((Streams::Pipes { input, output, error }, ours))
}

/// Gives the agent its ends. Of them this process keeps a terminal: it hangs up only when both have closed it.
fn hand_over(ours: Ours, reply: &OwnedFd) -> Result<Option<OwnedFd>, Failure> {
    let send = |kind: u8, descriptor: &OwnedFd| {
        let sent = send_with_fd(reply.as_fd(), &[kind], Some(descriptor.as_fd()));
        sent.map_err(|error| Failure::io("handing over a command", &error))
    };
    match ours {
        Ours::Terminal { console } => {
            let terminal = embedded::terminal::receive(&console)?;
            send(stream::TERMINAL, &terminal)?;
            Ok(Some(terminal))
        }
        Ours::Pipes { input, output, error } => {
            send(stream::INPUT, &input)?;
            send(stream::OUTPUT, &output)?;
            send(stream::ERROR, &error)?;
            Ok(None)
        }
    }
}

/// Until the command ends or nobody is interested any more.
fn watch(pid: Pid, reply: &OwnedFd, mut terminal: Option<OwnedFd>) -> Result<Option<i32>, Failure> {
    let raw = rustix::process::Pid::from_raw(pid.as_raw())
        .ok_or_else(|| Failure::Runtime("the command has no process".to_owned()))?;
    let ended = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
        .map_err(|error| Failure::io("watching a command", &error.into()))?;
    loop {
        // Nothing is ever sent to us here: readable means closed.
        let mut polled = [PollFd::new(&ended, PollFlags::IN), PollFd::new(reply, PollFlags::IN)];
        let _ = poll(&mut polled, None);
        let [has_ended, unwanted] = polled.map(|fd| !fd.revents().is_empty());
        if unwanted && !has_ended {
            // When it ends, its children are somebody else's, and may be in sessions of their own.
            let tree = process::tree(pid.as_raw().unsigned_abs());
            // Not before: a command that the terminal's end kills has no children any more. On pipes it is told by the
            // signal alone.
            drop(terminal.take());
            let _ = kill(pid, Signal::SIGHUP);
            process::wait_for_end(&ended, HANG_UP_PATIENCE);
            process::kill_known(&tree);
        }
        if has_ended || unwanted {
            return Ok(end(pid));
        }
    }
}

/// Kills what is left and takes the exit code.
fn end(pid: Pid) -> Option<i32> {
    // Before the leader is reaped: until then its number stands for its session.
    process::kill_session(pid.as_raw().unsigned_abs());
    exit_code(pid)
}

/// What a shell expects beyond the container's own environment.
pub(super) fn complete_environment(environment: &mut Vec<String>) {
    if !environment.iter().any(|entry| entry.starts_with("TERM=")) {
        environment.push("TERM=xterm-256color".to_owned());
    }
}
