//! Wakes the reader of a log file when the file changes. One inotify watch on the directory serves all.

use std::{collections::HashMap, io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustix::fs::inotify;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    task::JoinHandle,
};
use tracing::warn;

/// How often files are looked at where the kernel gives no notice.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Watcher {
    /// File name → its reader.
    readers: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
    waking: JoinHandle<()>,
}

impl Watcher {
    /// Watches `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        let readers: Arc<Mutex<HashMap<String, Arc<Notify>>>> = Arc::default();
        let woken = Arc::clone(&readers);
        let waking = match watch(dir) {
            Ok(events) => tokio::spawn(wake(events, woken)),
            Err(error) => {
                warn!(%error, "no notice of log file changes; looking once a second");
                tokio::spawn(poll(woken))
            }
        };
        Self { readers, waking }
    }

    /// The wake-ups of a file in the directory.
    pub(crate) fn reader(&self, file_name: &str) -> Arc<Notify> {
        Arc::clone(self.readers.lock().entry(file_name.to_owned()).or_default())
    }

    pub(crate) fn forget(&self, file_name: &str) {
        self.readers.lock().remove(file_name);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.waking.abort();
    }
}

fn watch(dir: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&fd, dir, what)?;
    #[expect(unsafe_code, reason = "tokio has no safe way to register a descriptor")]
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, which is as long as the `AsyncFd`.
    let events = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    events.map_err(|error| error.into_parts().1)
}

async fn wake(events: AsyncFd<OwnedFd>, readers: Arc<Mutex<HashMap<String, Arc<Notify>>>>) {
    loop {
        let Ok(mut ready) = events.readable().await else { return };
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(events.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let readers = readers.lock();
                    match event.file_name().and_then(|name| name.to_str().ok()) {
                        Some(name) => drop(readers.get(name).map(|reader| reader.notify_one())),
                        // The queue overflowed: anything may have changed.
                        None => readers.values().for_each(|reader| reader.notify_one()),
                    }
                }
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => break,
                Err(error) => {
                    warn!(%error, "notice of log file changes failed; looking once a second");
                    return poll(Arc::clone(&readers)).await;
                }
            }
        }
        ready.clear_ready();
    }
}

async fn poll(readers: Arc<Mutex<HashMap<String, Arc<Notify>>>>) {
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        readers.lock().values().for_each(|reader| reader.notify_one());
    }
}
