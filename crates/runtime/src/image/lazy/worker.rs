//! `gantry shim layer-worker DIRECTORY`: answers the kernel's reads of one image and fetches its chunks, those that
//! somebody waits for first, all others in the background. Ends when the image is whole.
//!
//! A thread reads the kernel's requests and answers what is here; the rest waits in the [`Plan`] until its chunks have
//! arrived, its time is up or whoever waits is killed. Nothing that is not checked is ever shown.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;

use super::{
    Access, Orders, PLAN,
    control::{Control, Word},
    fuse::{self, Asked},
    keeper::{self, UNUSED, WHOLE},
    local::LocalImage,
    mounts,
    waiting::{Fetch, Plan, Waiting},
};
use crate::image::{
    failure::Failure,
    reference::Reference,
    registry::{Client, Retry, Session},
};

/// Messages from the thread that reads requests. The kernel bounds what it asks at once.
const QUEUE: usize = 256;
/// A request that brings nothing for this long has failed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

enum Message {
    Read {
        unique: u64,
        offset: u64,
        size: u32,
    },
    Interrupt(u64),
    /// Nobody has the file any more.
    Unused,
}

/// Runs until the image is whole or unused and returns the exit code that says which.
pub(super) fn run(directory: &Path, orders: Orders) -> io::Result<i32> {
    let connection = Arc::new(File::from(rustix::io::dup(io::stdout().as_fd())?));
    // Its directory may be renamed.
    let folder = File::open(directory)?;
    let directory = &mounts::in_directory(folder.as_fd(), "");
    let plan: super::Plan = serde_json::from_slice(&std::fs::read(directory.join(PLAN))?)?;
    let layer = plan.prepared.diff_id.clone();
    let local = Arc::new(LocalImage::open(directory, &plan).map_err(io::Error::other)?);
    keeper::write(&connection, &[&fuse::resend()]);
    let (sender, messages) = mpsc::channel(QUEUE);
    let reader = (Arc::clone(&connection), Arc::clone(&local));
    std::thread::Builder::new().name("requests".to_owned()).spawn(move || take(&reader.0, &reader.1, &sender))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let control = Control::open(&folder)?;
        let (sink, words) = mpsc::channel(1);
        tokio::spawn(control.run(sink));
        let worker = Worker { local: Arc::clone(&local), connection, plan: Plan::default(), wait: orders.wait };
        worker.run(plan, orders.access, messages, words).await.map_err(io::Error::other)
    })?;
    if code == WHOLE {
        local.finish(directory)?;
        // A left-over socket harms nobody.
        let _ = Control::close(directory);
        tracing::info!(layer, "a layer that was started early is whole");
    }
    Ok(code)
}

/// Reads the kernel's requests, answers what can be answered, and passes the others on.
fn take(connection: &File, local: &LocalImage, sender: &mpsc::Sender<Message>) {
    let mut buffer = vec![0; fuse::REQUEST_BYTES];
    loop {
        let request = match keeper::next(connection, &mut buffer) {
            Ok(Some(request)) => request,
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "the kernel's requests cannot be read");
                break;
            }
        };
        let passed = match request.asked {
            Asked::Read { offset, size } if !local.has_all(wanted(local, offset, size)) => {
                Message::Read { unique: request.unique, offset, size }
            }
            Asked::Read { offset, size } => {
                keeper::answer_read(connection, request.unique, local.read(offset, size));
                continue;
            }
            Asked::Interrupt(unique) => Message::Interrupt(unique),
            _ => {
                if let Some(answer) = fuse::answer(&request, local.image_size()) {
                    keeper::write(connection, &[&answer]);
                }
                continue;
            }
        };
        if sender.blocking_send(passed).is_err() {
            return;
        }
    }
    let _ = sender.blocking_send(Message::Unused);
}

fn wanted(local: &LocalImage, offset: u64, size: u32) -> std::ops::Range<usize> {
    local.chunks().covering(offset..offset.saturating_add(u64::from(size)))
}

struct Worker {
    local: Arc<LocalImage>,
    connection: Arc<File>,
    plan: Plan,
    /// How long a read may wait.
    wait: Duration,
}

type Fetched = (Fetch, Result<Bytes, Failure>);

