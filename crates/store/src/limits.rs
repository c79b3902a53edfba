//! Every bound of the store, with its reason.

/// Longest key, in bytes. Keys are paths of ARN parts; the longest ECS path is well under half of this.
pub const KEY_BYTES_MAX: usize = 1024;

/// Largest value, in bytes. A task definition may have 64 KiB; nothing we keep as a row comes near.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Most operations in one transaction, and most compares.
pub const TXN_OPS_MAX: usize = 1024;

/// Most bytes of keys and values in one transaction: what one commit may hold in memory.
pub const TXN_BYTES_MAX: usize = 8 << 20;

/// Most rows one `range` returns; larger limits are cut to it and `more` is set.
pub const RANGE_ROWS_MAX: usize = 10_000;

/// Shortest and longest time to live of a lease, in seconds.
pub const LEASE_TTL_SECONDS_MIN: u64 = 1;
/// See [`LEASE_TTL_SECONDS_MIN`].
pub const LEASE_TTL_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Transactions that may wait for the writer before callers have to wait to enqueue.
pub(crate) const WRITE_QUEUE_MAX: usize = 4096;

/// Most transactions, and bytes, in one durable commit. Bounds the latency of the first of them.
pub(crate) const GROUP_TXNS_MAX: usize = 1024;
/// See [`GROUP_TXNS_MAX`].
pub(crate) const GROUP_BYTES_MAX: usize = 16 << 20;

/// Recent events kept in memory for watchers that keep up, in batches and bytes.
pub(crate) const RECENT_BATCHES_MAX: usize = 4096;
/// See [`RECENT_BATCHES_MAX`].
pub(crate) const RECENT_BYTES_MAX: usize = 4 << 20;
