//! All targets and alarms in memory; the store's watch keeps it current.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_store::{Event, Model, Revision};
use serde::de::DeserializeOwned;

use super::rows::{AlarmDefinition, AlarmId, Key, ServiceId, Target};

/// A row with the revision that a change must compare with.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) revision: Revision,
    pub(super) row: T,
}

#[derive(Default)]
pub(super) struct Picture {
    pub(super) targets: BTreeMap<ServiceId, Arc<Kept<Target>>>,
    pub(super) alarms: BTreeMap<AlarmId, Arc<Kept<AlarmDefinition>>>,
}

impl Picture {
    /// The targets of an account in a region.
    pub(super) fn targets_of(&self, account: &str, region: &str) -> impl Iterator<Item = (&ServiceId, &Kept<Target>)> {
        let first = ServiceId {
            account: account.to_owned(),
            region: region.to_owned(),
            cluster: String::new(),
            service: String::new(),
        };
        let (account, region) = (account.to_owned(), region.to_owned());
        let own = self.targets.range(first..);
        own.take_while(move |(id, _)| id.account == account && id.region == region).map(|(id, kept)| (id, &**kept))
    }

    /// The alarms of an account in a region.
    pub(super) fn alarms_of(&self, account: &str, region: &str) -> impl Iterator<Item = (&AlarmId, &AlarmDefinition)> {
        let first = AlarmId { account: account.to_owned(), region: region.to_owned(), name: String::new() };
        let (account, region) = (account.to_owned(), region.to_owned());
        let own = self.alarms.range(first..);
        own.take_while(move |(id, _)| id.account == account && id.region == region).map(|(id, kept)| (id, &kept.row))
    }
}

impl Model for Picture {
    fn apply(&mut self, event: &Event) {
        match Key::parse(event.key()) {
            Some(Key::Target(id)) => set(&mut self.targets, id, event),
            Some(Key::Alarm(id)) => set(&mut self.alarms, id, event),
            None => {}
        }
    }
}

fn set<K: Ord, T: DeserializeOwned>(rows: &mut BTreeMap<K, Arc<Kept<T>>>, id: K, event: &Event) {
    let row = match event {
        Event::Put(kv) => serde_json::from_slice::<T>(&kv.value)
            .inspect_err(|error| tracing::error!(key = &*kv.key, %error, "cannot read what auto scaling keeps"))
            .ok()
            .map(|row| Arc::new(Kept { revision: kv.mod_revision, row })),
        Event::Delete { .. } => None,
    };
    match row {
        Some(row) => rows.insert(id, row),
        None => rows.remove(&id),
    };
}
