//! The segments in memory, by trace.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use gantry_domain::arn::Scope;
use gantry_domain::trace::segment::{Segment, parse};

use super::journal::{OldFile, Record};

/// Bytes of all segments that are kept.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// How long they are kept, milliseconds.
pub(super) const AGE_MAX_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// A segment that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) document: String,
    pub(super) segment: Segment,
    file: u64,
}

/// The segments of a trace, by id.
pub(super) type Trace = BTreeMap<String, Arc<Kept>>;

#[derive(Debug, Default)]
struct FileOf {
    bytes: u64,
    /// When its last segment came, or it was last changed when it has none.
    newest_at: u64,
    /// Scope, trace and segment.
    segments: Vec<(Scope, String, String)>,
}

/// All accounts.
#[derive(Debug, Default)]
pub(super) struct Traces {
    scopes: BTreeMap<Scope, BTreeMap<String, Trace>>,
    files: BTreeMap<u64, FileOf>,
    bytes: u64,
}

impl Traces {
    /// Keeps a record of an earlier process; its bytes are counted with its [file](Self::count_file).
    pub(super) fn keep_record(&mut self, file: u64, record: Record) {
        if let Ok(segment) = parse(&record.document) {
            self.keep(file, record, segment, 0);
        }
    }

    /// Counts a file of an earlier process whose records are kept, so that it goes in its turn. One of which nothing
    /// could be kept is as old as its last change.
    pub(super) fn count_file(&mut self, old: &OldFile) {
        let file =
            self.files.entry(old.number).or_insert_with(|| FileOf { newest_at: old.changed_at, ..FileOf::default() });
        file.bytes += old.bytes;
        self.bytes += old.bytes;
    }

    /// Keeps a segment. One that is whole takes the place of the same in progress.
    pub(super) fn keep(&mut self, file: u64, record: Record, segment: Segment, bytes: u64) {
        let scope = Scope::new(record.account, record.region);
        let of_file = self.files.entry(file).or_default();
        of_file.bytes += bytes;
        of_file.newest_at = of_file.newest_at.max(record.at);
        of_file.segments.push((scope.clone(), segment.trace_id.clone(), segment.id.clone()));
        self.bytes += bytes;
        let trace = self.scopes.entry(scope).or_default().entry(segment.trace_id.clone()).or_default();
        let late = trace.get(&segment.id).is_some_and(|kept| kept.segment.end.is_some() && segment.end.is_none());
        if !late {
            let id = segment.id.clone();
            trace.insert(id, Arc::new(Kept { document: record.document, segment, file }));
        }
    }

    /// The file that must go now, if any: too many bytes, or too old. Never the one that is written to.
    pub(super) fn surplus(&self, now: u64, newest: u64) -> Option<u64> {
        let (number, oldest) = self.files.first_key_value().filter(|(number, _)| **number < newest)?;
        (self.bytes > BYTES_MAX || oldest.newest_at.saturating_add(AGE_MAX_MS) < now).then_some(*number)
    }

    /// Forgets what is in a file.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(file) = self.files.remove(&number) else { return };
        self.bytes -= file.bytes;
        for (scope, trace_id, id) in file.segments {
            let Some(traces) = self.scopes.get_mut(&scope) else { continue };
            let Some(trace) = traces.get_mut(&trace_id) else { continue };
            if trace.get(&id).is_some_and(|kept| kept.file == number) {
                trace.remove(&id);
            }
            if trace.is_empty() {
                traces.remove(&trace_id);
            }
        }
    }

    /// A trace.
    pub(super) fn get(&self, scope: &Scope, id: &str) -> Option<&Trace> {
        self.scopes.get(scope)?.get(id)
    }

    /// The traces of an account in a region after an id, in the order of their ids, which begin with the time.
    pub(super) fn after<'a>(
        &'a self,
        scope: &Scope,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a String, &'a Trace)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let of_scope = self.scopes.get(scope).into_iter();
        of_scope.flat_map(move |traces| traces.range::<str, _>((start, Bound::Unbounded)))
    }
}
