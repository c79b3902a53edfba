//! What is known of one stream: its segments for readers, its open end for the writer.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};

use super::block::{Body, Header};
use super::segment::{SEGMENT_BYTES_MAX, Segment, Trust};

/// A segment also ends when its first events are this old, so that retention finds whole segments to delete.
const SEGMENT_AGE_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// Names a stream's events: by numbers, because names may be used again after a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::logs) struct StreamId {
    /// The group's number.
    pub(in crate::logs) group: u64,
    /// The stream's number.
    pub(in crate::logs) stream: u64,
}

impl StreamId {
    /// The stream's directory below `root`.
    pub(super) fn directory(&self, root: &Path) -> PathBuf {
        group_directory(root, self.group).join(format!("{:016x}", self.stream))
    }
}

/// The directory of a group's streams.
pub(super) fn group_directory(root: &Path, group: u64) -> PathBuf {
    root.join(format!("{group:016x}"))
}

/// One stream. Shared by readers and the writer.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) directory: PathBuf,
    /// What readers may see: durable blocks only.
    published: RwLock<Published>,
    /// Where the writer stands, ahead of what is published during a commit.
    tail: Mutex<Option<Tail>>,
}

#[derive(Debug, Clone, Default)]
struct Published {
    segments: Vec<Segment>,
    deleted: bool,
}

/// The writer's end of a stream.
#[derive(Debug)]
struct Tail {
    /// The last published segment, if there is one, as it is now, and those that follow it.
    segments: Vec<Segment>,
    /// The last one, open.
    file: Option<File>,
}

impl Stream {
    /// Looks at the stream's directory; an absent one is an empty stream.
    pub(super) fn load(directory: PathBuf, trust: impl Fn(&Segment) -> Trust) -> io::Result<Self> {
        let mut segments = Vec::new();
        for first_sequence in list_segments(&directory)? {
            let mut segment = Segment::load(&directory, first_sequence, Trust::Headers)?;
            if trust(&segment) == Trust::Nothing {
                segment = Segment::load(&directory, first_sequence, Trust::Nothing)?;
            }
            segments.push(segment);
        }
        let published = RwLock::new(Published { segments, deleted: false });
        Ok(Self { directory, published, tail: Mutex::new(None) })
    }

    /// The segments as they are now.
    pub(super) fn segments(&self) -> Vec<Segment> {
        self.published.read().segments.clone()
    }

    /// Calls `each` with every segment.
    pub(super) fn for_each_segment(&self, each: impl FnMut(&Segment)) {
        self.published.read().segments.iter().for_each(each);
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.published.read().deleted
    }

    /// Writes a block at the stream's end, unpublished. Returns the block's place in `out`, and the file it went to.
    pub(super) fn append(&self, body: &Body, now: u64, out: &mut Vec<u8>) -> io::Result<PathBuf> {
        let mut tail = self.tail.lock();
        let tail = match &mut *tail {
            Some(tail) => tail,
            empty => empty.insert(self.open_tail()),
        };
        let from = out.len();
        let written = self.append_to(tail, body, now, out);
        if written.is_err() {
            // The next block is written over whatever part of this one got there.
            out.truncate(from);
        }
        written
    }

    /// Makes what was appended visible.
    pub(super) fn publish(&self) {
        let mut tail = self.tail.lock();
        let Some(tail) = &mut *tail else { return };
        let mut published = self.published.write();
        let first = tail.segments.first().map(|segment| segment.first_sequence);
        if published.segments.last().map(|segment| segment.first_sequence) == first {
            published.segments.pop();
        }
        published.segments.extend(tail.segments.iter().cloned());
        tail.segments.drain(..tail.segments.len().saturating_sub(1));
    }

    /// Forgets what was appended since the last [`Stream::publish`].
    pub(super) fn roll_back(&self) {
        *self.tail.lock() = None;
    }

    /// Closes the file; the next append opens it again.
    pub(super) fn close_file(&self) {
        if let Some(tail) = &mut *self.tail.lock() {
            tail.file = None;
        }
    }

    /// From now on the stream is gone for readers and writers.
    pub(super) fn mark_deleted(&self) {
        *self.tail.lock() = None;
        *self.published.write() = Published { segments: Vec::new(), deleted: true };
    }

