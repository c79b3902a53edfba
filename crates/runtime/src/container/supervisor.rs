//! The shim of one container: starts it, writes down what it prints, waits for its end, records it, is gone.
//!
//! A shim holds the write end of its bundle's FIFO for as long as the container is its business. Whoever opens the
//! read end knows without any pid whether it is: end of file means that the exit record is written, or, if there is
//! none, that the shim was killed. A killed shim cannot take its container with it; the agent, which sees the FIFO
//! close without a record, kills what is in the container's cgroup and reports it lost. Nothing runs unobserved.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    sys::{
        signal::{SigSet, SigmaskHow, Signal, pthread_sigmask},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags},
    net::{AddressFamily, SocketFlags, SocketType},
    pipe::{PipeFlags, pipe_with},
};

use super::{
    ContainerSpec, ExitRecord,
    cgroup::{Cgroup, settings},
    embedded::{self, Launched, Stdio},
    facts,
    held_env::HeldEnv,
    logs::{LogWriter, Stream},
    message::{self, Failure, Reply, Runtime, State, file},
    oci_binary, process, program,
    spec::devices,
    sys,
    zygote::{self, Inheritance},
};

/// How long what is left in a container's cgroup may take to die after SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How much is read from a pipe at once.
const READ_BYTES: usize = 16 * 1024;

/// Runs the shim in a process forked for it.
pub(super) fn run(bundle: PathBuf, held_bytes: usize, reply: OwnedFd, inheritance: &Inheritance) -> ! {
    let held = HeldEnv::receive(&reply, held_bytes).map_err(|error| Failure::io("taking over secrets", &error));
    let status = match held.and_then(|held| Shim::start(&bundle, held, inheritance)) {
        Ok((shim, state)) => {
            zygote::answer(&reply, &Reply::Started(state));
            drop(reply);
            shim.supervise();
            0
        }
        Err(failure) => {
            zygote::answer(&reply, &Reply::Failed(failure));
            1
        }
    };
    std::process::exit(status)
}

struct Shim {
    bundle: PathBuf,
    /// Held, never written.
    alive: OwnedFd,
    /// For the commands that are run in the container later.
    _held_env: Option<OwnedFd>,
    cgroup: Cgroup,
    oom_kills_before: u64,
    pid: Pid,
    started_at_ms: u64,
    signals: SignalFd,
    /// Keeps the container's mounts until the exit is reported: taking them down may wait for the disk.
    mounts: Option<File>,
    outputs: Vec<Output>,
    /// The writing end of a standard input that stays open; held, never written.
    stdin: Option<OwnedFd>,
    log: LogWriter,
    oci: Option<oci_binary::OciContainer>,
}

struct Output {
    stream: Stream,
    /// `None` after its end.
    pipe: Option<OwnedFd>,
}

impl Shim {
    fn start(bundle: &Path, held: HeldEnv, inheritance: &Inheritance) -> Result<(Self, State), Failure> {
        let signals = detach(bundle)?;
        let mut spec: ContainerSpec = message::read_json(&bundle.join(file::SPEC))
            .ok_or_else(|| Failure::Runtime("the container's specification is not readable".to_owned()))?;
        let kept = held.keep().map_err(|error| Failure::io("keeping secrets", &error))?;
        held.merge_into(&mut spec.env);
        let alive = OpenOptions::new()
            // For reading too: opening only the writing end of a FIFO waits for a reader.
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(bundle.join(file::ALIVE))
            .map_err(|error| Failure::io("opening the bundle", &error))?;
        let log = LogWriter::open(spec.log.clone())
            .map_err(|error| Failure::io(format!("opening log file {}", spec.log.path.display()), &error))?;
        let cgroup = create_cgroup(&spec, inheritance)?;
        let oom_kills_before = cgroup.oom_kills();
        let started = start_in_child(bundle, &spec, &cgroup, inheritance, &alive);
        let Started { launched, outputs, stdin } = match started {
            Ok(started) => started,
            Err(failure) => {
                cgroup.kill(KILL_PATIENCE);
                let failure = explain(failure, &cgroup, oom_kills_before);
                return Err(failure);
            }
        };
        let pid = launched.pid.unsigned_abs();
        let state = State {
            pid,
            start_time: process::start_time(pid).unwrap_or_default(),
            started_at_ms: message::milliseconds(SystemTime::now()),
            shim_pid: std::process::id(),
            shim_start_time: process::start_time(std::process::id()).unwrap_or_default(),
            holds_env: kept.is_some(),
        };
        let oci = match &inheritance.config.runtime {
            Runtime::Embedded => None,
            Runtime::OciBinary(program) => Some(oci_binary::OciContainer::new(program.clone(), bundle)),
        };
        let shim = Self {
            bundle: bundle.to_owned(),
            alive: alive.into(),
            _held_env: kept,
            cgroup,
            oom_kills_before,
            pid: Pid::from_raw(launched.pid),
            started_at_ms: state.started_at_ms,
            signals,
            mounts: File::open(format!("/proc/{pid}/ns/mnt")).ok(),
            outputs,
            stdin,
            log,
            oci,
        };
        let written = serde_json::to_vec(&state)
            .map_err(io::Error::from)
            .and_then(|text| message::write_atomically(bundle, file::STATE, &text))
            .and_then(|()| message::reserve_exit_record(bundle));
        if let Err(error) = written {
            shim.cgroup.kill(KILL_PATIENCE);
            return Err(Failure::io("recording the start", &error));
        }
        Ok((shim, state))
    }

