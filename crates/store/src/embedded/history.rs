//! The event log in the file: appended by every commit, read by watchers that fell behind, cut from its old end.

use std::sync::Arc;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable, Table, WriteTransaction};

use super::codec;
use super::database::{Db, failed};
use super::rows::LOG;
use crate::feed::{History, Page, PageBuilder};
use crate::{Batch, KeyRange, Revision, StoreError, WatchError};

/// Most old records one commit removes. More than one, so that the log shrinks back after a burst.
const CUT_RECORDS_MAX: usize = 8;

/// Where the log ends, kept by the writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogEnd {
    /// Last revision.
    pub(super) revision: Revision,
    /// Bytes of all records ever written.
    written: u64,
}

impl LogEnd {
    /// Reads it from the file.
    pub(super) fn read(snapshot: &ReadTransaction) -> Result<Self, StoreError> {
        let log = snapshot.open_table(LOG).map_err(failed)?;
        let Some((revision, record)) = log.last().map_err(failed)? else {
            return Ok(Self { revision: 0, written: 0 });
        };
        let (_, written_before) = codec::decode_record_header(record.value())?;
        Ok(Self { revision: revision.value(), written: written_before + record.value().len() as u64 })
    }

    /// Appends the transactions of a commit and cuts what is older than `keep_bytes`. Returns the end after it, which
    /// holds once the commit is durable.
    pub(super) fn append(
        self,
        write: &WriteTransaction,
        batches: &[Arc<Batch>],
        keep_bytes: u64,
    ) -> Result<Self, StoreError> {
        let Some(last) = batches.last() else { return Ok(self) };
        let mut log = write.open_table(LOG).map_err(failed)?;
        let mut record = Vec::new();
        codec::encode_record(self.written, batches, &mut record);
        log.insert(last.revision, record.as_slice()).map_err(failed)?;
        let after = Self { revision: last.revision, written: self.written + record.len() as u64 };
        for _ in 0..CUT_RECORDS_MAX {
            let Some((first, written_before)) = first_record(&log)? else { break };
            // The last record stays whatever its size: it is what knows the revision.
            if first == after.revision || after.written - written_before <= keep_bytes {
                break;
            }
            log.remove(first).map_err(failed)?;
        }
        Ok(after)
    }
}

fn first_record(log: &Table<'_, u64, &'static [u8]>) -> Result<Option<(Revision, u64)>, StoreError> {
    let Some((first, record)) = log.first().map_err(failed)? else { return Ok(None) };
    let (_, written_before) = codec::decode_record_header(record.value())?;
    Ok(Some((first.value(), written_before)))
}

/// Reads the log for watchers.
#[derive(Debug)]
pub(super) struct LogHistory(pub(super) Arc<Db>);

#[async_trait]
impl History for LogHistory {
    async fn read(&self, range: &KeyRange, from: Revision) -> Result<Page, WatchError> {
        let db = self.0.clone();
        let range = range.clone();
        let read = tokio::task::spawn_blocking(move || db.read(|snapshot| page(snapshot, &range, from)));
        let page = read.await.map_err(|error| StoreError::Damaged { reason: error.to_string() })?;
        page?.map_err(|oldest| WatchError::Compacted { oldest })
    }
}

/// A page of the log from `from` on, or the oldest revision there is.
fn page(snapshot: &ReadTransaction, range: &KeyRange, from: Revision) -> Result<Result<Page, Revision>, StoreError> {
    let log = snapshot.open_table(LOG).map_err(failed)?;
    if let Some((_, record)) = log.first().map_err(failed)? {
        let (oldest, _) = codec::decode_record_header(record.value())?;
        if from < oldest {
            return Ok(Err(oldest));
        }
    }
    let mut page = PageBuilder::new(range, from);
    for record in log.range(from..).map_err(failed)? {
        let (_, record) = record.map_err(failed)?;
        for batch in codec::decode_record(record.value(), from)? {
            if !page.push(&batch) {
                return Ok(Ok(page.finish()));
            }
        }
    }
    Ok(Ok(page.finish()))
}
