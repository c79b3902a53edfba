//! The process of a session: bytes in, bytes out, its end.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use gantry_api::data_channel::message::payload_type;
use gantry_runtime::container::{RunningSession, SessionStreams, TerminalSize, set_terminal_size};
use tokio::{
    io::unix::AsyncFd,
    sync::{mpsc, watch},
};

/// Read at a time, and how many such pieces wait for the client.
const READ_BYTES: usize = 32 * 1024;
const PIECES_WAITING_MAX: usize = 4;
/// Pieces of input that wait for the process.
const INPUTS_WAITING_MAX: usize = 16;
/// After the end of the process its output ends, unless somebody else holds on to it: then no longer than this.
const REST_TIME_MAX: Duration = Duration::from_millis(500);

/// What a process printed: [`payload_type::OUTPUT`] or [`payload_type::STDERR`], and the bytes.
pub(super) type Piece = (u32, Vec<u8>);

/// What a process did.
pub(super) enum ProcessEvent {
    /// It printed.
    Output(Piece),
    /// It took the oldest input, or will never take any.
    InputTaken,
    /// It is over, and everything it printed was said: its exit code, if that is known.
    Over(Option<i32>),
}

/// A process that runs, or whose last output is still on its way.
pub(super) struct Process {
    running: RunningSession,
    terminal: Option<OwnedFd>,
    output: mpsc::Receiver<Piece>,
    output_ended: bool,
    input: Option<mpsc::Sender<Vec<u8>>>,
    /// Tells the readers that the process ended.
    ended: watch::Sender<bool>,
    exited: Option<Option<i32>>,
}

impl Process {
    /// Takes over what was just started.
    pub(super) fn new(mut running: RunningSession) -> io::Result<Self> {
        let streams = running.streams.take().ok_or_else(|| io::Error::other("the command has no streams"))?;
        let (pieces, output) = mpsc::channel(PIECES_WAITING_MAX);
        let (input, inputs) = mpsc::channel(INPUTS_WAITING_MAX);
        let ended = watch::Sender::new(false);
        let terminal = match streams {
            SessionStreams::Terminal(terminal) => {
                read(terminal.try_clone()?, payload_type::OUTPUT, pieces, &ended)?;
                write(terminal.try_clone()?, inputs)?;
                Some(terminal)
            }
            SessionStreams::Pipes { input, output, error } => {
                read(output, payload_type::OUTPUT, pieces.clone(), &ended)?;
                read(error, payload_type::STDERR, pieces, &ended)?;
                write(input, inputs)?;
                None
            }
        };
        Ok(Self { running, terminal, output, output_ended: false, input: Some(input), ended, exited: None })
    }

    /// The next thing that happens; output only when there is `room` for it. Cancel safe.
    pub(super) async fn next(&mut self, inputs: &mut VecDeque<Vec<u8>>, room: bool) -> ProcessEvent {
        loop {
            if let Some(code) = self.exited
                && self.output_ended
            {
                return ProcessEvent::Over(code);
            }
            let Self { running, terminal, output, output_ended, input, ended, exited } = self;
            let (waiting, mut closes) = (inputs.len(), false);
            tokio::select! {
                piece = output.recv(), if room && !*output_ended => match piece {
                    Some(piece) => return ProcessEvent::Output(piece),
                    None => *output_ended = true,
                },
                permit = reserve(input.as_ref()), if !inputs.is_empty() => {
                    match (permit, inputs.pop_front()) {
                        // The end of input. On a terminal that is the user's to type, so nothing happens there.
                        (Some(_), Some(end)) if end.is_empty() => closes = terminal.is_none(),
                        (Some(permit), Some(bytes)) => permit.send(bytes),
                        // It reads no more: there is nothing to keep it for.
                        _ => inputs.clear(),
                    }
                }
                code = running.wait(), if exited.is_none() => {
                    *exited = Some(code.ok());
                    ended.send_replace(true);
                }
                // Only output is left, and no room for it.
                else => return std::future::pending().await,
            }
            if closes {
                self.input = None;
            }
            if inputs.len() < waiting {
                return ProcessEvent::InputTaken;
            }
        }
    }

    pub(super) fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.terminal {
            // A terminal that is gone has no size.
            let _ = set_terminal_size(terminal, size);
        }
    }
}

async fn reserve(input: Option<&mpsc::Sender<Vec<u8>>>) -> Option<mpsc::Permit<'_, Vec<u8>>> {
    input?.reserve().await.ok()
}

/// Sends on what comes out of a descriptor, in its own task.
fn read(from: OwnedFd, kind: u32, pieces: mpsc::Sender<Piece>, ended: &watch::Sender<bool>) -> io::Result<()> {
    let from = asynchronous(from)?;
    let mut ended = ended.subscribe();
    tokio::spawn(async move {
        let mut buffer = vec![0; READ_BYTES];
        let at_end = async move {
            // An error says that nobody waits for the end any more.
            let _ = ended.wait_for(|ended| *ended).await;
            tokio::time::sleep(REST_TIME_MAX).await;
        };
        let mut at_end = std::pin::pin!(at_end);
        loop {
            let length = tokio::select! {
                length = from.async_io(tokio::io::Interest::READABLE, |fd| fill(fd, &mut buffer)) => length,
                () = &mut at_end => return,
            };
            // EIO is the end of a terminal.
            let Ok(length @ 1..) = length else { return };
            let piece = buffer.get(..length).unwrap_or_default().to_vec();
            if pieces.send((kind, piece)).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// As much as there is and fits: a terminal gives little at a time.
fn fill(from: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(space @ [_, ..]) = buffer.get_mut(filled..) {
        match rustix::io::read(from, space) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// Writes what comes to a descriptor, in its own task; closes it when no more comes.
fn write(to: OwnedFd, mut inputs: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let to = asynchronous(to)?;
    tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            let mut rest = input.as_slice();
            while !rest.is_empty() {
                let written = to.async_io(tokio::io::Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, rest)?)).await;
                match written {
                    Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                    // The process reads no more.
                    Err(_) => return,
                }
            }
        }
    });
    Ok(())
}

fn asynchronous(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(descriptor.as_fd(), true)?;
    #[expect(unsafe_code, reason = "the promise that the descriptor stays open while it is registered")]
    // SAFETY: an `OwnedFd` owns a valid descriptor, and nothing replaces or closes it while the `AsyncFd` owns it.
    let registered = unsafe { AsyncFd::register(descriptor) };
    Ok(registered?)
}
