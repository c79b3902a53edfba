//! TLS of the one port.

use std::{fs::File, io::BufReader, sync::Arc};

use anyhow::{Context, Result};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Reads certificate and key.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let open = |path: &std::path::Path| File::open(path).with_context(|| format!("could not open {}", path.display()));
    let certificates = rustls_pemfile::certs(&mut BufReader::new(open(&files.certificate)?))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("in {}", files.certificate.display()))?;
    let key = rustls_pemfile::private_key(&mut BufReader::new(open(&files.key)?))
        .with_context(|| format!("in {}", files.key.display()))?
        .with_context(|| format!("{} holds no private key", files.key.display()))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context("the certificate and the key do not fit together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
