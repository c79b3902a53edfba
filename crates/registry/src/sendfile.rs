//! A socket that lets the kernel send the bytes of blobs straight from their files.
//!
//! An HTTP server writes whatever the response body yields. When that is a window into a blob's file (see
//! `blobs::window`), writing it would copy every byte from the page cache into the socket; `sendfile` hands the pages
//! over instead. Everything else is written as usual. Only for plain TCP: TLS must see the bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::blobs::file_behind;

/// Shorter slices are not worth the look.
const SENDFILE_LENGTH_MIN: usize = 32 * 1024;

/// A TCP stream for an HTTP server that serves blobs.
pub struct SendfileStream(TcpStream);

impl SendfileStream {
    /// Wraps a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().0)
    }

    /// Sends a slice from the file it was mapped from; none when it was not.
    fn poll_sendfile(&self, context: &mut Context<'_>, slice: &[u8]) -> Option<Poll<io::Result<usize>>> {
        let (file, offset) = file_behind(slice)?;
        Some(loop {
            match self.0.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
            let sent = self.0.try_io(Interest::WRITABLE, || {
                let mut from = offset;
                loop {
                    match rustix::fs::sendfile(&self.0, &file, Some(&mut from), slice.len()) {
                        Err(Errno::INTR) => {}
                        // A blob that ends early: the rest cannot come from anywhere.
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        sent => return Ok(sent?),
                    }
                }
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => break Poll::Ready(sent),
            }
        })
    }
}

impl AsyncRead for SendfileStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_read(context, buffer)
    }
}

impl AsyncWrite for SendfileStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.len() >= SENDFILE_LENGTH_MIN
            && let Some(sent) = self.poll_sendfile(context, bytes)
        {
            return sent;
        }
        self.inner().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // What comes before the first slice of a file goes first, with the system call it always had.
        let plain = slices.iter().take_while(|slice| slice.len() < SENDFILE_LENGTH_MIN).count();
        match slices.get(plain) {
            Some(slice) if plain == 0 => match self.poll_sendfile(context, slice) {
                Some(sent) => sent,
                None => self.inner().poll_write_vectored(context, slices),
            },
            Some(slice) if file_behind(slice).is_some() => {
                let written = ready!(self.inner().poll_write_vectored(context, &slices[..plain]));
                Poll::Ready(written)
            }
            _ => self.inner().poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_arrives_is_the_same_from_files_and_from_memory() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let window = crate::blobs::open_window(&Arc::new(file), 0, content.len()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            client.unwrap().read_to_end(&mut received).await.unwrap();
            received
        });
        let mut stream = SendfileStream::new(accepted.unwrap().0);
        let head = b"head".to_vec();
        let (mut sent, total) = (0, head.len() + window.len() + head.len());
        while sent < total {
            let mut slices = [IoSlice::new(&head), IoSlice::new(&window), IoSlice::new(&head)];
            let mut rest = &mut slices[..];
            IoSlice::advance_slices(&mut rest, sent);
            sent += std::future::poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, rest)).await.unwrap();
        }
        stream.write_all(&window[5..2_000_000]).await.unwrap();
        stream.write_all(b"tail").await.unwrap();
        stream.shutdown().await.unwrap();
        let expected = [&head[..], &content, &head, &content[5..2_000_000], b"tail"].concat();
        assert!(reading.await.unwrap() == expected);
    }
}
