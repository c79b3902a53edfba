//! How the agent reaches the worker of an image, to give it credentials that are still good.
//!
//! A socket in the layer's directory, which root alone can enter. A line there, and a line back.

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

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

/// Gives the worker of the layer in `directory` credentials.
pub(super) fn bring(directory: &Path, access: &Access) -> io::Result<()> {
    let folder = File::open(directory)?;
    // Through the descriptor: the name of a socket must be short.
    let mut stream = UnixStream::connect(in_directory(folder.as_fd(), SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&[&serde_json::to_vec(access)?[..], b"\n"].concat())?;
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

    /// Passes on the credentials that somebody brings.
    pub(super) async fn run(self, sink: mpsc::Sender<Access>) {
        loop {
            match tokio::time::timeout(PATIENCE, self.take()).await {
                Ok(Ok(access)) => {
                    if sink.send(access).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "credentials for an image were not understood");
                    // When the socket itself is at fault, the next one fails as quickly.
                    tokio::time::sleep(PAUSE).await;
                }
                // Nobody came, or brought them too slowly.
                Err(_) => {}
            }
        }
    }

    async fn take(&self) -> io::Result<Access> {
        let (mut stream, _) = self.0.accept().await?;
        let (read, mut write) = stream.split();
        let mut line = String::new();
        BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
        let access = serde_json::from_str(&line)?;
        write.write_all(TAKEN.as_bytes()).await?;
        Ok(access)
    }

    pub(super) fn close(directory: &Path) -> io::Result<()> {
        std::fs::remove_file(directory.join(SOCKET))
    }
}