    /// Deletes the segments whose every event is older than `cutoff`; bytes freed. Nothing may be unpublished.
    pub(super) fn expire(&self, cutoff: u64) -> io::Result<u64> {
        let mut tail = self.tail.lock();
        let segments = self.segments();
        let (old, mut kept): (Vec<_>, Vec<_>) =
            segments.into_iter().partition(|segment| segment.len > 0 && segment.max < cutoff);
        if old.is_empty() {
            return Ok(0);
        }
        *tail = None;
        if kept.is_empty() {
            // An empty segment remembers how far the numbers went.
            let next = Segment::empty(old.iter().map(|segment| segment.next_sequence).max().unwrap_or_default());
            File::create(next.path(&self.directory))?.sync_all()?;
            kept.push(next);
        }
        self.published.write().segments = kept;
        for segment in &old {
            fs::remove_file(segment.path(&self.directory))?;
        }
        sync_directory(&self.directory)?;
        Ok(old.iter().map(|segment| segment.len).sum())
    }

    fn open_tail(&self) -> Tail {
        Tail { segments: self.published.read().segments.last().cloned().into_iter().collect(), file: None }
    }

    fn append_to(&self, tail: &mut Tail, body: &Body, now: u64, out: &mut Vec<u8>) -> io::Result<PathBuf> {
        let next_sequence = tail.segments.last().map_or(0, |segment| segment.next_sequence);
        let from = out.len();
        let header = body.place(next_sequence, out);
        self.append_block(tail, &header, &out[from..], now)
    }

    /// Writes a block that has its place already: a new one, or one out of the journal.
    pub(super) fn replay(&self, header: &Header, block: &[u8]) -> io::Result<Option<PathBuf>> {
        let mut tail = self.tail.lock();
        let tail = match &mut *tail {
            Some(tail) => tail,
            empty => empty.insert(self.open_tail()),
        };
        if header.first_sequence < tail.segments.last().map_or(0, |segment| segment.next_sequence) {
            return Ok(None);
        }
        self.append_block(tail, header, block, header.ingestion).map(Some)
    }

    fn append_block(&self, tail: &mut Tail, header: &Header, block: &[u8], now: u64) -> io::Result<PathBuf> {
        if tail.segments.last().is_none_or(|segment| must_end(segment, block.len(), now)) {
            self.begin_segment(tail, header.first_sequence)?;
        }
        let segment = tail.segments.last_mut().expect("a segment was begun");
        let path = segment.path(&self.directory);
        let file = match &mut tail.file {
            Some(file) => file,
            closed => closed.insert(reopen(&path, segment.len)?),
        };
        file.write_all_at(block, segment.len)?;
        segment.add(header);
        Ok(path)
    }

    fn begin_segment(&self, tail: &mut Tail, first_sequence: u64) -> io::Result<()> {
        if let Some(last) = tail.segments.last_mut().filter(|segment| !segment.sealed) {
            let file = match tail.file.take() {
                Some(file) => file,
                None => reopen(&last.path(&self.directory), last.len)?,
            };
            let seal = Header::seal(last.next_sequence, last.last_ingestion, last.min, last.max);
            file.write_all_at(&seal.encode(), last.len)?;
            last.sealed = true;
        }
        fs::create_dir_all(&self.directory)?;
        let segment = Segment::empty(first_sequence);
        let path = segment.path(&self.directory);
        tail.file = Some(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?);
        tail.segments.push(segment);
        Ok(())
    }
}

fn must_end(segment: &Segment, block_len: usize, now: u64) -> bool {
    let too_long = segment.len > 0 && segment.len + block_len as u64 > SEGMENT_BYTES_MAX;
    let too_old = segment.len > 0 && now.saturating_sub(segment.first_ingestion) > SEGMENT_AGE_MAX_MS;
    segment.sealed || too_long || too_old
}

/// Opens a segment to write at `len`, without whatever a crash or a failed commit left behind that.
fn reopen(path: &Path, len: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() != len {
        file.set_len(len)?;
    }
    Ok(file)
}

fn list_segments(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(entry?.file_name().to_str().and_then(Segment::parse_name));
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
