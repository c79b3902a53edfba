//! Starts a container with the library, in a process that is forked for it and ends right after.
//!
//! The process is in the container's control groups and in a mount namespace of its own before the library is
//! called. The container's first process ends up a child of the shim, which is our parent and a subreaper.

use std::{
    collections::BTreeSet,
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
};

use libcontainer::{container::builder::ContainerBuilder, syscall::syscall::SyscallType};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{
    ContainerSpec,
    cgroup::Cgroup,
    diagnostics::Diagnostics,
    facts,
    message::{Failure, file},
    program::{self, Program, ProgramExecutor},
    rootfs,
    seccomp::Filter,
    spec::{self, Enforcement, Facts},
    user::Identity,
};

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

/// The filter of a container with these capabilities; none for a privileged one.
pub(super) fn filter_for(
    spec: &ContainerSpec,
    capabilities: &BTreeSet<String>,
    compiled: &super::zygote::CompiledFilters,
) -> Result<Option<Filter>, Failure> {
    if spec.privileged {
        return Ok(None);
    }
    compiled.get(capabilities).map(Some).map_err(|error| Failure::Runtime(error.to_string()))
}

/// Everything up to the executed program.
pub(super) fn launch(
    bundle: &Path,
    spec: &ContainerSpec,
    cgroup: &Cgroup,
    stdio: Stdio,
    filters: &super::zygote::CompiledFilters,
) -> Result<Launched, Failure> {
    let scratch = bundle.join(file::RUN);
    facts::check_mount_sources(spec)?;
    facts::check_sysctls(spec)?;
    rootfs::enter_private_namespace()?;
    rootfs::mount_scratch(&scratch)?;
    rootfs::mount_root(&spec.rootfs)?;
    let root = &spec.rootfs.mount_point;
    let facts = Facts {
        identity: facts::identity(&spec.user, root)?,
        devices: facts::devices(spec)?,
        cgroup_mounts: facts::cgroup_mounts(spec, cgroup, &scratch)?,
        host_has_mqueue: facts::host_has_mqueue(),
        shared_shm: facts::shared_shm(spec, &scratch.join("shm"))?,
        capabilities: spec::capabilities::capabilities(spec, &facts::available_capabilities())?,
        enforcement: Enforcement::Ours,
    };
    // Below a mount of the caller it cannot be made here, but then it is the caller's directory that should have it.
    rootfs::create_directory_in_root(root, spec::working_directory(spec))
        .map_err(|error| Failure::io(format!("mkdir {}", spec.working_dir), &error))?;
    let configuration = spec::oci_configuration(spec, &facts)?;
    std::fs::write(scratch.join("config.json"), configuration.to_string())
        .map_err(|error| Failure::io("writing the configuration", &error))?;
    rootfs::hide_control_groups()?;
    let filter = filter_for(spec, &facts.capabilities, filters)?;
    run_library(&scratch, spec, &facts.identity, facts.capabilities, filter, stdio)
}

fn run_library(
    scratch: &Path,
    spec: &ContainerSpec,
    identity: &Identity,
    capabilities: BTreeSet<String>,
    filter: Option<Filter>,
    stdio: Stdio,
) -> Result<Launched, Failure> {
    let (reported, report) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| Failure::io("making a pipe", &error.into()))?;
    let program = Program {
        args: spec.args.clone(),
        env: spec::environment(spec, identity),
        uid: identity.uid,
        capabilities,
        filter,
        init: spec.init_process,
        report,
    };
    let executor = Rc::new(program);
    let diagnostics = Diagnostics::collect()?;
    let console = if spec.terminal { Some(Console::listen(scratch)?) } else { None };
    let mut builder = ContainerBuilder::new("c".to_owned(), SyscallType::default())
        .with_root_path(scratch)
        .map_err(|error| library_failure(&error))?
        .with_executor(ProgramExecutor(Rc::clone(&executor)))
        .with_console_socket(console.as_ref().map(|console| console.path.clone()));
    if !spec.terminal {
        builder = builder.with_stdin(stdio.stdin).with_stdout(stdio.stdout).with_stderr(stdio.stderr);
    }
    let built = builder.as_init(scratch).with_systemd(false).with_detach(true).build();
    let mut container = match built {
        Ok(container) => container,
        Err(error) => {
            drop(executor);
            // Our own last step knows better than the library what was wrong with the program.
            return match program::await_execution(reported) {
                Err(failure) => Err(failure),
                Ok(()) => Err(library_failure(&error).because(diagnostics.first())),
            };
        }
    };
    // The library keeps a clone of the executor in nothing that outlives `build`: this was the last writing end here.
    drop(executor);
    container.start().map_err(|error| library_failure(&error))?;
    program::await_execution(reported)?;
    let pid = container
        .pid()
        .map(|pid| pid.as_raw())
        .ok_or_else(|| Failure::Runtime("the library reports no process".to_owned()))?;
    let console = console.map(|console| console.receive()).transpose()?;
    Ok(Launched { pid, console })
}

/// The whole chain of reasons, since the library's outermost sentence says little.
fn library_failure(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    if text.contains("ENOSPC") || text.contains("No space left on device") {
        return Failure::NoSpace;
    }
    Failure::Runtime(text)
}

/// Where the library sends the terminal's other side.
pub(super) struct Console {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
}

impl Console {
    pub(super) fn listen(scratch: &Path) -> Result<Self, Failure> {
        // Socket paths are limited to 107 bytes: bind by a short path through /proc.
        let directory = File::open(scratch).map_err(|error| Failure::io("opening the bundle", &error))?;
        let path = scratch.join("console.sock");
        let short = format!("/proc/self/fd/{}/console.sock", std::os::fd::AsRawFd::as_raw_fd(&directory));
        let listener = std::os::unix::net::UnixListener::bind(short)
            .map_err(|error| Failure::io("listening for the terminal", &error))?;
        Ok(Self { path, listener })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn receive(self) -> Result<OwnedFd, Failure> {
        let failure = |error: std::io::Error| Failure::io("receiving the terminal", &error);
        let (stream, _) = self.listener.accept().map_err(failure)?;
        let (_, fd) = super::zygote::receive_with_fd(stream.as_fd(), &mut [0; 256]).map_err(failure)?;
        fd.ok_or_else(|| Failure::Runtime("the terminal did not arrive".to_owned()))
    }
}
