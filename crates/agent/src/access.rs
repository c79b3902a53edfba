//! The agent's temporary credentials: had with the machine's key, renewed half an hour before their end, in memory only.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use crate::{
    aws::{AwsError, Door, Signer},
    clock::Clock,
    config::{Credentials, Join},
    host::Dirs,
    identity::{Identity, IdentityError},
    reason::chain,
};

/// Credentials are renewed this long before their end: a control plane that is away for less goes unnoticed.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 60);
/// Between attempts to renew credentials that are still good.
const RETRY: Duration = Duration::from_secs(20);
/// What the control plane says about an identity that was revoked.
const REVOKED: &str = "MachineRevoked";

/// Who this agent is to the control plane.
pub(crate) struct Access {
    door: Door,
    dirs: Dirs,
    join: Join,
    clock: Clock,
    identity: Mutex<Identity>,
    current: SyncMutex<Option<Current>>,
}

#[derive(Clone)]
struct Current {
    credentials: Credentials,
    expires_ms: u64,
    /// Not to be renewed before.
    renew_ms: u64,
}

impl Access {
    pub(crate) fn new(door: Door, dirs: Dirs, join: Join, clock: Clock, identity: Identity) -> Self {
        Self { door, dirs, join, clock, identity: Mutex::new(identity), current: SyncMutex::default() }
    }

    async fn good(&self) -> Result<Credentials, AwsError> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        // One at a time: whoever waited finds what the one before got.
        let mut identity = self.identity.lock().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        match self.renew(&mut identity).await {
            Ok(credentials) => Ok(credentials),
            Err(error) => match self.still_good() {
                Some(credentials) => {
                    tracing::warn!(
                        error = chain(&error),
                        "credentials were not renewed; the old ones are good for now"
                    );
                    Ok(credentials)
                }
                None => Err(AwsError::NoCredentials(Box::new(error))),
            },
        }
    }

    async fn renew(&self, identity: &mut Identity) -> Result<Credentials, IdentityError> {
        if identity.joined().is_none() {
            identity.join(&self.door, &self.join).await?;
        }
        let session = match identity.session(&self.door, self.clock.now_ms()).await {
            Err(IdentityError::Refused(error)) if error.code() == Some(REVOKED) && self.join.may_be_repeated() => {
                tracing::warn!("this machine's identity was revoked; it joins as another one");
                identity.discard(&self.dirs)?;
                identity.join(&self.door, &self.join).await?;
                identity.session(&self.door, self.clock.now_ms()).await?
            }
            other => other?,
        };
        let credentials = Credentials {
            access_key_id: session.access_key_id,
            secret_access_key: session.secret_access_key,
            session_token: Some(session.session_token),
        };
        let renew_ms = session.expires_at_ms.saturating_sub(RENEW_BEFORE.as_millis() as u64);
        let current = Current { credentials: credentials.clone(), expires_ms: session.expires_at_ms, renew_ms };
        *self.current.lock() = Some(current);
        Ok(credentials)
    }

    fn fresh(&self) -> Option<Credentials> {
        let now_ms = self.clock.now_ms();
        self.current.lock().as_ref().filter(|current| now_ms < current.renew_ms).map(|it| it.credentials.clone())
    }

    /// What there is, while it lasts; asked again in a moment, not at every call.
    fn still_good(&self) -> Option<Credentials> {
        let now_ms = self.clock.now_ms();
        let mut current = self.current.lock();
        let current = current.as_mut().filter(|current| now_ms < current.expires_ms)?;
        current.renew_ms = now_ms + RETRY.as_millis() as u64;
        Some(current.credentials.clone())
    }
}

#[async_trait]
impl Signer for Access {
    async fn credentials(&self) -> Result<Credentials, AwsError> {
        self.good().await
    }

    /// They end now.
    fn refused(&self) {
        self.current.lock().take();
    }
}
