//! Machines in memory; the store's watch keeps it current.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gantry_store::{Event, Model, Revision};
use serde::de::DeserializeOwned;

use super::rows::{ActivationRow, IdentityRow, PREFIX, TokenRow};

/// A row and what a change of it must compare with.
#[derive(Debug)]
pub(crate) struct Kept<R> {
    pub(crate) revision: Revision,
    /// Account and region.
    pub(crate) scope: (String, String),
    pub(crate) row: R,
}

/// Everything, by id: ids are random, so that one says enough.
#[derive(Default)]
pub(crate) struct Picture {
    pub(super) tokens: BTreeMap<String, Arc<Kept<TokenRow>>>,
    pub(crate) activations: BTreeMap<String, Arc<Kept<ActivationRow>>>,
    pub(crate) identities: BTreeMap<String, Arc<Kept<IdentityRow>>>,
    by_public_key: HashMap<String, String>,
}

impl Picture {
    pub(crate) fn identity(&self, id: &str) -> Option<&Arc<Kept<IdentityRow>>> {
        self.identities.get(id)
    }

    /// The identity that a key already has.
    pub(super) fn identity_of_key(&self, public_key: &str) -> Option<(&String, &Arc<Kept<IdentityRow>>)> {
        self.identities.get_key_value(self.by_public_key.get(public_key)?)
    }
}

impl Model for Picture {
    fn apply(&mut self, event: &Event) {
        let parts: Vec<&str> = event.key().strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
        let [account, region, kind, id] = parts[..] else { return };
        let scope = (account.to_owned(), region.to_owned());
        match kind {
            "tokens" => set(&mut self.tokens, id, scope, event),
            "activations" => set(&mut self.activations, id, scope, event),
            "identities" => {
                if let Some(before) = self.identities.get(id) {
                    self.by_public_key.remove(&before.row.public_key);
                }
                set(&mut self.identities, id, scope, event);
                if let Some(now) = self.identities.get(id) {
                    self.by_public_key.insert(now.row.public_key.clone(), id.to_owned());
                }
            }
            _ => {}
        }
    }
}

fn set<R: DeserializeOwned>(
    rows: &mut BTreeMap<String, Arc<Kept<R>>>,
    id: &str,
    scope: (String, String),
    event: &Event,
) {
    let kept = match event {
        Event::Put(kv) => serde_json::from_slice::<R>(&kv.value)
            .inspect_err(|error| tracing::error!(key = &*kv.key, %error, "cannot read what is kept of machines"))
            .ok()
            .map(|row| Kept { revision: kv.mod_revision, scope, row }),
        Event::Delete { .. } => None,
    };
    match kept {
        Some(kept) => rows.insert(id.to_owned(), Arc::new(kept)),
        None => rows.remove(id),
    };
}
