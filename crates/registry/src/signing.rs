//! Signing: images that a rule names are signed by the registry after their push, each with the key of the rule's
//! signing profile ([`keys`]), in the form of the Notary Project ([`envelope`]), attached as a referrer.
//!
//! The push's own transaction writes down what is to be signed, so nothing that was acknowledged goes unsigned;
//! [`worker`] does it. A rule acts with the pusher's rights: who may not `signer:SignPayload` with its profile gets a
//! job that has failed, and says why.
//!
//! What must hold:
//! * an image has one job per profile, and at most one signature comes of it however often the work is begun anew: the
//!   envelope is kept in the job before anything is pushed;
//! * signatures are not signed; neither is what replication or the pull-through cache brings, for nobody pushed it.

pub mod configuration;
mod envelope;
pub mod keys;
pub mod worker;

use std::collections::BTreeMap;

use bytes::Bytes;
use gantry_api::Caller;
use gantry_domain::policy::{Decision, Policies, Request, evaluate};
use gantry_protocol::principals;
use gantry_store::Txn;
use serde::{Deserialize, Serialize};

pub use self::configuration::{SigningRow, SigningRuleRow};
pub use self::envelope::SIGNATURE_TYPE;
pub use self::keys::{ProfileArn, SigningKeyError};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{Read, RepositoryKeys, encode};
use crate::registry::Registry;

/// Jobs of one image that are read: more than profiles that one configuration can name.
const JOBS_READ_MAX: usize = 1000;

/// What a push asks to be signed with one profile, and whether the pusher may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningOrder {
    /// The profile.
    pub profile: String,
    /// Why not, when the pusher may not sign with it.
    pub denied: Option<String>,
}

/// The signing of one image with one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningJob {
    /// How far it is.
    pub status: JobStatus,
    /// What failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<JobFailure>,
    /// The manifest of the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Digest>,
    /// The signature itself, until its manifest is pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signed: Option<envelope::Signed>,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Its turn comes, perhaps after failures.
    InProgress,
    /// The image has its signature.
    Complete,
    /// It was given up.
    Failed,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// For programs.
    pub code: String,
    /// For people.
    pub reason: String,
}

impl SigningJob {
    fn of(order: &SigningOrder) -> Self {
        match &order.denied {
            None => Self { status: JobStatus::InProgress, failure: None, signature: None, signed: None },
            Some(sentence) => Self::failed("AccessDenied", sentence.clone()),
        }
    }

    fn failed(code: &str, reason: String) -> Self {
        let failure = Some(JobFailure { code: code.to_owned(), reason });
        Self { status: JobStatus::Failed, failure, signature: None, signed: None }
    }
}

/// A job that a push begins, and the revision of the one that it takes the place of.
pub(crate) type NewJob = (String, Read<SigningJob>);

impl Registry {
    /// What a push of `caller` to a repository asks to be signed.
    pub(crate) async fn signing_orders(
        &self,
        caller: &Caller,
        keys: &RepositoryKeys,
    ) -> Result<Vec<SigningOrder>, RegistryError> {
        let profiles = self.signing_profiles(keys).await?;
        Ok(profiles.into_iter().map(|profile| self.signing_order(caller, profile)).collect())
    }

    fn signing_order(&self, caller: &Caller, profile: String) -> SigningOrder {
        let account = profile.parse().map(|profile: ProfileArn| profile.account().to_owned()).unwrap_or_default();
        let authority = self.principals.authority(caller);
        let context = principals::context(caller);
        let request = Request {
            principal: &authority.principal,
            action: "signer:SignPayload",
            resource: &profile,
            account: &account,
            now: self.now(),
            context: &context,
        };
        let denied = match evaluate(&request, &Policies::of(&authority.policies)) {
            Decision::Allow => None,
            Decision::Deny(denial) => Some(denial.sentence(&request)),
        };
        SigningOrder { profile, denied }
    }

    /// Of what a push orders, the jobs that are not there yet, or whose signature is gone, or that failed.
    pub(crate) async fn jobs_to_begin(
        &self,
        keys: &RepositoryKeys,
        image: &Digest,
        orders: &[SigningOrder],
    ) -> Result<Vec<NewJob>, RegistryError> {
        let mut begun = BTreeMap::new();
        for order in orders {
            let job = self.metadata.get::<SigningJob>(&keys.signing(image, &order.profile)).await?;
            let revision = job.as_ref().map_or(0, |job| job.revision);
            if let Some(Read { row, .. }) = &job
                && self.is_under_way_or_done(keys, row).await?
            {
                continue;
            }
            begun.insert(order.profile.clone(), Read { row: SigningJob::of(order), revision });
        }
        Ok(begun.into_iter().collect())
    }

    async fn is_under_way_or_done(&self, keys: &RepositoryKeys, job: &SigningJob) -> Result<bool, RegistryError> {
        match (job.status, &job.signature) {
            (JobStatus::InProgress, _) => Ok(true),
            (JobStatus::Complete, Some(signature)) => Ok(self.metadata.image(keys, signature).await?.is_some()),
            _ => Ok(false),
        }
    }

    /// How far the signing of an image is, by profile.
    pub async fn signing_jobs(
        &self,
        keys: &RepositoryKeys,
        image: &Digest,
    ) -> Result<Vec<(String, SigningJob)>, RegistryError> {
        let prefix = keys.signings(image);
        Ok(self.metadata.page(&prefix, None, JOBS_READ_MAX, |arn| Some(arn.to_owned())).await?.0)
    }
}

/// Adds jobs to the transaction of a push.
pub(crate) fn beginning(mut txn: Txn, keys: &RepositoryKeys, image: &Digest, jobs: &[NewJob]) -> Txn {
    for (profile, Read { row, revision }) in jobs {
        let key = keys.signing(image, profile);
        txn = txn.require(&key, *revision).put(&key, encode(row));
    }
    if jobs.iter().any(|(_, job)| job.row.status == JobStatus::InProgress) {
        txn = txn.put(keys.to_sign(image), Bytes::from_static(b"{}"));
    }
    txn
}
