//! Reads of an image that wait for chunks, and what is fetched next. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::{Duration, Instant},
};

/// Chunks fetched at once for those who wait.
const DEMAND_MAX: usize = 6;
/// Requests under way to complete the image, and how many chunks each is for.
const BACKGROUND_MAX: usize = 2;
const RUN_MAX: usize = 4;
/// Wrong answers for a chunk before whoever waits for it is told so.
const WRONG_MAX: u32 = 3;
/// A chunk that was wrong so often is not fetched again before, unless somebody wants it.
const WRONG_PAUSE: Duration = Duration::from_secs(60);
/// Pauses after failures: the first, and the longest while somebody waits and while nobody does.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX_WAITED_FOR: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A read that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) offset: u64,
    pub(super) size: u32,
    pub(super) chunks: Range<usize>,
    /// Then it fails.
    pub(super) until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By the kernel's number.
    reads: BTreeMap<u64, Waiting>,
    /// Chunks being fetched for those who wait, and in the background. Some may be in both: who waits for a chunk does
    /// not wait for its neighbours.
    demanded: BTreeSet<usize>,
    in_background: BTreeSet<usize>,
    background: usize,
    /// How often a chunk was wrong, and when it is tried again unasked.
    wrong: BTreeMap<usize, (u32, Option<Instant>)>,
    failures: u32,
    paused_at: Option<Instant>,
}

/// A fetch of neighbouring chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) chunks: Range<usize>,
    /// Nobody waits for them.
    pub(super) background: bool,
}

impl Plan {
    pub(super) fn wait(&mut self, unique: u64, read: Waiting) {
        self.reads.insert(unique, read);
    }

    /// Whoever waited is gone, or was answered.
    pub(super) fn forget(&mut self, unique: u64) -> Option<Waiting> {
        self.reads.remove(&unique)
    }

    /// What to fetch now. `order` lists the chunks as they are to be fetched when nobody asks.
    pub(super) fn next(&mut self, now: Instant, has: impl Fn(usize) -> bool, order: &[usize]) -> Option<Fetch> {
        if self.resumes_at().is_some_and(|at| at > now) {
            return None;
        }
        let is_next = |index: &usize| !has(*index) && !self.demanded.contains(index);
        let demanded = self.reads.values().flat_map(|read| read.chunks.clone()).find(is_next);
        let fetch = match demanded {
            Some(first) if self.demanded.len() < DEMAND_MAX => Fetch { chunks: first..first + 1, background: false },
            // Who waits goes first.
            Some(_) => return None,
            None if self.background >= BACKGROUND_MAX || !self.reads.is_empty() => return None,
            None => {
                let rests = |index: &usize| self.wrong.get(index).and_then(|(_, at)| *at).is_some_and(|at| at > now);
                let wanted = |index: &usize| is_next(index) && !self.in_background.contains(index) && !rests(index);
                let first = order.iter().copied().find(wanted)?;
                // The first one alone: nothing can be mounted without it.
                let longest = if first == 0 { 1 } else { RUN_MAX };
                let end = (first + longest).min(order.len());
                let length = (first..end).take_while(wanted).count();
                Fetch { chunks: first..first + length, background: true }
            }
        };
        self.background += usize::from(fetch.background);
        self.set_of(&fetch).extend(fetch.chunks.clone());
        Some(fetch)
    }

    fn set_of(&mut self, fetch: &Fetch) -> &mut BTreeSet<usize> {
        if fetch.background { &mut self.in_background } else { &mut self.demanded }
    }

    fn ended(&mut self, fetch: &Fetch) {
        self.background -= usize::from(fetch.background);
        self.set_of(fetch).retain(|index| !fetch.chunks.contains(index));
    }

    /// The registry answered. Which chunks were wrong, the caller says by [`Plan::was_wrong`].
    pub(super) fn arrived(&mut self, fetch: &Fetch) {
        self.ended(fetch);
        (self.failures, self.paused_at) = (0, None);
    }

    /// The registry did not answer; true when this is news.
    pub(super) fn failed(&mut self, fetch: &Fetch, now: Instant) -> bool {
        self.ended(fetch);
        // Fetches that were under way together fail together.
        if self.resumes_at().is_none_or(|at| at <= now) {
            self.failures += 1;
            self.paused_at = Some(now);
        }
        self.failures == 1
    }

    /// All fetches were given up; they are begun anew.
    pub(super) fn restart(&mut self) {
        self.demanded.clear();
        self.in_background.clear();
        self.background = 0;
        (self.failures, self.paused_at) = (0, None);
    }

    /// Chunk `index` arrived and was not what it should be. Returns who is not to wait for it any longer.
    pub(super) fn was_wrong(&mut self, index: usize, now: Instant) -> Vec<u64> {
        let (times, at) = self.wrong.entry(index).or_default();
        *times += 1;
        *at = Some(now + WRONG_PAUSE);
        if *times < WRONG_MAX {
            return Vec::new();
        }
        *times = 0;
        self.take(|read| read.chunks.contains(&index))
    }

    /// Chunk `index` is here.
    pub(super) fn is_here(&mut self, index: usize) {
        self.wrong.remove(&index);
    }

