//! The log driver `journald`: datagrams in the journal's own format.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{
    Wanted,
    address::{Address, Connection},
};
use crate::logs::{
    destination::{DeliveryError, Destination},
    event::LogEvent,
};

pub(super) struct Journald {
    address: Address,
    /// The same in every entry.
    about: Vec<u8>,
    connection: Mutex<Option<Connection>>,
}

impl Journald {
    pub(super) fn new(wanted: &Wanted<'_>, socket: PathBuf) -> Result<Self, String> {
        let options = wanted.options();
        let container = &wanted.container;
        let tag = container.tag(options)?;
        let mut about = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", container.short_id()),
            ("CONTAINER_ID_FULL", &container.id),
            ("CONTAINER_NAME", &container.name),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", &container.image),
            ("SYSLOG_IDENTIFIER", &tag),
        ] {
            field(&mut about, name, value);
        }
        let attributes: BTreeMap<String, String> = container.attributes(options)?;
        for (name, value) in attributes {
            if let Some(name) = field_name(&name) {
                field(&mut about, &name, &value);
            }
        }
        Ok(Self { address: Address::UnixDatagram(socket), about, connection: Mutex::default() })
    }

    fn entry(&self, event: &LogEvent) -> Vec<u8> {
        let mut entry = Vec::new();
        field(&mut entry, "MESSAGE", &event.message);
        field(&mut entry, "PRIORITY", if event.stderr { "3" } else { "6" });
        entry.extend_from_slice(&self.about);
        entry
    }
}

/// `NAME=value`, or with the length in front when the value has more than one line.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.as_bytes());
    entry.push(b'\n');
}

/// As the journal wants names: capitals, digits, underscores, and a letter first.
fn field_name(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' })
        .collect();
    let name = name.trim_start_matches(|letter: char| letter == '_' || letter.is_ascii_digit());
    (!name.is_empty()).then(|| name.to_owned())
}

#[async_trait]
impl Destination for Journald {
    async fn prepare(&self) -> Result<(), DeliveryError> {
        match self.address.connect(None).await {
            Ok(connection) => *self.connection.lock().await = Some(connection),
            Err(_) => return Err(DeliveryError::Never("journald is not enabled on this host".to_owned())),
        }
        Ok(())
    }

    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.address.connect(None).await.map_err(DeliveryError::later)?,
        };
        for event in events {
            connection.send(&self.entry(event)).await.map_err(DeliveryError::later)?;
        }
        *held = Some(connection);
        Ok(())
    }

    fn describe(&self) -> String {
        "journald".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_the_journals() {
        let mut entry = Vec::new();
        field(&mut entry, "A", "b");
        field(&mut entry, "C", "d\ne");
        assert_eq!(entry, b"A=b\nC\n\x03\0\0\0\0\0\0\0d\ne\n");
        assert_eq!(field_name("com.example-1"), Some("COM_EXAMPLE_1".to_owned()));
        assert_eq!(field_name("_9"), None);
    }
}
