//! Running a policy: count, then decide and act, page by page.
//!
//! Nothing is remembered between pages but what the counting rules need, so a repository of 100,000 images takes a few
//! megabytes. Every image goes by a transaction that names the row it was decided on: one that got a tag meanwhile is
//! left for the next run. A crash in the middle leaves a repository in which some images are gone, and the next run
//! decides anew: what is left of the old ones is still old.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::{TryStreamExt, stream};
use gantry_api::event::Event;
use gantry_domain::lifecycle::{Action, Census, Evaluation, Policy};
use gantry_store::{Txn, TxnError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{InUse, KeptBecause, PolicyRow, facts, parse};
use crate::changes::{Actor, Origin};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::metadata::{Read, RepositoryKeys, encode};
use crate::registry::Registry;

/// Images read at a time.
pub(super) const PAGE: usize = 500;
/// Images deleted or archived at a time: the store writes what waits together.
const AT_A_TIME: usize = 8;
/// Images of a report that are named; the rest is counted.
pub(super) const KEPT_NAMED_MAX: usize = 100;
/// Lists of lists of lists: how often lists are gone through before everything else.
const LIST_PASSES_MAX: usize = 4;

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Images deleted.
    pub expired: usize,
    /// Images archived.
    pub archived: usize,
    /// Images that rules say should go and that were kept.
    pub kept_total: usize,
    /// The first of those, and why.
    pub kept: Vec<Kept>,
}

/// An image that was kept although a rule says that it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The image.
    pub digest: Digest,
    /// Why.
    pub because: KeptBecause,
}

#[derive(Default)]
struct Tally {
    expired: AtomicUsize,
    archived: AtomicUsize,
    kept: Mutex<(usize, Vec<Kept>)>,
}

impl Tally {
    fn keep(&self, digest: &Digest, because: KeptBecause) {
        let mut kept = self.kept.lock();
        kept.0 += 1;
        if kept.1.len() < KEPT_NAMED_MAX {
            kept.1.push(Kept { digest: digest.clone(), because });
        }
    }

    fn report(self) -> Report {
        let (kept_total, mut kept) = self.kept.into_inner();
        kept.sort_by(|a, b| a.digest.cmp(&b.digest));
        Report { expired: self.expired.into_inner(), archived: self.archived.into_inner(), kept_total, kept }
    }
}

impl Registry {
    /// Runs a repository's policy now.
    pub async fn lifecycle_run(&self, keys: &RepositoryKeys) -> Result<Report, RegistryError> {
        let row = self.lifecycle_read(keys).await?;
        let policy = parse(&row.row.text)?;
        let report = self.apply(keys, &policy).await?;
        self.note_evaluation(keys, row).await?;
        if report != Report::default() {
            tracing::info!(repository = %keys.arn(), report.expired, report.archived, kept = report.kept_total, "lifecycle policy run");
            self.tell_of_run(keys, &report);
        }
        Ok(report)
    }

