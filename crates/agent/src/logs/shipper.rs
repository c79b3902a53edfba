//! Delivers one container's log file to its destination, from where the last delivery ended.
//!
//! A batch is delivered before the next one is read, so memory is bounded by one chunk of the file; what waits stays in
//! the file. A delivery whose answer was lost is repeated: at least once, never not at all.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gantry_runtime::container::LogFile;
use regex::Regex;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    destination::{DeliveryError, Destination},
    event::{Assembler, LogEvent, batch_len},
    tail::{Mark, Position, Tail},
};
use crate::{
    clock::Clock,
    record::{Durability, blocking, replace},
};

/// How long lines are gathered before they are sent: one call carries many.
const GATHER: Duration = Duration::from_millis(500);
/// How long an event waits for further lines of it.
const EVENT_PATIENCE: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Shipper {
    pub(crate) to: Arc<dyn Destination>,
    /// A line that matches begins a new event; without it every line is one.
    pub(crate) event_start: Option<Regex>,
    /// Longer messages are split.
    pub(crate) message_bytes_max: usize,
    pub(crate) file: LogFile,
    pub(crate) position_file: PathBuf,
    pub(crate) clock: Clock,
    /// Woken when the file changes.
    pub(crate) changed: Arc<Notify>,
    /// Becomes true when the container has ended.
    pub(crate) ended: watch::Receiver<bool>,
}

impl Shipper {
    /// Returns when the container has ended and everything is delivered.
    pub(crate) async fn run(mut self) {
        let resume = read_position(&self.position_file);
        let mut tail = Tail::new(self.file.path.clone(), self.file.max_files, resume);
        let mut assembler = Assembler::new(self.event_start.clone(), self.message_bytes_max);
        loop {
            // Looked at before reading: what was printed before the end is then surely read.
            let ended = *self.ended.borrow_and_update();
            let (returned, lines) = read(tail, ended).await;
            tail = returned;
            let mut events = Vec::new();
            let now_ms = i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX);
            for line in &lines {
                assembler.push(line, now_ms, &mut events);
            }
            if lines.is_empty() && ended {
                assembler.finish(&mut events);
            }
            self.deliver(&events, &mut tail).await;
            if !lines.is_empty() {
                continue;
            }
            if ended {
                return;
            }
            if !self.more(assembler.is_waiting()).await {
                let mut events = Vec::new();
                assembler.finish(&mut events);
                self.deliver(&events, &mut tail).await;
            }
        }
    }

    /// Waits for more lines; `false` when an open event has waited long enough.
    async fn more(&mut self, event_is_open: bool) -> bool {
        let changed = Arc::clone(&self.changed);
        let ended = &mut self.ended;
        let more = async {
            let has_ended = tokio::select! {
                () = changed.notified() => false,
                _ = ended.wait_for(|ended| *ended) => true,
            };
            if !has_ended {
                // A container that ends is not made to wait.
                drop(timeout(GATHER, ended.wait_for(|ended| *ended)).await);
            }
        };
        if event_is_open {
            return timeout(EVENT_PATIENCE, more).await.is_ok();
        }
        more.await;
        true
    }

    async fn deliver(&self, events: &[LogEvent], tail: &mut Tail) {
        let mut rest = events;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            self.put(batch).await;
            rest = after;
            if let Some(last) = batch.last() {
                self.save(tail, &last.end).await;
            }
        }
    }

    /// Until it arrived, or was refused for good.
    async fn put(&self, batch: &[LogEvent]) {
        let mut delay = RETRY_MIN;
        loop {
            match self.to.deliver(batch).await {
                Ok(()) => return,
                Err(DeliveryError::Never(error)) => {
                    warn!(to = self.to.describe(), error, "log events were refused; they are dropped");
                    return;
                }
                Err(DeliveryError::Later(error)) => {
                    debug!(to = self.to.describe(), error, "log events not delivered yet");
                }
            }
            sleep(delay).await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn save(&self, tail: &mut Tail, mark: &Mark) {
        let Some(position) = tail.position(mark) else { return };
        let path = self.position_file.clone();
        let saved = blocking(move || replace(&path, &serde_json::to_vec(&position)?, Durability::Process));
        if let Err(error) = saved.await {
            warn!(to = self.to.describe(), %error, "position in the log was not saved; events may be sent again");
        }
    }
}

async fn read(mut tail: Tail, ended: bool) -> (Tail, Vec<super::tail::RawLine>) {
    let work = blocking(move || {
        let lines = tail.read(ended);
        Ok((tail, lines))
    });
    match work.await {
        Ok((tail, Ok(lines))) => (tail, lines),
        Ok((tail, Err(error))) => {
            warn!(%error, "log file could not be read");
            sleep(RETRY_MAX).await;
            (tail, Vec::new())
        }
        // The runtime shuts down.
        Err(_) => std::future::pending().await,
    }
}

fn read_position(path: &Path) -> Option<Position> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
