//! The pull-through cache: repositories that are filled from an upstream registry when somebody pulls from them.
//!
//! A pull asks [`Registry::pull_find`] first, which says what is here and whether the upstream should be asked. An
//! import ([`import`]) brings the manifest with everything it needs, checked against its digest, and pushes it like any
//! image. Of many who pull the same at a time one asks the upstream.
//!
//! What must hold:
//! * only hosts that the API names or the operator configured are asked (`upstreams`, `client`);
//! * what is served has the digest it should have, whatever the upstream sent;
//! * what is cached is served when the upstream cannot be asked;
//! * a repository is made only when the upstream has the image.

mod client;
mod flights;
mod import;
mod referrers;
mod remote;
pub mod roles;
mod rules;
pub mod secrets;
pub mod upstreams;

use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::Caller;
use gantry_api::event::Event;
use gantry_domain::arn::Scope;
use gantry_store::Txn;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::access::Target;
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::metadata::{RepositoryKeys, encode};
use crate::name::{Reference, Tag};
use crate::prefix::RepositoryPrefix;
use crate::registry::Registry;

pub use rules::{RULES_MAX, RuleRow};

pub(crate) use client::UpstreamClient;
pub(crate) use flights::Flights;
pub(crate) use import::{ImportResult, Source};
pub(crate) use referrers::UpstreamReferrer;
pub(crate) use remote::RemoteRepository;
pub(crate) use rules::RuleCache;

/// How long a cached tag is served before the upstream is asked again.
pub const FRESH_MS: i64 = 24 * 60 * 60 * 1000;
/// How long an upstream that failed is left alone: what is cached is served, or the failure told again.
const LEFT_ALONE_MS: i64 = 30 * 1000;

/// Why an upstream did not give what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// It has no such image.
    #[error("the upstream registry does not have the image")]
    NotFound,
    /// It does not let us.
    #[error("the upstream registry refuses access: {0}")]
    Denied(String),
    /// It is asked too often.
    #[error("the upstream registry answers that there are too many requests")]
    TooManyRequests,
    /// It cannot be reached, or has a problem.
    #[error("the upstream registry is unavailable: {0}")]
    Unavailable(String),
    /// What it sent is not what it should be.
    #[error("the upstream registry sent something invalid: {0}")]
    Invalid(String),
}

/// What is known of a tag that came from an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckedRow {
    /// When the upstream was last asked for it, in milliseconds since the epoch.
    pub(crate) at_ms: i64,
}

/// What a pull finds.
#[derive(Debug)]
pub enum Pull {
    /// This is the answer: an image, or none.
    Serve(Option<FoundImage>),
    /// The upstream should be asked, by who may; others get what is cached.
    Upstream(Box<UpstreamPull>),
}

/// A pull that should ask the upstream.
#[derive(Debug)]
pub struct UpstreamPull {
    /// What is cached.
    pub cached: Option<FoundImage>,
    /// The repository is missing: who asks must be allowed to create it.
    pub creates_repository: bool,
    reference: Reference,
    prefix: RepositoryPrefix,
    rule: RuleRow,
}

/// Upstreams that failed a moment ago, by what they were asked for: when, and how.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<String, (i64, UpstreamError)>>);

impl Failures {
    /// Failures remembered; when there are more, all are forgotten.
    const REMEMBERED_MAX: usize = 1024;

    fn note(&self, key: String, now_ms: i64, error: UpstreamError) {
        let mut failures = self.0.lock();
        if failures.len() >= Self::REMEMBERED_MAX {
            failures.clear();
        }
        failures.insert(key, (now_ms, error));
    }

    fn recent(&self, key: &str, now_ms: i64) -> Option<UpstreamError> {
        let failures = self.0.lock();
        let (_, error) = failures.get(key).filter(|(at_ms, _)| now_ms.saturating_sub(*at_ms) < LEFT_ALONE_MS)?;
        Some(error.clone())
    }
}

