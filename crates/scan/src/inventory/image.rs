//! Reads an image: layers as streams, one on top of the other.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};

use super::files::{FileKind, Parsed};
use super::{Inventory, InventoryError, Limits, elf, rpm, tar};

/// Longest path that is looked at; no package manager comes near.
const PATH_BYTES_MAX: usize = 1024;
/// Remarks kept.
const NOTES_MAX: usize = 20;

/// Reads an image layer by layer.
pub struct ImageReader<'a> {
    limits: Limits,
    guard: Guard<'a>,
    entries: u64,
    packages: usize,
    /// What the layers so far leave visible.
    files: BTreeMap<String, Parsed>,
    notes: Vec<String>,
}

/// What the readers of one scan share.
struct Guard<'a> {
    left: Cell<u64>,
    expired: &'a dyn Fn() -> bool,
    stop: RefCell<Option<InventoryError>>,
    limit: u64,
}

impl<'a> ImageReader<'a> {
    /// A reader that stops when `expired` says so; it is asked at least once per 64 KiB of content.
    pub fn new(limits: Limits, expired: &'a dyn Fn() -> bool) -> Self {
        let limit = limits.inflated_bytes_max;
        let guard = Guard { left: Cell::new(limit), expired, stop: RefCell::new(None), limit };
        Self { limits, guard, entries: 0, packages: 0, files: BTreeMap::new(), notes: Vec::new() }
    }

    /// Reads the next layer, from the lowest up. `media_type` is that of its descriptor.
    pub fn layer(&mut self, media_type: &str, input: impl Read) -> Result<(), InventoryError> {
        if media_type.contains("encrypted") || media_type.contains("foreign") || media_type.contains("nondistributable")
        {
            return Err(InventoryError::Unsupported(format!("layers of type {media_type} cannot be read")));
        }
        let outcome = self.read_layer(input);
        match (self.guard.stop.take(), outcome) {
            (Some(stop), _) => Err(stop),
            (None, Err(Failure::Stop(error))) => Err(error),
            (None, Err(Failure::Io(error))) => Err(InventoryError::Damaged(error.to_string())),
            (None, Ok(())) => Ok(()),
        }
    }

    fn read_layer(&mut self, input: impl Read) -> Result<(), Failure> {
        let (guard, limits) = (&self.guard, &self.limits);
        let mut input = BufReader::with_capacity(64 * 1024, Source { input, guard });
        let mut head = [0; 4];
        let filled = fill(&mut input, &mut head)?;
        let input = io::Cursor::new(head).take(filled as u64).chain(input);
        let inflated: Box<dyn Read + '_> = if head.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::read::MultiGzDecoder::new(input))
        } else if head == [0x28, 0xb5, 0x2f, 0xfd] {
            let mut zstd = zstd::stream::read::Decoder::new(input)?;
            // The largest window that zstd's command line makes without being asked: 128 MiB.
            zstd.window_log_max(27)?;
            Box::new(zstd)
        } else {
            Box::new(input)
        };
        let bounded = BufReader::with_capacity(64 * 1024, Bounded { input: inflated, guard });
        let mut layer = Layer { lower: &mut self.files, files: BTreeMap::new(), rpm: None, wal: None };
        let mut tar = tar::Tar::new(bounded);
        while let Some(entry) = tar.next()? {
            self.entries += 1;
            if self.entries > limits.entries_max {
                return Err(Failure::Stop(InventoryError::TooManyEntries(limits.entries_max)));
            }
            let usable = |path: &&str| !path.is_empty() && path.len() <= PATH_BYTES_MAX;
            let Some(path) = entry.path.as_deref().filter(usable) else { continue };
            if layer.hide(path, entry.kind) {
                continue;
            }
            match entry.kind {
                tar::Kind::HardLink => layer.link(path, entry.link.as_deref()),
                tar::Kind::File => {
                    let kind = FileKind::of(path);
                    let taken = layer.read(path, kind, &entry, &mut tar, limits)?;
                    note(&mut self.notes, taken);
                }
                _ => {}
            }
            self.packages += layer.last_count(path);
            if self.packages > limits.packages_max {
                return Err(Failure::Stop(InventoryError::TooManyPackages(limits.packages_max)));
            }
        }
        layer.rpm_sqlite().map_err(Failure::Stop)?;
        let files = layer.files;
        self.files.extend(files);
        Ok(())
    }

    /// What is visible in the end.
    pub fn finish(self) -> Result<Inventory, InventoryError> {
        let distribution =
            ["etc/os-release", "usr/lib/os-release"].iter().find_map(|path| match self.files.get(*path) {
                Some(Parsed::Distribution(distribution)) => Some(distribution.clone()),
                _ => None,
            });
        let mut seen = BTreeSet::new();
        let mut packages = Vec::new();
        for (path, parsed) in &self.files {
            let Parsed::Packages { packages: found, .. } = parsed else { continue };
            // go.sum names versions that were looked at too; a go.mod that names everything is better.
            let module = path.strip_suffix("go.sum").map(|folder| format!("{folder}go.mod"));
            if module.is_some_and(|module| self.files.get(&module).is_some_and(Parsed::is_complete)) {
                continue;
            }
            for package in found {
                if package.is_named() && seen.insert((package.manager, package.name.clone(), package.version.clone())) {
                    packages.push(package.clone());
                }
            }
        }
        if packages.len() > self.limits.packages_max {
            return Err(InventoryError::TooManyPackages(self.limits.packages_max));
        }
        packages.sort();
        Ok(Inventory { distribution, packages, notes: self.notes })
    }
}

