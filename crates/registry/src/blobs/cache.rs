//! Small blobs kept in memory: manifests and configurations are read far more often than written.
//!
//! Two generations share the budget. New entries go to the young one; when it holds half the budget it becomes the
//! old one, and what the old one still held is forgotten. A hit in the old generation moves to the young one. This
//! keeps what is in use, costs one hash look-up, and never holds more than the budget.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::digest::Digest;

/// Blobs up to this size are cached, in bytes.
const CACHED_BLOB_SIZE_MAX: usize = 64 * 1024;

/// A bounded memory of small blobs. Entries were checked against their digest when they were put in.
pub struct BlobCache {
    generation_bytes_max: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Bytes>,
    young_bytes: usize,
    old: HashMap<Digest, Bytes>,
}

impl BlobCache {
    /// A cache of at most `bytes_max` bytes of content.
    pub fn new(bytes_max: usize) -> Self {
        Self { generation_bytes_max: bytes_max / 2, generations: Mutex::default() }
    }

    /// Whether a blob of `size` bytes would be kept.
    pub fn takes(&self, size: u64) -> bool {
        size <= CACHED_BLOB_SIZE_MAX.min(self.generation_bytes_max) as u64
    }

    /// The blob, if it is here.
    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        let mut generations = self.generations.lock();
        if let Some(bytes) = generations.young.get(digest) {
            return Some(bytes.clone());
        }
        let bytes = generations.old.remove(digest)?;
        generations.insert(digest.clone(), bytes.clone(), self.generation_bytes_max);
        Some(bytes)
    }

    /// Remembers a blob whose bytes are known to match its digest. Large ones are ignored.
    pub fn insert(&self, digest: &Digest, bytes: &Bytes) {
        if self.takes(bytes.len() as u64) {
            // A slice of a larger buffer would keep the whole buffer alive and make the budget a lie.
            let own = Bytes::copy_from_slice(bytes);
            self.generations.lock().insert(digest.clone(), own, self.generation_bytes_max);
        }
    }

    /// Forgets a blob.
    pub fn remove(&self, digest: &Digest) {
        let mut generations = self.generations.lock();
        if let Some(bytes) = generations.young.remove(digest) {
            generations.young_bytes -= bytes.len();
        }
        generations.old.remove(digest);
    }
}

impl Generations {
    fn insert(&mut self, digest: Digest, bytes: Bytes, bytes_max: usize) {
        if self.young_bytes + bytes.len() > bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes.len();
        if let Some(before) = self.young.insert(digest, bytes) {
            self.young_bytes -= before.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_and_the_rest_is_forgotten() {
        let cache = BlobCache::new(400);
        let blob = |n: u8| (Digest::of(&[n; 50]), Bytes::from(vec![n; 50]));
        let (used, used_bytes) = blob(0);
        cache.insert(&used, &used_bytes);
        for n in 1..100 {
            let (digest, bytes) = blob(n);
            cache.insert(&digest, &bytes);
            assert_eq!(cache.get(&used), Some(used_bytes.clone()), "after {n}");
        }
        assert_eq!(cache.get(&blob(1).0), None);
        let generations = cache.generations.lock();
        assert!((generations.young.len() + generations.old.len()) * 50 <= 400);
    }

    #[test]
    fn a_removed_blob_is_gone_from_both_generations() {
        let cache = BlobCache::new(200);
        let bytes = Bytes::from_static(b"x");
        let digest = Digest::of(&bytes);
        cache.insert(&digest, &bytes);
        cache.remove(&digest);
        assert_eq!(cache.get(&digest), None);
    }
}
