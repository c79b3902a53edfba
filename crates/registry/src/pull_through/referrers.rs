//! What an upstream knows to be about an image that was pulled through: its signatures and bills of materials.
//!
//! The list is asked for with the first listing here and kept as long as a tag; what it names is imported when somebody
//! pulls it, and is then listed like anything that was pushed here. Only images that are here are asked about, so there
//! are no more lists than images; an image is brought when somebody asks about it first, as cosign 3 does.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_api::Caller;
use gantry_store::{Txn, TxnError};
use serde::{Deserialize, Serialize};

use super::import::{self, ImportResult, Source};
use super::{RemoteRepository, RuleRow, UpstreamError, is_fresh};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{Read, ReferrerRow, RepositoryKeys, encode};
use crate::name::Reference;
use crate::prefix::RepositoryPrefix;
use crate::registry::Registry;

/// Referrers of one image that are taken from an upstream; those that it names later are left out.
pub(super) const REFERRERS_MAX: usize = 100;
/// Longer annotations are left to those who read the manifest.
const ANNOTATIONS_BYTES_MAX: usize = 4 * 1024;
/// Asking takes no longer than this, however many pages there are.
const ASKING_TIME_MAX: Duration = Duration::from_secs(60);

/// A referrer that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamReferrer {
    pub(crate) digest: Digest,
    #[serde(flatten)]
    pub(crate) row: ReferrerRow,
}

/// What an upstream listed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ListRow {
    /// When, in milliseconds since the epoch.
    at_ms: i64,
    referrers: Vec<UpstreamReferrer>,
}

/// An entry of an upstream's list, as it sent it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    media_type: String,
    digest: String,
    size: u64,
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Listed {
    /// None when it has a digest that no image here could have.
    fn referrer(self) -> Option<UpstreamReferrer> {
        let length: usize = self.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        let row = ReferrerRow {
            media_type: self.media_type,
            size: self.size,
            artifact_type: self.artifact_type.filter(|artifact_type| !artifact_type.is_empty()),
            annotations: (length <= ANNOTATIONS_BYTES_MAX).then_some(self.annotations),
        };
        Some(UpstreamReferrer { digest: self.digest.parse().ok()?, row })
    }
}

/// Names the list of an image: to those who ask for it at the same time, and among failures.
fn list_key(keys: &RepositoryKeys, subject: &Digest) -> String {
    format!("{} referrers of {subject}", keys.arn())
}

impl Registry {
    /// Has an image here that somebody asks about before it was pulled.
    pub(crate) async fn bring_subject(
        &self,
        caller: &Caller,
        keys: &RepositoryKeys,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        match self.pull(caller, keys, &Reference::Digest(subject.clone())).await {
            Err(RegistryError::Upstream(error)) => Err(RegistryError::UpstreamReferrers(error)),
            pulled => pulled.map(drop),
        }
    }

    /// What the upstream lists about an image, is `wanted` and is not here, in the order of digests. Nothing for images
    /// that come from no upstream. When the upstream cannot be asked, what it said last; an error when it never said
    /// anything, for "no signatures" would be a lie.
    pub(crate) async fn upstream_referrers(
        &self,
        caller: &Caller,
        keys: &RepositoryKeys,
        subject: &Digest,
        wanted: impl Fn(&UpstreamReferrer) -> bool,
    ) -> Result<Vec<UpstreamReferrer>, RegistryError> {
        let Some((prefix, rule)) = self.rule_for(keys.scope(), keys.name()).await? else { return Ok(Vec::new()) };
        if self.metadata.image(keys, subject).await?.is_none() {
            return Ok(Vec::new());
        }
        let known = self.metadata.get::<ListRow>(&keys.upstream_referrers(subject)).await?.map(|known| known.row);
        let is_fresh = known.as_ref().is_some_and(|known| is_fresh(self.now().as_millis(), known.at_ms));
        let listed = if is_fresh || !self.may_import(caller, keys, false).await {
            known.unwrap_or_default().referrers
        } else {
            match (self.ask_for_referrers(keys, &prefix, &rule, subject).await, known) {
                (Ok(listed), _) => listed,
                (Err(RegistryError::Upstream(_)), Some(known)) => known.referrers,
                (Err(RegistryError::Upstream(error)), None) => return Err(RegistryError::UpstreamReferrers(error)),
                (Err(error), _) => return Err(error),
            }
        };
        let mut elsewhere = Vec::new();
        for referrer in listed.into_iter().filter(wanted) {
            if self.metadata.image(keys, &referrer.digest).await?.is_none() {
                elsewhere.push(referrer);
            }
        }
        Ok(elsewhere)
    }

    /// Asks the upstream, unless it failed a moment ago, and writes down what it said. One for all who ask.
    async fn ask_for_referrers(
        &self,
        keys: &RepositoryKeys,
        prefix: &RepositoryPrefix,
        rule: &RuleRow,
        subject: &Digest,
    ) -> Result<Vec<UpstreamReferrer>, RegistryError> {
        let key = list_key(keys, subject);
        if let Some(error) = self.upstream_failures.recent(&key, self.now().as_millis()) {
            return Err(error.into());
        }
        let source = self.source(keys, prefix, rule).await?;
        let (registry, of, digest, failed) = (self.shared(), keys.clone(), subject.clone(), key.clone());
        let work = move || async move {
            let Some(registry) = registry else { return Err(import::ending()) };
            let asked = tokio::time::timeout(ASKING_TIME_MAX, registry.list_upstream(&of, &source, &digest)).await;
            let asked = asked.unwrap_or_else(|_| Err(UpstreamError::Unavailable("timed out".to_owned()).into()));
            if let Err(RegistryError::Upstream(error)) = &asked {
                tracing::warn!(repository = %of.arn(), subject = %digest, %error, "an upstream was asked for referrers in vain");
                registry.upstream_failures.note(failed, registry.now().as_millis(), error.clone());
            }
            asked.map(|()| digest).map_err(std::sync::Arc::new)
        };
        let asked: ImportResult = self.flights.join(key, work).await.unwrap_or_else(|_| Err(import::ending()));
        asked.map_err(import::into_error)?;
        let said = self.metadata.get::<ListRow>(&keys.upstream_referrers(subject)).await?;
        Ok(said.map(|Read { row, .. }| row.referrers).unwrap_or_default())
    }

    async fn list_upstream(
        &self,
        keys: &RepositoryKeys,
        source: &Source,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let mut referrers: Vec<UpstreamReferrer> = match source {
            Source::Ours(from) => {
                let (listed, _) = self.metadata.referrers(from, subject, None, REFERRERS_MAX).await?;
                listed.into_iter().map(|(digest, row)| UpstreamReferrer { digest, row }).collect()
            }
            Source::Remote { base, repository, credentials } => {
                let from =
                    RemoteRepository::new(&self.upstream_client, base, Some(repository.clone()), credentials.clone());
                from.referrers(subject).await?.into_iter().filter_map(Listed::referrer).collect()
            }
        };
        referrers.sort_by(|one, other| one.digest.cmp(&other.digest));
        referrers.dedup_by(|one, other| one.digest == other.digest);
        let row = ListRow { at_ms: self.now().as_millis(), referrers };
        let txn = Txn::new().require_exists(keys.image(subject)).put(keys.upstream_referrers(subject), encode(&row));
        match self.metadata.store.txn(txn).await {
            // The image has just been deleted: nothing is about it.
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }
}