    /// What the policy decides, once every image has been counted.
    pub(super) async fn evaluation<'a>(
        &self,
        keys: &RepositoryKeys,
        policy: &'a Policy,
    ) -> Result<Evaluation<'a>, RegistryError> {
        let mut census = Census::new(policy);
        let (mut after, mut more) = (None, census.is_needed());
        while more {
            let page;
            (page, more) = self.metadata.images_found(keys, after.as_ref(), PAGE).await?;
            for image in &page {
                if !self.goes_with_its_subject(keys, image).await? {
                    census.add(&facts(image));
                }
            }
            after = page.last().map(|image| image.digest.clone());
        }
        Ok(census.finish(self.now()))
    }

    async fn apply(&self, keys: &RepositoryKeys, policy: &Policy) -> Result<Report, RegistryError> {
        let evaluation = self.evaluation(keys, policy).await?;
        let run =
            Run { keys, evaluation: &evaluation, in_use: self.images_in_use.in_use(keys), tally: Tally::default() };
        // Lists first: what only they need can go after them.
        for _ in 0..LIST_PASSES_MAX {
            if !self.pass(&run, true).await? {
                break;
            }
        }
        self.pass(&run, false).await?;
        Ok(run.tally.report())
    }

    /// Goes through all images, or the lists among them, and does what the policy decides. Whether something was done.
    async fn pass(&self, run: &Run<'_>, lists_only: bool) -> Result<bool, RegistryError> {
        let acted = AtomicBool::new(false);
        let (mut after, mut more) = (None, true);
        while more {
            let page;
            (page, more) = self.metadata.images_found(run.keys, after.as_ref(), PAGE).await?;
            after = page.last().map(|image| image.digest.clone());
            let concerned = page.into_iter().filter(|image| image.row.is_index || !lists_only).map(Ok);
            let act = async |image: FoundImage| {
                match self.act(run, &image).await? {
                    Outcome::Nothing => return Ok(()),
                    Outcome::Kept(_) if lists_only => return Ok(()),
                    Outcome::Kept(because) => {
                        run.tally.keep(&image.digest, because);
                        return Ok(());
                    }
                    Outcome::Expired => run.tally.expired.fetch_add(1, Ordering::Relaxed),
                    Outcome::Archived => run.tally.archived.fetch_add(1, Ordering::Relaxed),
                };
                acted.store(true, Ordering::Relaxed);
                Ok::<_, RegistryError>(())
            };
            stream::iter(concerned).map_ok(act).try_buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        }
        Ok(acted.into_inner())
    }

    async fn act(&self, run: &Run<'_>, image: &FoundImage) -> Result<Outcome, RegistryError> {
        let Some(verdict) = run.evaluation.verdict(&facts(image)) else { return Ok(Outcome::Nothing) };
        if self.goes_with_its_subject(run.keys, image).await? {
            return Ok(Outcome::Nothing);
        }
        if run.in_use.has(image) {
            return Ok(Outcome::Kept(KeptBecause::UsedByRunningTask));
        }
        let actor = Actor::registry(Origin::Lifecycle);
        let (done, outcome) = match verdict.action {
            Action::Expire => (self.expire(run.keys, image, &actor).await, Outcome::Expired),
            Action::Archive => (self.try_archive(run.keys, image, true, &actor).await, Outcome::Archived),
        };
        match done {
            Ok(true) => Ok(outcome),
            // Changed meanwhile: the next run looks at it again.
            Ok(false) | Err(RegistryError::Contention) => Ok(Outcome::Nothing),
            Err(RegistryError::ReferencedByManifestList { .. } | RegistryError::StorageClass(_)) => {
                Ok(Outcome::Kept(KeptBecause::NeededByManifestList))
            }
            Err(error) => Err(error),
        }
    }

    async fn expire(&self, keys: &RepositoryKeys, image: &FoundImage, actor: &Actor) -> Result<bool, RegistryError> {
        if image.row.tags.len() > crate::images::TAGS_PER_DELETION_MAX {
            // In steps, so not by the row it was decided on; a tag set meanwhile goes with it.
            return Ok(self.image_delete(keys, &image.digest, actor).await?.is_some());
        }
        Ok(self.try_delete(keys, image, actor).await?.is_some())
    }

    /// Writes down when the policy was evaluated, unless it was changed meanwhile.
    async fn note_evaluation(&self, keys: &RepositoryKeys, row: Read<PolicyRow>) -> Result<(), RegistryError> {
        let key = keys.lifecycle();
        let evaluated = PolicyRow { evaluated_at_ms: Some(self.now().as_millis()), ..row.row };
        match self.metadata.store.txn(Txn::new().require(&key, row.revision).put(&key, encode(&evaluated))).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// An event of our own: the real service tells of every image, and not of what was kept.
    fn tell_of_run(&self, keys: &RepositoryKeys, report: &Report) {
        let scope = keys.scope();
        self.events.emit(Event {
            id: uuid::Uuid::new_v4().to_string(),
            source: "gantry.ecr".to_owned(),
            detail_type: "ECR Lifecycle Policy Run".to_owned(),
            account: scope.account.clone(),
            region: scope.region.clone(),
            time_ms: self.now().as_millis(),
            resources: vec![keys.arn()],
            detail: json!({
                "repository-name": keys.name().as_str(),
                "expired": report.expired,
                "archived": report.archived,
                "kept-total": report.kept_total,
                "kept": report.kept,
            }),
        });
    }
}

/// One run.
struct Run<'a> {
    keys: &'a RepositoryKeys,
    evaluation: &'a Evaluation<'a>,
    in_use: InUse,
    tally: Tally,
}

/// What came of one image.
enum Outcome {
    /// It stays, as the policy says, or it changed meanwhile.
    Nothing,
    Expired,
    Archived,
    /// It stays against the policy.
    Kept(KeptBecause),
}