impl Worker {
    async fn run(
        mut self,
        plan: super::Plan,
        mut access: Access,
        mut messages: mpsc::Receiver<Message>,
        mut words: mpsc::Receiver<Word>,
    ) -> Result<i32, Failure> {
        // Repeating is this module's business.
        let once = Retry { attempts: 1, idle_timeout: IDLE_TIMEOUT, ..Retry::default() };
        let client = Client::new(once)?;
        let reference = Reference::parse(&plan.reference)
            .map_err(|error| Failure::corrupt(format!("the reference of an image: {error}")))?;
        let mut order: Vec<usize> = self.local.order().collect();
        let local = &*Arc::clone(&self.local);
        let mut has_start = local.has(0);
        loop {
            let registry = access.registry();
            let session = client.session(&reference, &registry);
            let mut fetches = FuturesUnordered::new();
            // Until somebody brings other credentials.
            access = loop {
                if local.missing() == 0 {
                    return Ok(WHOLE);
                }
                if !has_start && local.has(0) {
                    // Now the superblock says where the inodes are.
                    (has_start, order) = (true, local.order().collect());
                }
                while let Some(fetch) = self.plan.next(Instant::now(), |index| local.has(index), &order) {
                    fetches.push(get(&session, local, &plan.prepared.blob, fetch));
                }
                let wake = self.plan.wakes_at(Instant::now()).map(tokio::time::Instant::from_std);
                tokio::select! {
                    message = messages.recv() => match message {
                        Some(Message::Read { unique, offset, size }) => self.wait(unique, offset, size),
                        Some(Message::Interrupt(unique)) => self.interrupt(unique),
                        Some(Message::Unused) | None => return Ok(UNUSED),
                    },
                    Some(fetched) = fetches.next() => self.fetched(fetched).await,
                    Some(word) = words.recv() => match word {
                        Word::Access(access) => break access,
                        Word::End => return Ok(UNUSED),
                    },
                    () = async { match wake {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    } } => {}
                }
                let expired = self.plan.expired(Instant::now());
                self.refuse(&expired, "its content could not be fetched in time");
            };
            drop(fetches);
            self.plan.restart();
        }
    }

    fn wait(&mut self, unique: u64, offset: u64, size: u32) {
        let chunks = wanted(&self.local, offset, size);
        self.plan.wait(unique, Waiting { offset, size, chunks, until: Instant::now() + self.wait });
        // Some may have arrived while this was on its way.
        self.answer_complete();
    }

    fn interrupt(&mut self, unique: u64) {
        if self.plan.forget(unique).is_some() {
            keeper::write(&self.connection, &[&fuse::failure(unique, libc::EINTR)]);
        }
    }

    async fn fetched(&mut self, (fetch, result): Fetched) {
        let now = Instant::now();
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(failure) => {
                let news = self.plan.failed(&fetch, now);
                if news {
                    tracing::warn!(%failure, missing = self.local.missing(),
                        "chunks of an image cannot be fetched; reads of them wait, and it is tried again");
                }
                return;
            }
        };
        self.plan.arrived(&fetch);
        let start = self.local.chunks().frames(fetch.chunks.clone()).start;
        for index in fetch.chunks.clone() {
            let frame = self.local.chunks().frame(index);
            let frame = bytes.get((frame.start - start) as usize..(frame.end - start) as usize).unwrap_or_default();
            match self.local.keep(index, frame) {
                Ok(()) => self.plan.is_here(index),
                Err(failure @ Failure::Corrupt(_)) => {
                    tracing::warn!(%failure, index, "a chunk of an image is not what the registry prepared; it is not used");
                    let refused = self.plan.was_wrong(index, now);
                    self.refuse(&refused, "its content arrived changed");
                }
                Err(failure) => {
                    tracing::warn!(%failure, index, "a chunk of an image cannot be kept");
                    let refused = self.plan.was_wrong(index, now);
                    self.refuse(&refused, "its content cannot be kept on this host");
                }
            }
            self.answer_complete();
            // Unpacking takes a while, and somebody may have asked for something.
            tokio::task::yield_now().await;
        }
    }

    fn answer_complete(&mut self) {
        let local = &self.local;
        for (unique, read) in self.plan.complete(|chunks| local.has_all(chunks)) {
            keeper::answer_read(&self.connection, unique, local.read(read.offset, read.size));
        }
    }

    fn refuse(&self, reads: &[u64], why: &str) {
        for unique in reads {
            tracing::error!(why, missing = self.local.missing(), "a container's read of its image fails");
            keeper::write(&self.connection, &[&fuse::failure(*unique, libc::EIO)]);
        }
    }
}

async fn get(session: &Session<'_>, local: &LocalImage, blob: &str, fetch: Fetch) -> Fetched {
    let frames = local.chunks().frames(fetch.chunks.clone());
    let result = session.part(blob, frames).await.map_err(|attempt| attempt.failure());
    (fetch, result)
}