impl Registry {
    /// What a pull of `reference` finds. A missing repository is an error only when no rule covers it.
    pub async fn pull_find(&self, keys: &RepositoryKeys, reference: &Reference) -> Result<Pull, RegistryError> {
        let (cached, creates_repository) = match self.image_find(keys, reference).await {
            // What a digest names does not change.
            Ok(Some(image)) if matches!(reference, Reference::Digest(_)) => return Ok(Pull::Serve(Some(image))),
            Ok(found) => (found, false),
            Err(missing @ RegistryError::RepositoryNotFound { .. }) => {
                return match self.rule_for(keys.scope(), keys.name()).await? {
                    Some((prefix, rule)) => {
                        let reference = reference.clone();
                        Ok(Pull::Upstream(Box::new(UpstreamPull {
                            cached: None,
                            creates_repository: true,
                            reference,
                            prefix,
                            rule,
                        })))
                    }
                    None => Err(missing),
                };
            }
            Err(error) => return Err(error),
        };
        let Some((prefix, rule)) = self.rule_for(keys.scope(), keys.name()).await? else {
            return Ok(Pull::Serve(cached));
        };
        if let (Reference::Tag(tag), Some(image)) = (reference, &cached) {
            let checked = self.metadata.get::<CheckedRow>(&keys.checked(tag)).await?;
            let checked_ms = checked.map_or(image.row.pushed_at_ms, |checked| checked.row.at_ms);
            let now_ms = self.now().as_millis();
            if is_fresh(now_ms, checked_ms) || self.upstream_failures.recent(&failure_key(keys, tag), now_ms).is_some()
            {
                return Ok(Pull::Serve(cached));
            }
        }
        let reference = reference.clone();
        Ok(Pull::Upstream(Box::new(UpstreamPull { cached, creates_repository, reference, prefix, rule })))
    }

    /// The image that a reference names, from here or, where the caller may have it imported, from upstream.
    pub(crate) async fn pull(
        &self,
        caller: &Caller,
        keys: &RepositoryKeys,
        reference: &Reference,
    ) -> Result<Option<FoundImage>, RegistryError> {
        let pull = match self.pull_find(keys, reference).await? {
            Pull::Serve(found) => return Ok(found),
            Pull::Upstream(pull) => pull,
        };
        let creates_repository = pull.creates_repository;
        let may_import = self.may_import(caller, keys, creates_repository).await;
        let found = if may_import { self.pull_through(keys, pull).await? } else { pull.cached };
        if found.is_none() && creates_repository {
            return Err(RegistryError::repository_not_found(keys.scope(), keys.name()));
        }
        Ok(found)
    }

    /// Whether a caller may have images imported from upstream, and the repository made for them if that is needed.
    pub(crate) async fn may_import(&self, caller: &Caller, keys: &RepositoryKeys, creates_repository: bool) -> bool {
        let import = self.authorize(caller, "BatchImportUpstreamImage".into(), Target::Repository(keys)).await;
        if import.is_err() || !creates_repository {
            return import.is_ok();
        }
        self.authorize(caller, "CreateRepository".into(), Target::Repository(keys)).await.is_ok()
    }

    /// Asks the upstream, imports what is not here, and returns the image to serve; none when neither the upstream
    /// nor the cache has it. The caller has been allowed to do this.
    pub async fn pull_through(
        &self,
        keys: &RepositoryKeys,
        pull: Box<UpstreamPull>,
    ) -> Result<Option<FoundImage>, RegistryError> {
        let asked = self.ask_upstream(keys, &pull).await;
        self.tell(keys, &pull, &asked);
        match (asked, pull.cached) {
            (Ok(digest), cached) => {
                if let Reference::Tag(tag) = &pull.reference {
                    self.note_checked(keys, tag).await;
                }
                // The tag may be one that does not move: then the image it has stays.
                let found = self.image_find(keys, &pull.reference).await?;
                match found {
                    Some(image) => Ok(Some(image)),
                    None => Ok(self.image_find(keys, &Reference::Digest(digest)).await?.or(cached)),
                }
            }
            (Err(RegistryError::Upstream(error)), Some(cached)) => {
                tracing::warn!(repository = %keys.arn(), digest = %cached.digest, %error, "serving a cached image: the upstream was asked in vain");
                if let Reference::Tag(tag) = &pull.reference {
                    self.upstream_failures.note(failure_key(keys, tag), self.now().as_millis(), error);
                }
                Ok(Some(cached))
            }
            (Err(RegistryError::Upstream(UpstreamError::NotFound)), None) => Ok(None),
            (Err(error), _) => Err(error),
        }
    }

