//! Builds a database from files as OSV publishes them: zip archives of JSON, single JSON files, directories of both.
//!
//! The same advisory may come several times, in the archive of its ecosystem and in the one of everything, and not of
//! the same day: the one that was modified last counts, whichever comes first, also when it withdraws the advisory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database as Redb, Durability, ReadableTable, TableDefinition, WriteTransaction};

use super::{ADVISORIES, AFFECTED, FILE, FORMAT, META, SUMMARY, Summary, zip};
use crate::osv::{Parsed, Record};

/// While importing: `ID` → when the record that counts was modified, and the `ECOSYSTEM\0PACKAGE` it has rows under,
/// each after a `\n`.
const SEEN: TableDefinition<&str, &str> = TableDefinition::new("seen");
/// Largest record; those of the Linux kernel reach a few MiB.
const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Records between two commits: what is dirty has to fit into memory.
const RECORDS_PER_COMMIT: u64 = 10_000;
/// Memory for pages while importing.
const WRITE_CACHE_BYTES: usize = 64 << 20;
/// Nesting of directories.
const DEPTH_MAX: usize = 32;

/// Why an import did not happen. The database is what it was before.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A source cannot be read, or the new file not be written.
    #[error("input/output failed")]
    Io(#[from] io::Error),
    /// One of the sources.
    #[error("cannot read {path}")]
    Source {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The new file.
    #[error("cannot write the advisory database")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing in it was an advisory that a scan could use.
    #[error("there is no usable advisory in what was given ({unreadable} files are not OSV records)")]
    Nothing {
        /// Files that are no records.
        unreadable: u64,
    },
}

fn write(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImportError {
    ImportError::Write(error.into())
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records read.
    pub read: u64,
    /// Records kept.
    pub kept: u64,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The new database.
    pub summary: Summary,
    /// Records that are withdrawn, or about nothing a scan reads.
    pub left_out: u64,
    /// Files that are no records: how many, and the first few.
    pub unreadable: u64,
    /// Some of them, with the reason.
    pub examples: Vec<String>,
}

/// Replaces the database below `folder` by one of what is in `sources`. Blocking; bounded memory.
pub fn import(
    folder: &Path,
    sources: &[PathBuf],
    now_ms: i64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    fs::create_dir_all(folder)?;
    remove_leftovers(folder)?;
    let building = folder.join(format!("importing-{}.redb", std::process::id()));
    let outcome = build(&building, sources, now_ms, progress);
    if let Err(error) = outcome {
        let _ = fs::remove_file(&building);
        return Err(error);
    }
    let imported = outcome?;
    fs::File::open(&building)?.sync_all()?;
    fs::rename(&building, folder.join(FILE))?;
    fs::File::open(folder)?.sync_all()?;
    Ok(imported)
}

/// Files of imports that did not end. One that is still going on keeps writing to a file without a name and fails at
/// the end, which is what two imports at once deserve.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("importing-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn build(
    path: &Path,
    sources: &[PathBuf],
    now_ms: i64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let database = Builder::new().set_cache_size(WRITE_CACHE_BYTES).create(path).map_err(write)?;
    let mut import = Import {
        transaction: Some(begin(&database)?),
        database: &database,
        progress: Progress::default(),
        report: progress,
        left_out: 0,
        unreadable: 0,
        examples: Vec::new(),
        newest: String::new(),
    };
    for source in sources {
        import.source(source, DEPTH_MAX)?;
    }
    let summary = import.finish(now_ms)?;
    let (left_out, unreadable, examples) = (import.left_out, import.unreadable, std::mem::take(&mut import.examples));
    drop(import);
    if summary.advisories == 0 {
        return Err(ImportError::Nothing { unreadable });
    }
    Ok(Imported { summary, left_out, unreadable, examples })
}

fn begin(database: &Redb) -> Result<WriteTransaction, ImportError> {
    let mut transaction = database.begin_write().map_err(write)?;
    // The file counts only when it is whole: the last commit makes everything durable.
    transaction.set_durability(Durability::None).map_err(write)?;
    Ok(transaction)
}

struct Import<'a> {
    database: &'a Redb,
    transaction: Option<WriteTransaction>,
    progress: Progress,
    report: &'a mut dyn FnMut(Progress),
    left_out: u64,
    unreadable: u64,
    examples: Vec<String>,
    newest: String,
}

