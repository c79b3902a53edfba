//! The keys of signing profiles: one per ARN, made when it is first needed, kept in a folder that only its owner reads.
//!
//! A key comes with two certificates: its own, and the self-made root that issued it. The root's key is thrown away
//! when it has: what a verifier trusts is then this one key and nothing that anybody could issue later. A file holds
//! all three; removing it makes the profile begin anew with another key.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_domain::Timestamp;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// How long certificates are good for. A signature can be verified as long as they are, for there is no authority that
/// would tell when it was made.
const LIFETIME_YEARS: i64 = 20;
/// They are good a little earlier than they are made, for verifiers whose clocks are behind.
const BACKDATED_SECONDS: i64 = 60 * 60;
const ARN_LENGTH_MAX: usize = 200;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The text is no signing profile's ARN.
    #[error("'{0}' is not the ARN of a signing profile")]
    Arn(String),
    /// The registry was made without a folder for keys.
    #[error("this registry keeps no signing keys")]
    NoFolder,
    /// The file cannot be read or written.
    #[error("cannot read or write the signing key {0}")]
    Io(PathBuf, #[source] io::Error),
    /// The file is not what was written.
    #[error("the signing key {0} is damaged; remove it to begin with a new one")]
    Damaged(PathBuf),
    /// The thread that was at it panicked.
    #[error("making or reading a signing key did not end")]
    Lost,
    /// The certificates could not be made.
    #[error("cannot make a signing key")]
    Make(#[from] rcgen::Error),
}

/// `arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME`, taken apart. Its parts are safe in a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileArn {
    partition: String,
    region: String,
    account: String,
    name: String,
}

impl std::str::FromStr for ProfileArn {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, SigningKeyError> {
        let invalid = || SigningKeyError::Arn(text.chars().take(ARN_LENGTH_MAX).collect());
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "signer", region, account, path] = parts.as_slice() else { return Err(invalid()) };
        let name = path.strip_prefix("/signing-profiles/").ok_or_else(invalid)?;
        let only = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|each| each.is_ascii_alphanumeric() || more.contains(each))
        };
        let valid = text.len() <= ARN_LENGTH_MAX
            && partition.starts_with("aws")
            && only(partition, "-")
            && only(region, "-")
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && name.len() >= 2
            && only(name, "_");
        let owned = |text: &&str| (*text).to_owned();
        match valid {
            true => Ok(Self {
                partition: owned(partition),
                region: owned(region),
                account: owned(account),
                name: name.to_owned(),
            }),
            false => Err(invalid()),
        }
    }
}

impl ProfileArn {
    /// The account that the profile belongs to.
    pub fn account(&self) -> &str {
        &self.account
    }

    fn file_name(&self) -> String {
        let Self { partition, region, account, name } = self;
        format!("{partition}.{region}.{account}.{name}.pem")
    }
}

/// A profile's key with its certificates.
pub(crate) struct SigningKey {
    pub(super) key: EcdsaKeyPair,
    /// The key's own certificate, then the root.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

impl SigningKey {
    /// The certificate that verifiers are to trust, as PEM.
    pub(super) fn root_pem(&self) -> String {
        self.chain.last().map(certificate_pem).unwrap_or_default()
    }
}

/// The folder.
pub(crate) struct SigningKeys {
    folder: Option<PathBuf>,
    /// Held while a key is read or made, so that two who need a new one get the same.
    alone: Mutex<()>,
}

impl SigningKeys {
    /// None, for a registry that signs nothing.
    pub(crate) fn nowhere() -> Self {
        Self { folder: None, alone: Mutex::default() }
    }

    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), alone: Mutex::default() }
    }

    /// The key of a profile, made when there is none. Blocking.
    pub(super) fn key(&self, profile: &ProfileArn, now: Timestamp) -> Result<SigningKey, SigningKeyError> {
        let folder = self.folder.as_ref().ok_or(SigningKeyError::NoFolder)?;
        let path = folder.join(profile.file_name());
        let _alone = self.alone.lock();
        match fs::read(&path) {
            Ok(text) => read(&text).ok_or(SigningKeyError::Damaged(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = make(profile, now)?;
                write(folder, &path, text.as_bytes()).map_err(|error| SigningKeyError::Io(path.clone(), error))?;
                read(text.as_bytes()).ok_or(SigningKeyError::Damaged(path))
            }
            Err(error) => Err(SigningKeyError::Io(path, error)),
        }
    }
}

