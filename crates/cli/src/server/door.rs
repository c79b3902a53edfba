//! The listener: accepts connections, speaks HTTP/1.1 and HTTP/2, with or without TLS, and ends without cutting
//! requests short.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use gantry_api::Origin;
use gantry_registry::SendfileStream;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::http::Site;
use crate::Hint;

/// Open connections at a time; more wait in the kernel's queue. Agents hold one each, and 5,000 is the plan.
const CONNECTIONS_MAX: usize = 16_384;
/// A client that has not sent its head by then is cut off.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// What requests under way get at the end.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Tells everything to end.
pub(crate) type Shutdown = watch::Receiver<bool>;

/// A bound port.
pub(crate) struct Door {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Door {
    /// Binds `address`.
    pub(crate) async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse => "another Gantry may be running; choose another port with --listen",
                _ => "choose an address of this machine with --listen",
            };
            Hint::error(format!("could not listen on {address}: {error}"), hint)
        })?;
        Ok(Self { listener, tls })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves `site` until `shutdown`.
    pub(crate) async fn serve(self, site: Arc<Site>, mut shutdown: Shutdown) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&permits).acquire_owned() => permit,
                _ = shutdown.wait_for(|end| *end) => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = shutdown.wait_for(|end| *end) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: others need a moment to close theirs.
                    warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (site, tls, watcher) = (Arc::clone(&site), self.tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                let origin = Origin { source_ip: Some(peer.ip()), secure: tls.is_some(), ..Origin::default() };
                if let Err(error) = connection(stream, tls, site, origin, watcher).await {
                    debug!(error, "connection ended");
                }
                drop(permit);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
            debug!("some requests did not end in time and are cut off");
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    site: Arc<Site>,
    origin: Origin,
    watcher: Watcher,
) -> Result<(), String> {
    let _ = stream.set_nodelay(true);
    match tls {
        // Blobs go out straight from their files; TLS must see the bytes.
        None => speak(SendfileStream::new(stream), site, origin, watcher).await,
        Some(acceptor) => match tokio::time::timeout(HEAD_TIME_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => speak(stream, site, origin, watcher).await,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the TLS handshake took too long".into()),
        },
    }
}

async fn speak<S>(stream: S, site: Arc<Site>, origin: Origin, watcher: Watcher) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    // Without `pipeline_flush`: with it hyper takes a body as fast as it comes, however slowly the client reads.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    let service = service_fn(move |request| Arc::clone(&site).handle(request, origin.clone()));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    watcher.watch(connection.into_owned()).await.map_err(|error| error.to_string())
}
