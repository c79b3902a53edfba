//! The log driver `syslog`: RFC 3164 and RFC 5424 over datagrams, streams and TLS, as Docker writes them.

use std::sync::Arc;

use async_trait::async_trait;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tokio::sync::Mutex;

use super::{
    Options, Wanted,
    address::{Address, Connection},
    tls::{self, TlsFiles},
};
use crate::logs::{
    destination::{DeliveryError, Destination},
    event::LogEvent,
};

const PORT: u16 = 514;
const LOCAL: &str = "/dev/log";
const FACILITIES: [(&str, u32); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
/// Severities of standard output and standard error.
const INFORMATIONAL: u32 = 6;
const ERROR: u32 = 3;
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second]");
const RFC3339: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const MICROSECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Without a host name, as syslog(3) writes it.
    Unix,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

pub(super) struct Syslog {
    /// The first that answers.
    addresses: Vec<Address>,
    tls: Option<Arc<rustls::ClientConfig>>,
    facility: u32,
    format: Format,
    tag: String,
    hostname: String,
    connection: Mutex<Option<Connection>>,
}

impl Syslog {
    pub(super) fn new(wanted: &Wanted<'_>) -> Result<Self, String> {
        let options = wanted.options();
        let addresses = match options.get("syslog-address") {
            Some(text) => vec![Address::parse(text, PORT)?],
            // Which of the two it is depends on who listens.
            None => vec![Address::UnixDatagram(LOCAL.into()), Address::Unix(LOCAL.into())],
        };
        let secure = addresses.iter().any(|address| matches!(address, Address::Tls(_)));
        Ok(Self {
            tls: secure.then(|| tls_of(options)).transpose()?,
            addresses,
            facility: facility(options.get("syslog-facility"))?,
            format: match options.get("syslog-format") {
                None => Format::Unix,
                Some("rfc3164") => Format::Rfc3164,
                Some("rfc5424") => Format::Rfc5424,
                Some("rfc5424micro") => Format::Rfc5424Micro,
                Some(_) => return Err("invalid syslog format".to_owned()),
            },
            tag: wanted.container.tag(options)?,
            hostname: hostname(),
            connection: Mutex::default(),
        })
    }

    async fn connect(&self) -> std::io::Result<Connection> {
        let mut failure = std::io::Error::from(std::io::ErrorKind::NotFound);
        for address in &self.addresses {
            match address.connect(self.tls.as_ref()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn message(&self, event: &LogEvent) -> String {
        let priority = self.facility * 8 + if event.stderr { ERROR } else { INFORMATIONAL };
        let (tag, host, pid, text) = (&self.tag, &self.hostname, std::process::id(), &event.message);
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(event.timestamp_ns))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let at = |format: &[BorrowedFormatItem<'_>]| at.format(format).unwrap_or_default();
        match self.format {
            Format::Unix => format!("<{priority}>{} {tag}[{pid}]: {text}", at(STAMP)),
            Format::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: {text}", at(STAMP)),
            Format::Rfc5424 => format!("<{priority}>1 {} {host} {tag} {pid} {tag} - {text}", at(RFC3339)),
            Format::Rfc5424Micro => format!("<{priority}>1 {} {host} {tag} {pid} {tag} - {text}", at(MICROSECONDS)),
        }
    }
}

fn tls_of(options: Options<'_>) -> Result<Arc<rustls::ClientConfig>, String> {
    tls::config(TlsFiles {
        authority: options.get("syslog-tls-ca-cert"),
        certificate: options.get("syslog-tls-cert"),
        key: options.get("syslog-tls-key"),
        skip_verify: options.flag("syslog-tls-skip-verify", false)?,
    })
}

fn facility(name: Option<&str>) -> Result<u32, String> {
    let Some(name) = name else { return Ok(3) };
    let number = name.parse().ok().filter(|number| *number <= 23);
    let named = FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or(number).ok_or_else(|| "invalid syslog facility".to_owned())
}

/// The host's own name.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[async_trait]
impl Destination for Syslog {
    async fn prepare(&self) -> Result<(), DeliveryError> {
        let connection = self.connect().await.map_err(|error| DeliveryError::Never(error.to_string()))?;
        *self.connection.lock().await = Some(connection);
        Ok(())
    }

    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.connect().await.map_err(DeliveryError::later)?,
        };
        if matches!(connection, Connection::Stream(_)) {
            let mut bytes = Vec::new();
            for event in events {
                let line = format!("{}\n", self.message(event));
                if self.tls.is_some() {
                    // RFC 5425 frames by length.
                    bytes.extend(format!("{} ", line.len()).as_bytes());
                }
                bytes.extend(line.as_bytes());
            }
            connection.send(&bytes).await.map_err(DeliveryError::later)?;
        } else {
            for event in events {
                connection.send(self.message(event).as_bytes()).await.map_err(DeliveryError::later)?;
            }
        }
        *held = Some(connection);
        Ok(())
    }

    fn describe(&self) -> String {
        self.tag.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn facilities_have_names_and_numbers() {
        for (name, expected) in [(None, Ok(3)), (Some("local7"), Ok(23)), (Some("4"), Ok(4))] {
            assert_eq!(facility(name), expected, "{name:?}");
        }
        assert!(facility(Some("24")).is_err() && facility(Some("everything")).is_err());
    }
}