/// Keeps a remark, of a bounded number.
fn note(notes: &mut Vec<String>, text: Option<String>) {
    if let Some(text) = text
        && notes.len() < NOTES_MAX
    {
        notes.push(text.chars().take(300).collect());
    }
}

/// Why reading stopped.
enum Failure {
    Stop(InventoryError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One layer on top of those below.
struct Layer<'a> {
    lower: &'a mut BTreeMap<String, Parsed>,
    files: BTreeMap<String, Parsed>,
    /// SQLite databases are read when their log has come too.
    rpm: Option<(String, Vec<u8>)>,
    wal: Option<(String, Vec<u8>)>,
}

impl Layer<'_> {
    /// Hides what is below an entry. True for whiteouts, which are nothing themselves.
    fn hide(&mut self, path: &str, kind: tar::Kind) -> bool {
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let child = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if name == ".wh..wh..opq" {
            self.remove_below(folder);
            return true;
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let hidden = child(hidden);
            self.lower.remove(&hidden);
            self.remove_below(&hidden);
            return true;
        }
        self.lower.remove(path);
        self.files.remove(path);
        if kind != tar::Kind::Directory {
            self.remove_below(path);
        }
        false
    }

    fn remove_below(&mut self, folder: &str) {
        if folder.is_empty() {
            self.lower.clear();
            return;
        }
        let prefix = format!("{folder}/");
        let below = self.lower.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let below: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        for path in below {
            self.lower.remove(&path);
        }
    }

    /// A hard link is its target, when that was of interest under its own name.
    fn link(&mut self, path: &str, target: Option<&str>) {
        let target = target.and_then(|target| self.files.get(target).or_else(|| self.lower.get(target)));
        if let Some(parsed) = target.cloned() {
            self.files.insert(path.to_owned(), parsed);
        }
    }

    /// Reads a file if it is of interest. Returns a remark when it could not be understood.
    fn read(
        &mut self,
        path: &str,
        kind: Option<FileKind>,
        entry: &tar::Entry,
        mut content: impl Read,
        limits: &Limits,
    ) -> Result<Option<String>, Failure> {
        let Some(kind) = kind else {
            if entry.mode & 0o111 != 0 && entry.size > 64 {
                self.read_program(path, content)?;
            }
            return Ok(None);
        };
        if entry.size > limits.file_bytes_max.min(kind.bytes_max()) {
            let text = format!("{path} has {} bytes, which is too large to read", entry.size);
            return if kind.is_database() {
                Err(Failure::Stop(InventoryError::Unsupported(text)))
            } else {
                Ok(Some(text))
            };
        }
        let mut bytes = Vec::with_capacity(usize::try_from(entry.size).unwrap_or(0).min(1 << 20));
        content.read_to_end(&mut bytes)?;
        match kind {
            FileKind::RpmSqlite => self.rpm = Some((path.to_owned(), bytes)),
            FileKind::RpmSqliteWal => self.wal = Some((path.to_owned(), bytes)),
            kind => match kind.parse(&bytes, path) {
                Some(parsed) => drop(self.files.insert(path.to_owned(), parsed)),
                None if kind.is_database() => {
                    return Err(Failure::Stop(InventoryError::Unsupported(format!("{path} is damaged"))));
                }
                None => return Ok(Some(format!("{path} could not be understood"))),
            },
        }
        Ok(None)
    }

    fn read_program(&mut self, path: &str, mut content: impl Read) -> io::Result<()> {
        let mut head = [0; 4];
        let filled = fill(&mut content, &mut head)?;
        if &head[..filled] != b"\x7fELF" {
            return Ok(());
        }
        let packages = elf::packages(&head, content, path)?;
        if !packages.is_empty() {
            self.files.insert(path.to_owned(), Parsed::packages(packages));
        }
        Ok(())
    }

    fn rpm_sqlite(&mut self) -> Result<(), InventoryError> {
        let Some((path, database)) = self.rpm.take() else { return Ok(()) };
        let wal = self.wal.take().filter(|(wal, _)| wal.strip_suffix("-wal") == Some(&path));
        let packages = rpm::sqlite(&database, wal.as_ref().map(|(_, bytes)| bytes.as_slice()), &path)
            .map_err(|_| InventoryError::Unsupported(format!("{path} is damaged")))?;
        self.files.insert(path, Parsed::packages(packages));
        Ok(())
    }

    fn last_count(&self, path: &str) -> usize {
        self.files.get(path).map_or(0, Parsed::weight)
    }
}

fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Tells a store that fails from content that is damaged.
struct Source<'a, 'b, R> {
    input: R,
    guard: &'a Guard<'b>,
}

impl<R: Read> Read for Source<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.guard.expired)() {
            return Err(self.guard.stop(InventoryError::TimedOut));
        }
        self.input.read(buffer).map_err(|error| self.guard.stop(InventoryError::Source(error)))
    }
}

/// Counts what is inflated, and looks at the clock.
struct Bounded<'a, 'b, R> {
    input: R,
    guard: &'a Guard<'b>,
}

impl<R: Read> Read for Bounded<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.guard.expired)() {
            return Err(self.guard.stop(InventoryError::TimedOut));
        }
        let read = self.input.read(buffer)?;
        match self.guard.left.get().checked_sub(read as u64) {
            Some(left) => self.guard.left.set(left),
            None => return Err(self.guard.stop(InventoryError::TooLarge(self.guard.limit))),
        }
        Ok(read)
    }
}

impl Guard<'_> {
    fn stop(&self, error: InventoryError) -> io::Error {
        self.stop.replace(Some(error));
        io::Error::other("stopped")
    }
}
