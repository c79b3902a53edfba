//! Parameter Store.
//!
//! What is known of a parameter is a row and is kept in memory; its values are rows of their own, sealed with the
//! server's key whatever their type, opened for the length of a request and kept nowhere. A parameter whose expiration
//! is over answers to nobody and is removed within the hour.
//!
//! Not here: who may, which `protocol/access` decides before anything is looked up; parameters of AWS itself
//! (`/aws/service/…`); and those that another account shares.

pub(super) mod delete;
pub(super) mod describe;
mod fault;
pub(super) mod history;
pub(super) mod labels;
mod picture;
pub(super) mod put;
pub(super) mod read;
mod rows;
mod tags;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::{Caller, Fault};
use gantry_domain::arn::Scope;
use gantry_domain::parameter::name::bare;
use gantry_domain::parameter::reference::{ParameterReference, Place};
use gantry_store::{Store, StoreError, View};
use tokio::sync::{Mutex, MutexGuard};

use crate::background::Background;
use crate::scope_of;
use crate::sealing::Sealer;
use crate::secretsmanager::{Clock, SecretsManager};
use picture::Picture;
use rows::Parameter;

/// How often expired parameters are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);

/// The parameters. Clones share them.
#[derive(Clone)]
pub struct Parameters {
    inner: Arc<Inner>,
    /// Removes what expired; ends with the last clone.
    _purge: Arc<Background>,
}

pub(super) struct Inner {
    store: Store,
    view: View<Picture>,
    sealer: Sealer,
    /// Secrets can be read as parameters.
    secrets: SecretsManager,
    clock: Clock,
    /// Changes of this server go one after the other, so that they do not plan in vain.
    turn: Mutex<()>,
}

impl Parameters {
    /// Loads what is known of the parameters in `store`. Values are sealed with `sealer`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Store, sealer: Sealer, secrets: SecretsManager, clock: Clock) -> Result<Self, StoreError> {
        let view = View::start(&store, rows::PREFIX).await?;
        let inner = Arc::new(Inner { store, view, sealer, secrets, clock, turn: Mutex::new(()) });
        let purge = Background::every(PURGE_EVERY, &inner, |inner| async move {
            if let Err(fault) = delete::purge(&inner).await {
                tracing::warn!(%fault, "cannot remove parameters that expired");
            }
        });
        Ok(Self { inner, _purge: Arc::new(purge) })
    }

    /// The tags of a parameter, for conditions of policies; none when it is not there.
    pub fn resource_tags(&self, arn: &str) -> BTreeMap<String, String> {
        let Ok(ParameterReference { place: Some(Place { account, region }), name, .. }) = arn.parse() else {
            return BTreeMap::new();
        };
        let found = self.inner.known(&Scope::new(account, region), &name);
        found.map(|parameter| parameter.row.tags.clone()).unwrap_or_default()
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    /// Milliseconds since the epoch.
    fn now(&self) -> u64 {
        u64::try_from((self.clock)().as_millis()).unwrap_or(0)
    }

    /// Waits until no other change is under way. What is looked up after this stays until the guard goes.
    async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// A parameter that has not expired, by what its ARN calls it.
    fn known(&self, scope: &Scope, name: &str) -> Option<Arc<Parameter>> {
        let now = self.now();
        self.view.read().named(scope, bare(name)).filter(|parameter| !parameter.is_over(now)).cloned()
    }

    /// The parameter that a reference means, for a caller in its account and region: by the very name it was made
    /// with, or by ARN.
    fn find(&self, caller: &Caller, reference: &ParameterReference) -> Result<Arc<Parameter>, Fault> {
        let here = scope_of(caller);
        let is_here = |place: &Place| place.account == here.account && place.region == here.region;
        let found = match &reference.place {
            Some(place) if is_here(place) => self.known(&here, &reference.name),
            Some(_) => None,
            None => self.known(&here, &reference.name).filter(|parameter| parameter.row.name == reference.name),
        };
        found.ok_or_else(|| fault::not_found(&reference.name))
    }

    /// The parameter of a name without selector, to change it.
    fn named(&self, caller: &Caller, name: &str) -> Result<Arc<Parameter>, Fault> {
        match name.parse::<ParameterReference>() {
            Ok(reference) if reference.selector.is_none() => self.find(caller, &reference),
            _ => Err(fault::not_found(name)),
        }
    }
}