    /// Tells who listens how asking the upstream went.
    fn tell(&self, keys: &RepositoryKeys, pull: &UpstreamPull, asked: &Result<Digest, RegistryError>) {
        let mut detail = serde_json::json!({
            "rule-version": "1",
            "sync-status": if asked.is_ok() { "SUCCESS" } else { "FAILED" },
            "ecr-repository-prefix": pull.prefix.as_str(),
            "repository-name": keys.name().as_str(),
            "upstream-registry-url": pull.rule.upstream_url,
        });
        match &pull.reference {
            Reference::Tag(tag) => detail["image-tag"] = tag.as_str().into(),
            Reference::Digest(digest) => detail["image-digest"] = digest.as_str().into(),
        }
        match asked {
            Ok(digest) => detail["image-digest"] = digest.as_str().into(),
            Err(error) => {
                let (code, text) = match error {
                    RegistryError::Upstream(UpstreamError::NotFound) => ("UPSTREAM_NOT_FOUND", error.to_string()),
                    RegistryError::Upstream(UpstreamError::Denied(_)) => ("UPSTREAM_ACCESS_DENIED", error.to_string()),
                    RegistryError::Upstream(UpstreamError::TooManyRequests) => {
                        ("UPSTREAM_TOO_MANY_REQUESTS", error.to_string())
                    }
                    RegistryError::Upstream(_) => ("UPSTREAM_UNAVAILABLE", error.to_string()),
                    _ => ("INTERNAL_FAILURE", "the image could not be stored".to_owned()),
                };
                detail["failure-code"] = code.into();
                detail["failure-reason"] = text.into();
            }
        }
        self.events.emit(Event {
            id: uuid::Uuid::new_v4().to_string(),
            source: "aws.ecr".to_owned(),
            detail_type: "ECR Pull Through Cache Action".to_owned(),
            account: keys.scope().account.clone(),
            region: keys.scope().region.clone(),
            time_ms: self.now().as_millis(),
            resources: vec![keys.arn()],
            detail,
        });
    }

    /// Brings what the reference names upstream, unless it is here; returns its digest. One for all who ask.
    async fn ask_upstream(&self, keys: &RepositoryKeys, pull: &UpstreamPull) -> Result<Digest, RegistryError> {
        let source = self.source(keys, &pull.prefix, &pull.rule).await?;
        let known = pull.cached.as_ref().map(|image| image.digest.clone());
        let (reference, prefix) = (pull.reference.clone(), pull.prefix.clone());
        let result: ImportResult = match &reference {
            Reference::Digest(digest) => self.import(keys, &source, digest, 0).await,
            Reference::Tag(tag) => {
                let key = format!("{} {tag}", keys.arn());
                let (keys, tag) = (keys.clone(), tag.clone());
                let registry = self.shared();
                let joined = self.flights.join(key, move || async move {
                    match registry {
                        Some(registry) => registry.import_tag(&keys, &source, &tag, known, &prefix).await,
                        None => Err(import::ending()),
                    }
                });
                joined.await.unwrap_or_else(|_| Err(import::ending()))
            }
        };
        result.map_err(import::into_error)
    }

    /// Where the images of a repository come from.
    pub(crate) async fn source(
        &self,
        keys: &RepositoryKeys,
        prefix: &RepositoryPrefix,
        rule: &RuleRow,
    ) -> Result<Source, RegistryError> {
        let Some(repository) = rule.upstream_repository(prefix, keys.name()) else {
            return Err(UpstreamError::NotFound.into());
        };
        let kind = upstreams::upstream_kind(&self.config.upstreams, &rule.upstream_url, None);
        // The operator may have taken the host away since the rule was made.
        let gone = |error: RegistryError| UpstreamError::Unavailable(error.to_string());
        Ok(match kind.map_err(gone)? {
            upstreams::UpstreamKind::Ours(scope) => {
                let upstream = RepositoryKeys::new(&scope, &repository);
                if scope.account != keys.scope().account {
                    self.may_read_upstream(&upstream, rule).await?;
                }
                Source::Ours(upstream)
            }
            upstreams::UpstreamKind::Remote { base, credentials, .. } => {
                let credentials = match &rule.credential_arn {
                    Some(arn) => Some(self.upstream_credentials(keys.scope(), arn).await?),
                    None => credentials,
                };
                Source::Remote { base, repository, credentials }
            }
        })
    }