    fn supervise(mut self) {
        let status = self.copy_until_end();
        let finished_at_ms = message::milliseconds(SystemTime::now());
        // With a pid namespace of its own the kernel has killed the rest already; in a shared one it is our work.
        self.cgroup.kill(KILL_PATIENCE);
        self.drain();
        let record = ExitRecord {
            exit_code: status,
            oom_killed: self.cgroup.oom_kills() > self.oom_kills_before,
            started_at_ms: self.started_at_ms,
            finished_at_ms,
        };
        while message::write_exit_record(&self.bundle, &record).is_err() {
            // A full disk (the record's space is reserved, but still) or a failing one: until it is written the
            // container counts as running, which is better than an exit code that nobody will ever know.
            std::thread::sleep(Duration::from_secs(1));
        }
        if let Some(oci) = &self.oci {
            oci.delete();
        }
        drop(self.stdin);
        drop(self.alive);
        drop(self.mounts);
    }

    /// Copies output to the log until the container's first process has ended; returns its exit code.
    fn copy_until_end(&mut self) -> i32 {
        loop {
            if let Some(status) = self.reap() {
                return status;
            }
            let signals = self.signals.as_fd();
            let mut polled = vec![PollFd::from_borrowed_fd(signals, PollFlags::IN)];
            for output in &self.outputs {
                if let Some(pipe) = &output.pipe {
                    polled.push(PollFd::new(pipe, PollFlags::IN));
                }
            }
            let _ = rustix::event::poll(&mut polled, None);
            let signalled = !polled[0].revents().is_empty();
            if signalled {
                let _ = self.signals.read_signal();
            }
            self.copy_once();
        }
    }

    /// Collects ended children: the container's first process, and whatever was orphaned to us.
    fn reap(&self) -> Option<i32> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.pid => return Some(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.pid => return Some(128 + signal as i32),
                Ok(WaitStatus::StillAlive) => return None,
                // No child left, and the one we wait for was not among those that ended: it was never ours.
                Err(nix::errno::Errno::ECHILD) => return Some(255),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// One read from each pipe that has something.
    fn copy_once(&mut self) -> bool {
        let mut buffer = [0; READ_BYTES];
        let mut copied = false;
        for output in &mut self.outputs {
            let Some(pipe) = &output.pipe else { continue };
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => output.pipe = None,
                Ok(length) => {
                    let now = SystemTime::now();
                    output.stream.push(&buffer[..length], |name, line| self.log.line(name, line, now));
                    copied = true;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                // EIO is the end of a terminal.
                Err(_) => output.pipe = None,
            }
        }
        self.log.flush();
        copied
    }

    /// What is still in the pipes. Every process of the container is dead, so what is there now is all; somebody
    /// else may still hold a writing end, for whose end we do not wait.
    fn drain(&mut self) {
        while self.copy_once() {}
        let now = SystemTime::now();
        for output in &mut self.outputs {
            output.stream.finish(|name, line| self.log.line(name, line, now));
        }
        self.log.flush();
    }
}

/// Leaves the zygote: own session, own name, no inherited streams, children that can be waited for.
fn detach(bundle: &Path) -> Result<SignalFd, Failure> {
    let failure = |error: io::Error| Failure::io("starting the shim", &error);
    let _ = rustix::process::setsid();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failure)?;
    for stream in 0..3 {
        nix::unistd::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), stream).map_err(|error| failure(error.into()))?;
    }
    program::own_children().map_err(failure)?;
    // Nothing but SIGKILL ends a shim: not the agent's terminal, not a service manager's SIGTERM.
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).map_err(|error| failure(error.into()))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| failure(error.into()))?;
    let name = bundle.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Ok(name) = std::ffi::CString::new(format!("shim:{name}")) {
        let _ = rustix::thread::set_name(&name);
    }
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| failure(error.into()))
}

fn create_cgroup(spec: &ContainerSpec, inheritance: &Inheritance) -> Result<Cgroup, Failure> {
    let hierarchies = &inheritance.hierarchies;
    let cgroup = hierarchies.cgroup(&format!("{}/{}", spec.task_cgroup, spec.id));
    cgroup.create(&settings::container_settings(hierarchies.version(), &spec.limits)).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::ENOMEM) => Failure::NoResources(format!("creating a cgroup: {error}")),
            _ => Failure::Spec(format!("creating a cgroup: {error}")),
        }
    })?;
    // An OCI binary is told the rules and installs its own.
    if inheritance.config.runtime == Runtime::Embedded {
        let rules = devices::rules(spec.privileged, &facts::devices(spec)?);
        cgroup.restrict_devices(rules.as_deref()).map_err(|error| Failure::io("restricting devices", &error))?;
    }
    Ok(cgroup)
}

