//! Every secret in memory, without its values. The store's watch keeps it current.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_domain::policy::{Document, Kind};
use gantry_store::{Event, KeyValue, Model};

use super::rows::{Scope, Secret, SecretRow};

/// A policy that nobody gets past, for one that cannot be read any more: it may deny.
const DENY: &str = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}"#;

/// All accounts.
#[derive(Default)]
pub(super) struct Picture {
    scopes: BTreeMap<Scope, BTreeMap<String, Arc<Secret>>>,
}

impl Picture {
    /// The secrets of an account in a region, by name.
    pub(super) fn secrets(&self, scope: &Scope) -> impl Iterator<Item = &Arc<Secret>> {
        self.scopes.get(scope).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn count(&self, scope: &Scope) -> usize {
        self.scopes.get(scope).map_or(0, BTreeMap::len)
    }

    /// By its name.
    pub(super) fn named(&self, scope: &Scope, name: &str) -> Option<&Arc<Secret>> {
        self.scopes.get(scope)?.get(name)
    }

    /// All there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.scopes.values().flat_map(BTreeMap::values)
    }
}

impl Model for Picture {
    fn apply(&mut self, event: &Event) {
        let Some((scope, name)) = Scope::of_key(event.key()) else { return };
        match event {
            Event::Put(kv) => {
                if let Some(secret) = read(&scope, name, kv) {
                    self.scopes.entry(scope).or_default().insert(name.to_owned(), Arc::new(secret));
                }
            }
            Event::Delete { .. } => {
                if let Some(secrets) = self.scopes.get_mut(&scope) {
                    secrets.remove(name);
                }
            }
        }
    }
}

fn read(scope: &Scope, name: &str, kv: &KeyValue) -> Option<Secret> {
    let row: SecretRow = match serde_json::from_slice(&kv.value) {
        Ok(row) => row,
        Err(error) => {
            tracing::error!(key = %kv.key, %error, "the row of a secret cannot be read");
            return None;
        }
    };
    let policy = row.policy.as_ref().and_then(|text| {
        let document = Document::parse(text, Kind::Resource).or_else(|error| {
            tracing::error!(key = %kv.key, %error, "the policy of a secret cannot be read; nobody but the root has access");
            Document::parse(DENY, Kind::Resource)
        });
        document.ok().map(Arc::new)
    });
    Some(Secret { scope: scope.clone(), name: name.to_owned(), row, revision: kv.mod_revision, policy })
}
