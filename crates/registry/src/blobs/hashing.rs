//! Hashing a piece of an upload while it is written to the disk: the two cost about the same, so side by side they
//! take half the time.
//!
//! Two threads for the whole process, started when the first large piece comes. They never wait for anything but
//! work, so whoever waits for them cannot be waiting for itself.

use std::sync::{Arc, OnceLock, mpsc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::digest::Hasher;

const THREADS: usize = 2;
/// Shorter pieces are hashed where they are: handing them over would cost more.
const PIECE_LENGTH_MIN: u64 = 128 * 1024;

/// A hash that may still be under way.
#[expect(clippy::large_enum_variant, reason = "one lives on the stack for the time of a write")]
pub(super) enum Hashing {
    Done(Option<Hasher>),
    UnderWay(mpsc::Receiver<Hasher>),
}

struct Work {
    hasher: Hasher,
    chunks: Vec<Bytes>,
    done: mpsc::SyncSender<Hasher>,
}

/// Begins to add `chunks`, `length` bytes together, to a hash.
pub(super) fn begin(hasher: Option<Hasher>, chunks: &[Bytes], length: u64) -> Hashing {
    let Some(mut hasher) = hasher else { return Hashing::Done(None) };
    if length >= PIECE_LENGTH_MIN
        && let Some(threads) = threads()
    {
        let (done, result) = mpsc::sync_channel(1);
        if threads.send(Work { hasher, chunks: chunks.to_vec(), done }).is_ok() {
            return Hashing::UnderWay(result);
        }
        return Hashing::Done(None);
    }
    chunks.iter().for_each(|chunk| hasher.update(chunk));
    Hashing::Done(Some(hasher))
}

impl Hashing {
    /// Waits for the hash. None when it was lost; the file must be hashed again then.
    pub(super) fn finish(self) -> Option<Hasher> {
        match self {
            Self::Done(hasher) => hasher,
            Self::UnderWay(result) => result.recv().ok(),
        }
    }
}

/// Where work goes; none when no thread could be started.
fn threads() -> Option<&'static mpsc::Sender<Work>> {
    static THREADS_WORK: OnceLock<Option<mpsc::Sender<Work>>> = OnceLock::new();
    let start = || {
        let (sender, receiver) = mpsc::channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        let started = (0..THREADS).filter(|_| start_thread(Arc::clone(&receiver))).count();
        (started > 0).then_some(sender)
    };
    THREADS_WORK.get_or_init(start).as_ref()
}

fn start_thread(work: Arc<Mutex<mpsc::Receiver<Work>>>) -> bool {
    let run = move || {
        loop {
            let next = work.lock().recv();
            let Ok(Work { mut hasher, chunks, done }) = next else { return };
            chunks.iter().for_each(|chunk| hasher.update(chunk));
            let _ = done.send(hasher);
        }
    };
    std::thread::Builder::new().name("blob-hash".to_owned()).spawn(run).is_ok()
}
