//! What can go wrong, by who has to act on it.

use std::path::PathBuf;

use crate::Revision;

/// Why a read or a write was not done. Nothing was changed unless the variant says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The key is empty or longer than [`crate::limits::KEY_BYTES_MAX`].
    #[error("key of {bytes} bytes; a key has 1 to {} bytes", crate::limits::KEY_BYTES_MAX)]
    KeyLength {
        /// Length of the refused key.
        bytes: usize,
    },
    /// The value is longer than [`crate::limits::VALUE_BYTES_MAX`].
    #[error("value of {bytes} bytes for {key}; the most is {}", crate::limits::VALUE_BYTES_MAX)]
    ValueLength {
        /// Whose value it was.
        key: String,
        /// Length of the refused value.
        bytes: usize,
    },
    /// The transaction has more than [`crate::limits::TXN_OPS_MAX`] operations or compares.
    #[error("transaction of {ops} operations; the most is {}", crate::limits::TXN_OPS_MAX)]
    TxnOps {
        /// Operations or compares, whichever are more.
        ops: usize,
    },
    /// The transaction carries more than [`crate::limits::TXN_BYTES_MAX`].
    #[error("transaction of {bytes} bytes; the most is {}", crate::limits::TXN_BYTES_MAX)]
    TxnBytes {
        /// Bytes of all keys and values.
        bytes: usize,
    },
    /// Two operations of one transaction touch the same key (etcd refuses this too).
    #[error("two operations of one transaction touch {key}")]
    DuplicateKey {
        /// The key touched twice.
        key: String,
    },
    /// The time to live is outside [`crate::limits::LEASE_TTL_SECONDS_MIN`]..[`crate::limits::LEASE_TTL_SECONDS_MAX`].
    #[error("lease of {seconds} seconds is out of range")]
    LeaseTtl {
        /// Seconds asked for.
        seconds: u64,
    },
    /// The lease never existed, was revoked or has expired.
    #[error("lease {lease} does not exist")]
    LeaseNotFound {
        /// The lease asked for.
        lease: u64,
    },
    /// No room on the disk. Reads go on; writes work again as soon as there is room.
    #[error("no space left on the disk that holds the store")]
    NoSpace,
    /// The disk failed while writing: whether this write survives is unknown, and no further one is taken until the
    /// store is opened again. Reads go on.
    #[error("the store's disk failed: {reason}")]
    Disk {
        /// What the operating system or the engine said.
        reason: String,
    },
    /// The file does not hold what we wrote into it.
    #[error("the store's file is damaged: {reason}")]
    Damaged {
        /// What was found.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a transaction was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TxnError {
    /// A compare did not hold: somebody else changed `key` since it was read. Read again and decide again.
    #[error("{key} has changed since it was read")]
    Conflict {
        /// The first key whose compare failed.
        key: String,
    },
    /// Anything else.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The events from the asked revision on are no longer kept. Load the keys again and watch from there.
    #[error("events before revision {oldest} are no longer kept")]
    Compacted {
        /// The oldest revision a watch can start from.
        oldest: Revision,
    },
    /// The event log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the embedded store could not be opened. Each is a whole sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file open.
    #[error(
        "another process is using {path}; only one Gantry may run on a data directory (stop it, or choose another --data-dir)"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is not one of ours, or is damaged.
    #[error("{path} is not a usable Gantry store: {reason}; restore it from a backup, or move it away to start empty")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a newer Gantry.
    #[error("{path} has format {found}, this Gantry reads up to format {known}; use the newer program")]
    Format {
        /// The file.
        path: PathBuf,
        /// Format in the file.
        found: u64,
        /// Newest format this program knows.
        known: u64,
    },
    /// The disk is full: opening needs a little room for repair.
    #[error("no space left on the disk that holds {path}")]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// The operating system said no.
    #[error("cannot open {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}
