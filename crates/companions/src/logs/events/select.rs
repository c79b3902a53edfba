//! Finding events: in order of time over any number of streams, in bounded memory.
//!
//! Events of a stream come roughly but not strictly in order, and those of many streams lie beside each other. So a
//! selection keeps the best events found so far, at most a page of them, and looks at the stored pieces in the order of
//! the earliest event each may hold. It ends when the next piece cannot hold anything better, or when it has read
//! enough for one request; then it says up to where its answer is complete.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{self, HEADER_LEN, Header};
use super::segment::{Scan, Segment};
use super::stream::{Stream, StreamId};
use super::streams::Streams;

/// Blocks one after another are taken together up to this size: fewer pieces to keep in order.
const EXTENT_BYTES: u64 = 64 << 10;

/// Where an event stands among all events: by time, then stream, then arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::logs) struct Position {
    /// Milliseconds since the epoch.
    pub(in crate::logs) timestamp: u64,
    /// The stream's number.
    pub(in crate::logs) stream: u64,
    /// The event's number in its stream.
    pub(in crate::logs) sequence: u64,
}

impl Position {
    /// Before every event of this time and later.
    pub(in crate::logs) fn at(timestamp: u64) -> Self {
        Self { timestamp, stream: 0, sequence: 0 }
    }

    /// Just after the event here.
    pub(in crate::logs) fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::logs) enum Order {
    OldestFirst,
    NewestFirst,
}

/// What to look for.
#[derive(Debug, Clone)]
pub(in crate::logs) struct Selection {
    pub(in crate::logs) streams: Vec<StreamId>,
    /// Events from here (included) ...
    pub(in crate::logs) from: Position,
    /// ... to here (excluded).
    pub(in crate::logs) until: Position,
    pub(in crate::logs) order: Order,
    /// Most events, and most bytes of messages; the first event always fits.
    pub(in crate::logs) events_max: usize,
    pub(in crate::logs) bytes_max: usize,
    /// Most bytes to read before giving a part of the answer.
    pub(in crate::logs) read_max: u64,
}

/// Whether a message is wanted.
pub(in crate::logs) type Wanted = dyn Fn(&str) -> bool + Send + Sync;

/// An event that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::logs) struct Found {
    pub(in crate::logs) position: Position,
    pub(in crate::logs) ingestion: u64,
    pub(in crate::logs) message: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::logs) struct Selected {
    /// In the order asked for.
    pub(in crate::logs) events: Vec<Found>,
    /// Where the rest begins (with `NewestFirst`: ends); nothing when this is all.
    pub(in crate::logs) rest: Option<Position>,
}

/// A position as a number triple that sorts the way the selection goes.
type Rank = (u64, u64, u64);

/// A piece of storage that is still to be looked at.
enum Piece {
    Segment(Arc<Stream>, StreamId, Segment),
    Extent(PathBuf, StreamId, Extent),
}

/// Consecutive blocks of a segment.
#[derive(Debug, Clone, Copy)]
struct Extent {
    at: u64,
    len: u64,
    min: u64,
    max: u64,
}

/// Does the selection. Blocks on the disk.
pub(super) fn select(streams: &Streams, selection: &Selection, wanted: &Wanted) -> io::Result<Selected> {
    let mut search = Search::new(selection, wanted);
    for id in &selection.streams {
        let stream = streams.get(*id)?;
        stream.for_each_segment(|segment| search.add_segment(&stream, *id, segment));
    }
    search.run()?;
    Ok(search.finish())
}

struct Search<'a> {
    selection: &'a Selection,
    wanted: &'a Wanted,
    /// By the best rank each may hold; the number keeps equal ones apart.
    pieces: BinaryHeap<Reverse<(u64, usize)>>,
    bodies: Vec<Option<Piece>>,
    found: BTreeMap<Rank, (Found, usize)>,
    bytes: usize,
    /// Something wanted did not fit.
    dropped: bool,
    read: u64,
    /// Where reading was broken off: ranks from here on are not complete.
    broken_off: Option<u64>,
    buffer: Vec<u8>,
}

impl<'a> Search<'a> {
    fn new(selection: &'a Selection, wanted: &'a Wanted) -> Self {
        Self {
            selection,
            wanted,
            pieces: BinaryHeap::new(),
            bodies: Vec::new(),
            found: BTreeMap::new(),
            bytes: 0,
            dropped: false,
            read: 0,
            broken_off: None,
            buffer: Vec::new(),
        }
    }

    fn add_segment(&mut self, stream: &Arc<Stream>, id: StreamId, segment: &Segment) {
        if self.may_hold(segment.min, segment.max) {
            self.push(segment.min, segment.max, Piece::Segment(stream.clone(), id, segment.clone()));
        }
    }

