//! Temporary credentials of a machine: an hour of its role, bound to the machine.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::machine::{CLOCK_SKEW_MS_MAX, Machine, SessionRequest, SessionResponse, session_statement};
use gantry_api::{Fault, Session};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{Machines, fault};
use crate::iam::Owner;

/// Agents renew at half of it, so a server that is away for half an hour goes unnoticed.
const SECONDS: u64 = 3600;

impl Machines {
    /// Begins a session for whoever signed the request with the machine's key.
    ///
    /// # Errors
    /// When the machine is not known (any more) or the signature is not its own, now.
    pub fn begin_session(&self, request: &SessionRequest) -> Result<SessionResponse, Fault> {
        let now = self.now();
        if request.at_ms.abs_diff(now) > CLOCK_SKEW_MS_MAX {
            return Err(fault::clock_skew());
        }
        let kept = self.look(|picture| picture.identity(&request.machine_id).cloned());
        let kept = kept.ok_or_else(fault::machine_revoked)?;
        let key = STANDARD.decode(&kept.row.public_key).map_err(fault::unavailable)?;
        let signature = STANDARD.decode(&request.signature).map_err(|_| fault::bad_signature())?;
        let statement = session_statement(&request.machine_id, request.at_ms);
        let verified = UnparsedPublicKey::new(&ED25519, key).verify(statement.as_bytes(), &signature);
        verified.map_err(|_| fault::bad_signature())?;

        let (account, id) = (&kept.scope.0, &request.machine_id);
        let role = self.iam().role_named(account, &kept.row.role).ok_or_else(|| fault::no_role(&kept.row.role))?;
        let expires_at = now / 1000 + SECONDS;
        let session = Session {
            principal_id: format!("{}:{id}", role.id),
            issued_at: now / 1000,
            expires_at,
            machine: Some(Machine {
                id: id.clone(),
                cluster: kept.row.cluster.clone(),
                external: kept.row.is_managed(),
                fargate: kept.row.fargate,
            }),
            ..Session::default()
        };
        let arn = format!("arn:aws:sts::{account}:assumed-role/{}/{id}", role.name);
        let owner = Owner::Role { name: role.name.to_lowercase(), id: role.id };
        let new = self.iam().begin_session(account, &arn, owner, session)?;
        Ok(SessionResponse {
            access_key_id: new.access_key_id,
            secret_access_key: new.secret,
            session_token: new.token,
            expires_at_ms: expires_at * 1000,
        })
    }
}
