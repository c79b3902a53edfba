//! Bytes between this process's standard streams and the session, until the session is over.
//!
//! Standard input and output belong to threads of their own: both may block for as long as they like. What could not be
//! printed yet is bounded by what is not acknowledged: the host stops when too much is under way.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc as blocking,
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use gantry_agent::websocket::Socket;
use gantry_api::data_channel::{ClientEnd, ClientEvent, payload::Wishes};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    connection::Connector,
    terminal::{self, Raw},
};

const READ_BYTES: usize = 32 * 1024;
/// Pieces of input that wait for room in the channel.
const INPUTS_WAITING_MAX: usize = 4;
/// Output that is not printed yet, from which on nothing more is acknowledged.
const UNPRINTED_BYTES_MAX: usize = 1024 * 1024;
/// Acknowledgements that are held back; the host repeats what is not acknowledged, so more are not needed.
const HELD_BACK_MAX: usize = 1024;
/// How often it is looked at what is due.
const TICK: Duration = Duration::from_millis(50);

/// How it ended.
pub(super) struct End {
    /// None when the session was over before the command.
    pub(super) exit_code: Option<i32>,
    /// For the user.
    pub(super) text: String,
}

/// A session under way.
pub(super) struct Conversation {
    connector: Connector,
    end: ClientEnd,
    /// Held while the command has the terminal.
    _raw: Option<Raw>,
    with_terminal: bool,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    printer: Printer,
    resized: Signal,
    terminated: Signal,
    interrupted: Signal,
    ready: bool,
    held_back: Vec<Vec<u8>>,
    exit_code: Option<i32>,
}

type Writer = SplitSink<Socket, Message>;

impl Conversation {
    pub(super) fn begin(connector: Connector, wishes: Wishes) -> Result<Self> {
        Ok(Self {
            end: ClientEnd::new(connector.session_id(), wishes),
            connector,
            _raw: if wishes.terminal { Some(Raw::begin()?) } else { None },
            with_terminal: wishes.terminal,
            input: None,
            printer: Printer::start(),
            resized: signal(SignalKind::window_change())?,
            terminated: signal(SignalKind::terminate())?,
            interrupted: signal(SignalKind::interrupt())?,
            ready: false,
            held_back: Vec::new(),
            exit_code: None,
        })
    }

    pub(super) async fn run(mut self) -> Result<End> {
        let mut socket = self.connector.connect().await?;
        loop {
            if let Some(text) = self.over(socket).await? {
                self.printer.finish();
                return Ok(End { exit_code: self.exit_code, text });
            }
            socket = match self.connector.resume().await? {
                Some(socket) => socket,
                None => {
                    self.printer.finish();
                    return Ok(End { exit_code: self.exit_code, text: String::new() });
                }
            };
        }
    }

    /// One connection: the closing text when the session is over, none when only the connection is.
    async fn over(&mut self, socket: Socket) -> Result<Option<String>> {
        let (mut writer, mut reader) = socket.split();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let again = self.end.again(now_ms());
        if !send(&mut writer, again).await {
            return Ok(None);
        }
        loop {
            let room = self.ready && self.end.has_room();
            let input = async {
                match &mut self.input {
                    Some(input) if room => input.recv().await,
                    _ => std::future::pending().await,
                }
            };
            let frames = tokio::select! {
                message = reader.next() => match message {
                    Some(Ok(Message::Binary(frame))) => match self.receive(&frame) {
                        Received::Frames(frames) => frames,
                        Received::Closed(text) => return Ok(Some(text)),
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_))) => Vec::new(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                },
                input = input => match input {
                    Some(bytes) => self.end.input(&bytes, now_ms()),
                    None => {
                        self.input = None;
                        vec![self.end.end_of_input(now_ms())]
                    }
                },
                _ = self.resized.recv() => self.resize(),
                _ = self.terminated.recv() => vec![self.end.terminate(now_ms())],
                // On a raw terminal Ctrl-C is a byte like any other; this is for the others.
                _ = self.interrupted.recv() => vec![self.end.terminate(now_ms())],
                _ = tick.tick() => self.due(),
            };
            if !send(&mut writer, frames).await {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self, frame: &[u8]) -> Received {
        let (mut frames, events) = self.end.receive(frame, now_ms());
        for event in events {
            match event {
                ClientEvent::Ready => {
                    self.ready = true;
                    frames.extend(self.resize());
                    self.input.get_or_insert_with(read_input);
                }
                ClientEvent::Output(bytes) => self.printer.print(Stream::Output, bytes),
                ClientEvent::Error(bytes) => self.printer.print(Stream::Error, bytes),
                ClientEvent::ExitCode(code) => self.exit_code = Some(code),
                ClientEvent::Closed(text) => return Received::Closed(text),
            }
        }
        if self.printer.is_behind() {
            let room = HELD_BACK_MAX.saturating_sub(self.held_back.len());
            self.held_back.extend(frames.into_iter().take(room));
            return Received::Frames(Vec::new());
        }
        Received::Frames(frames)
    }

    fn due(&mut self) -> Vec<Vec<u8>> {
        let mut frames = if self.printer.is_behind() { Vec::new() } else { std::mem::take(&mut self.held_back) };
        frames.extend(self.end.due(now_ms()));
        frames
    }

    fn resize(&mut self) -> Vec<Vec<u8>> {
        let size = terminal::size().filter(|_| self.with_terminal);
        size.map(|size| self.end.resize(size, now_ms())).into_iter().collect()
    }
}

enum Received {
    Frames(Vec<Vec<u8>>),
    Closed(String),
}

async fn send(writer: &mut Writer, frames: Vec<Vec<u8>>) -> bool {
    for frame in frames {
        if writer.feed(Message::binary(frame)).await.is_err() {
            return false;
        }
    }
    writer.flush().await.is_ok()
}

/// Reads standard input in a thread, which ends with the process.
fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(INPUTS_WAITING_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        let mut input = std::io::stdin().lock();
        while let Ok(length @ 1..) = input.read(&mut buffer) {
            if sender.blocking_send(buffer.get(..length).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[derive(Clone, Copy)]
enum Stream {
    Output,
    Error,
}

/// Writes to standard output and error in a thread.
struct Printer {
    pieces: Option<blocking::Sender<(Stream, Vec<u8>)>>,
    unprinted: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Printer {
    fn start() -> Self {
        let (pieces, receiver) = blocking::channel::<(Stream, Vec<u8>)>();
        let unprinted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&unprinted);
        let thread = std::thread::spawn(move || {
            for (stream, bytes) in receiver {
                let written = match stream {
                    Stream::Output => write(std::io::stdout().lock(), &bytes),
                    Stream::Error => write(std::io::stderr().lock(), &bytes),
                };
                counter.fetch_sub(bytes.len(), Ordering::Relaxed);
                if written.is_err() {
                    // Whoever read it went away (`| head`).
                    std::process::exit(0);
                }
            }
        });
        Self { pieces: Some(pieces), unprinted, thread: Some(thread) }
    }

    fn print(&self, stream: Stream, bytes: Vec<u8>) {
        self.unprinted.fetch_add(bytes.len(), Ordering::Relaxed);
        if let Some(pieces) = &self.pieces {
            let _ = pieces.send((stream, bytes));
        }
    }

    fn is_behind(&self) -> bool {
        self.unprinted.load(Ordering::Relaxed) > UNPRINTED_BYTES_MAX
    }

    /// Waits until everything is printed.
    fn finish(&mut self) {
        self.pieces = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
