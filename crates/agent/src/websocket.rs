//! WebSockets to the control plane, with TLS where its URL says so.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, handshake::client::Request},
};

/// A connection.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// What a connection is made over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

/// Opens a connection; also returns this end of it.
///
/// # Errors
/// When nobody answers there, or with something else.
pub async fn open(request: Request) -> Result<(Socket, Option<SocketAddr>), tungstenite::Error> {
    let uri = request.uri();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let encrypted = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await?;
    // Messages are small and each is waited for.
    tcp.set_nodelay(true)?;
    let local = tcp.local_addr().ok();
    let stream: Box<dyn Stream> = if encrypted { Box::new(encrypt(tcp, host).await?) } else { Box::new(tcp) };
    Ok((tokio_tungstenite::client_async(request, stream).await?.0, local))
}

/// TLS with the certificates that the system trusts, as for every other call (`SSL_CERT_FILE` names others).
async fn encrypt(tcp: TcpStream, host: String) -> Result<TlsStream<TcpStream>, tungstenite::Error> {
    let config = rustls::ClientConfig::with_platform_verifier().map_err(io::Error::other)?;
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
}
