//! How rows and the event log look inside the file. Fixed little-endian headers: reading one costs no parsing and a
//! value is copied once. Changing anything here needs a new [`FORMAT`].

use std::sync::Arc;

use bytes::Bytes;

use crate::apply::RowHead;
use crate::{Batch, Event, KeyValue, LeaseId, Revision, StoreError};

/// Version of everything in this file, kept in the file itself.
pub(super) const FORMAT: u64 = 1;

const ROW_HEADER: usize = 32;
const RECORD_HEADER: usize = 16;
const PUT: u8 = 0;
const DELETE: u8 = 1;

/// A row: create revision, mod revision, version, lease (0: none), then the value.
pub(super) fn encode_row(kv: &KeyValue, row: &mut Vec<u8>) {
    row.clear();
    row.reserve(ROW_HEADER + kv.value.len());
    for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease.map_or(0, |lease| lease.0)] {
        row.extend_from_slice(&number.to_le_bytes());
    }
    row.extend_from_slice(&kv.value);
}

/// The header of a row.
pub(super) fn decode_head(row: &[u8]) -> Result<RowHead, StoreError> {
    let mut reader = Reader(row);
    Ok(RowHead {
        create_revision: reader.u64()?,
        mod_revision: reader.u64()?,
        version: reader.u64()?,
        lease: lease(reader.u64()?),
    })
}

/// A whole row.
pub(super) fn decode_row(key: &[u8], row: &[u8]) -> Result<KeyValue, StoreError> {
    let head = decode_head(row)?;
    Ok(KeyValue {
        key: decode_key(key)?,
        value: Bytes::copy_from_slice(&row[ROW_HEADER..]),
        create_revision: head.create_revision,
        mod_revision: head.mod_revision,
        version: head.version,
        lease: head.lease,
    })
}

/// A key out of the file.
pub(super) fn decode_key(key: &[u8]) -> Result<Arc<str>, StoreError> {
    std::str::from_utf8(key).map(Arc::from).map_err(|_| damaged("a key is not UTF-8"))
}

/// A record of the event log: the consecutive transactions of one commit.
///
/// `written_before` counts the bytes of all records before this one since the store was created. The difference of two
/// records' counts is what lies between them, so the size of the log is known without reading it.
pub(super) fn encode_record(written_before: u64, batches: &[Arc<Batch>], record: &mut Vec<u8>) {
    record.clear();
    let first = batches.first().map_or(0, |batch| batch.revision);
    record.extend_from_slice(&first.to_le_bytes());
    record.extend_from_slice(&written_before.to_le_bytes());
    for batch in batches {
        put_len(record, batch.events.len());
        batch.events.iter().for_each(|event| encode_event(event, record));
    }
}

/// First revision and `written_before` of a record.
pub(super) fn decode_record_header(record: &[u8]) -> Result<(Revision, u64), StoreError> {
    let mut reader = Reader(record);
    Ok((reader.u64()?, reader.u64()?))
}

/// The transactions of a record, from `from` on.
pub(super) fn decode_record(record: &[u8], from: Revision) -> Result<Vec<Batch>, StoreError> {
    let (mut revision, _) = decode_record_header(record)?;
    let mut reader = Reader(&record[RECORD_HEADER..]);
    let mut batches = Vec::new();
    while !reader.0.is_empty() {
        let count = reader.len()?;
        let events = (0..count).map(|_| decode_event(&mut reader, revision)).collect::<Result<_, _>>()?;
        if revision >= from {
            batches.push(Batch { revision, events });
        }
        revision += 1;
    }
    Ok(batches)
}

fn encode_event(event: &Event, record: &mut Vec<u8>) {
    match event {
        Event::Put(kv) => {
            record.push(PUT);
            put_bytes(record, kv.key.as_bytes());
            for number in [kv.create_revision, kv.version, kv.lease.map_or(0, |lease| lease.0)] {
                record.extend_from_slice(&number.to_le_bytes());
            }
            put_bytes(record, &kv.value);
        }
        Event::Delete { key, .. } => {
            record.push(DELETE);
            put_bytes(record, key.as_bytes());
        }
    }
}

fn decode_event(reader: &mut Reader<'_>, revision: Revision) -> Result<Event, StoreError> {
    let kind = reader.take(1)?[0];
    let key = decode_key(reader.bytes()?)?;
    match kind {
        PUT => Ok(Event::Put(KeyValue {
            key,
            create_revision: reader.u64()?,
            mod_revision: revision,
            version: reader.u64()?,
            lease: lease(reader.u64()?),
            value: Bytes::copy_from_slice(reader.bytes()?),
        })),
        DELETE => Ok(Event::Delete { key, revision }),
        _ => Err(damaged("an event has an unknown kind")),
    }
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    put_len(record, bytes.len());
    record.extend_from_slice(bytes);
}

fn put_len(record: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("keys, values and transactions are bounded far below 4 GiB");
    record.extend_from_slice(&len.to_le_bytes());
}

fn lease(number: u64) -> Option<LeaseId> {
    (number != 0).then_some(LeaseId(number))
}

fn damaged(reason: &str) -> StoreError {
    StoreError::Damaged { reason: reason.to_owned() }
}

/// Reads what the functions above wrote; anything else is [`StoreError::Damaged`].
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| damaged("a record ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn len(&mut self) -> Result<usize, StoreError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.len()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kv(key: &str, revision: Revision) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: Bytes::from_static(b"value"),
            create_revision: 3,
            mod_revision: revision,
            version: 2,
            lease: Some(LeaseId(9)),
        }
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        let mut row = Vec::new();
        encode_row(&kv("/a", 7), &mut row);
        assert_eq!(decode_row(b"/a", &row).unwrap(), kv("/a", 7));
        assert!(matches!(decode_row(b"/a", &row[..31]), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn records_come_back_from_any_revision() {
        let delete = Event::Delete { key: "/b".into(), revision: 8 };
        let batches = [
            Arc::new(Batch { revision: 7, events: vec![Event::Put(kv("/a", 7))] }),
            Arc::new(Batch { revision: 8, events: vec![delete, Event::Put(kv("/c", 8))] }),
        ];
        let mut record = Vec::new();
        encode_record(123, &batches, &mut record);
        assert_eq!(decode_record_header(&record).unwrap(), (7, 123));
        assert_eq!(decode_record(&record, 0).unwrap(), [(*batches[0]).clone(), (*batches[1]).clone()]);
        assert_eq!(decode_record(&record, 8).unwrap(), [(*batches[1]).clone()]);
        for end in 0..record.len() {
            // Any cut is noticed unless it falls between two transactions.
            if let Ok(found) = decode_record(&record[..end], 0) {
                assert!(found.len() < 2);
            }
        }
    }
}
