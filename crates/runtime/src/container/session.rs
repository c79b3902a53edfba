//! A command that a user runs in a running container: its streams are the agent's to read and write, and it ends with
//! the agent's interest in it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::termios::{Winsize, tcsetwinsize};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, io::Interest, net::UnixStream};

use super::{
    ContainerError,
    message::{Failure, Reply, stream},
    zygote,
};

/// Characters across and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Across.
    pub columns: u16,
    /// Down.
    pub rows: u16,
}

/// A command to run for a user.
#[derive(Debug, Clone)]
pub struct SessionRequest {
    /// Program and arguments.
    pub args: Vec<String>,
    /// The container's own user when empty.
    pub user: String,
    /// On a terminal of this size; otherwise on pipes.
    pub terminal: Option<TerminalSize>,
}

/// Our ends of a command's streams.
#[derive(Debug)]
pub enum SessionStreams {
    /// Everything goes through the terminal.
    Terminal(OwnedFd),
    /// Each apart.
    Pipes {
        /// To write to.
        input: OwnedFd,
        /// To read.
        output: OwnedFd,
        /// To read.
        error: OwnedFd,
    },
}

/// A command that runs. Dropping it kills the command and every process of its session.
#[derive(Debug)]
pub struct RunningSession {
    /// Taken by whoever moves the bytes.
    pub streams: Option<SessionStreams>,
    /// Whose closing is the end of our interest.
    socket: UnixStream,
    /// What has arrived of the answer.
    answer: Vec<u8>,
}

impl RunningSession {
    /// Takes over the streams that a shim sends once the command runs.
    pub(super) async fn receive(socket: OwnedFd) -> Result<Self, ContainerError> {
        let failure = |error: io::Error| ContainerError::from(Failure::io("waiting for a command", &error));
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true).map_err(failure)?;
        let socket = UnixStream::from_std(socket).map_err(failure)?;
        let mut pipes = (None, None, None);
        loop {
            let mut byte = [0];
            let received = socket.async_io(Interest::READABLE, || zygote::receive_with_fd(socket.as_fd(), &mut byte));
            let (length, descriptor) = received.await.map_err(failure)?;
            match (byte, descriptor) {
                ([stream::TERMINAL], Some(terminal)) => {
                    return Ok(Self::running(SessionStreams::Terminal(terminal), socket));
                }
                ([stream::INPUT], input @ Some(_)) => pipes.0 = input,
                ([stream::OUTPUT], output @ Some(_)) => pipes.1 = output,
                ([stream::ERROR], error @ Some(_)) => pipes.2 = error,
                // It did not start: the answer comes at once.
                _ => {
                    let answer = byte.get(..length).unwrap_or_default().to_vec();
                    let mut ended = Self { streams: None, socket, answer };
                    return Err(match ended.wait().await {
                        Err(error) => error,
                        Ok(_) => Failure::Runtime("the command ended before it ran".to_owned()).into(),
                    });
                }
            }
            if let (Some(input), Some(output), Some(error)) = &mut pipes {
                let copy = |fd: &OwnedFd| fd.try_clone().map_err(failure);
                let streams = SessionStreams::Pipes { input: copy(input)?, output: copy(output)?, error: copy(error)? };
                return Ok(Self::running(streams, socket));
            }
        }
    }

    fn running(streams: SessionStreams, socket: UnixStream) -> Self {
        Self { streams: Some(streams), socket, answer: Vec::new() }
    }

    /// Waits for the end of the command: its exit code, or 128 and the number of the signal that ended it. What else
    /// belonged to its session is dead then. Cancel safe.
    ///
    /// # Errors
    /// When it could not be started, or its end is not known.
    pub async fn wait(&mut self) -> Result<i32, ContainerError> {
        let failure = |error: io::Error| ContainerError::from(Failure::io("waiting for a command", &error));
        while self.socket.read_buf(&mut self.answer).await.map_err(failure)? > 0 {}
        match serde_json::from_slice(&self.answer) {
            Ok(Reply::Exec { exit_code: Some(code), .. }) => Ok(code),
            Ok(Reply::Failed(reason)) => Err(reason.into()),
            Ok(_) | Err(_) => Err(Failure::Runtime("the command's shim ended without an answer".to_owned()).into()),
        }
    }
}

/// Sets the size of the terminal behind a descriptor; whoever runs on it is told by SIGWINCH.
///
/// # Errors
/// What the system says.
pub fn set_terminal_size(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}