/// The same for whoever may wait.
pub(super) async fn key_of(
    keys: &Arc<SigningKeys>,
    profile: &ProfileArn,
    now: Timestamp,
) -> Result<SigningKey, SigningKeyError> {
    let (keys, profile) = (Arc::clone(keys), profile.clone());
    let made = tokio::task::spawn_blocking(move || keys.key(&profile, now)).await;
    made.unwrap_or(Err(SigningKeyError::Lost))
}

fn read(text: &[u8]) -> Option<SigningKey> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().ok()?;
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random).ok()?;
    (chain.len() == 2).then_some(SigningKey { key, chain })
}

/// A new key with its certificates, as they are written down. What verifiers demand of them is in the specification of
/// the Notary Project: usages that are marked critical, an issuer of exactly one level, code signing and nothing else.
fn make(profile: &ProfileArn, now: Timestamp) -> Result<String, SigningKeyError> {
    let ProfileArn { name, account, .. } = profile;
    let (root_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut root = certificate(&format!("{name} root"), account, now);
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mut own = certificate(name, account, now);
    own.is_ca = IsCa::ExplicitNoCa;
    own.use_authority_key_identifier_extension = true;
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let root_certificate = root.self_signed(&root_key)?;
    let own_certificate = own.signed_by(&key, &Issuer::new(root, root_key))?;
    Ok(key.serialize_pem() + &own_certificate.pem() + &root_certificate.pem())
}

fn certificate(name: &str, account: &str, now: Timestamp) -> CertificateParams {
    let mut certificate = CertificateParams::default();
    certificate.distinguished_name = rcgen::DistinguishedName::new();
    // Country, state and organization are what a trust policy that names its signers must name.
    certificate.distinguished_name.push(DnType::CountryName, "ZZ");
    certificate.distinguished_name.push(DnType::StateOrProvinceName, "none");
    certificate.distinguished_name.push(DnType::OrganizationName, "Gantry");
    certificate.distinguished_name.push(DnType::OrganizationalUnitName, account);
    certificate.distinguished_name.push(DnType::CommonName, name);
    let at = |seconds: i64| {
        let seconds = (now.as_millis() / 1000).saturating_add(seconds);
        time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    certificate.not_before = at(-BACKDATED_SECONDS);
    certificate.not_after = at(LIFETIME_YEARS * 365 * 24 * 60 * 60);
    certificate
}

/// Written beside and renamed, so that a crash never leaves half a key.
fn write(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}

fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PROFILE: &str = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release";

    #[test]
    fn an_arn_is_taken_apart_or_refused() {
        assert_eq!(PROFILE.parse::<ProfileArn>().unwrap().file_name(), "aws.us-east-1.000000000000.release.pem");
        for bad in [
            "",
            "arn:aws:signer:us-east-1:000000000000:/signing-profiles/r",
            "arn:aws:signer:us-east-1:000000000000:/signing-profiles/../x",
            "arn:aws:signer:us-east-1:00000000000:/signing-profiles/release",
            "arn:aws:signer:..:000000000000:/signing-profiles/release",
            "arn:aws:ecr:us-east-1:000000000000:/signing-profiles/release",
            "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release:1",
        ] {
            assert!(matches!(bad.parse::<ProfileArn>(), Err(SigningKeyError::Arn(_))), "{bad}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_read_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("signing-keys");
        let profile = PROFILE.parse().unwrap();
        let now = Timestamp::from_seconds(1_700_000_000);
        let made = SigningKeys::in_folder(folder.clone()).key(&profile, now).unwrap();
        let again = SigningKeys::in_folder(folder.clone()).key(&profile, now.plus_seconds(9)).unwrap();
        assert_eq!(made.chain, again.chain);
        assert!(made.root_pem().starts_with("-----BEGIN CERTIFICATE-----\nMI"));
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(files[0].path(), "half a key").unwrap();
        assert!(matches!(SigningKeys::in_folder(folder).key(&profile, now), Err(SigningKeyError::Damaged(_))));
        assert!(matches!(SigningKeys::nowhere().key(&profile, now), Err(SigningKeyError::NoFolder)));
    }
}
