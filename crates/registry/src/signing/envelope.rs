//! A signature in the form of the Notary Project: a JSON web signature over the image's descriptor, and the manifest
//! that attaches it. Pure but for the randomness that ECDSA needs.
//!
//! Specifications: "Signature Specification" and "JWS Signature Envelope" of the Notary Project, scheme `notary.x509`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gantry_domain::Timestamp;
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::keys::SigningKey;
use crate::digest::Digest;
use crate::manifest::OCI_MANIFEST;

/// The type of artifact that a signature is.
pub const SIGNATURE_TYPE: &str = "application/vnd.cncf.notary.signature";
const ENVELOPE_TYPE: &str = "application/jose+json";
const PAYLOAD_TYPE: &str = "application/vnd.cncf.notary.payload.v1+json";
const THUMBPRINTS: &str = "io.cncf.notary.x509chain.thumbprint#S256";
const CREATED: &str = "org.opencontainers.image.created";
/// The configuration of every signature: there is nothing to configure.
pub(super) const CONFIGURATION: &[u8] = b"{}";

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Target {
    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size})
    }
}

/// A signature that was made; the same manifest comes of it whenever it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signed {
    /// The envelope.
    pub(super) envelope: String,
    /// SHA-256 of the certificates, the key's own first.
    thumbprints: Vec<String>,
    at_ms: i64,
}

/// Signs a target. None only when the machine has no randomness.
pub(super) fn sign(key: &SigningKey, target: &Target, at: Timestamp) -> Option<Signed> {
    let protected = encoded(&json!({
        "alg": "ES256",
        "cty": PAYLOAD_TYPE,
        "crit": ["io.cncf.notary.signingScheme"],
        "io.cncf.notary.signingScheme": "notary.x509",
        "io.cncf.notary.signingTime": at.to_iso8601(),
    }));
    let payload = encoded(&json!({"targetArtifact": target.descriptor()}));
    let signature = key.key.sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes()).ok()?;
    let envelope = json!({
        "payload": payload,
        "protected": protected,
        "header": {
            "x5c": key.chain.iter().map(|certificate| STANDARD.encode(certificate)).collect::<Vec<_>>(),
            "io.cncf.notary.signingAgent": concat!("gantry/", env!("CARGO_PKG_VERSION")),
        },
        "signature": URL_SAFE_NO_PAD.encode(signature),
    });
    let thumbprints = key.chain.iter().map(|certificate| hex::encode(Sha256::digest(certificate))).collect();
    Some(Signed { envelope: envelope.to_string(), thumbprints, at_ms: at.as_millis() })
}

impl Signed {
    /// The manifest that attaches the signature to its target.
    pub(super) fn manifest(&self, target: &Target) -> Vec<u8> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": SIGNATURE_TYPE,
            "config": {
                "mediaType": SIGNATURE_TYPE, "digest": Digest::of(CONFIGURATION), "size": CONFIGURATION.len(),
            },
            "layers": [{
                "mediaType": ENVELOPE_TYPE, "digest": Digest::of(self.envelope.as_bytes()), "size": self.envelope.len(),
            }],
            "subject": target.descriptor(),
            "annotations": {
                THUMBPRINTS: json!(self.thumbprints).to_string(),
                CREATED: Timestamp::from_millis(self.at_ms).to_iso8601(),
            },
        });
        manifest.to_string().into_bytes()
    }
}

fn encoded(document: &Value) -> String {
    URL_SAFE_NO_PAD.encode(document.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::signing::keys::SigningKeys;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};

    #[test]
    fn what_is_signed_is_the_target_and_one_manifest_comes_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let keys = SigningKeys::in_folder(directory.path().join("keys"));
        let profile = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release".parse().unwrap();
        let at = Timestamp::from_seconds(1_700_000_000);
        let key = keys.key(&profile, at).unwrap();
        let target = Target { media_type: OCI_MANIFEST.to_owned(), digest: Digest::of(b"image"), size: 5 };
        let signed = sign(&key, &target, at).unwrap();
        assert_eq!(signed.manifest(&target), signed.manifest(&target));

        let envelope: Value = serde_json::from_str(&signed.envelope).unwrap();
        let text = |name: &str| envelope[name].as_str().unwrap();
        let decoded = |name: &str| URL_SAFE_NO_PAD.decode(text(name)).unwrap();
        let payload: Value = serde_json::from_slice(&decoded("payload")).unwrap();
        assert_eq!(payload, json!({"targetArtifact": {"mediaType": OCI_MANIFEST, "digest": target.digest, "size": 5}}));
        let protected: Value = serde_json::from_slice(&decoded("protected")).unwrap();
        assert_eq!(protected["io.cncf.notary.signingTime"], "2023-11-14T22:13:20Z");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.key.public_key());
        let message = format!("{}.{}", text("protected"), text("payload"));
        public.verify(message.as_bytes(), &decoded("signature")).unwrap();
        assert!(public.verify(message.replace('.', ",").as_bytes(), &decoded("signature")).is_err());
    }
}