    /// Whether the role of a rule may read a repository of another account: policies of the role and of the
    /// repository decide, at every import.
    async fn may_read_upstream(&self, upstream: &RepositoryKeys, rule: &RuleRow) -> Result<(), RegistryError> {
        let role = self.upstream_role(upstream.scope(), rule)?;
        for action in ["BatchGetImage", "GetDownloadUrlForLayer"] {
            let allowed = self.authorize(&role, action.into(), Target::Repository(upstream)).await;
            allowed.map_err(|error| match error {
                RegistryError::Denied(sentence) => UpstreamError::Denied(sentence).into(),
                error => error,
            })?;
        }
        Ok(())
    }

    /// The role of a rule, taken on.
    fn upstream_role(&self, upstream: &Scope, rule: &RuleRow) -> Result<Caller, UpstreamError> {
        let Some(arn) = &rule.custom_role_arn else {
            return Err(UpstreamError::Denied("it belongs to another account, and the rule has no role".to_owned()));
        };
        let role = self.roles.assume(arn, &upstream.region);
        let denied = || format!("the role {arn} does not exist or does not trust {}", roles::SERVICE);
        role.ok_or_else(|| UpstreamError::Denied(denied()))
    }

    async fn upstream_credentials(&self, scope: &Scope, arn: &str) -> Result<upstreams::Credentials, RegistryError> {
        let found = secrets::credentials(self.secrets.as_ref(), scope, arn).await;
        found.map_err(|error| UpstreamError::Denied(error.to_string()).into())
    }

    /// Why a rule would not work; none when it would.
    pub(crate) async fn rule_failure(&self, scope: &Scope, rule: &RuleRow) -> Result<Option<String>, RegistryError> {
        let kind = match upstreams::upstream_kind(&self.config.upstreams, &rule.upstream_url, None) {
            Ok(kind) => kind,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let (base, credentials) = match kind {
            upstreams::UpstreamKind::Remote { base, credentials, .. } => (base, credentials),
            upstreams::UpstreamKind::Ours(upstream) if upstream.account == scope.account => return Ok(None),
            upstreams::UpstreamKind::Ours(upstream) => {
                return Ok(self.upstream_role(&upstream, rule).err().map(|error| error.to_string()));
            }
        };
        let credentials = match &rule.credential_arn {
            Some(arn) => match secrets::credentials(self.secrets.as_ref(), scope, arn).await {
                Ok(credentials) => Some(credentials),
                Err(error) => return Ok(Some(error.to_string())),
            },
            None => credentials,
        };
        let pinged = RemoteRepository::new(&self.upstream_client, &base, None, credentials).ping().await;
        Ok(pinged.err().map(|error| error.to_string()))
    }

    /// Notes when a tag was last looked up. Losing this only makes the next pull ask again.
    async fn note_checked(&self, keys: &RepositoryKeys, tag: &Tag) {
        let row = CheckedRow { at_ms: self.now().as_millis() };
        let txn = Txn::new().require_exists(keys.tag(tag)).put(keys.checked(tag), encode(&row));
        if let Err(error) = self.metadata.store.txn(txn).await {
            tracing::debug!(repository = %keys.arn(), %tag, %error, "not noted that the upstream was asked");
        }
    }

    /// This registry, for work that goes on when nobody waits for it.
    fn shared(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }
}

/// Whether a tag that was looked up at `checked_ms` is served without asking.
fn is_fresh(now_ms: i64, checked_ms: i64) -> bool {
    now_ms.saturating_sub(checked_ms) < FRESH_MS
}

fn failure_key(keys: &RepositoryKeys, tag: &Tag) -> String {
    format!("{} {tag}", keys.arn())
}
