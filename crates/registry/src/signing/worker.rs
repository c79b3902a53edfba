//! Signs what pushes have written down, one image after the other.
//!
//! A try that fails is repeated later, a few times ([`crate::attempts`]); then the jobs of the image have failed, and
//! say why. The next push of the image begins them anew.

use std::sync::Arc;

use bytes::Bytes;
use gantry_store::{KeyValue, StoreError, Txn, TxnError};

use super::envelope::{CONFIGURATION, Target, sign};
use super::keys::key_of;
use super::{JobStatus, ProfileArn, SigningJob, SigningKeyError};
use crate::attempts::{Attempts, Failure, PAUSE, pause};
use crate::changes::{Actor, Origin};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::manifest::OCI_MANIFEST;
use crate::metadata::{Read, RepositoryKeys, TO_SIGN_PREFIX, encode, parse_to_sign};
use crate::push_image::{ImagePush, Repeated};
use crate::registry::Registry;

/// Why an image was not signed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    #[error("there is no randomness to sign with")]
    Randomness,
}

impl Failure for Failed {
    const NOT_DONE: &'static str = "signed";

    fn is_hopeless(&self) -> bool {
        matches!(self, Self::Key(SigningKeyError::Arn(_) | SigningKeyError::NoFolder | SigningKeyError::Damaged(_)))
            || matches!(self, Self::Registry(RegistryError::LimitExceeded(_)))
    }
}

impl Failed {
    /// What is told of it, in the words of the API.
    fn code(&self) -> &'static str {
        match self {
            Self::Key(_) => "SigningProfileUnavailable",
            Self::Registry(RegistryError::LimitExceeded(_)) => "LimitExceeded",
            Self::Registry(_) | Self::Randomness => "InternalError",
        }
    }

    /// The same for people: nothing that only an operator should read.
    fn reason(&self, profile: &str) -> String {
        match self {
            Self::Key(_) => format!("The key of the signing profile {profile} cannot be used."),
            Self::Registry(RegistryError::LimitExceeded(sentence)) => sentence.clone(),
            Self::Registry(_) | Self::Randomness => "The image could not be signed.".to_owned(),
        }
    }
}

impl Registry {
    /// Signs images until the future is dropped. Spawned once beside the server.
    pub async fn sign_images(self: Arc<Self>) {
        while let Some(due) = self.due(TO_SIGN_PREFIX).await {
            for (row, attempts) in due {
                if let Err(error) = self.sign_row(&row, &attempts).await {
                    pause(&error).await;
                }
            }
        }
    }

    /// The certificate that verifiers of a profile's signatures are to trust, as PEM. The key is made when there is
    /// none.
    pub async fn signing_certificate(&self, profile: &ProfileArn) -> Result<String, SigningKeyError> {
        Ok(key_of(&self.signing_keys, profile, self.now()).await?.root_pem())
    }