    /// Those who have waited for too long.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<u64> {
        self.take(|read| read.until <= now)
    }

    fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<u64> {
        let taken: Vec<u64> = self.reads.iter().filter(|(_, read)| which(read)).map(|(unique, _)| *unique).collect();
        self.reads.retain(|_, read| !which(read));
        taken
    }

    /// Reads whose chunks are all here.
    pub(super) fn complete(&mut self, has_all: impl Fn(Range<usize>) -> bool) -> Vec<(u64, Waiting)> {
        let done: Vec<(u64, Waiting)> = self
            .reads
            .iter()
            .filter(|(_, read)| has_all(read.chunks.clone()))
            .map(|(unique, read)| (*unique, read.clone()))
            .collect();
        for (unique, _) in &done {
            self.reads.remove(unique);
        }
        done
    }

    /// When something happens without anybody saying so.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let expires = self.reads.values().map(|read| read.until);
        let rests = self.wrong.values().filter_map(|(_, at)| *at);
        expires.chain(rests).chain(self.resumes_at()).filter(|at| *at > now).min()
    }

    fn resumes_at(&self) -> Option<Instant> {
        let longest = if self.reads.is_empty() { PAUSE_MAX } else { PAUSE_MAX_WAITED_FOR };
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(longest);
        self.paused_at.map(|at| at + pause)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(chunks: Range<usize>, until: Instant) -> Waiting {
        Waiting { offset: 0, size: 1, chunks, until }
    }

    #[test]
    fn who_waits_goes_before_what_nobody_asked_for() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let order: Vec<usize> = [0, 8, 9].into_iter().chain(1..8).collect();
        let none = |_| false;
        assert_eq!(plan.next(now, none, &order), Some(Fetch { chunks: 0..1, background: true }));
        assert_eq!(plan.next(now, |index| index == 0 || index > 7, &order).unwrap().chunks, 1..5);
        plan.wait(7, read(4..6, now + Duration::from_secs(9)));
        let fetch = |chunks| Some(Fetch { chunks, background: false });
        assert_eq!(plan.next(now, none, &order), fetch(4..5), "though it is on its way with its neighbours");
        assert_eq!(plan.next(now, none, &order), fetch(5..6));
        assert_eq!(plan.next(now, none, &order), None, "nothing in the background while somebody waits");
        assert_eq!(plan.complete(|chunks| chunks == (4..6)).len(), 1);
        assert_eq!(plan.next(now, none, &order), None, "two at a time");
        plan.arrived(&Fetch { chunks: 0..1, background: true });
        let first = |index| index == 0;
        assert_eq!(plan.next(now, first, &order), Some(Fetch { chunks: 8..10, background: true }));
        assert_eq!(plan.next(now, first, &order), None, "two at a time");
        plan.restart();
        let has = |index| matches!(index, 0 | 3 | 8 | 9);
        assert_eq!(plan.next(now, has, &order), Some(Fetch { chunks: 1..3, background: true }), "up to what is here");
        assert_eq!(plan.next(now, has, &order), Some(Fetch { chunks: 4..8, background: true }));
    }

    #[test]
    fn a_registry_that_fails_gets_a_pause_and_readers_their_time() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.wait(7, read(0..1, now + Duration::from_secs(9)));
        let fetch = plan.next(now, |_| false, &[0]).unwrap();
        assert!(plan.failed(&fetch, now), "news");
        assert_eq!(plan.next(now, |_| false, &[0]), None);
        assert_eq!(plan.wakes_at(now), Some(now + PAUSE_FIRST));
        let later = now + PAUSE_FIRST;
        let fetch = plan.next(later, |_| false, &[0]).unwrap();
        assert!(!plan.failed(&fetch, later), "no news");
        assert_eq!(plan.next(later + PAUSE_FIRST, |_| false, &[0]), None, "the pause grows");
        assert!(plan.expired(now + Duration::from_secs(8)).is_empty());
        assert_eq!(plan.expired(now + Duration::from_secs(9)), [7]);
    }

    #[test]
    fn a_chunk_that_stays_wrong_is_refused_and_then_left_for_a_while() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.wait(7, read(1..2, now + Duration::from_secs(9)));
        for refused in [vec![], vec![], vec![7]] {
            let fetch = plan.next(now, |_| false, &[0, 1]).unwrap();
            assert_eq!(fetch.chunks, 1..2);
            plan.arrived(&fetch);
            assert_eq!(plan.was_wrong(1, now), refused);
        }
        assert_eq!(plan.next(now, |_| false, &[0, 1]), Some(Fetch { chunks: 0..1, background: true }));
        assert_eq!(plan.next(now, |_| false, &[0, 1]), None);
        assert_eq!(plan.next(now + WRONG_PAUSE, |_| false, &[0, 1]).unwrap().chunks, 1..2);
        plan.wait(8, read(1..2, now + Duration::from_secs(9)));
        plan.restart();
        assert_eq!(plan.next(now, |_| false, &[0, 1]).unwrap().chunks, 1..2, "somebody asks again");
    }
}
