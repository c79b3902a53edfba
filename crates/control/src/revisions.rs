//! Which revision number a registration takes.
//!
//! The store refuses a number that exists, so numbers are unique whatever happens here. But many clients that register
//! the same family at the same time would all see the same last number, and all but one would lose each round. So a
//! number is reserved in memory while its transaction runs. A transaction that fails leaves a gap, which no promise
//! forbids; numbers still only grow.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_domain::arn::{Family, Scope};
use parking_lot::Mutex;

use crate::keys::ServiceKind;

type Place = (Scope, ServiceKind, Family);

/// Numbers on their way into the store.
#[derive(Debug, Default)]
pub(crate) struct RevisionNumbers {
    families: Mutex<BTreeMap<Place, InFlight>>,
}

#[derive(Debug)]
struct InFlight {
    highest: u32,
    transactions: usize,
}

/// A number that nobody else in this process takes until this is dropped.
#[derive(Debug)]
pub(crate) struct ReservedNumber {
    numbers: Arc<RevisionNumbers>,
    place: Place,
    number: u32,
}

impl RevisionNumbers {
    /// Reserves the number after `last_used` and after every number reserved now.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        scope: &Scope,
        (kind, family): (ServiceKind, &Family),
        last_used: u32,
    ) -> ReservedNumber {
        let place = (scope.clone(), kind, family.clone());
        let mut families = self.families.lock();
        let in_flight = families.entry(place.clone()).or_insert(InFlight { highest: 0, transactions: 0 });
        in_flight.highest = in_flight.highest.max(last_used).saturating_add(1);
        in_flight.transactions += 1;
        ReservedNumber { numbers: self.clone(), place, number: in_flight.highest }
    }
}

impl ReservedNumber {
    /// The number.
    pub(crate) fn get(&self) -> u32 {
        self.number
    }
}

impl Drop for ReservedNumber {
    fn drop(&mut self) {
        let mut families = self.numbers.families.lock();
        let Some(in_flight) = families.get_mut(&self.place) else { return };
        in_flight.transactions -= 1;
        // The last one out: whatever was committed is in the picture by now, and its number with it.
        if in_flight.transactions == 0 {
            families.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_reserved_at_the_same_time_differ_and_follow_each_other() {
        let numbers = Arc::new(RevisionNumbers::default());
        let (scope, web) = (Scope::new("000000000000", "us-east-1"), "web".parse::<Family>().unwrap());
        let first = numbers.reserve(&scope, (ServiceKind::Service, &web), 7);
        let second = numbers.reserve(&scope, (ServiceKind::Service, &web), 7);
        assert_eq!((first.get(), second.get()), (8, 9));
        drop(first);
        assert_eq!(numbers.reserve(&scope, (ServiceKind::Service, &web), 8).get(), 10);
        drop(second);
        assert_eq!(numbers.reserve(&scope, (ServiceKind::Service, &web), 9).get(), 10);
        assert!(numbers.families.lock().is_empty());
    }
}