    /// Does the jobs of one image. Its row goes unless a push has renewed it meanwhile.
    async fn sign_row(&self, row: &KeyValue, attempts: &Attempts) -> Result<(), StoreError> {
        let mut txn = Txn::new().require(&*row.key, row.mod_revision);
        let again = match parse_to_sign(&row.key) {
            Some((keys, image)) => self.sign_image(&keys, &image, attempts).await,
            None => None,
        };
        txn = match again {
            Some(attempts) => txn.put(&*row.key, encode(&attempts)),
            None => txn.delete(&*row.key),
        };
        match self.metadata.store.txn(txn).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error),
        }
    }

    /// Does the jobs of one image; what is known of the tries when there will be another.
    async fn sign_image(&self, keys: &RepositoryKeys, image: &Digest, attempts: &Attempts) -> Option<Attempts> {
        let jobs = match self.signing_jobs(keys, image).await {
            Ok(jobs) => jobs,
            Err(error) => return Some(self.put_off(keys, image, attempts, &error)),
        };
        let mut again = None;
        for (profile, _) in jobs.into_iter().filter(|(_, job)| job.status == JobStatus::InProgress) {
            let Err(failed) = self.sign_with(keys, image, &profile).await else { continue };
            let next = self.note_failure(keys, image, attempts, &failed);
            let next = next.not_before_ms.is_some().then_some(next);
            if next.is_none()
                && let Err(error) = self.give_up(keys, image, &profile, &failed).await
            {
                return Some(self.put_off(keys, image, attempts, &error));
            }
            again = again.or(next);
        }
        again
    }

    /// What is known of the tries when the store does not answer: that counts as none.
    fn put_off(&self, keys: &RepositoryKeys, image: &Digest, attempts: &Attempts, error: &RegistryError) -> Attempts {
        let error = error as &dyn std::error::Error;
        tracing::warn!(repository = %keys.name(), %image, error, "the signing of an image could not be written down");
        let later = self.now().as_millis().saturating_add(i64::try_from(PAUSE.as_millis()).unwrap_or(i64::MAX));
        Attempts { not_before_ms: Some(later), ..attempts.clone() }
    }

    /// One job: the signature is made and written down, then pushed, then the job is complete. Whatever of this a
    /// crash cuts off is done again with the same result.
    async fn sign_with(&self, keys: &RepositoryKeys, image: &Digest, profile: &str) -> Result<(), Failed> {
        let key = keys.signing(image, profile);
        let (Some(job), Some(found)) =
            (self.metadata.get::<SigningJob>(&key).await?, self.metadata.image(keys, image).await?)
        else {
            return Ok(());
        };
        let Read { row: mut job, mut revision } = job;
        let target = Target { media_type: found.row.media_type, digest: image.clone(), size: found.row.manifest_size };
        let signed = match job.signed.take() {
            Some(signed) => signed,
            None => {
                let signing_key = key_of(&self.signing_keys, &profile.parse()?, self.now()).await?;
                let signed = sign(&signing_key, &target, self.now()).ok_or(Failed::Randomness)?;
                let row = SigningJob { signed: Some(signed.clone()), ..job.clone() };
                match self.write_job(&key, revision, &row).await? {
                    Some(written) => revision = written,
                    None => return Ok(()),
                }
                signed
            }
        };
        let signature = match self.push_signature(keys, &target, &signed).await {
            Ok(signature) => signature,
            // With the repository goes the job.
            Err(RegistryError::RepositoryNotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let row =
            SigningJob { status: JobStatus::Complete, failure: None, signature: Some(signature.clone()), signed: None };
        if self.write_job(&key, revision, &row).await?.is_some() {
            tracing::info!(repository = %keys.name(), %image, profile, "image signed");
        } else if self.metadata.image(keys, image).await?.is_none() {
            // Deleted meanwhile: what is about it goes too, as if it had been there already.
            match self.image_delete(keys, &signature, &Actor::registry(Origin::SubjectDeleted)).await {
                Ok(_) | Err(RegistryError::RepositoryNotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn push_signature(
        &self,
        keys: &RepositoryKeys,
        target: &Target,
        signed: &super::envelope::Signed,
    ) -> Result<Digest, RegistryError> {
        for blob in [Bytes::from_static(CONFIGURATION), Bytes::from(signed.envelope.clone())] {
            self.blob_put(keys, &Digest::of(&blob), blob).await?;
        }
        let push = ImagePush {
            manifest: signed.manifest(target).into(),
            media_type: Some(OCI_MANIFEST.to_owned()),
            digest: None,
            tags: Vec::new(),
            repeated: Repeated::Accept,
            actor: Actor::registry(Origin::Gantry),
            sign: Vec::new(),
        };
        Ok(self.image_push(keys, &push).await?.digest)
    }

    async fn give_up(
        &self,
        keys: &RepositoryKeys,
        image: &Digest,
        profile: &str,
        failed: &Failed,
    ) -> Result<(), RegistryError> {
        let key = keys.signing(image, profile);
        let Some(job) = self.metadata.get::<SigningJob>(&key).await? else { return Ok(()) };
        let row = SigningJob::failed(failed.code(), failed.reason(profile));
        self.write_job(&key, job.revision, &row).await?;
        Ok(())
    }

    /// Writes a job that is as it was read; none when it is not, or gone with its image.
    async fn write_job(&self, key: &str, revision: u64, job: &SigningJob) -> Result<Option<u64>, RegistryError> {
        match self.metadata.store.txn(Txn::new().require(key, revision).put(key, encode(job))).await {
            Ok(revision) => Ok(Some(revision)),
            Err(TxnError::Conflict { .. }) => Ok(None),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }
}
