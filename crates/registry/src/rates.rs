//! How often a registry may be asked: a bucket per caller's account, region and operation that the operator has
//! limited. Both doors draw from it, `/v2/` by the operation that stands behind a request.

use std::collections::HashMap;

use gantry_api::Caller;
use gantry_domain::rate::{Bucket, Rate};
use parking_lot::Mutex;

use crate::fault::RegistryError;
use crate::registry::Registry;

/// Buckets remembered; when there are more, all are forgotten, and full again.
const REMEMBERED_MAX: usize = 4096;
/// Seconds whose requests may come at once.
const BURST_SECONDS: u32 = 2;

/// What is left, by account, region and operation.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Bucket>>);

impl Registry {
    /// Refuses a request that comes too soon after others.
    pub(crate) fn check_rate(&self, caller: &Caller, operation: &str) -> Result<(), RegistryError> {
        let Some(per_second) = self.config.quotas.rates.get(operation).copied() else { return Ok(()) };
        let rate = Rate { per_second, burst: per_second.saturating_mul(BURST_SECONDS) };
        let (key, now) = (format!("{}/{}/{operation}", caller.account, caller.region), self.now());
        let mut buckets = self.rates.0.lock();
        if buckets.len() >= REMEMBERED_MAX && !buckets.contains_key(&key) {
            buckets.clear();
        }
        match buckets.entry(key).or_insert_with(|| Bucket::full(rate, now)).take(rate, now) {
            true => Ok(()),
            false => Err(RegistryError::TooManyRequests),
        }
    }
}