struct Started {
    launched: Launched,
    outputs: Vec<Output>,
    stdin: Option<OwnedFd>,
}

/// Starts the container in a process forked for it.
fn start_in_child(
    bundle: &Path,
    spec: &ContainerSpec,
    cgroup: &Cgroup,
    inheritance: &Inheritance,
    alive: &File,
) -> Result<Started, Failure> {
    let failure = |error: rustix::io::Errno| Failure::io("making a pipe", &error.into());
    let (stdin, stdin_writer) = if spec.stdin_open && !spec.terminal {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(failure)?;
        (reader, Some(writer))
    } else {
        let null = File::open("/dev/null").map_err(|error| Failure::io("opening /dev/null", &error))?;
        (null.into(), None)
    };
    let (stdout_reader, stdout) = pipe_with(PipeFlags::CLOEXEC).map_err(failure)?;
    let (stderr_reader, stderr) = pipe_with(PipeFlags::CLOEXEC).map_err(failure)?;
    let stdio = Stdio { stdin, stdout, stderr };
    let launched = match &inheritance.config.runtime {
        Runtime::Embedded => embedded::start((spec, bundle), cgroup, inheritance, stdio)?,
        Runtime::OciBinary(program) => {
            let oci = oci_binary::OciContainer::new(program.clone(), bundle);
            start_oci_binary(&oci, &inheritance.config.program, spec, stdio, alive)?
        }
    };
    let outputs = match &launched.console {
        Some(console) => {
            let console = console.try_clone().map_err(|error| Failure::io("opening the terminal", &error))?;
            vec![output("stdout", console)?]
        }
        None => vec![output("stdout", stdout_reader)?, output("stderr", stderr_reader)?],
    };
    Ok(Started { launched, outputs, stdin: stdin_writer })
}

/// Has the OCI binary called in a child that ends right afterwards: the container ends up a child of ours, and nothing
/// of what the call needs stays with us.
fn start_oci_binary(
    oci: &oci_binary::OciContainer,
    gantry: &Path,
    spec: &ContainerSpec,
    stdio: Stdio,
    alive: &File,
) -> Result<Launched, Failure> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| Failure::io("making a socket", &error.into()))?;
    match sys::fork().map_err(|error| Failure::io("starting a process", &error))? {
        sys::Forked::Child => {
            close(alive);
            drop(ours);
            report(&theirs, oci_binary::launch(oci, gantry, spec, stdio));
            std::process::exit(0)
        }
        sys::Forked::Parent(child) => {
            drop((theirs, stdio));
            let launched = await_report(&ours);
            // Only now: until then the container's first process is its child, not ours.
            let _ = waitpid(child, None);
            launched
        }
    }
}

/// Closes a descriptor that the other side of a fork keeps using.
fn close(file: &File) {
    let _ = nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(file));
}

fn output(name: &'static str, pipe: OwnedFd) -> Result<Output, Failure> {
    rustix::io::ioctl_fionbio(&pipe, true).map_err(|error| Failure::io("reading output", &error.into()))?;
    Ok(Output { stream: Stream::new(name), pipe: Some(pipe) })
}

#[derive(serde::Serialize, serde::Deserialize)]
enum Report {
    Launched(i32),
    Failed(Failure),
}

fn report(socket: &OwnedFd, result: Result<Launched, Failure>) {
    let (report, console) = match result {
        Ok(launched) => (Report::Launched(launched.pid), launched.console),
        Err(failure) => (Report::Failed(failure), None),
    };
    if let Ok(text) = serde_json::to_vec(&report) {
        let _ = zygote::send_with_fd(socket.as_fd(), &text, console.as_ref().map(AsFd::as_fd));
    }
}

fn await_report(socket: &OwnedFd) -> Result<Launched, Failure> {
    let mut buffer = vec![0; 64 * 1024];
    let (length, console) = loop {
        match zygote::receive_with_fd(socket.as_fd(), &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io("waiting for the start", &error)),
            Ok(received) => break received,
        }
    };
    match serde_json::from_slice(&buffer[..length]) {
        Ok(Report::Launched(pid)) => Ok(Launched { pid, console }),
        Ok(Report::Failed(failure)) => Err(failure),
        Err(_) => Err(Failure::Runtime("the starting process ended without a word".to_owned())),
    }
}

/// A start that failed because the kernel killed a process of it for memory says so, in runc's words.
fn explain(failure: Failure, cgroup: &Cgroup, oom_kills_before: u64) -> Failure {
    if cgroup.oom_kills() > oom_kills_before {
        return Failure::Spec("container init was OOM-killed (memory limit too low?)".to_owned());
    }
    failure
}
