//! What waits for the writer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::lease::DueLease;
use crate::limits::{GROUP_BYTES_MAX, GROUP_TXNS_MAX, WRITE_QUEUE_MAX};
use crate::{LeaseId, Revision, StoreError, Txn, TxnError};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Txn(Txn, oneshot::Sender<Result<Revision, TxnError>>),
    Grant(Duration, oneshot::Sender<Result<LeaseId, StoreError>>),
    Revoke(LeaseId, oneshot::Sender<Result<Revision, StoreError>>),
    /// End these leases, whose time has passed.
    Expire(Vec<DueLease>, oneshot::Sender<Result<usize, StoreError>>),
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Request::Txn(txn, _) => txn.bytes(),
            _ => 0,
        }
    }
}

/// A bounded queue between many tasks and one thread.
#[derive(Debug)]
pub(super) struct Queue {
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<(Request, OwnedSemaphorePermit)>,
    closed: bool,
    woken: bool,
}

/// Requests that become one commit.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) requests: Vec<Request>,
    pub(super) bytes: usize,
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(WRITE_QUEUE_MAX));
        Self { room, waiting: Mutex::default(), arrived: Condvar::new() }
    }

    /// Waits for room, enqueues, and waits for the answer. When the caller goes away the request is done all the same.
    pub(super) async fn call<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, StoreError> {
        let permit = self.room.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(StoreError::Closed);
            }
            waiting.requests.push_back((request(reply), permit));
        }
        self.arrived.notify_one();
        // Without an answer the writer thread has ended.
        answer.await.map_err(|_| StoreError::Closed)
    }

    /// No more requests; the writer finishes those it has.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Makes the writer look at the clock again.
    pub(super) fn wake(&self) {
        self.waiting.lock().woken = true;
        self.arrived.notify_one();
    }

    /// Waits until there are requests, or `until` has come, or somebody called [`Queue::wake`]. False when closed and
    /// empty: there will be no more.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() && !waiting.closed && !waiting.woken {
            match until {
                None => self.arrived.wait(&mut waiting),
                Some(until) => {
                    if self.arrived.wait_until(&mut waiting, until).timed_out() {
                        break;
                    }
                }
            }
        }
        waiting.woken = false;
        !(waiting.closed && waiting.requests.is_empty())
    }

    /// Takes as many requests as one commit may hold.
    pub(super) fn take_group(&self) -> Group {
        self.waiting.lock().take_group()
    }

    /// Requests waiting now.
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().requests.len()
    }
}

impl Waiting {
    fn take_group(&mut self) -> Group {
        let mut group = Group { requests: Vec::with_capacity(self.requests.len().min(GROUP_TXNS_MAX)), bytes: 0 };
        while group.requests.len() < GROUP_TXNS_MAX {
            let Some((request, permit)) = self.requests.pop_front() else { break };
            let bytes = request.bytes();
            if !group.requests.is_empty() && group.bytes + bytes > GROUP_BYTES_MAX {
                self.requests.push_front((request, permit));
                break;
            }
            group.bytes += bytes;
            group.requests.push(request);
        }
        group
    }
}
