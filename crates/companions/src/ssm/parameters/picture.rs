//! Every parameter in memory, without its values. The store's watch keeps it current.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use gantry_domain::arn::Scope;
use gantry_store::{Event, Model};

use super::rows::{self, Parameter};

/// All accounts.
#[derive(Default)]
pub(super) struct Picture {
    scopes: BTreeMap<Scope, BTreeMap<String, Arc<Parameter>>>,
}

impl Picture {
    /// By what its ARN calls it.
    pub(super) fn named(&self, scope: &Scope, bare: &str) -> Option<&Arc<Parameter>> {
        self.scopes.get(scope)?.get(bare)
    }

    /// Those whose name begins with `prefix`, after another name, in the order of names. Names are as in ARNs.
    pub(super) fn after<'a>(
        &'a self,
        scope: &Scope,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Parameter>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let of_scope = self.scopes.get(scope).into_iter();
        let range = of_scope.flat_map(move |parameters| parameters.range::<str, _>((start, Bound::Unbounded)));
        range.take_while(move |(name, _)| name.starts_with(prefix)).map(|(_, parameter)| parameter)
    }

    pub(super) fn count(&self, scope: &Scope) -> usize {
        self.scopes.get(scope).map_or(0, BTreeMap::len)
    }

    /// All there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Parameter>> {
        self.scopes.values().flat_map(BTreeMap::values)
    }
}

impl Model for Picture {
    fn apply(&mut self, event: &Event) {
        let Some((scope, bare)) = rows::of_key(event.key()) else { return };
        match event {
            Event::Put(kv) => match serde_json::from_slice(&kv.value) {
                Ok(row) => {
                    let parameter = Parameter { scope: scope.clone(), row, revision: kv.mod_revision };
                    self.scopes.entry(scope).or_default().insert(bare.to_owned(), Arc::new(parameter));
                }
                Err(error) => tracing::error!(key = %kv.key, %error, "the row of a parameter cannot be read"),
            },
            Event::Delete { .. } => {
                if let Some(parameters) = self.scopes.get_mut(&scope) {
                    parameters.remove(bare);
                }
            }
        }
    }
}
