//! The start after a crash: whatever the journals hold and the segments lost is written into the segments again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal;
use super::segment::{Segment, Trust};
use super::stream::{Stream, StreamId};
use super::streams::Streams;

/// Replays and removes the journals of the last run; the number of the next journal.
pub(super) fn recover(root: &Path, streams: &Streams) -> io::Result<u64> {
    let numbers = journal::list(root)?;
    let mut recovery = Recovery { streams, touched: BTreeMap::new(), files: BTreeSet::new(), blocks: 0 };
    for number in &numbers {
        journal::replay(&journal::path(root, *number), |id, header, block| {
            let stream = recovery.stream(id, header.first_sequence)?;
            if let Some(file) = stream.replay(header, block)? {
                recovery.files.insert(file);
                recovery.blocks += 1;
            }
            Ok(())
        })?;
    }
    recovery.finish()?;
    for number in &numbers {
        fs::remove_file(journal::path(root, *number))?;
    }
    Ok(numbers.last().map_or(0, |last| last + 1))
}

struct Recovery<'a> {
    streams: &'a Streams,
    touched: BTreeMap<StreamId, Arc<Stream>>,
    files: BTreeSet<PathBuf>,
    blocks: u64,
}

impl Recovery<'_> {
    /// The stream, its segments read in full from the event `journaled` on: those were not synced.
    fn stream(&mut self, id: StreamId, journaled: u64) -> io::Result<Arc<Stream>> {
        if let Some(stream) = self.touched.get(&id) {
            return Ok(stream.clone());
        }
        let trust = |segment: &Segment| match segment.sealed && segment.next_sequence <= journaled {
            true => Trust::Headers,
            false => Trust::Nothing,
        };
        let directory = self.streams.directory(id);
        drop_after_damage(&directory, journaled)?;
        let stream = self.streams.get_with(id, |_| Stream::load(directory, trust))?;
        // What is in the page cache only becomes durable with the files that are written again.
        stream.for_each_segment(|segment| {
            if segment.next_sequence > journaled || !segment.sealed {
                self.files.insert(segment.path(&stream.directory));
            }
        });
        self.touched.insert(id, stream.clone());
        Ok(stream)
    }

    fn finish(self) -> io::Result<()> {
        for stream in self.touched.values() {
            stream.publish();
            stream.close_file();
        }
        journal::sync_files(&self.files)?;
        if self.blocks > 0 {
            tracing::info!(blocks = self.blocks, streams = self.touched.len(), "log events restored from the journal");
        }
        Ok(())
    }
}

/// Removes the segments that do not follow on what is there before them: something between was lost in the crash. The
/// journal has everything from `journaled` on, so they are written again.
fn drop_after_damage(directory: &Path, journaled: u64) -> io::Result<()> {
    let stream = Stream::load(directory.to_owned(), |segment| {
        if segment.sealed && segment.next_sequence <= journaled { Trust::Headers } else { Trust::Nothing }
    })?;
    let mut reached = None;
    for segment in stream.segments() {
        let follows = segment.first_sequence <= journaled || reached == Some(segment.first_sequence);
        reached = follows.then_some(segment.next_sequence);
        if !follows {
            fs::remove_file(segment.path(directory))?;
        }
    }
    Ok(())
}
