//! Joining: a token or an activation is traded for an identity, in one transaction that also uses it up.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::Fault;
use gantry_api::machine::{AboutMachine, JoinProof, JoinRequest, JoinResponse};
use gantry_store::Txn;

use super::picture::Picture;
use super::rows::{IdentityRow, Origin, activation_key, identity_key, token_key};
use super::{Machines, fault, hash, secret, tokens};
use crate::iam::INSTANCE_ROLE;

/// Bytes of an Ed25519 public key.
const KEY_BYTES: usize = 32;
/// Characters that are kept of each thing a machine says about itself.
const ABOUT_CHARS_MAX: usize = 255;

/// What a proof entitles to.
struct Grant {
    scope: (String, String),
    identity: IdentityRow,
    /// Uses the proof up.
    txn: Txn,
}

impl Machines {
    /// Lets a machine in. `address` is where it called from.
    ///
    /// # Errors
    /// When the proof is not good, or the store fails.
    pub async fn join(&self, request: JoinRequest, address: String) -> Result<JoinResponse, Fault> {
        let key = STANDARD.decode(&request.public_key).ok().filter(|key| key.len() == KEY_BYTES);
        key.ok_or_else(fault::bad_key)?;
        let new_id = secret::random_hex(17)?;
        let about = bounded(request.about.clone());
        self.change(|picture| {
            // An answer that was lost is given again.
            if let Some((id, kept)) = picture.identity_of_key(&request.public_key) {
                if !self.is_proof_of(picture, &request.proof, &kept.row.origin) {
                    return Err(fault::machine_revoked());
                }
                return Ok((Txn::new(), answer(id, &kept.scope, &kept.row)));
            }
            let mut grant = self.grant(picture, &request.proof)?;
            grant.identity.public_key.clone_from(&request.public_key);
            grant.identity.about = about.clone();
            grant.identity.address.clone_from(&address);
            let id = format!("{}-{new_id}", if grant.identity.is_managed() { "mi" } else { "i" });
            let (account, region) = &grant.scope;
            let key = identity_key(account, region, &id);
            let value = serde_json::to_vec(&grant.identity).map_err(fault::unavailable)?;
            let txn = grant.txn.require_absent(key.clone()).put(key, value);
            Ok((txn, answer(&id, &grant.scope, &grant.identity)))
        })
        .await
    }

    fn is_own(&self, token: &str) -> bool {
        self.inner.own.hash == hash(token)
    }

    fn is_proof_of(&self, picture: &Picture, proof: &JoinProof, origin: &Origin) -> bool {
        match (proof, origin) {
            (JoinProof::Token { token }, Origin::Own) => self.is_own(token),
            (JoinProof::Token { token }, Origin::Token(id)) => {
                picture.tokens.get(id).is_some_and(|kept| kept.row.hash == hash(token))
            }
            (JoinProof::Activation { activation_id, activation_code }, Origin::Activation(id)) => {
                let kept = picture.activations.get(id).filter(|_| activation_id == id);
                kept.is_some_and(|kept| kept.row.hash == hash(activation_code))
            }
            _ => false,
        }
    }

    fn grant(&self, picture: &Picture, proof: &JoinProof) -> Result<Grant, Fault> {
        match proof {
            JoinProof::Token { token } if self.is_own(token) => {
                let own = &self.inner.own;
                let identity = IdentityRow { fargate: true, ..self.new_identity(Origin::Own, INSTANCE_ROLE) };
                Ok(Grant { scope: (own.account.clone(), own.region.clone()), identity, txn: Txn::new() })
            }
            JoinProof::Token { token } => self.grant_of_token(picture, token),
            JoinProof::Activation { activation_id, activation_code } => {
                self.grant_of_activation(picture, activation_id, activation_code)
            }
        }
    }

    fn grant_of_token(&self, picture: &Picture, token: &str) -> Result<Grant, Fault> {
        let id = secret::id_of(tokens::PREFIX, token).ok_or_else(fault::token_refused)?;
        let kept = picture.tokens.get(id).ok_or_else(fault::token_refused)?;
        let row = &kept.row;
        if row.hash != hash(token) || row.uses_left == 0 || row.expires_at <= self.now() {
            return Err(fault::token_refused());
        }
        let identity = IdentityRow {
            cluster: row.cluster.clone(),
            fargate: row.fargate,
            ..self.new_identity(Origin::Token(id.to_owned()), INSTANCE_ROLE)
        };
        let mut used = row.clone();
        used.uses_left -= 1;
        let key = token_key(&kept.scope.0, &kept.scope.1, id);
        let value = serde_json::to_vec(&used).map_err(fault::unavailable)?;
        Ok(Grant { scope: kept.scope.clone(), identity, txn: Txn::new().require(&key, kept.revision).put(key, value) })
    }

    fn grant_of_activation(&self, picture: &Picture, id: &str, code: &str) -> Result<Grant, Fault> {
        let kept = picture.activations.get(id).ok_or_else(fault::activation_refused)?;
        let row = &kept.row;
        if row.hash != hash(code) || row.registrations >= row.limit || row.expires_at <= self.now() {
            return Err(fault::activation_refused());
        }
        let identity = IdentityRow {
            name: row.default_instance_name.clone(),
            tags: row.tags.clone(),
            ..self.new_identity(Origin::Activation(id.to_owned()), &row.role)
        };
        let mut used = row.clone();
        used.registrations += 1;
        let key = activation_key(&kept.scope.0, &kept.scope.1, id);
        let value = serde_json::to_vec(&used).map_err(fault::unavailable)?;
        Ok(Grant { scope: kept.scope.clone(), identity, txn: Txn::new().require(&key, kept.revision).put(key, value) })
    }

    fn new_identity(&self, origin: Origin, role: &str) -> IdentityRow {
        IdentityRow {
            public_key: String::new(),
            origin,
            role: role.to_owned(),
            cluster: None,
            fargate: false,
            joined_at: self.now(),
            name: String::new(),
            address: String::new(),
            about: AboutMachine::default(),
            tags: Default::default(),
        }
    }
}

fn answer(id: &str, scope: &(String, String), identity: &IdentityRow) -> JoinResponse {
    JoinResponse {
        machine_id: id.to_owned(),
        account: scope.0.clone(),
        region: scope.1.clone(),
        cluster: identity.cluster.clone(),
        external: identity.is_managed(),
    }
}

fn bounded(about: AboutMachine) -> AboutMachine {
    let cut = |text: String| text.chars().take(ABOUT_CHARS_MAX).collect();
    AboutMachine {
        computer_name: cut(about.computer_name),
        platform_name: cut(about.platform_name),
        platform_version: cut(about.platform_version),
        agent_version: cut(about.agent_version),
    }
}
