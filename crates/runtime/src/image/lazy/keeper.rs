//! `gantry shim layer DIRECTORY`: the process that an image depends on while it is mounted and not (or was not) whole.
//!
//! It holds the connection to the kernel and does nothing else as long as chunks are missing: a worker, a process of
//! its own, answers and fetches. A worker that dies is replaced, and the kernel asks the new one everything that the old
//! one had not answered; whoever reads waits a moment longer. When the image is whole the keeper answers by itself, a
//! single thread that reads a file, until the last container that began on the unfinished image has ended. It outlives
//! the agent, as shims do.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{Orders, fuse, fuse::Asked, local, mounts};
use crate::image::unpack::IMAGE;

/// What the agent reads when the image is mounted.
pub(super) const READY: &str = "ready";
/// Exit code of a worker that has fetched everything.
pub(super) const WHOLE: i32 = 10;
/// Exit code of a worker whose image nobody uses any more.
pub(super) const UNUSED: i32 = 11;
/// Before a worker that failed is replaced; doubles from there.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Of the agent's, what a worker needs to reach a registry.
const ENVIRONMENT: [&str; 8] =
    ["SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"];

/// Starts a keeper for `directory`. The orders go through a pipe, because there is a password in them.
pub(super) fn spawn(program: &Path, directory: &Path, orders: &Orders) -> io::Result<Child> {
    let mut child = command(program, "layer", directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    give_orders(&mut child, orders)?;
    Ok(child)
}

fn command(program: &Path, role: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["shim", role]).arg(directory).env_clear();
    command.envs(ENVIRONMENT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

fn give_orders(child: &mut Child, orders: &Orders) -> io::Result<()> {
    let Some(mut pipe) = child.stdin.take() else { return Ok(()) };
    pipe.write_all(&serde_json::to_vec(orders)?)
}

/// The orders on standard input.
pub(super) fn take_orders() -> io::Result<Orders> {
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Runs until the image is in use nowhere.
pub(super) fn run(directory: &Path, orders: &Orders) -> io::Result<()> {
    let folder = OwnedFd::from(File::open(directory)?);
    // Stays right when the layer gets its place.
    let path = mounts::in_directory(folder.as_fd(), "");
    let image = File::open(path.join(IMAGE))?;
    local::claim(&image)?;
    let (connection, mount) = mounts::make_fuse()?;
    let mut worker = start_worker(&path, orders, &connection)?;
    if let Err(error) = mounts::mount_image(mount.as_fd(), folder.as_fd()) {
        let _ = worker.kill();
        let _ = worker.wait();
        return Err(error);
    }
    // From here on the mounted image keeps it.
    drop(mount);
    tell(READY);
    let mut pause = PAUSE;
    let mut worker = Some(worker);
    loop {
        let ended = worker.map(|mut worker| worker.wait()).transpose()?;
        match ended.and_then(|ended| ended.code()) {
            Some(UNUSED) => return Ok(()),
            Some(WHOLE) => break,
            // It may have come to its end and not to telling.
            _ if local::is_whole(&path) => break,
            _ if is_unused(&connection) => return Ok(()),
            // Nothing can be fetched into a layer that was deleted. Whoever still reads it is told so, or would wait for
            // ever, an unmount too.
            _ if rustix::fs::fstat(&folder)?.st_nlink == 0 => return Ok(()),
            _ => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
        let started = start_worker(&path, orders, &connection);
        tracing::warn!(?ended, error = ?started.as_ref().err(), "the worker of an image ended; another one is started");
        worker = started.ok();
    }
    if let Err(error) = mounts::switch_to_file(folder.as_fd()) {
        // New containers then share the mount with those that run, and this process stays for longer.
        tracing::debug!(%error, layer = %directory.display(), "an image that is whole was not mounted anew");
    }
    drop(folder);
    serve(&connection, &image)
}

/// Whether the kernel has ended the connection, which it does when nobody has the file any more.
fn is_unused(connection: &File) -> bool {
    let mut polled = [PollFd::new(connection, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
        .is_ok_and(|_| polled[0].revents().contains(PollFlags::ERR))
}

/// Tells the agent, if it still listens.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A worker for `directory`, a path through a descriptor of ours; it finds the connection where its standard output would be.
fn start_worker(directory: &Path, orders: &Orders, connection: &File) -> io::Result<Child> {
    let directory = &std::fs::read_link(directory.as_os_str())?;
    // The very program that this is, whatever was installed meanwhile.
    let mut command = command(Path::new("/proc/self/exe"), "layer-worker", directory);
    let mut worker = command.stdin(Stdio::piped()).stdout(connection.try_clone()?).spawn()?;
    give_orders(&mut worker, orders)?;
    Ok(worker)
}

/// Answers from the whole image.
fn serve(connection: &File, image: &File) -> io::Result<()> {
    let length = image.metadata()?.len();
    // What the worker had read and not answered.
    write(connection, &[&fuse::resend()]);
    let mut buffer = vec![0; fuse::REQUEST_BYTES];
    while let Some(request) = next(connection, &mut buffer)? {
        match request.asked {
            Asked::Read { offset, size } => {
                answer_read(connection, request.unique, local::read(image, length, offset, size))
            }
            _ => {
                if let Some(answer) = fuse::answer(&request, length) {
                    write(connection, &[&answer]);
                }
            }
        }
    }
    Ok(())
}

/// The kernel's next request; `None` when nobody has the file any more.
pub(super) fn next(mut connection: &File, buffer: &mut [u8]) -> io::Result<Option<fuse::Request>> {
    loop {
        match connection.read(buffer) {
            Ok(length) => {
                if let Some(request) = buffer.get(..length).and_then(fuse::parse) {
                    return Ok(Some(request));
                }
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NODEV) => return Ok(None),
                // The request was taken back, or the wait was interrupted.
                Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                _ => return Err(error),
            },
        }
    }
}

pub(super) fn answer_read(connection: &File, unique: u64, read: io::Result<Vec<u8>>) {
    match read {
        Ok(bytes) => write(connection, &[&fuse::header(unique, bytes.len()), &bytes]),
        Err(error) => {
            tracing::error!(%error, "an image on this host cannot be read");
            write(connection, &[&fuse::failure(unique, libc::EIO)]);
        }
    }
}

/// An answer that the kernel does not take is to a request that it took back.
pub(super) fn write(connection: &File, parts: &[&[u8]]) {
    let parts: Vec<io::IoSlice<'_>> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
    let _ = rustix::io::writev(connection, &parts);
}
