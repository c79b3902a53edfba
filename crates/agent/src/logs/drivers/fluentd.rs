//! The log driver `fluentd` and FireLens: the forward protocol, in batches.

use std::{io, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{io::AsyncReadExt, sync::Mutex, time::timeout};

use super::{
    Wanted,
    address::{Address, Connection, WRITE_MAX},
    msgpack::{Writer, string_of_map},
    tls::{self, TlsFiles},
};
use crate::logs::{
    destination::{DeliveryError, Destination},
    event::LogEvent,
};

const ADDRESS_DEFAULT: &str = "tcp://127.0.0.1:24224";
const PORT: u16 = 24_224;
/// An acknowledgement is some fifty bytes.
const ANSWER_BYTES_MAX: usize = 1024;

pub(super) struct Fluentd {
    address: Address,
    tls: Option<Arc<rustls::ClientConfig>>,
    tag: String,
    /// The same in every record.
    about: Vec<(String, String)>,
    sub_second: bool,
    acknowledged: bool,
    /// Do not wait for the receiver before the container starts.
    later: bool,
    connection: Mutex<Option<Connection>>,
}

impl Fluentd {
    pub(super) fn new(wanted: &Wanted<'_>) -> Result<Self, String> {
        let options = wanted.options();
        let address = Address::parse(options.get("fluentd-address").unwrap_or(ADDRESS_DEFAULT), PORT)?;
        if matches!(address, Address::Udp(_) | Address::UnixDatagram(_)) {
            return Err("fluentd-address must be tcp, tls or unix".to_owned());
        }
        let tls = matches!(address, Address::Tls(_)).then(|| tls::config(TlsFiles::default())).transpose()?;
        let later = options.flag("fluentd-async", false)? || options.flag("fluentd-async-connect", false)?;
        Ok(Self {
            address,
            tls,
            tag: wanted.container.tag(options)?,
            about: about(wanted, wanted.container.attributes(options)?),
            sub_second: options.flag("fluentd-sub-second-precision", false)?,
            acknowledged: options.flag("fluentd-request-ack", false)?,
            later,
            connection: Mutex::default(),
        })
    }

    /// To the task's own log router. Its options are the router's business.
    pub(super) fn for_router(wanted: &Wanted<'_>) -> Self {
        Self {
            address: Address::UnixOfContainer(wanted.firelens_socket.to_owned()),
            tls: None,
            tag: format!("{}-firelens-{}", wanted.definition.name, wanted.task.id()),
            about: about(wanted, Default::default()),
            sub_second: true,
            acknowledged: false,
            later: true,
            connection: Mutex::default(),
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        self.address.connect(self.tls.as_ref()).await
    }

    /// `[tag, [[time, record]…], options]`.
    fn message(&self, events: &[LogEvent], chunk: Option<&str>) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(3);
        writer.string(&self.tag);
        writer.array(u32::try_from(events.len()).unwrap_or(u32::MAX));
        for event in events {
            writer.array(2);
            let (seconds, nanoseconds) = event.time();
            if self.sub_second {
                writer.event_time(seconds, nanoseconds);
            } else {
                writer.unsigned(seconds);
            }
            let mut own = vec![("source", event.source()), ("log", event.message.as_str())];
            own.extend(self.about.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            writer.map(u32::try_from(own.len()).unwrap_or(u32::MAX));
            for (name, value) in own {
                writer.string(name);
                writer.string(value);
            }
        }
        writer.map(u32::from(chunk.is_some()));
        if let Some(chunk) = chunk {
            writer.string("chunk");
            writer.string(chunk);
        }
        writer.0
    }
}

fn about(wanted: &Wanted<'_>, attributes: std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
    let own = [
        ("container_id".to_owned(), wanted.container.id.clone()),
        ("container_name".to_owned(), format!("/{}", wanted.container.name)),
    ];
    own.into_iter().chain(attributes).collect()
}

#[async_trait]
impl Destination for Fluentd {
    async fn prepare(&self) -> Result<(), DeliveryError> {
        if self.later {
            return Ok(());
        }
        let connection = self.connect().await.map_err(|error| DeliveryError::Never(error.to_string()))?;
        *self.connection.lock().await = Some(connection);
        Ok(())
    }

    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError> {
        let mut held = self.connection.lock().await;
        // Taken out: an attempt that is given up on leaves no half-written connection.
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.connect().await.map_err(DeliveryError::later)?,
        };
        let chunk = self.acknowledged.then(|| STANDARD.encode(uuid::Uuid::new_v4().as_bytes()));
        connection.send(&self.message(events, chunk.as_deref())).await.map_err(DeliveryError::later)?;
        if let Some(chunk) = chunk {
            acknowledged(&mut connection, &chunk).await.map_err(DeliveryError::later)?;
        }
        *held = Some(connection);
        Ok(())
    }

    fn describe(&self) -> String {
        self.tag.clone()
    }
}

/// Waits for the receiver's word that it has the chunk.
async fn acknowledged(connection: &mut Connection, chunk: &str) -> io::Result<()> {
    let Connection::Stream(stream) = connection else { return Ok(()) };
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 256];
        let read = timeout(WRITE_MAX, stream.read(&mut part)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        answer.extend_from_slice(&part[..read]);
        match string_of_map(&answer, "ack") {
            Some(ack) if ack == chunk => return Ok(()),
            Some(_) => return Err(io::Error::other("another chunk was acknowledged")),
            None if read == 0 || answer.len() > ANSWER_BYTES_MAX => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => {}
        }
    }
}
