//! TLS to log destinations: the system's authorities, or those that options name.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

/// Files that options name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TlsFiles<'a> {
    pub(super) authority: Option<&'a str>,
    pub(super) certificate: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    /// `…-tls-skip-verify`: whoever answers is believed.
    pub(super) skip_verify: bool,
}

pub(super) fn config(files: TlsFiles<'_>) -> Result<Arc<ClientConfig>, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("could not read {what}: {error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if files.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else if let Some(path) = files.authority {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(path, &error))? {
            let certificate = certificate.map_err(|error| failed(path, &error))?;
            roots.add(certificate).map_err(|error| failed(path, &error))?;
        }
        builder.with_root_certificates(roots)
    } else {
        builder.with_platform_verifier().map_err(|error| error.to_string())?
    };
    let (certificate, key) = match (files.certificate, files.key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(Arc::new(builder.with_no_client_auth())),
        _ => return Err("could not load X509 key pair: a certificate and its key go together".to_owned()),
    };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| failed(certificate, &error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| failed(certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    builder.with_client_auth_cert(chain, key).map(Arc::new).map_err(|error| error.to_string())
}

/// Signatures are checked, names and authorities are not.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let files = |certificate, key| TlsFiles { certificate, key, skip_verify: true, ..TlsFiles::default() };
        assert!(config(files(None, None)).is_ok());
        for (certificate, key) in [(Some("cert.pem"), None), (None, Some("key.pem"))] {
            assert!(config(files(certificate, key)).unwrap_err().contains("go together"));
        }
    }
}
