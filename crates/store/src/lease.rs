//! Leases: keys that go away unless somebody keeps saying that they are needed.
//!
//! Deadlines live in memory only: a keep-alive costs no disk write. When a store is opened every lease starts again
//! with its full time to live, as in etcd after an election: nobody loses a lease because the store was away.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::StoreError;
use crate::limits::{LEASE_TTL_SECONDS_MAX, LEASE_TTL_SECONDS_MIN};

/// Names a lease. Never reused within one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Refuses a time to live outside the bounds.
pub(crate) fn check_ttl(ttl: Duration) -> Result<(), StoreError> {
    let seconds = ttl.as_secs();
    if (LEASE_TTL_SECONDS_MIN..=LEASE_TTL_SECONDS_MAX).contains(&seconds) {
        Ok(())
    } else {
        Err(StoreError::LeaseTtl { seconds })
    }
}

/// When each lease ends.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    leases: BTreeMap<LeaseId, Deadline>,
}

/// A lease whose time has passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DueLease {
    pub(crate) lease: LeaseId,
    ttl: Duration,
}

#[derive(Debug)]
struct Deadline {
    ttl: Duration,
    at: Instant,
}

impl Deadlines {
    /// Starts (or restarts) a lease.
    pub(crate) fn start(&mut self, lease: LeaseId, ttl: Duration, now: Instant) {
        self.leases.insert(lease, Deadline { ttl, at: now + ttl });
    }

    /// Gives a lease its full time again.
    pub(crate) fn keep_alive(&mut self, lease: LeaseId, now: Instant) -> Result<Duration, StoreError> {
        let deadline = self.leases.get_mut(&lease).ok_or(StoreError::LeaseNotFound { lease: lease.0 })?;
        deadline.at = now + deadline.ttl;
        Ok(deadline.ttl)
    }

    /// Forgets a lease.
    pub(crate) fn remove(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
    }

    /// Removes and returns the leases whose time has passed: a keep-alive after this comes too late.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<DueLease> {
        let due: Vec<LeaseId> =
            self.leases.iter().filter(|(_, deadline)| deadline.at <= now).map(|(lease, _)| *lease).collect();
        let taken = due.into_iter().filter_map(|lease| Some((lease, self.leases.remove(&lease)?.ttl)));
        taken.map(|(lease, ttl)| DueLease { lease, ttl }).collect()
    }

    /// Puts back what could not be ended, to be due at `at`.
    pub(crate) fn put_back(&mut self, due: &[DueLease], at: Instant) {
        for DueLease { lease, ttl } in due {
            self.leases.insert(*lease, Deadline { ttl: *ttl, at });
        }
    }

    /// When the next lease ends.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.leases.values().map(|deadline| deadline.at).min()
    }
}
