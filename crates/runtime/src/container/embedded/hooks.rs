//! Hooks: programs of the host that finish a container's file system before its program runs. CDI specifications of
//! GPUs name some, that put links and the loader's cache in order for the driver's libraries.
//!
//! By the OCI runtime specification a `createContainer` hook is a path of the host and runs in the container's
//! namespaces before its root becomes its root. A container's mount namespace here never holds a mount of the host
//! (`empty.rs`), so the hook runs in a copy of the host's, which shows the container's root where the bundle says it is.
//! Both are the same mounts, and what the hook mounts below it arrives in the container: for as long as hooks run the
//! container's mounts are shared between the two. The hook is in the container's network, ipc and uts namespaces, and
//! not in its pid namespace and control groups.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
};

use nix::{sys::wait::waitpid, unistd::Pid};
use rustix::{
    event::{PollFd, PollFlags, poll},
    mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags},
    net::{RecvFlags, SendFlags},
    pipe::{PipeFlags, pipe_with},
    process::PidfdFlags,
};
use serde_json::json;

use super::super::{ContainerSpec, Hook, message::Failure, process, program, sys};

/// What is kept of what a hook printed.
const OUTPUT_BYTES_MAX: u64 = 4096;

/// The container's side: says that its file system is there, and waits until the hooks have run.
pub(super) fn await_hooks(socket: &OwnedFd) -> Result<(), Failure> {
    let failure = |error: rustix::io::Errno| Failure::io("waiting for hooks", &error.into());
    rustix::net::send(socket, b"r", SendFlags::empty()).map_err(failure)?;
    loop {
        match rustix::net::recv(socket, &mut [0_u8; 1], RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failure(error)),
            // The other side says why.
            Ok((0, _)) => std::process::exit(1),
            Ok(_) => return Ok(()),
        }
    }
}

/// The shim's side: runs the hooks when the container is ready for them. A container that failed before has said so
/// elsewhere.
pub(super) fn run_when_ready(
    spec: &ContainerSpec,
    bundle: &Path,
    container: Pid,
    socket: &OwnedFd,
) -> Result<(), Failure> {
    let failure = |error: rustix::io::Errno| Failure::io("waiting for the container", &error.into());
    loop {
        match rustix::net::recv(socket, &mut [0_u8; 1], RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failure(error)),
            Ok((0, _)) => return Ok(()),
            Ok(_) => break,
        }
    }
    run(spec, bundle, container)?;
    rustix::net::send(socket, b"g", SendFlags::empty()).map(drop).map_err(failure)
}

/// In a process forked for it, which changes its namespaces. It is not waited for longer than the container is there.
fn run(spec: &ContainerSpec, bundle: &Path, container: Pid) -> Result<(), Failure> {
    let failure = |error: io::Error| Failure::io("running hooks", &error);
    let (said, say) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failure(error.into()))?;
    match sys::fork().map_err(failure)? {
        sys::Forked::Child => {
            let (say, why) = match keep_only(&say) {
                Ok(say) => (say, run_all(spec, bundle, container).err().unwrap_or_default()),
                Err(error) => (say, format!("preparing hooks: {error}")),
            };
            let _ = File::from(say).write_all(why.as_bytes());
            std::process::exit(0)
        }
        sys::Forked::Parent(child) => {
            drop(say);
            if !outlived_by(container, &said).map_err(failure)? {
                process::kill_tree(child.as_raw().unsigned_abs());
                let _ = waitpid(child, None);
                return Err(Failure::Runtime("the container's process ended while its hooks ran".to_owned()));
            }
            let mut why = String::new();
            let read = File::from(said).read_to_string(&mut why);
            let ended = waitpid(child, None);
            read.map_err(failure)?;
            match ended {
                Ok(nix::sys::wait::WaitStatus::Exited(_, 0)) if why.is_empty() => Ok(()),
                _ if why.is_empty() => Err(Failure::Runtime("the process that runs hooks was killed".to_owned())),
                _ => Err(Failure::Runtime(why)),
            }
        }
    }
}