impl Import<'_> {
    fn source(&mut self, path: &Path, depth: usize) -> Result<(), ImportError> {
        let at = |source| ImportError::Source { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(at)?;
        if metadata.is_dir() {
            if depth == 0 {
                return Err(at(io::Error::other("directories are nested too deeply")));
            }
            for entry in fs::read_dir(path).map_err(at)? {
                let entry = entry.map_err(at)?;
                let wanted = entry.path().extension().is_some_and(|kind| kind == "json" || kind == "zip");
                if wanted || entry.file_type().map_err(at)?.is_dir() {
                    self.source(&entry.path(), depth - 1)?;
                }
            }
            return Ok(());
        }
        if path.extension().is_some_and(|kind| kind == "zip") {
            let is_json = |name: &str| name.ends_with(".json");
            let outcome = zip::for_each(path, RECORD_BYTES_MAX, is_json, |name, content| match content {
                Ok(content) => self.record(name, content),
                Err(error) => {
                    self.skip(name, &error);
                    Ok(())
                }
            });
            return outcome.map_err(|error| match error {
                ImportError::Io(source) => at(source),
                error => error,
            });
        }
        if metadata.len() > RECORD_BYTES_MAX {
            return Err(at(io::Error::other("the file is too large for an advisory; is it a zip archive?")));
        }
        let content = fs::read(path).map_err(at)?;
        self.record(&path.display().to_string(), &content)
    }

    fn record(&mut self, name: &str, content: &[u8]) -> Result<(), ImportError> {
        self.progress.read += 1;
        match Record::parse(content) {
            Ok(Parsed::Kept(record)) => self.keep(&record)?,
            Ok(Parsed::LeftOut { id, modified }) => {
                self.left_out += 1;
                self.replace(&id, &modified, "")?;
            }
            Err(error) => self.skip(name, &error),
        }
        if self.progress.read.is_multiple_of(RECORDS_PER_COMMIT) {
            if let Some(transaction) = self.transaction.take() {
                transaction.commit().map_err(write)?;
            }
            self.transaction = Some(begin(self.database)?);
        }
        (self.report)(self.progress);
        Ok(())
    }

    fn skip(&mut self, name: &str, error: &dyn std::error::Error) {
        const EXAMPLES_MAX: usize = 5;
        self.unreadable += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{name}: {error}"));
        }
    }

    fn keep(&mut self, record: &Record) -> Result<(), ImportError> {
        let id = &record.advisory.id;
        let packages = record.affected.keys().filter(|(_, package)| !package.contains(['\0', '\n']));
        let keys: String = packages.map(|(ecosystem, package)| format!("\n{ecosystem}\0{package}")).collect();
        if !self.replace(id, &record.advisory.modified, &keys)? {
            return Ok(());
        }
        let transaction = self.transaction.as_ref().ok_or_else(|| write("no transaction"))?;
        let bytes = serde_json::to_vec(&record.advisory).map_err(write)?;
        transaction.open_table(ADVISORIES).map_err(write)?.insert(id.as_str(), bytes.as_slice()).map_err(write)?;
        let mut table = transaction.open_table(AFFECTED).map_err(write)?;
        for ((ecosystem, package), affected) in &record.affected {
            if package.contains(['\0', '\n']) {
                continue;
            }
            let bytes = serde_json::to_vec(affected).map_err(write)?;
            table.insert(format!("{ecosystem}\0{package}\0{id}").as_str(), bytes.as_slice()).map_err(write)?;
        }
        self.progress.kept += 1;
        if record.advisory.modified > self.newest {
            self.newest.clone_from(&record.advisory.modified);
        }
        Ok(())
    }

    /// Takes away what an older record of the same id left; false when the one that came before is as new.
    fn replace(&self, id: &str, modified: &str, keys: &str) -> Result<bool, ImportError> {
        let transaction = self.transaction.as_ref().ok_or_else(|| write("no transaction"))?;
        let mut seen = transaction.open_table(SEEN).map_err(write)?;
        let before = seen.get(id).map_err(write)?.map(|row| row.value().to_owned());
        if let Some(before) = &before {
            let mut parts = before.split('\n');
            if parts.next().unwrap_or_default() >= modified {
                return Ok(false);
            }
            let mut affected = transaction.open_table(AFFECTED).map_err(write)?;
            for key in parts {
                affected.remove(format!("{key}\0{id}").as_str()).map_err(write)?;
            }
            transaction.open_table(ADVISORIES).map_err(write)?.remove(id).map_err(write)?;
        }
        seen.insert(id, format!("{modified}{keys}").as_str()).map_err(write)?;
        Ok(true)
    }

    /// Counts what is there, which differs from what was given where records came twice, and makes it durable.
    fn finish(&mut self, now_ms: i64) -> Result<Summary, ImportError> {
        if let Some(transaction) = self.transaction.take() {
            transaction.commit().map_err(write)?;
        }
        let transaction = self.database.begin_write().map_err(write)?;
        transaction.delete_table(SEEN).map_err(write)?;
        let mut ecosystems = BTreeMap::new();
        let mut advisories = 0;
        {
            let table = transaction.open_table(AFFECTED).map_err(write)?;
            for row in table.iter().map_err(write)? {
                let (key, _) = row.map_err(write)?;
                let ecosystem = key.value().split('\0').next().unwrap_or_default();
                match ecosystems.get_mut(ecosystem) {
                    Some(count) => *count += 1,
                    None => drop(ecosystems.insert(ecosystem.to_owned(), 1)),
                }
            }
            for row in transaction.open_table(ADVISORIES).map_err(write)?.iter().map_err(write)? {
                row.map_err(write)?;
                advisories += 1;
            }
        }
        // Two imports of one process can fall into the same millisecond.
        static IMPORTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = IMPORTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let generation = format!("{now_ms:x}-{:x}-{number:x}", std::process::id());
        let newest = std::mem::take(&mut self.newest);
        let summary = Summary { format: FORMAT, generation, imported_at_ms: now_ms, newest, advisories, ecosystems };
        let bytes = serde_json::to_vec(&summary).map_err(write)?;
        transaction.open_table(META).map_err(write)?.insert(SUMMARY, bytes.as_slice()).map_err(write)?;
        transaction.commit().map_err(write)?;
        Ok(summary)
    }
}
