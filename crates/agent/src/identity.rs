//! Who this machine is: a key pair that never leaves `DATA/agent/identity.json` (mode 0600), and the name that the
//! control plane gave it when it joined.
//!
//! The key is on disk before the control plane hears of it: an agent that is killed in the middle of joining says the
//! same again, is answered the same, and uses the token up once.

use std::{fs, io, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_api::machine::{
    AboutMachine, JOIN_PATH, JoinProof, JoinRequest, JoinResponse, SESSION_PATH, SessionRequest, SessionResponse,
    session_statement,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::{
    aws::{AwsError, Door},
    config::Join,
    host::Dirs,
    record::{Durability, replace},
};

/// The machine's key pair and, once it has joined, its name.
#[derive(Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    file: IdentityFile,
}

#[derive(Clone, Serialize, Deserialize)]
struct IdentityFile {
    /// PKCS #8, base64.
    private_key: String,
    #[serde(default)]
    joined: Option<JoinResponse>,
}

impl std::fmt::Debug for IdentityFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityFile").field("joined", &self.joined).finish_non_exhaustive()
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("identity file")]
    File(#[source] io::Error),
    #[error("the key in the identity file is not usable")]
    Key,
    #[error("this machine has not joined, and no join token was given")]
    NoProof,
    #[error("join token file")]
    TokenFile(#[source] io::Error),
    #[error(transparent)]
    Refused(#[from] AwsError),
}

impl Identity {
    /// Reads the identity, or makes a key pair.
    pub(crate) fn open(dirs: &Dirs) -> Result<Self, IdentityError> {
        let path = dirs.root.join("identity.json");
        let file = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| IdentityError::Key)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&dirs.root).map_err(IdentityError::File)?;
                let random = ring::rand::SystemRandom::new();
                let key = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| IdentityError::Key)?;
                let file = IdentityFile { private_key: STANDARD.encode(key.as_ref()), joined: None };
                write(&path, &file)?;
                file
            }
            Err(error) => return Err(IdentityError::File(error)),
        };
        Ok(Self { path, file })
    }

    /// What the control plane said when the machine joined.
    pub(crate) fn joined(&self) -> Option<&JoinResponse> {
        self.file.joined.as_ref()
    }

    /// Joins, unless that was done.
    pub(crate) async fn join(&mut self, door: &Door, proof: &Join) -> Result<JoinResponse, IdentityError> {
        if let Some(joined) = self.joined() {
            return Ok(joined.clone());
        }
        let proof = match proof {
            Join::Known => return Err(IdentityError::NoProof),
            Join::Proof(proof) => proof.clone(),
            Join::TokenFile { path, .. } => {
                let token = fs::read_to_string(path).map_err(IdentityError::TokenFile)?;
                JoinProof::Token { token: token.trim().to_owned() }
            }
        };
        let public_key = STANDARD.encode(self.key()?.public_key());
        let request = JoinRequest { proof, public_key, about: about() };
        let joined: JoinResponse = door.post(JOIN_PATH, &request).await?;
        info!(machine = joined.machine_id, account = joined.account, region = joined.region, "this machine has joined");
        let file = IdentityFile { joined: Some(joined.clone()), ..self.file.clone() };
        write(&self.path, &file)?;
        self.file = file;
        Ok(joined)
    }

    /// Gets temporary credentials.
    pub(crate) async fn session(&self, door: &Door, now_ms: u64) -> Result<SessionResponse, IdentityError> {
        let machine_id = self.joined().map(|joined| joined.machine_id.clone()).ok_or(IdentityError::NoProof)?;
        let signature = self.key()?.sign(session_statement(&machine_id, now_ms).as_bytes());
        let request = SessionRequest { machine_id, at_ms: now_ms, signature: STANDARD.encode(signature) };
        Ok(door.post(SESSION_PATH, &request).await?)
    }

    /// Becomes another machine: the control plane does not want this one any more.
    pub(crate) fn discard(&mut self, dirs: &Dirs) -> Result<(), IdentityError> {
        fs::remove_file(&self.path).map_err(IdentityError::File)?;
        *self = Self::open(dirs)?;
        Ok(())
    }

    fn key(&self) -> Result<Ed25519KeyPair, IdentityError> {
        let bytes = STANDARD.decode(&self.file.private_key).map_err(|_| IdentityError::Key)?;
        Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| IdentityError::Key)
    }
}

fn write(path: &std::path::Path, file: &IdentityFile) -> Result<(), IdentityError> {
    let bytes = serde_json::to_vec(file).map_err(|error| IdentityError::File(error.into()))?;
    replace(path, &bytes, Durability::Power).map_err(IdentityError::File)
}

/// What people may want to know about this machine.
fn about() -> AboutMachine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/etc/os-release");
    let value = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    AboutMachine {
        computer_name: read("/proc/sys/kernel/hostname").trim().to_owned(),
        platform_name: value("NAME"),
        platform_version: value("VERSION_ID"),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