/// Waits for word from who runs hooks; false when the container ends first: whoever removes it kills what is in its
/// control group, where hooks are not.
fn outlived_by(container: Pid, said: &OwnedFd) -> io::Result<bool> {
    let ended = process::open_child(container.as_raw().unsigned_abs())?;
    loop {
        let mut polled = [PollFd::new(said, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match polled.map(|fd| !fd.revents().is_empty()) {
            [true, _] => return Ok(true),
            [false, true] => return Ok(false),
            [false, false] => {}
        }
    }
}

/// Closes what else a process forked from the shim has: it would keep open what says that the shim lives, and the
/// socket that it answers on. Nobody may use or drop the old descriptors, which is why the caller never returns.
fn keep_only(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    const KEPT: i32 = 3;
    let moved = fcntl(descriptor.as_raw_fd(), FcntlArg::F_DUPFD_CLOEXEC(KEPT + 1))?;
    // A shim may have anything at these numbers.
    let null = File::open("/dev/null")?.into_raw_fd();
    for stream in 0..KEPT {
        nix::unistd::dup2(null, stream)?;
    }
    nix::unistd::dup3(moved, KEPT, OFlag::O_CLOEXEC)?;
    sys::close_from(KEPT + 1);
    Ok(sys::inherited(KEPT))
}

fn run_all(spec: &ContainerSpec, bundle: &Path, container: Pid) -> Result<(), String> {
    program::reset_signals();
    let directory = bundle.join("hooks");
    let root = directory.join("rootfs");
    let bundled = fs::create_dir_all(&root).and_then(|()| {
        // Without the environment, which may hold secrets.
        let configuration = json!({
            "ociVersion": "1.0.2",
            "root": {"path": root, "readonly": spec.readonly_rootfs},
            "hostname": spec.hostname,
        });
        fs::write(directory.join("config.json"), configuration.to_string())
    });
    bundled.and_then(|()| show_root(container, &root)).map_err(|error| format!("preparing hooks: {error}"))?;
    let state = json!({
        "ociVersion": "1.0.2",
        "id": spec.id,
        "status": "creating",
        "pid": container.as_raw(),
        "bundle": directory,
    });
    // A file, not a pipe: a hook need not read it.
    fs::write(directory.join("state"), state.to_string()).map_err(|error| format!("preparing hooks: {error}"))?;
    for (number, hook) in spec.hooks.iter().enumerate() {
        execute(hook, &directory)
            .map_err(|why| format!("error running createContainer hook #{number} ({}): {why}", hook.path.display()))?;
    }
    Ok(())
}

/// Leaves the host's mount namespace for a copy in which the container's root is mounted on `place`.
fn show_root(container: Pid, place: &Path) -> io::Result<()> {
    let theirs = File::open(format!("/proc/{container}/ns/mnt"))?;
    let raw = rustix::process::Pid::from_raw(container.as_raw()).ok_or_else(|| io::Error::other("no process"))?;
    let handle = rustix::process::pidfd_open(raw, PidfdFlags::empty())?;
    #[expect(deprecated, reason = "its replacement is unsafe only for CLONE_FILES, which is not used")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let ours = File::open("/proc/self/ns/mnt")?;
    sys::join_namespaces(theirs.as_fd(), libc::CLONE_NEWNS)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, "/", flags);
    // Coming back also restores our own root and directory.
    sys::join_namespaces(ours.as_fd(), libc::CLONE_NEWNS)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree?, "", rustix::fs::CWD, place, flags)?;
    sys::join_namespaces(handle.as_fd(), libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)
}

/// Runs one, for as long as it may take.
fn execute(hook: &Hook, directory: &Path) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let printed = directory.join("output");
    let output = File::create(&printed).map_err(text)?;
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    command.current_dir(directory).stdin(File::open(directory.join("state")).map_err(text)?);
    command.stdout(output.try_clone().map_err(text)?).stderr(output);
    let mut child = command.spawn().map_err(text)?;
    let handle = process::open_child(child.id());
    let ended = handle.as_ref().is_ok_and(|handle| process::wait_for_end(handle, hook.timeout));
    if !ended {
        process::kill_tree(child.id());
    }
    let status = child.wait().map_err(text)?;
    // Without a handle it cannot be waited for in time.
    handle.map_err(text)?;
    if !ended {
        return Err(format!("it did not end within {} s", hook.timeout.as_secs()));
    }
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    if let Ok(file) = File::open(&printed) {
        let _ = file.take(OUTPUT_BYTES_MAX).read_to_end(&mut said);
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&said).trim()))
}
