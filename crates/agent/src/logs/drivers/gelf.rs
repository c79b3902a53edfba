//! The log driver `gelf`: Graylog's format over UDP (in chunks, compressed) and TCP.

use std::io::Write;

use async_trait::async_trait;
use flate2::{Compression, write};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tracing::warn;

use super::{
    Options, Wanted,
    address::{Address, Connection},
    syslog::hostname,
};
use crate::{
    clock::rfc3339,
    logs::{
        destination::{DeliveryError, Destination},
        event::LogEvent,
    },
};

const PORT: u16 = 12_201;
/// What of a message fits in a datagram, and in how many datagrams a message may be.
const CHUNK_BYTES: usize = 1420 - 12;
const CHUNKS_MAX: usize = 128;

#[derive(Debug, Clone, Copy)]
enum Packing {
    Gzip(Compression),
    Zlib(Compression),
    None,
}

pub(super) struct Gelf {
    address: Address,
    packing: Packing,
    /// The same in every message.
    about: Map<String, Value>,
    connection: Mutex<Option<Connection>>,
}

impl Gelf {
    pub(super) fn new(wanted: &Wanted<'_>) -> Result<Self, String> {
        let options = wanted.options();
        let address = options.get("gelf-address").ok_or("gelf: gelf-address is a required parameter")?;
        let address = Address::parse(address, PORT).map_err(|error| format!("gelf: {error}"))?;
        let packing = match (&address, options.get("gelf-compression-type").unwrap_or("gzip")) {
            (Address::Tcp(_), _) if options.get("gelf-compression-type").is_some() => {
                return Err("compression is only supported on UDP".to_owned());
            }
            (Address::Tcp(_), _) | (Address::Udp(_), "none") => Packing::None,
            (Address::Udp(_), "gzip") => Packing::Gzip(level(options)?),
            (Address::Udp(_), "zlib") => Packing::Zlib(level(options)?),
            (Address::Udp(_), other) => return Err(format!("gelf: invalid compression type {other:?}")),
            _ => return Err("gelf: endpoint needs to be TCP or UDP".to_owned()),
        };
        Ok(Self { address, packing, about: about(wanted, options)?, connection: Mutex::default() })
    }

    async fn connect(&self) -> std::io::Result<Connection> {
        self.address.connect(None).await
    }

    fn message(&self, event: &LogEvent) -> Vec<u8> {
        let mut message = self.about.clone();
        let (seconds, nanoseconds) = event.time();
        message.insert("version".to_owned(), json!("1.1"));
        message.insert("short_message".to_owned(), json!(event.message));
        // Milliseconds, as Docker has them.
        message.insert("timestamp".to_owned(), json!(f64::from(seconds) + f64::from(nanoseconds / 1_000_000) / 1000.0));
        message.insert("level".to_owned(), json!(if event.stderr { 3 } else { 6 }));
        Value::Object(message).to_string().into_bytes()
    }
}

fn level(options: Options<'_>) -> Result<Compression, String> {
    let text = options.get("gelf-compression-level").unwrap_or("1");
    let level = text.parse::<i32>().ok().filter(|level| (-1..=9).contains(level));
    let level = level.ok_or_else(|| format!("gelf: invalid value for gelf-compression-level: {text}"))?;
    Ok(u32::try_from(level).map_or_else(|_| Compression::default(), Compression::new))
}

fn about(wanted: &Wanted<'_>, options: Options<'_>) -> Result<Map<String, Value>, String> {
    let container = &wanted.container;
    let mut about = Map::new();
    about.insert("host".to_owned(), json!(hostname()));
    for (name, value) in [
        ("_container_id", container.id.clone()),
        ("_container_name", container.name.clone()),
        ("_image_name", container.image.clone()),
        ("_command", container.command.clone()),
        ("_tag", container.tag(options)?),
        ("_created", rfc3339(container.created_ms)),
    ] {
        about.insert(name.to_owned(), Value::String(value));
    }
    let attributes = container.attributes(options)?;
    about.extend(attributes.into_iter().map(|(name, value)| (format!("_{name}"), Value::String(value))));
    Ok(about)
}

fn packed(packing: Packing, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    match packing {
        Packing::None => Ok(bytes.to_vec()),
        Packing::Gzip(level) => {
            let mut writer = write::GzEncoder::new(Vec::new(), level);
            writer.write_all(bytes)?;
            writer.finish()
        }
        Packing::Zlib(level) => {
            let mut writer = write::ZlibEncoder::new(Vec::new(), level);
            writer.write_all(bytes)?;
            writer.finish()
        }
    }
}

/// The datagrams of a message; none when it is too long even for chunks.
fn datagrams(message: &[u8], id: [u8; 8]) -> Vec<Vec<u8>> {
    if message.len() <= CHUNK_BYTES {
        return vec![message.to_vec()];
    }
    let chunks: Vec<&[u8]> = message.chunks(CHUNK_BYTES).collect();
    if chunks.len() > CHUNKS_MAX {
        return Vec::new();
    }
    let count = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
    let head = |nth: u8| [&[0x1e, 0x0f][..], &id, &[nth, count]].concat();
    (0..count).zip(chunks).map(|(nth, chunk)| [head(nth).as_slice(), chunk].concat()).collect()
}

#[async_trait]
impl Destination for Gelf {
    async fn prepare(&self) -> Result<(), DeliveryError> {
        let failed =
            |error: std::io::Error| DeliveryError::Never(format!("gelf: cannot connect to GELF endpoint: {error}"));
        *self.connection.lock().await = Some(self.connect().await.map_err(failed)?);
        Ok(())
    }

    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.connect().await.map_err(DeliveryError::later)?,
        };
        if matches!(connection, Connection::Stream(_)) {
            let bytes: Vec<u8> = events.iter().flat_map(|event| self.message(event).into_iter().chain([0])).collect();
            connection.send(&bytes).await.map_err(DeliveryError::later)?;
        } else {
            let mut too_long = 0;
            for event in events {
                let message = packed(self.packing, &self.message(event)).map_err(DeliveryError::later)?;
                let id = uuid::Uuid::new_v4().as_u64_pair().0.to_be_bytes();
                let datagrams = datagrams(&message, id);
                too_long += usize::from(datagrams.is_empty());
                for datagram in datagrams {
                    connection.send(&datagram).await.map_err(DeliveryError::later)?;
                }
            }
            if too_long > 0 {
                let container = self.about.get("_container_id").and_then(Value::as_str);
                warn!(container, too_long, "log events with their labels are too long for GELF over UDP; dropped");
            }
        }
        *held = Some(connection);
        Ok(())
    }

    fn describe(&self) -> String {
        "gelf".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_go_in_chunks_that_say_their_place() {
        assert_eq!(datagrams(b"short", [7; 8]), vec![b"short".to_vec()]);
        let message = vec![b'x'; CHUNK_BYTES * 2 + 1];
        let sent = datagrams(&message, [7; 8]);
        assert_eq!(sent.len(), 3);
        assert_eq!(sent[1][..12], [0x1e, 0x0f, 7, 7, 7, 7, 7, 7, 7, 7, 1, 3]);
        assert_eq!(sent.iter().flat_map(|datagram| datagram[12..].to_vec()).collect::<Vec<u8>>(), message);
        assert!(datagrams(&vec![0; CHUNK_BYTES * CHUNKS_MAX + 1], [7; 8]).is_empty());
    }
}
