//! How the worker of an image is reached: to give it credentials that are still good, or to end it.
//!
//! A socket in the layer's directory, which root alone can enter. A line there, and a line back.

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixListener,
    sync::mpsc,
};

use super::{Access, mounts::in_directory};

const SOCKET: &str = "worker";
const LINE_BYTES_MAX: u64 = 64 << 10;
const TAKEN: &str = "taken\n";
/// A worker answers at once, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// What a worker is told.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Word {
    /// Fetch with these credentials.
    Access(Access),
    /// Nobody will want the image any more: reads that wait fail.
    End,
}

/// Tells the worker of the layer in `directory`.
pub(super) fn tell(directory: &Path, word: &Word) -> io::Result<()> {
    let folder = File::open(directory)?;
    // Through the descriptor: the name of a socket must be short.
    let mut stream = UnixStream::connect(in_directory(folder.as_fd(), SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&[&serde_json::to_vec(word)?[..], b"\n"].concat())?;
    let mut line = String::new();
    io::BufReader::new(Read::take(stream, LINE_BYTES_MAX)).read_line(&mut line)?;
    if line == TAKEN { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The worker's end.
pub(super) struct Control(UnixListener);

impl Control {
    pub(super) fn open(directory: &File) -> io::Result<Self> {
        let path = in_directory(directory.as_fd(), SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(path).map(Self)
    }

    /// Passes on what somebody says.
    pub(super) async fn run(self, sink: mpsc::Sender<Word>) {
        loop {
            match tokio::time::timeout(PATIENCE, self.take()).await {
                Ok(Ok(word)) => {
                    if sink.send(word).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a word to the worker of an image was not understood");
                    // When the socket itself is at fault, the next one fails as quickly.
                    tokio::time::sleep(PAUSE).await;
                }
                // Nobody came, or spoke too slowly.
                Err(_) => {}
            }
        }
    }

    async fn take(&self) -> io::Result<Word> {
        let (mut stream, _) = self.0.accept().await?;
        let (read, mut write) = stream.split();
        let mut line = String::new();
        BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
        let word = serde_json::from_str(&line)?;
        write.write_all(TAKEN.as_bytes()).await?;
        Ok(word)
    }

    pub(super) fn close(directory: &Path) -> io::Result<()> {
        std::fs::remove_file(directory.join(SOCKET))
    }
}
