//! Client tokens of requests that create a service or a managed daemon: the same token again gives the same one.

use gantry_api::Fault;
use gantry_domain::{Timestamp, arn::Name, limits::CLIENT_TOKEN_LIFETIME_SECONDS};
use gantry_store::Txn;

use super::find;
use crate::{
    fault,
    keys::{self, ServiceKey},
    records::{ClientTokenRecord, ServiceStatus, encode},
    view::EcsView,
};

/// The token of a request; none when the request has none.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) operation: &'static str,
    pub(crate) token: Option<String>,
    /// Digest of the request.
    pub(crate) request: String,
}

impl Token {
    /// What is there already of what the request would make as `key`: by an earlier request with the same token, or by
    /// the same one. Refused is another one of that name.
    pub(crate) fn made(&self, view: &EcsView, key: &ServiceKey, now: Timestamp) -> Result<Option<ServiceKey>, Fault> {
        if let Some(made) = self.made_before(view, key, now) {
            return Ok(Some(made));
        }
        match find::row(view, key).map(|row| (row.status, &row.request)) {
            Some((ServiceStatus::Active, request)) if *request == self.request => Ok(Some(key.clone())),
            Some((ServiceStatus::Active, _)) => Err(fault::name_taken(key.kind)),
            Some((ServiceStatus::Draining, _)) => Err(fault::name_leaves(key.kind)),
            Some((ServiceStatus::Inactive, _)) | None => Ok(None),
        }
    }

    /// What an earlier request with the same token made, while it is there.
    fn made_before(&self, view: &EcsView, key: &ServiceKey, now: Timestamp) -> Option<ServiceKey> {
        let token = self.token.as_deref()?;
        let known = view.namespace(&key.scope)?.client_token(self.operation, &key.cluster, token)?;
        let service: Name = known.resources.first().filter(|_| known.expires_at > now)?.parse().ok()?;
        let key = ServiceKey { service, ..key.clone() };
        find::row(view, &key).filter(|row| row.status == ServiceStatus::Active).map(|_| key)
    }

    /// Adds to `txn` that the token has made `key`.
    pub(crate) fn remember(&self, txn: Txn, view: &EcsView, key: &ServiceKey, now: Timestamp) -> Txn {
        let Some(token) = self.token.as_deref() else { return txn };
        let known =
            view.namespace(&key.scope).and_then(|space| space.client_token(self.operation, &key.cluster, token));
        let path = keys::client_token(&key.scope, self.operation, key.cluster.as_str(), token);
        let lifetime = i64::try_from(CLIENT_TOKEN_LIFETIME_SECONDS).unwrap_or(i64::MAX);
        let record = ClientTokenRecord {
            request: self.request.clone(),
            resources: vec![key.service.to_string()],
            expires_at: now.plus_seconds(lifetime),
        };
        txn.require(path.clone(), known.map_or(0, |row| row.revision)).put(path, encode(&record))
    }
}
