//! What has to be known of a namespace after a restart, one small file per key.

use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{NetworkNamespace, Protocol, Publish, nftables::Forward, overlay::AppliedNetworks};

const KEY_LENGTH_MAX: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) key: String,
    /// `None` for a namespace with only a loopback interface.
    pub(super) attachment: Option<Attachment>,
    pub(super) ports: Vec<Port>,
}

/// How a namespace is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attachment {
    pub(super) bridge: String,
    /// Address of the bridge.
    pub(super) gateway: Ipv4Addr,
    pub(super) prefix_length: u8,
    pub(super) address: Ipv4Addr,
    pub(super) mac: [u8; 6],
    /// The host's end.
    pub(super) veth: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Port {
    pub(super) udp: bool,
    pub(super) host: u16,
    pub(super) container: u16,
}

impl Port {
    pub(super) fn protocol(self) -> Protocol {
        if self.udp { Protocol::Udp } else { Protocol::Tcp }
    }

    /// Whether this is what `wanted` asks for.
    pub(super) fn satisfies(self, wanted: &Publish) -> bool {
        self.protocol() == wanted.protocol
            && self.container == wanted.container_port
            && (wanted.host_port == 0 || wanted.host_port == self.host)
    }

    pub(super) fn as_publish(self) -> Publish {
        Publish { host_port: self.host, container_port: self.container, protocol: self.protocol() }
    }
}

impl Record {
    pub(super) fn forwards(&self, ports: &[Port]) -> Vec<Forward> {
        let Some(attachment) = &self.attachment else { return Vec::new() };
        let forward = |port: &Port| Forward {
            protocol: port.protocol(),
            host_port: port.host,
            address: attachment.address,
            container_port: port.container,
        };
        ports.iter().map(forward).collect()
    }

    pub(super) fn namespace(&self, path: PathBuf) -> NetworkNamespace {
        NetworkNamespace {
            path,
            address: self.attachment.as_ref().map(|a| a.address.into()),
            gateway: self.attachment.as_ref().map(|a| a.gateway.into()),
        }
    }
}

/// The state directory: `namespaces/KEY` (mount points) and `records/KEY.json`.
///
/// Records are replaced atomically but not synced: a namespace does not survive a power failure either.
#[derive(Debug, Clone)]
pub(super) struct Records(PathBuf);

impl Records {
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(root.join("namespaces"))?;
        fs::create_dir_all(root.join("records"))?;
        Ok(Self(root))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// `None` for a key that could name another place.
    pub(super) fn namespace(&self, key: &str) -> Option<PathBuf> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let valid = (1..=KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(fits) && !key.starts_with('.');
        valid.then(|| self.0.join("namespaces").join(key))
    }

    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        self.replace(&self.record(&record.key), &bytes)
    }

    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.record(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Every readable record; what a crash left half-written is deleted.
    pub(super) fn all(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.0.join("records"))? {
            let path = entry?.path();
            match serde_json::from_slice::<Record>(&fs::read(&path)?) {
                Ok(record) if self.record(&record.key) == path => records.push(record),
                _ => fs::remove_file(&path)?,
            }
        }
        Ok(records)
    }

    /// Keys of everything under `namespaces`, mounted or not.
    pub(super) fn namespace_keys(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.0.join("namespaces"))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// The address that the default bridge was given at first.
    pub(super) fn bridge_address(&self) -> Option<Ipv4Addr> {
        fs::read_to_string(self.0.join("bridge-address")).ok()?.parse().ok()
    }

    pub(super) fn keep_bridge_address(&self, address: Ipv4Addr) -> io::Result<()> {
        self.replace(&self.0.join("bridge-address"), address.to_string().as_bytes())
    }

    /// The networks that reach over hosts; none when that was never written, or is unreadable.
    pub(super) fn overlay(&self) -> AppliedNetworks {
        let read = fs::read(self.0.join("overlay.json")).ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub(super) fn write_overlay(&self, applied: &AppliedNetworks) -> io::Result<()> {
        let bytes = serde_json::to_vec(applied).map_err(io::Error::other)?;
        self.replace(&self.0.join("overlay.json"), &bytes)
    }

    fn record(&self, key: &str) -> PathBuf {
        self.0.join("records").join(format!("{key}.json"))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let scratch = self.0.join(format!(".{}", uuid::Uuid::new_v4().simple()));
        fs::File::create_new(&scratch)?.write_all(bytes)?;
        fs::rename(scratch, path)
    }
}
