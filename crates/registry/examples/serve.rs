//! A registry to try by hand: `serve DIRECTORY [ADDRESS [REPOSITORY...]]`. It makes the repositories, prints a
//! password for `docker login --username AWS`, and serves `/v2/` until it is killed.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use gantry_api::Caller;
use gantry_domain::arn::Scope;
use gantry_registry::metadata::{RepositoryKeys, RepositoryRow};
use gantry_registry::{Registry, RegistryConfig, SendfileStream, http, system_clock};
use gantry_store::{Embedded, EmbeddedOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: serve DIRECTORY [ADDRESS [REPOSITORY...]]")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:5001".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    let config =
        RegistryConfig { public_endpoint: format!("http://{}", listener.local_addr()?), ..RegistryConfig::default() };
    std::fs::create_dir_all(&directory)?;
    let store = Embedded::open(directory.join("store"), EmbeddedOptions::default()).await?;
    let registry = Arc::new(Registry::open(&directory.join("registry"), store, system_clock(), config)?);
    let scope = Scope::new("000000000000", "us-east-1");
    for name in arguments {
        let keys = RepositoryKeys::new(&scope, &name.parse()?);
        // Also fails when it is there from the last time.
        let _ = registry.repository_create(&keys, &RepositoryRow::default()).await;
    }
    let (password, _) = registry.issue_password(&Caller::root("000000000000", "us-east-1"));
    eprintln!("{} {password}", listener.local_addr()?);
    axum::serve(Sendfile(listener), http::router(registry)).await?;
    Ok(())
}

/// Accepts connections that send blobs straight from their files.
struct Sendfile(tokio::net::TcpListener);

impl axum::serve::Listener for Sendfile {
    type Io = SendfileStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (SendfileStream, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.0.accept().await {
                let _ = stream.set_nodelay(true);
                return (SendfileStream::new(stream), address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