    fn run(&mut self) -> io::Result<()> {
        while let Some(Reverse((best, number))) = self.pieces.pop() {
            if self.is_full() && self.worst().is_some_and(|worst| best > worst.0) {
                self.dropped = true;
                return Ok(());
            }
            if self.read >= self.selection.read_max && self.has_progress(best) {
                self.broken_off = Some(best);
                return Ok(());
            }
            match self.bodies[number].take() {
                Some(Piece::Segment(stream, id, segment)) => self.open(&stream, id, &segment)?,
                Some(Piece::Extent(path, id, extent)) => self.read(&path, id, extent)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Breaking off at `best` must leave the next request less to do than this one had.
    fn has_progress(&self, best: u64) -> bool {
        let start = match self.selection.order {
            Order::OldestFirst => self.selection.from.timestamp,
            Order::NewestFirst => !self.selection.until.timestamp,
        };
        best > start.saturating_add(1)
    }

    fn finish(mut self) -> Selected {
        if let Some(broken_off) = self.broken_off {
            // Found beyond the break, but others before them may be missing.
            self.found.split_off(&(broken_off, 0, 0));
        }
        let rest = match self.broken_off {
            Some(best) => Some(match self.selection.order {
                Order::OldestFirst => Position::at(best),
                Order::NewestFirst => Position::at((!best).saturating_add(1)),
            }),
            None if self.dropped => self.found.values().next_back().map(|(last, _)| match self.selection.order {
                Order::OldestFirst => last.position.next(),
                Order::NewestFirst => last.position,
            }),
            None => None,
        };
        Selected { events: self.found.into_values().map(|(found, _)| found).collect(), rest }
    }

    /// Turns a segment into extents.
    fn open(&mut self, stream: &Stream, id: StreamId, segment: &Segment) -> io::Result<()> {
        let path = segment.path(&stream.directory);
        let Some(file) = open_if_there(&path)? else { return Ok(()) };
        let mut scan = Scan::new(&file, 0, segment.len);
        let mut extent: Option<Extent> = None;
        while let Some((at, header)) = scan.next_header()? {
            let grown = extent.as_mut().is_some_and(|extent| extent.grow(&header));
            if !grown && let Some(full) = extent.replace(Extent::new(at, &header)) {
                self.add_extent(&path, id, full);
            }
        }
        if let Some(last) = extent {
            self.add_extent(&path, id, last);
        }
        Ok(())
    }

    fn add_extent(&mut self, path: &Path, id: StreamId, extent: Extent) {
        if self.may_hold(extent.min, extent.max) {
            self.push(extent.min, extent.max, Piece::Extent(path.to_owned(), id, extent));
        }
    }

    fn push(&mut self, min: u64, max: u64, piece: Piece) {
        let best = match self.selection.order {
            Order::OldestFirst => min.max(self.selection.from.timestamp),
            Order::NewestFirst => !max.min(self.selection.until.timestamp),
        };
        self.pieces.push(Reverse((best, self.bodies.len())));
        self.bodies.push(Some(piece));
    }

    fn may_hold(&self, min: u64, max: u64) -> bool {
        min <= max && max >= self.selection.from.timestamp && min <= self.selection.until.timestamp
    }

    /// Opens the file anew for each extent: a search over many streams must not hold as many files open.
    fn read(&mut self, path: &Path, id: StreamId, extent: Extent) -> io::Result<()> {
        let Some(file) = open_if_there(path)? else { return Ok(()) };
        let len = usize::try_from(extent.len).map_err(io::Error::other)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(len, 0);
        file.read_exact_at(&mut buffer, extent.at)?;
        self.read += extent.len;
        let mut rest = buffer.as_slice();
        while let Some(header) = Header::decode(rest) {
            let end = HEADER_LEN + header.body_len as usize;
            let Some(body) = rest.get(HEADER_LEN..end) else { break };
            if header.is_intact(body) {
                self.take(id, &header, body);
            } else {
                tracing::error!(?id, at = extent.at, "log events are damaged on the disk and left out");
            }
            rest = &rest[end..];
        }
        self.buffer = buffer;
        Ok(())
    }

    fn take(&mut self, id: StreamId, header: &Header, body: &[u8]) {
        for (sequence, event) in (header.first_sequence..).zip(block::events(body)) {
            let position = Position { timestamp: event.timestamp, stream: id.stream, sequence };
            if position < self.selection.from || position >= self.selection.until {
                continue;
            }
            let rank = self.rank(position);
            if self.is_full() && self.worst().is_some_and(|worst| rank > worst) {
                self.dropped = self.dropped || (self.wanted)(event.message);
                continue;
            }
            if (self.wanted)(event.message) {
                let found = Found { position, ingestion: header.ingestion, message: event.message.to_owned() };
                self.keep(rank, found);
            }
        }
    }

    fn keep(&mut self, rank: Rank, found: Found) {
        let bytes = found.message.len();
        self.bytes += bytes;
        self.found.insert(rank, (found, bytes));
        while self.found.len() > self.selection.events_max
            || (self.bytes > self.selection.bytes_max && self.found.len() > 1)
        {
            let Some((_, (_, bytes))) = self.found.pop_last() else { break };
            self.bytes -= bytes;
            self.dropped = true;
        }
    }

    /// Whether worse events than the worst one found are no longer of interest. Once something had to be dropped for
    /// its bytes, what comes after it must not slip in where it did not fit.
    fn is_full(&self) -> bool {
        self.dropped || self.found.len() >= self.selection.events_max
    }

    fn worst(&self) -> Option<Rank> {
        self.found.last_key_value().map(|(rank, _)| *rank)
    }

    fn rank(&self, position: Position) -> Rank {
        match self.selection.order {
            Order::OldestFirst => (position.timestamp, position.stream, position.sequence),
            Order::NewestFirst => (!position.timestamp, !position.stream, !position.sequence),
        }
    }
}

/// Nothing when retention or a deletion was quicker.
fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Extent {
    fn new(at: u64, header: &Header) -> Self {
        Self { at, len: header.block_len(), min: header.min, max: header.max }
    }

    /// Takes in the next block, unless that made the extent too long.
    fn grow(&mut self, header: &Header) -> bool {
        if self.len + header.block_len() > EXTENT_BYTES {
            return false;
        }
        self.len += header.block_len();
        self.min = self.min.min(header.min);
        self.max = self.max.max(header.max);
        true
    }
}
