//! Addresses of log destinations, and streams to them.

use std::{
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UdpSocket, UnixDatagram, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// A destination that does not answer is one that is away.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// One write of a batch.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(String),
    Tls(String),
    Udp(String),
    Unix(PathBuf),
    /// A socket that a container makes: it could be put in its place as a link to any socket of the host.
    UnixOfContainer(PathBuf),
    UnixDatagram(PathBuf),
}

impl Address {
    /// `scheme://host:port` or `unix:///path`; a missing scheme is TCP's, a missing port `port`.
    pub(super) fn parse(text: &str, port: u16) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let host = || match rest.trim_end_matches('/') {
            "" => Err(format!("invalid address {text:?}")),
            host if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => Ok(host.to_owned()),
            host => Ok(format!("{host}:{port}")),
        };
        Ok(match scheme {
            "tcp" => Self::Tcp(host()?),
            "tls" | "tcp+tls" => Self::Tls(host()?),
            "udp" => Self::Udp(host()?),
            "unix" => Self::Unix(PathBuf::from(rest)),
            "unixgram" => Self::UnixDatagram(PathBuf::from(rest)),
            other => return Err(format!("unsupported scheme: {other:?} in address {text:?}")),
        })
    }

    /// The words of a failed connection, Go's.
    fn dial(&self, error: &io::Error) -> io::Error {
        let (network, place) = match self {
            Self::Tcp(host) | Self::Tls(host) => ("tcp", host.clone()),
            Self::Udp(host) => ("udp", host.clone()),
            Self::Unix(path) | Self::UnixOfContainer(path) => ("unix", path.display().to_string()),
            Self::UnixDatagram(path) => ("unixgram", path.display().to_string()),
        };
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::NotFound => "connect: no such file or directory".to_owned(),
            io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("dial {network} {place}: {why}"))
    }

    /// Connects; `tls` is used for TLS addresses.
    pub(super) async fn connect(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Connection> {
        let connected = timeout(CONNECT_MAX, self.open(tls)).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| self.dial(&error))
    }

    async fn open(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Connection> {
        Ok(match self {
            Self::Tcp(host) => Connection::Stream(Box::new(TcpStream::connect(host).await?)),
            Self::Tls(host) => {
                let config = tls.ok_or_else(|| io::Error::other("no TLS configuration"))?;
                let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).trim_matches(['[', ']']);
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let stream = TcpStream::connect(host).await?;
                Connection::Stream(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
            }
            Self::Unix(path) => Connection::Stream(Box::new(UnixStream::connect(path).await?)),
            Self::UnixOfContainer(path) => Connection::Stream(Box::new(connect_to_itself(path).await?)),
            Self::Udp(host) => {
                let place = tokio::net::lookup_host(host).await?.next().ok_or(io::ErrorKind::NotFound)?;
                let own = if place.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(own).await?;
                socket.connect(place).await?;
                Connection::Udp(socket)
            }
            Self::UnixDatagram(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Connection::UnixDatagram(socket)
            }
        })
    }
}

/// Connects to the socket that is at `path` itself, never to one that a link there leads to.
async fn connect_to_itself(path: &Path) -> io::Result<UnixStream> {
    use rustix::fs::{FileType, Mode, OFlags};
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::Socket {
        return Err(io::Error::other("connect: not a socket"));
    }
    UnixStream::connect(format!("/proc/self/fd/{}", found.as_raw_fd())).await
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) enum Connection {
    Stream(Box<dyn Stream>),
    Udp(UdpSocket),
    UnixDatagram(UnixDatagram),
}

impl Connection {
    /// Writes all of it to a stream, or sends it as one datagram.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt;
        let sent = async {
            match self {
                Self::Stream(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                Self::Udp(socket) => socket.send(bytes).await.map(drop),
                Self::UnixDatagram(socket) => socket.send(bytes).await.map(drop),
            }
        };
        timeout(WRITE_MAX, sent).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("tcp://h:1", Ok(Address::Tcp("h:1".into()))),
            ("h", Ok(Address::Tcp("h:24224".into()))),
            ("h:1", Ok(Address::Tcp("h:1".into()))),
            ("udp://[::1]:5", Ok(Address::Udp("[::1]:5".into()))),
            ("tcp+tls://h:1", Ok(Address::Tls("h:1".into()))),
            ("unix:///run/x.sock", Ok(Address::Unix("/run/x.sock".into()))),
            ("unixgram:///dev/log", Ok(Address::UnixDatagram("/dev/log".into()))),
            ("http://h", Err("unsupported scheme: \"http\" in address \"http://h\"".to_owned())),
            ("tcp://", Err("invalid address \"tcp://\"".to_owned())),
        ] {
            assert_eq!(Address::parse(text, 24_224), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_containers_socket_is_not_looked_for_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [socket, link, file] = ["socket", "link", "file"].map(|name| folder.path().join(name));
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        std::fs::write(&file, "").unwrap();
        let connects = async |path: &PathBuf| Address::UnixOfContainer(path.clone()).connect(None).await.is_ok();
        assert!(connects(&socket).await);
        assert!(!connects(&link).await);
        assert!(!connects(&file).await);
        // What the options name is the task definition's choice: /dev/log is a link on many hosts.
        assert!(Address::Unix(link).connect(None).await.is_ok());
    }
}
