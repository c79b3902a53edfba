//! Advisories on disk: one file, written once by an import and then only read.
//!
//! An import builds a new file beside the old one and takes its place when it is whole and durable; whoever has the
//! old one open goes on reading it. Lookups read a few pages; nothing is loaded as a whole.

mod import;
mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use redb::{Builder, ReadOnlyDatabase, ReadableDatabase, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::osv::{Advisory, Affected};

pub use import::{ImportError, Imported, Progress, import};

/// `ECOSYSTEM\0PACKAGE\0ID` → [`Affected`].
const AFFECTED: TableDefinition<&str, &[u8]> = TableDefinition::new("affected");
/// `ID` → [`Advisory`].
const ADVISORIES: TableDefinition<&str, &[u8]> = TableDefinition::new("advisories");
/// `summary` → [`Summary`].
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const SUMMARY: &str = "summary";
/// Of the rows; a file of another format is not opened.
const FORMAT: u32 = 1;
const FILE: &str = "advisories.redb";
/// Memory a reader keeps pages in.
const READ_CACHE_BYTES: usize = 8 << 20;
/// Advisories of one package that are looked at; the Linux kernel has some ten thousand.
const ADVISORIES_PER_PACKAGE_MAX: usize = 100_000;

/// What a database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    format: u32,
    /// Changes with every import.
    pub generation: String,
    /// Milliseconds since the epoch.
    pub imported_at_ms: i64,
    /// The newest `modified` of all records, RFC 3339.
    pub newest: String,
    /// Advisories.
    pub advisories: u64,
    /// Per ecosystem key, pairs of package and advisory.
    pub ecosystems: BTreeMap<String, u64>,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is none.
    #[error("there is no advisory database at {0}")]
    Absent(PathBuf),
    /// Not ours, of another version, or damaged.
    #[error("the advisory database cannot be read")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl DatabaseError {
    fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Damaged(error.into())
    }
}

/// An open database.
pub struct Database {
    database: ReadOnlyDatabase,
    summary: Summary,
}

/// Tells one file from the next that takes its place, without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u64, u64, Option<SystemTime>);

impl Database {
    /// Opens the database below `folder`. Blocking.
    pub fn open(folder: &Path) -> Result<Self, DatabaseError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(DatabaseError::Absent(path));
        }
        let mut builder = Builder::new();
        let database =
            builder.set_cache_size(READ_CACHE_BYTES).open_read_only(&path).map_err(DatabaseError::damaged)?;
        let summary: Summary = read(&database, META, SUMMARY)?.ok_or_else(|| DatabaseError::damaged("no summary"))?;
        if summary.format != FORMAT {
            return Err(DatabaseError::damaged(format!("it has format {}, not {FORMAT}", summary.format)));
        }
        Ok(Self { database, summary })
    }

    /// Which file lies there now; none when none does. Blocking, but for one system call.
    pub fn file_id(folder: &Path) -> Option<FileId> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(folder.join(FILE)).ok()?;
        Some(FileId(metadata.dev(), metadata.ino(), metadata.modified().ok()))
    }

    /// What it holds.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What speaks of a package: the advisories' ids, and the versions they mean. Blocking.
    pub fn affected(&self, ecosystem: &str, package: &str) -> Result<Vec<(String, Affected)>, DatabaseError> {
        let transaction = self.database.begin_read().map_err(DatabaseError::damaged)?;
        let table = transaction.open_table(AFFECTED).map_err(DatabaseError::damaged)?;
        let (first, end) = (format!("{ecosystem}\0{package}\0"), format!("{ecosystem}\0{package}\u{1}"));
        let mut found = Vec::new();
        for row in table.range(first.as_str()..end.as_str()).map_err(DatabaseError::damaged)? {
            let (key, value) = row.map_err(DatabaseError::damaged)?;
            let affected = serde_json::from_slice(value.value()).map_err(DatabaseError::damaged)?;
            found.push((key.value()[first.len()..].to_owned(), affected));
            if found.len() == ADVISORIES_PER_PACKAGE_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// What an advisory says. Blocking.
    pub fn advisory(&self, id: &str) -> Result<Option<Advisory>, DatabaseError> {
        read(&self.database, ADVISORIES, id)
    }
}

fn read<T: serde::de::DeserializeOwned>(
    database: &ReadOnlyDatabase,
    table: TableDefinition<&str, &[u8]>,
    key: &str,
) -> Result<Option<T>, DatabaseError> {
    let transaction = database.begin_read().map_err(DatabaseError::damaged)?;
    let table = transaction.open_table(table).map_err(DatabaseError::damaged)?;
    let Some(value) = table.get(key).map_err(DatabaseError::damaged)? else { return Ok(None) };
    serde_json::from_slice(value.value()).map(Some).map_err(DatabaseError::damaged)
}

#[cfg(test)]
mod tests;
